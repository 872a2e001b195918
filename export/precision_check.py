"""The proof of a lowered precision: what the model file still finds, and what it costs in AP.

The reference is the float32 file, both run as users run them: photos decoded, resized, pasted at full size. Detections
are paired by the IoU of their masks; with a labelled set COCO's AP of both is measured too.
Knows predictions and verdicts. Knows nothing about how a graph was lowered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import hotcoco
import numpy as np

from fashionseg.errors import QualityError
from fashionseg.evaluation.coco_metrics import CocoProblem, coco_scores

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Rle
    from fashionseg.evaluation.predictions import Predictions
    from fashionseg.model import ModelFile

MIN_SCORE = 0.3
"""Detections of the reference above this score are looked for."""

MIN_IOU = 0.95
"""A detection is found again where the IoU of the two masks, in pixels of the photo, is at least this."""

MIN_MATCHED = {"fp16": 0.99, "int8": 0.90}
"""Least share of the detections that must be found again, where there are no labels to measure AP with."""

MAX_DROP = {"fp16": 0.5, "int8": 1.0}
"""Most AP, in points, that a precision may cost unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class PhotoSet:
    """Photos to prove with.

    Attributes:
        data: ids and sizes of the photos; with instances where they are labelled.
        files: the file of each photo.
        labelled: whether AP can be measured.
    """

    data: CocoData
    files: tuple[Path, ...]
    labelled: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """A lowered model against its reference.

    Attributes:
        photos: how many were run.
        wanted: detections of the reference above `MIN_SCORE`.
        matched: those of them that were found again.
        score: largest difference of a score among pairs, 0..1.
        mean_score: mean difference of a score among pairs.
        ap: by IoU type ("bbox", "segm") the AP of the reference and of the lowered model, 0..1; empty without labels.
    """

    photos: int
    wanted: int
    matched: int
    score: float
    mean_score: float
    ap: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Share of the detections found again, 0..1; 1 where there were none."""
        return self.matched / self.wanted if self.wanted else 1.0

    @property
    def drop(self) -> float | None:
        """AP lost, in points: of masks where there are any, else of boxes; None without labels."""
        found = self.ap.get("segm", self.ap.get("bbox"))
        return None if found is None else 100 * (found[0] - found[1])

    def failure(self, precision: str, max_drop: float) -> str | None:
        """What is wrong with it, in words; None where the lowered model holds."""
        if self.drop is not None:
            lost = f"{precision} loses {self.drop:.2f} AP against fp32, more than the {max_drop:g} allowed (--max-drop)"
            return lost if self.drop > max_drop else None
        if not self.wanted:
            return f"fp32 finds nothing above {MIN_SCORE} in the photos, which proves nothing: name others with --check"
        if self.share >= MIN_MATCHED[precision]:
            return None
        return (
            f"{precision} finds {self.matched} of {self.wanted} detections again, fewer than "
            f"{MIN_MATCHED[precision]:.0%}; measure what that costs with --check-data"
        )


class PrecisionError(QualityError):
    """A lower precision costs too much.

    Attributes:
        comparison: what it costs.
    """

    def __init__(self, message: str, comparison: Comparison) -> None:
        super().__init__(message)
        self.comparison = comparison


def prove(
    reference: ModelFile,
    lowered: ModelFile,
    photos: PhotoSet,
    max_drop: float,
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Run both models over the photos and refuse the lowered one if it costs too much.

    Args:
        reference: the float32 model file.
        lowered: the model file of lower precision; `spec.precision` says which.
        photos: at least one.
        max_drop: most AP, in points, that it may cost; looked at where the photos are labelled.
        advance: called after each photo of each model.

    Raises:
        PrecisionError: it loses too much, or nothing was found to compare.
    """
    before = _predictions(reference, photos, advance)
    after = _predictions(lowered, photos, advance)
    comparison = compare(before, after, photos)
    failure = comparison.failure(lowered.spec.precision, max_drop)
    if failure:
        raise PrecisionError(f"{lowered.path} was not written: {failure}", comparison)
    return comparison


def compare(before: Predictions, after: Predictions, photos: PhotoSet) -> Comparison:
    """Pair off the predictions of the reference and of the lowered model, and measure both where there are labels."""
    wanted = before.select(before.scores > MIN_SCORE)
    differences = [
        difference
        for image in photos.data.images
        for difference in _pairs(wanted.select(wanted.image_ids == image.id), after.select(after.image_ids == image.id))
    ]
    ap = {}
    if photos.labelled:
        old, new = _average_precision(photos.data, before), _average_precision(photos.data, after)
        ap = {iou_type: (old[iou_type], new[iou_type]) for iou_type in old}
    return Comparison(
        len(photos.files),
        len(wanted),
        len(differences),
        max(differences, default=0.0),
        float(np.mean(differences)) if differences else 0.0,
        ap,
    )


def _predictions(model: ModelFile, photos: PhotoSet, advance: Callable[[], None]) -> Predictions:
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend
    from fashionseg.evaluation.runtime import run_model

    with OnnxRuntimeBackend.on_cpu(model) as backend:
        return run_model(backend, photos.data, list(photos.files), str(model.path), advance).predictions


def _pairs(wanted: Predictions, found: Predictions) -> list[float]:
    """Score differences of the detections of one photo that were found again, best score first, each partner once."""
    if not len(wanted) or not len(found) or wanted.rles is None or found.rles is None:
        return []
    overlaps = _mask_iou(wanted.rles, found.rles)
    overlaps[wanted.category_ids[:, None] != found.category_ids[None, :]] = 0
    differences = []
    for row in np.argsort(-wanted.scores, kind="stable"):
        column = int(overlaps[row].argmax())
        if overlaps[row, column] >= MIN_IOU:
            differences.append(abs(float(wanted.scores[row] - found.scores[column])))
            overlaps[:, column] = 0
    return differences


def _mask_iou(first: Sequence[Rle], second: Sequence[Rle]) -> NDArray[np.float64]:
    """IoU float64 [n, m] of run-length encoded masks."""
    return np.array(hotcoco.mask.iou(list(first), list(second), [False] * len(second)), np.float64)


def _average_precision(data: CocoData, predictions: Predictions) -> dict[str, float]:
    problem = CocoProblem(data, predictions)
    found = {kind: coco_scores(problem.evaluation(kind), kind).overall["AP"] for kind in problem.iou_types}
    return {kind: value for kind, value in found.items() if value is not None}
