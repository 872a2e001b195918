"""How far to trust an AP and a difference of two: the bootstrap over photos.

Photos are drawn with replacement, AP is computed again, and the middle 95% of what comes out is the interval. For
two sets of predictions the same photos are drawn for both (paired), which takes out that some photos are harder than
others. Knows nothing about models or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import hotcoco
import numpy as np

if TYPE_CHECKING:
    from fashionseg.evaluation.coco_metrics import CocoProblem
    from fashionseg.evaluation.predictions import Predictions

CONFIDENCE = 0.95
MOST_ROUNDS = 1000
LEAST_ROUNDS = 100
ROUNDS_TIMES_PHOTOS = 500_000
"""So that it takes seconds at most: 1,000 rounds up to 500 photos, 100 from 5,000 on, where intervals are narrow."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the middle 95% of its bootstrap, all 0..1 (a difference: -1..1)."""

    value: float
    low: float
    high: float


def intervals(problem: CocoProblem, iou_type: str, seed: int = 0) -> dict[str, Interval]:
    """COCO's numbers with their intervals, those that could be measured; empty where there is nothing to draw from."""
    nothing = problem.predictions.select(np.zeros(len(problem.predictions), np.bool_))
    return _differences(problem, iou_type, nothing, problem.predictions, seed)  # AP of nothing is 0 in every round


def paired_difference(problem: CocoProblem, iou_type: str, old: Predictions, seed: int = 0) -> dict[str, Interval]:
    """How much higher COCO's numbers of the problem's predictions are than those of `old`, on the same photos."""
    return _differences(problem, iou_type, old, problem.predictions, seed)


def _differences(
    problem: CocoProblem, iou_type: str, old: Predictions, new: Predictions, seed: int
) -> dict[str, Interval]:
    photos = len(problem.data.images)
    if photos < 2 or not any(not instance.is_crowd for instance in problem.data.instances):
        return {}
    rounds = min(MOST_ROUNDS, max(LEAST_ROUNDS, ROUNDS_TIMES_PHOTOS // photos))
    before, after = (problem.evaluation(iou_type, one) for one in (old, new))
    answer = hotcoco.compare(before, after, n_bootstrap=rounds, seed=seed, confidence=CONFIDENCE)
    return {
        name: Interval(answer["deltas"][name], answer["ci"][name]["lower"], answer["ci"][name]["upper"])
        for name in answer["metric_keys"]
        if answer["metrics_b"][name] >= 0  # -1: no garment of that size
    }
