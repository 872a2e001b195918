"""Which prediction finds which garment at IoU 0.5, and the curves over the score that follow.

Knows COCO's greedy matching (best score first, each garment once, within a class and photo) as hotcoco does it, and
precision, recall and F1 as functions of the score that predictions are kept from. Knows nothing about kinds of errors
or plots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.evaluation.coco_metrics import CocoProblem

MATCH_IOU = 0.5
GRID = np.arange(201) / 200
"""Scores at which curves are drawn: float64 [201], 0, 0.005 .. 1."""


@dataclass(frozen=True, slots=True)
class Matches:
    """What became of every prediction and every garment at IoU 0.5.

    Attributes:
        labels: intp [n], class index of each prediction.
        scores: float64 [n], 0..1.
        found: intp [n], position in the data set of the instance each prediction found; -1 for none.
        ignored: bool [n], predictions that count neither for nor against: they fell into a crowd, or are beyond the
            100 best of their class and photo.
        garments: int64 [K], number of garments of each class, crowds not counted.
    """

    labels: NDArray[np.intp]
    scores: NDArray[np.float64]
    found: NDArray[np.intp]
    ignored: NDArray[np.bool_]
    garments: NDArray[np.int64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """bool [n], predictions that found a garment of their class."""
        return (self.found >= 0) & ~self.ignored


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Precision, recall and F1 of a class where predictions of at least `score` are kept; None without any garment."""

    score: float | None
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class Curves:
    """Precision, recall and F1 of each class over `GRID`.

    Attributes:
        precision: float64 [K, 201], 0..1, 1 where nothing is kept; NaN for a class without garments.
        recall: float64 [K, 201], 0..1; NaN likewise.
        f1: float64 [K, 201], 0..1; NaN likewise.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def match(problem: CocoProblem, iou_type: str) -> Matches:
    """Match predictions with garments at IoU 0.5."""
    predictions, data = problem.predictions, problem.data
    number = len(predictions)
    found, ignored = np.full(number, -1, np.intp), np.ones(number, np.bool_)
    for cell in problem.at_one_iou(iou_type, MATCH_IOU).eval_imgs:
        if cell is not None:
            index = np.asarray(cell["dtIds"], np.intp) - 1  # ids on both sides count from 1 in their order
            found[index] = np.where(cell["dtMatched"][0], np.asarray(cell["dtMatches"][0], np.intp) - 1, -1)
            ignored[index] = cell["dtIgnore"][0]
    labels = np.array([data.label_of[i] for i in predictions.category_ids.tolist()], np.intp)
    garments = np.zeros(len(data.categories), np.int64)
    for instance in data.instances:
        garments[data.label_of[instance.category_id]] += not instance.is_crowd
    return Matches(labels, predictions.scores, found, ignored, garments)


def best_point(matches: Matches, label: int) -> OperatingPoint:
    """Where F1 of a class is best; the higher score where two are equally good, none where nothing is found."""
    garments = int(matches.garments[label])
    if not garments:
        return OperatingPoint(None, None, None, None)
    scores, correct = _ranked(matches, label)
    if not len(scores):
        return OperatingPoint(None, None, 0.0, 0.0)
    last = np.append(scores[1:] != scores[:-1], True)  # equal scores are kept or dropped together
    hits = np.cumsum(correct)[last]
    kept = np.arange(1, len(scores) + 1)[last]
    f1 = 2 * hits / (kept + garments)
    best = int(f1.argmax())
    if not hits[best]:
        return OperatingPoint(None, None, 0.0, 0.0)  # nothing is found at any threshold
    return OperatingPoint(
        float(scores[last][best]), float(hits[best] / kept[best]), float(hits[best] / garments), float(f1[best])
    )


def curves(matches: Matches) -> Curves:
    """Precision, recall and F1 of every class over `GRID`."""
    shape = (len(matches.garments), len(GRID))
    precision, recall, f1 = (np.full(shape, np.nan) for _ in range(3))
    for label, garments in enumerate(matches.garments.tolist()):
        if not garments:
            continue
        scores, correct = _ranked(matches, label)
        kept = np.searchsorted(-scores, -GRID, side="right")
        hits = np.concatenate([[0], np.cumsum(correct)])[kept]
        precision[label] = np.where(kept > 0, hits / np.maximum(kept, 1), 1.0)
        recall[label] = hits / garments
        f1[label] = 2 * hits / (kept + garments)
    return Curves(precision, recall, f1)


def best_common_score(found: Curves) -> float:
    """The score of `GRID` at which the mean F1 of all classes is best: what to give `segment --conf`."""
    measured = found.f1[~np.isnan(found.f1).any(axis=1)]
    if not len(measured):
        return 0.5
    mean = measured.mean(axis=0)
    best = np.flatnonzero(mean >= mean.max() - 1e-12)
    return float(GRID[best[len(best) // 2]])  # the middle of a plateau


def _ranked(matches: Matches, label: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of a class, descending, and whether each prediction is correct; ignored ones left out."""
    keep = (matches.labels == label) & ~matches.ignored
    order = np.argsort(-matches.scores[keep], kind="stable")
    return matches.scores[keep][order], matches.correct[keep][order]
