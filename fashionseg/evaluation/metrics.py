"""Everything that is measured on one set of predictions, in one object, and as JSON.

`measure` is the one code path of metrics: whatever the predictions come from, the numbers are made here. Numbers are
COCO's, 0..1, in the object, in `metrics.json` and in `--require`; only tables and plots for people show
points (0..100). Knows nothing about models, pages or plots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.evaluation.bootstrap import Interval, intervals
from fashionseg.evaluation.coco_metrics import CocoProblem, CocoScores, coco_scores
from fashionseg.evaluation.matching import (
    GRID,
    MATCH_IOU,
    Curves,
    OperatingPoint,
    best_common_score,
    best_point,
    curves,
    match,
)
from fashionseg.evaluation.outcomes import BACKGROUND_IOU, ERROR_KINDS, Kind, PhotoOutcome, count_kinds, outcomes
from fashionseg.evaluation.slices import Slice, slices

if TYPE_CHECKING:
    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.latency import StageLatency
    from fashionseg.evaluation.predictions import Predictions

METRICS_FORMAT = 1

_TIDE_NAMES = {
    Kind.CLASS: "Cls",
    Kind.PLACE: "Loc",
    Kind.BOTH: "Both",
    Kind.DUPLICATE: "Dupe",
    Kind.BACKGROUND: "Bkg",
    Kind.MISSED: "Miss",
}


@dataclass(frozen=True, slots=True)
class ErrorCost:
    """What one kind of error costs.

    Attributes:
        kind: of error.
        ap50: by how much AP50 would rise if it were mended and nothing else, 0..1 (TIDE's dAP).
        count: how many there are among predictions of at least `Metrics.conf`.
    """

    kind: Kind
    ap50: float
    count: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """All that was measured; numbers 0..1, None where nothing could be measured.

    Attributes:
        class_names: in order of category ids, as all per-class values.
        photos: in the data set.
        garments: of each class, crowds not counted.
        predictions: of each class.
        scores: COCO's numbers by IoU type: "bbox", and "segm" where there are masks.
        intervals: by IoU type, COCO's numbers with their 95% bootstrap intervals over photos.
        iou_type: what the following were measured with: "segm" where there are masks, else "bbox"; at IoU 0.5.
        points: best F1 of each class.
        curves: precision, recall and F1 over the score.
        conf: score with the best mean F1; confusion matrix, counts of errors and outcomes hold for it.
        confusion: int64 [K + 1, K + 1], annotated class in rows, predicted in columns, background last.
        errors: what each kind of error costs.
        slices: AP by size and attribute.
        latencies: per stage; empty where no model ran.
    """

    class_names: tuple[str, ...]
    photos: int
    garments: tuple[int, ...]
    predictions: tuple[int, ...]
    scores: dict[str, CocoScores]
    intervals: dict[str, dict[str, Interval]]
    iou_type: str
    points: tuple[OperatingPoint, ...]
    curves: Curves
    conf: float
    confusion: np.ndarray[tuple[int, ...], np.dtype[np.int64]]
    errors: tuple[ErrorCost, ...]
    slices: tuple[Slice, ...]
    latencies: tuple[StageLatency, ...]

    def flat(self) -> dict[str, float | None]:
        """Every number by its name: what `--require` and `--compare` look at, such as "segm/AP50/trousers"."""
        numbers: dict[str, float | None] = {}
        for iou_type, scores in self.scores.items():
            numbers |= {f"{iou_type}/{key}": value for key, value in scores.overall.items()}
            for name, values in zip(self.class_names, scores.per_class, strict=True):
                numbers |= {f"{iou_type}/{key}/{name}": value for key, value in values.items()}
        measured = [point.f1 for point in self.points if point.f1 is not None]
        numbers[f"{self.iou_type}/F1"] = sum(measured) / len(measured) if measured else None
        for name, point in zip(self.class_names, self.points, strict=True):
            found = {"F1": point.f1, "precision": point.precision, "recall": point.recall, "threshold": point.score}
            numbers |= {f"{self.iou_type}/{key}/{name}": value for key, value in found.items()}
        for one in self.slices:
            if one.attribute != "size":
                numbers |= {f"{key}/AP/{one.attribute}={one.value}": value for key, value in one.ap.items()}
        numbers |= {f"errors/{cost.kind.value}": cost.ap50 for cost in self.errors}
        numbers |= {f"latency/{one.stage}_ms": one.median_ms for one in self.latencies}
        return numbers

    def to_json(self) -> dict[str, Any]:
        """The document of `metrics.json`, without what is known about model and data set."""
        return {
            "format": METRICS_FORMAT,
            "photos": self.photos,
            "garments": dict(zip(self.class_names, self.garments, strict=True)),
            "predictions": dict(zip(self.class_names, self.predictions, strict=True)),
            "metrics": self.flat(),
            "intervals_95": {
                f"{iou_type}/{name}": [one.low, one.high]
                for iou_type, found in self.intervals.items()
                for name, one in found.items()
            },
            "conf": self.conf,
            "confusion": {"classes": [*self.class_names, "background"], "matrix": self.confusion.tolist()},
            "errors": [
                {"kind": cost.kind.value, "ap50_cost": cost.ap50, "count_at_conf": cost.count} for cost in self.errors
            ],
            "slices": [
                {
                    "attribute": one.attribute,
                    "value": one.value,
                    "garments": one.garments,
                    "photos": one.photos,
                    "AP": one.ap,
                    "AP50": one.ap50,
                }
                for one in self.slices
            ],
            "curves": {
                "iou": MATCH_IOU,
                "score": GRID.tolist(),
                "f1": {name: _listed(row) for name, row in zip(self.class_names, self.curves.f1, strict=True)},
                "recall": np.linspace(0, 1, 101).tolist(),
                "precision": {
                    name: _listed(np.where(row < 0, np.nan, row))
                    for name, row in zip(self.class_names, self.scores[self.iou_type].precision[0].T, strict=True)
                },
            },
            "latency_ms": {one.stage: {"median": one.median_ms, "p95": one.p95_ms} for one in self.latencies},
        }


def measure(
    data: CocoData,
    predictions: Predictions,
    latencies: tuple[StageLatency, ...] = (),
    *,
    with_intervals: bool = True,
) -> tuple[Metrics, list[PhotoOutcome]]:
    """Measure predictions against a data set: all numbers, and what became of each photo.

    Args:
        data: with at least one garment.
        predictions: in its photos.
        latencies: of the model's stages, handed through.
        with_intervals: False leaves out the bootstrap, which takes most of the time.
    """
    problem = CocoProblem(data, predictions)
    evaluations = {iou_type: problem.evaluation(iou_type) for iou_type in problem.iou_types}
    scores = {iou_type: coco_scores(one, iou_type) for iou_type, one in evaluations.items()}
    iou_type = problem.iou_types[-1]
    matches = match(problem, iou_type)
    found = curves(matches)
    conf = best_common_score(found)
    photos = outcomes(data, predictions, matches, iou_type, conf)
    metrics = Metrics(
        class_names=data.class_names,
        photos=len(data.images),
        garments=tuple(matches.garments.tolist()),
        predictions=tuple(np.bincount(matches.labels, minlength=len(data.categories)).tolist()),
        scores=scores,
        intervals={key: intervals(problem, key) if with_intervals else {} for key in problem.iou_types},
        iou_type=iou_type,
        points=tuple(best_point(matches, label) for label in range(len(data.categories))),
        curves=found,
        conf=conf,
        confusion=_confusion(evaluations[iou_type], conf),
        errors=_error_costs(evaluations[iou_type], photos),
        slices=tuple(slices(problem, scores)),
        latencies=latencies,
    )
    return metrics, photos


def _confusion(evaluation: Any, conf: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    matrix = evaluation.confusion_matrix(iou_thr=MATCH_IOU, min_score=conf)["matrix"]
    return np.asarray(matrix).astype(np.int64)


def _error_costs(evaluation: Any, photos: list[PhotoOutcome]) -> tuple[ErrorCost, ...]:
    costs = evaluation.tide_errors(pos_thr=MATCH_IOU, bg_thr=BACKGROUND_IOU)["delta_ap"]
    counts = count_kinds(photos)
    return tuple(ErrorCost(kind, float(costs[_TIDE_NAMES[kind]]), counts[kind]) for kind in ERROR_KINDS)


def _listed(row: np.ndarray[Any, np.dtype[np.float64]]) -> list[float | None]:
    """JSON knows no NaN."""
    return [None if np.isnan(value) else round(float(value), 6) for value in row]
