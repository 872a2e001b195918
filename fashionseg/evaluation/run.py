"""`evaluate`: from a model or predictions and a data set to an `Evaluation` and its files.

Knows the order of things and what makes a run refuse to start, so that nothing fails after an hour that could have
failed at once. Knows nothing about terminals: a `Reporter` hears what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fashionseg.data.coco import read_coco
from fashionseg.data.photos import hash_file
from fashionseg.errors import DataError
from fashionseg.evaluation.classes import categories_of
from fashionseg.evaluation.coco_metrics import has_masks
from fashionseg.evaluation.compare import compare, read_earlier, read_earlier_predictions, require_common
from fashionseg.evaluation.gate import check_names
from fashionseg.evaluation.metrics import measure
from fashionseg.evaluation.photos import photo_paths, require_sizes
from fashionseg.evaluation.predictions import MODEL_SCORE_FLOOR, from_results, read_predictions
from fashionseg.evaluation.result import Evaluation, Subject

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.compare import Earlier
    from fashionseg.evaluation.gate import Requirement
    from fashionseg.evaluation.latency import StageLatency
    from fashionseg.evaluation.predictions import Predictions
    from fashionseg.export.classes import Classes

CHECKPOINT_SUFFIXES = (".pth", ".pkl", ".pt")
DEFAULT_MODEL = "default"


class Reporter(Protocol):
    """Hears how an evaluation goes on."""

    def note(self, message: str) -> None:
        """Something worth a line."""

    def begin(self, photos: int) -> None:
        """A model starts to look at so many photos."""

    def advance(self) -> None:
        """One photo is done."""


class SilentReporter:
    """A `Reporter` that says nothing."""

    def note(self, message: str) -> None:
        """See `Reporter`."""

    def begin(self, photos: int) -> None:
        """See `Reporter`."""

    def advance(self) -> None:
        """See `Reporter`."""


@dataclass(frozen=True, slots=True)
class EvaluateOptions:
    """What the user may choose; see `fashionseg evaluate --help`.

    Attributes:
        model: a model file (ONNX or an engine), a Detectron2 checkpoint, or a COCO results file; "default" for the
            embedded model.
        data: COCO annotation file.
        images: folder of its photos; None to look beside it.
        output: folder for report, plots, metrics and predictions; None to write nothing.
        config: Detectron2 config of a checkpoint, a file or a name of the model zoo; None for the one beside it.
        classes: of a checkpoint whose files do not name them.
        device: see `fashionseg.backends.registry.parse_device`.
        threads: of the CPU for the model; None for all cores.
        compare: an earlier `metrics.json`.
        require: bounds; only their names are looked at here, see `fashionseg.evaluation.gate.check`.
        trust: load a checkpoint that could run code.
    """

    model: Path
    data: Path
    images: Path | None = None
    output: Path | None = None
    config: str | None = None
    classes: Classes | None = None
    device: str = "auto"
    threads: int | None = None
    compare: Path | None = None
    require: tuple[Requirement, ...] = ()
    trust: bool = False


@dataclass(frozen=True, slots=True)
class _Found:
    """Predictions and where they come from."""

    subject: Subject
    predictions: Predictions
    photos: tuple[Path, ...] | None
    latencies: tuple[StageLatency, ...] = ()
    warnings: tuple[str, ...] = ()


def evaluate(options: EvaluateOptions, reporter: Reporter | None = None) -> Evaluation:
    """Measure a model or predictions, and write report, plots, metrics and predictions where a folder is named.

    Raises:
        DataError: annotations, predictions or photos are missing, damaged, or do not belong together.
        ModelError: no usable model.
        MissingExtraError: plots or a checkpoint need a library that is not installed.
        OutputError: the folder cannot be written.
    """
    reporter = reporter or SilentReporter()
    if options.output is not None:
        from fashionseg.evaluation.files import prepare_folder

        prepare_folder(options.output)
    data = read_coco(options.data, need_instances=True)
    data_sha256 = hash_file(options.data)
    earlier = read_earlier(options.compare) if options.compare else None
    _check_names(options.require, earlier, data)
    if earlier:
        earlier = read_earlier_predictions(earlier, data, data_sha256)
    found = _predictions(options, data, reporter)
    metrics, outcomes = measure(data, found.predictions, found.latencies)
    comparison = compare(earlier, metrics, data, found.predictions) if earlier else None
    warnings = [*found.warnings, *_warnings(data, found.predictions)]
    if comparison and comparison.warning:
        warnings.append(comparison.warning)
    evaluation = Evaluation(
        found.subject,
        data,
        data_sha256,
        found.photos,
        found.predictions,
        metrics,
        tuple(outcomes),
        comparison,
        tuple(warnings),
    )
    if options.output is not None:
        from fashionseg.evaluation.files import write_files

        evaluation = write_files(evaluation, options.output)
    return evaluation


def _check_names(requirements: Sequence[Requirement], earlier: Earlier | None, data: CocoData) -> None:
    """Refuse metrics that cannot be measured before a model runs; what is measured of latency only the run knows."""
    named = [one for one in requirements if not one.name.startswith("latency/")]
    if not named and earlier is None:
        return
    metrics, _ = measure(data, from_results([], data, ""), with_intervals=False)
    known = metrics.flat()
    check_names(named, known)
    if earlier:
        require_common(earlier, [*known, *(name for name in earlier.metrics if name.startswith("latency/"))])


def _predictions(options: EvaluateOptions, data: CocoData, reporter: Reporter) -> _Found:
    suffix = options.model.suffix.lower()
    if suffix == ".json":
        return _from_file(options, data)
    photos = photo_paths(data, options.images)
    if suffix in CHECKPOINT_SUFFIXES:
        return _from_checkpoint(options, data, photos, reporter)
    return _from_model_file(options, data, photos, reporter)


def _from_file(options: EvaluateOptions, data: CocoData) -> _Found:
    predictions = read_predictions(options.model, data)
    warning = predictions.cut_warning()
    try:
        photos = tuple(photo_paths(data, options.images))
    except DataError:
        if options.images is not None:
            raise
        photos = None  # the report says so; numbers need no photos
    subject = Subject("predictions", str(options.model), hash_file(options.model))
    return _Found(subject, predictions, photos, warnings=(warning,) if warning else ())


def _from_model_file(options: EvaluateOptions, data: CocoData, photos: list[Path], reporter: Reporter) -> _Found:
    from fashionseg.backends.registry import check_model, open_backend
    from fashionseg.evaluation.runtime import run_model
    from fashionseg.model import read_model

    is_default = str(options.model) == DEFAULT_MODEL and not options.model.exists()
    model = read_model(None if is_default else options.model)
    warnings = list(_unused_classes(model.spec.class_names, data, str(options.model)))
    warnings += _cut_by_model(model.spec.score_threshold, str(options.model), " and export it again")
    check_model(model, options.device)
    require_sizes(data, photos)
    with open_backend(model, options.device, threads=options.threads, note=reporter.note) as backend:
        reporter.note(backend.description)
        reporter.begin(len(photos))
        run = run_model(backend, data, photos, str(options.model), reporter.advance)
    if run.inexact:
        warnings.append(f"{run.inexact} photos may differ slightly from exact non-maximum suppression")
    subject = Subject("model file", str(options.model), model.sha256, model.spec.name, run.device)
    return _Found(subject, run.predictions, tuple(photos), run.latencies, tuple(warnings))


def _from_checkpoint(options: EvaluateOptions, data: CocoData, photos: list[Path], reporter: Reporter) -> _Found:
    from fashionseg.evaluation.reference import open_detector, run_detector

    require_sizes(data, photos)
    detector = open_detector(
        options.model,
        options.config,
        classes=options.classes,
        device=options.device,
        threads=options.threads,
        trust=options.trust,
    )
    reporter.note(detector.description)
    reporter.begin(len(photos))
    run = run_detector(detector, data, photos, reporter.advance)
    subject = Subject("checkpoint", str(options.model), detector.checkpoint.sha256, "", run.device)
    warnings = list(_unused_classes(detector.checkpoint.classes.names, data, str(options.model)))
    warnings += _cut_by_model(detector.checkpoint.config.MODEL.ROI_HEADS.SCORE_THRESH_TEST, str(options.model))
    return _Found(subject, run.predictions, tuple(photos), run.latencies, tuple(warnings))


def _unused_classes(class_names: Sequence[str], data: CocoData, where: str) -> list[str]:
    categories = categories_of(class_names, data, where)
    unused = [name for name, category in zip(class_names, categories, strict=True) if category is None]
    if not unused:
        return []
    return [f"{data.where()} has no {', '.join(unused)}: predictions of these classes are left out"]


def _cut_by_model(threshold: float, where: str, then: str = "") -> list[str]:
    """A warning where the model itself drops scores that AP wants to see."""
    if round(threshold, 6) <= MODEL_SCORE_FLOOR:
        return []
    return [
        f"{where} drops scores below {threshold:g}, which lowers AP: set MODEL.ROI_HEADS.SCORE_THRESH_TEST to "
        f"{MODEL_SCORE_FLOOR} in its config{then}"
    ]


def _warnings(data: CocoData, predictions: Predictions) -> list[str]:
    if not has_masks(data):
        return [f"{data.where()} has garments without masks: boxes alone are measured"]
    if predictions.rles is None:
        return [f"{predictions.origin} has no masks: boxes alone are measured"]
    return []
