"""Lower the precision of a model file, prove what it still finds, and write it: `lower`.

Joins the rooms: `precision_fp16.py` and `precision_int8.py` make the graph, `rules.py` judges it, `precision_check.py`
proves it. Needs neither torch nor Detectron2.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from fashionseg.errors import ExportError
from fashionseg.export.precision_check import MAX_DROP, Comparison, PhotoSet, prove
from fashionseg.export.precision_photos import (
    CALIBRATION_PHOTOS,
    batches,
    built_in_photos,
    labelled_photos,
    photo_files,
    plain_photos,
    spread,
)
from fashionseg.export.rules import check_rules
from fashionseg.export.steps import SilentSteps, Steps, counted
from fashionseg.export.write import as_model_file
from fashionseg.files import write_bytes
from fashionseg.model import parse_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import onnx

    from fashionseg.model import ModelFile, ModelSpec

Precision = Literal["fp16", "int8"]


@dataclass(frozen=True, slots=True)
class LowerOptions:
    """How far to go, and how to prove it.

    Attributes:
        precision: "fp16" or "int8".
        calibrate: photos, folders, globs or COCO files that int8 learns its ranges from.
        check: the same, to compare with float32 on; empty for those of `calibrate`, or drawn pictures.
        check_data: a COCO file, to measure AP with; goes before `check`.
        images: folder of the photos of COCO files; None to look beside them.
        max_drop: most AP, in points, that may be lost; None for 0.5 (fp16) and 1.0 (int8).
        for_engine: an engine will be built from it: prove int8 with the signed numbers that TensorRT computes with.
    """

    precision: Precision
    calibrate: tuple[Path, ...] = ()
    check: tuple[Path, ...] = ()
    check_data: Path | None = None
    images: Path | None = None
    max_drop: float | None = None
    for_engine: bool = False

    @property
    def allowed_drop(self) -> float:
        """Most AP, in points, that may be lost."""
        return MAX_DROP[self.precision] if self.max_drop is None else self.max_drop


@dataclass(frozen=True, slots=True)
class Lowered:
    """A model of lower precision that was proven.

    Attributes:
        model: it; `model.path` is where it was or will be written.
        comparison: with the float32 file.
        allowed_drop: most AP, in points, that it was allowed to lose.
        seconds: the whole took.
    """

    model: ModelFile
    comparison: Comparison
    allowed_drop: float
    seconds: float


def lower(model: ModelFile, output: Path, options: LowerOptions, steps: Steps | None = None) -> Lowered:
    """Write a model file of lower precision; it appears proven or not at all, and replaces one of the same name.

    Args:
        model: of float32.
        output: the `.onnx` file.
        options: how far, and the photos.
        steps: hears of progress.

    Raises:
        ExportError: it cannot be lowered.
        PrecisionError: the lowered model loses too much.
        DataError, MediaError: the photos.
        OutputError: the file cannot be written.
    """
    lowered = lowered_model(model, output, options, steps)
    write_bytes(output, lowered.model.data)
    return lowered


def lowered_model(model: ModelFile, output: Path, options: LowerOptions, steps: Steps | None = None) -> Lowered:
    """As `lower`, in memory alone; `output` names it in messages."""
    started = time.perf_counter()
    steps = steps or SilentSteps()
    _check_source(model, options)
    with _photos(options, model.spec) as photos:
        proto = _graph(model, options, steps)
        spec = replace(model.spec, precision=options.precision, weights=options.precision, metrics={})
        made = as_model_file(proto, spec, output)
        check_rules(proto, str(output))
        judged = replace(made, data=_judged(made, proto, options))
        with counted(steps, "comparing with fp32", 2 * len(photos.files)) as advance:
            comparison = prove(model, judged, photos, options.allowed_drop, advance)
    if comparison.ap:
        measured = {f"{kind}/AP": round(100 * after, 2) for kind, (_, after) in comparison.ap.items()}
        made = as_model_file(proto, replace(spec, metrics=measured), output)
    return Lowered(made, comparison, options.allowed_drop, time.perf_counter() - started)


def check_photos(options: LowerOptions) -> None:
    """Find the photos that were named, so that a wrong name is told before the work begins.

    Raises:
        DataError, MediaError: one of them is missing.
    """
    for named in (options.calibrate, options.check):
        if named:
            photo_files(named, options.images)
    if options.check_data is not None:
        labelled_photos(options.check_data, options.images)


def _check_source(model: ModelFile, options: LowerOptions) -> None:
    if model.spec.precision != "fp32":
        raise ExportError(f"{model.path} is {model.spec.precision} already; lower the fp32 model file it was made from")
    if options.precision == "int8" and not options.calibrate:
        raise ExportError("int8 needs photos to learn its ranges from: name some with --calibrate")


def _graph(model: ModelFile, options: LowerOptions, steps: Steps) -> onnx.ModelProto:
    proto = parse_onnx(model.data, str(model.path))
    if options.precision == "fp16":
        from fashionseg.export.precision_fp16 import to_float16

        return to_float16(proto)
    from fashionseg.export.precision_int8 import to_int8

    files = spread(photo_files(options.calibrate, options.images), CALIBRATION_PHOTOS)
    with counted(steps, "calibrating", len(files)) as advance:
        return to_int8(proto, batches(files, model.spec, advance))


def _judged(made: ModelFile, proto: onnx.ModelProto, options: LowerOptions) -> bytes:
    """The graph that is proven: one that rounds on this machine as the file will where it runs."""
    from fashionseg.export.engine_graph import numeric_graph
    from fashionseg.export.precision_fp16 import rounding_twin

    data = made.data
    if options.precision == "fp16":
        data = rounding_twin(proto).SerializeToString()
    elif options.for_engine:
        data = numeric_graph(made).SerializeToString()
    return data


@contextlib.contextmanager
def _photos(options: LowerOptions, spec: ModelSpec) -> Iterator[PhotoSet]:
    """The photos to prove with."""
    if options.check_data is not None:
        yield labelled_photos(options.check_data, options.images)
    elif options.check or options.calibrate:
        named = photo_files(options.check or options.calibrate, options.images)
        yield plain_photos(spread(named, CALIBRATION_PHOTOS), spec)
    else:
        with built_in_photos() as files:
            yield plain_photos(files, spec)
