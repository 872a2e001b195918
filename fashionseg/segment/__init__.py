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
from typing import TYPE_CHECKING, Any

from fashionseg.backends.registry import check_device, check_model, may_run_on_gpu
from fashionseg.errors import FashionsegError, OutputError
from fashionseg.files import output_errors, write_bytes
from fashionseg.model import ModelFile, read_model
from fashionseg.segment.device import loading
from fashionseg.segment.run import Run
from fashionseg.segment.truth import ids_of
from fashionseg.segment.types import Failure, Plan, Reporter, SegmentOptions, SilentReporter, Summary
from fashionseg.writers.coco import write_coco
from fashionseg.writers.folder import Fingerprint, RunFolder
from fashionseg.writers.names import frames_folder, output_names

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

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
    stop = stop or threading.Event()
    labels = model.spec.labels_of(list(options.classes)) if options.classes else None
    ids = ids_of(options.gt, plan, model, reporter.note) if options.gt else None
    if not options.restart and not RunFolder.begun(root):
        _refuse_overwriting(plan, frames="frames" in options.save)
    with (
        loading(model, options, reporter, stop, open_backend) as (device, load),
        RunFolder(root, _fingerprint(plan, model, options, device), restart=options.restart) as folder,
    ):
        summary = Run(plan, folder, model, options, labels, reporter, stop, device, load).run()
        summary.failures = [*plan.failures, *summary.failures]
        _write_failures(root, folder, summary.failures)
        if not summary.interrupted:
            write = "predictions" in options.save
            summary.tally = write_coco(folder, plan.sources, plan.outputs, model.spec, write=write, ids=ids)
    summary.seconds = time.perf_counter() - began
    return summary


def _fingerprint(plan: Plan, model: ModelFile, options: SegmentOptions, device: str) -> Fingerprint:
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
        "encoder": _encoder(plan, options, device),
        "gt": str(options.gt) if options.gt else None,
    }


def _encoder(plan: Plan, options: SegmentOptions, device: str) -> str:
    """The encoder of this run on `device`, where it writes video: parts of two encoders cannot be joined.

    Raises:
        OutputError: the GPU's encoder was asked for, and there is none.
    """
    from fashionseg.media.encoders import choose_encoder

    if "video" not in options.save or all(source.kind != "video" for source in plan.sources):
        return options.encoder
    return choose_encoder(options.encoder, on_gpu=may_run_on_gpu(device))


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


def _refuse_overwriting(plan: Plan, *, frames: bool) -> None:
    """A folder that holds somebody else's files of the same names is not ours to write over.

    With `frames`, the folders of videos' frames are looked at too: whatever is in them.
    """
    taken = [plan.root / name for name in plan.outputs if os.path.lexists(plan.root / name)]
    if frames:
        videos = (name for source, name in zip(plan.sources, plan.outputs, strict=True) if source.kind == "video")
        folders = (plan.root / frames_folder(name) for name in videos)
        taken += [folder for folder in folders if os.path.lexists(folder) and not _is_empty_folder(folder)]
    if taken:
        raise OutputError(
            f"{taken[0]} is there already and this command did not write it; choose another folder with -o, or write "
            "over it with --restart"
        )


def _is_empty_folder(path: Path) -> bool:
    with output_errors(path):
        return path.is_dir() and not any(path.iterdir())


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
