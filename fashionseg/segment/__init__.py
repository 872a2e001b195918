"""`segment`: photos and videos in, annotated media and COCO files out; what `fashionseg segment` calls.

This file knows the plan of a run and its final files; `run.py` joins the stages that do the work, `types.py` holds the
words of both. Nothing here knows about terminals: a `Reporter` is told what happens.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.backends.registry import check_device, check_model, may_run_on_gpu
from fashionseg.errors import FashionsegError, OutputError
from fashionseg.files import write_bytes
from fashionseg.model import ModelFile, read_model
from fashionseg.segment.run import Run
from fashionseg.segment.types import Failure, Plan, Reporter, SegmentOptions, SilentReporter, Summary
from fashionseg.writers.coco import Ids, write_coco
from fashionseg.writers.folder import Fingerprint, RunFolder
from fashionseg.writers.names import output_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fashionseg.backends import Backend

__all__ = ["Failure", "Plan", "Reporter", "SegmentOptions", "SilentReporter", "Summary", "make_plan", "segment"]


def make_plan(arguments: Sequence[str | Path], root: Path, *, frames: bool = False) -> Plan:
    """Find the photos and videos named by `arguments` and choose the names of their outputs.

    Args:
        arguments: photos, videos, folders, globs.
        root: output folder.
        frames: frames of videos are written too.

    Raises:
        OutputError: an output would overwrite a source.
    """
    from fashionseg.media.sources import find_sources

    found = find_sources(arguments, exclude=root)
    outputs = output_names(found.sources, frames=frames)
    taken = {os.path.realpath(source.path): source for source in found.sources}
    for name in outputs:
        source = taken.get(os.path.realpath(root / name))
        if source is not None:
            raise OutputError(f"the output {root / name} would overwrite the source {source.path}; choose another -o")
    failures = tuple(Failure(str(problem.path), str(problem)) for problem in found.problems)
    return Plan(tuple(found.sources), tuple(outputs), failures, root)


def segment(
    arguments: Sequence[str | Path],
    root: Path,
    options: SegmentOptions,
    reporter: Reporter | None = None,
    stop: threading.Event | None = None,
    open_backend: Callable[[ModelFile], Backend] | None = None,
) -> Summary:
    """Segment photos and videos into the folder `root`; the same call goes on where an earlier one was stopped.

    Args:
        arguments: photos, videos, folders, globs.
        root: output folder, made if need be.
        options: what to do.
        reporter: hears of progress.
        stop: set it from anywhere to end the run soon, leaving a state that can be resumed.
        open_backend: makes the backend; default: `fashionseg.backends.registry.open_backend` with the options' device.

    Raises:
        FashionsegError: nothing could be done, or the run cannot go on (model, device, output). Inputs that fail are
            no error: they stand in the summary.
    """
    began = time.perf_counter()
    check_device(options.device)
    reporter = reporter or SilentReporter()
    plan = make_plan(arguments, root, frames="frames" in options.save)
    for failure in plan.failures:
        reporter.failed(failure)
    if not plan.sources:
        raise FashionsegError(plan.failures[0].reason if plan.failures else "there is nothing to segment")
    model = read_model(options.model)
    check_model(model, options.device)
    labels = model.spec.labels_of(list(options.classes)) if options.classes else None
    ids = _ids_of(options.gt, plan, model) if options.gt else None
    if not options.restart and not RunFolder.begun(root):
        _refuse_overwriting(plan)
    with RunFolder(root, _fingerprint(plan, model, options), restart=options.restart) as folder:
        run = Run(plan, folder, model, options, labels, reporter, stop or threading.Event(), open_backend)
        summary = run.run()
        summary.failures = [*plan.failures, *summary.failures]
        if not summary.interrupted:
            write = "predictions" in options.save
            summary.tally = write_coco(folder, plan.sources, plan.outputs, model.spec, write=write, ids=ids)
            _write_failures(root, folder, summary.failures)
    summary.seconds = time.perf_counter() - began
    return summary


def _fingerprint(plan: Plan, model: ModelFile, options: SegmentOptions) -> Fingerprint:
    return {
        "sources": _digest_of_sources(plan),
        "model": model.sha256,
        "conf": options.conf,
        "classes": sorted(options.classes),
        "batch": options.batch,
        "device": options.device,
        "save": sorted(options.save),
        "hide": sorted(options.hide),
        "vid-stride": options.vid_stride,
        "start": None if options.start is None else str(options.start),
        "end": None if options.end is None else str(options.end),
        "encoder": _encoder(plan, options),
        "gt": str(options.gt) if options.gt else None,
    }


def _encoder(plan: Plan, options: SegmentOptions) -> str:
    """The encoder of this run, where it writes video: parts of two encoders cannot be joined.

    Raises:
        OutputError: the GPU's encoder was asked for, and there is none.
    """
    from fashionseg.media.encoders import choose_encoder

    if "video" not in options.save or all(source.kind != "video" for source in plan.sources):
        return options.encoder
    return choose_encoder(options.encoder, on_gpu=may_run_on_gpu(options.device))


def _digest_of_sources(plan: Plan) -> str:
    digest = hashlib.sha256()
    for source in plan.sources:
        try:
            status = source.path.stat()
            size, changed = status.st_size, status.st_mtime_ns
        except OSError:
            size, changed = -1, -1
        digest.update(json.dumps([source.name, source.kind, size, changed]).encode())
    return digest.hexdigest()


def _refuse_overwriting(plan: Plan) -> None:
    """A folder that holds somebody else's files of the same names is not ours to write over."""
    for name in plan.outputs:
        if os.path.lexists(plan.root / name):
            raise OutputError(
                f"{plan.root / name} is there already and this command did not write it; choose another folder with "
                "-o, or write over it with --restart"
            )


def _ids_of(path: Path, plan: Plan, model: ModelFile) -> Ids:
    """Image ids by file name, category ids by class name."""
    from fashionseg.data.coco import read_coco

    truth = read_coco(path)
    by_name = {image.file_name: image.id for image in truth.images}
    by_last = {Path(image.file_name).name: image.id for image in truth.images}
    images = {}
    for source in plan.sources:
        image_id = by_name.get(source.name, by_last.get(source.path.name))
        if image_id is not None and source.kind == "photo":
            images[source.index] = image_id
    if not images:
        raise FashionsegError(f"none of the photos stands in {path}: their file names differ")
    known = {category.name: category.id for category in truth.categories}
    missing = [name for name in model.spec.class_names if name not in known]
    if len(missing) == len(model.spec.class_names):
        raise FashionsegError(f"{path} has none of the model's classes ({', '.join(missing)})")
    fresh = max(known.values()) + 1
    extra = {name: fresh + number for number, name in enumerate(missing)}
    return Ids(images, tuple(known.get(name) or extra[name] for name in model.spec.class_names))


def _write_failures(root: Path, folder: RunFolder, failures: list[Failure]) -> None:
    path = root / "failures.json"
    if not failures:
        path.unlink(missing_ok=True)
        return
    entries: list[dict[str, Any]] = []
    for failure in failures:
        entry: dict[str, Any] = {"path": failure.path, "reason": failure.reason}
        if failure.frames is not None:
            entry["frames"] = failure.frames
        entries.append(entry)
    write_bytes(path, (json.dumps(entries, indent=1) + "\n").encode(), folder.temporary)
