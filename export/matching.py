"""Do two sets of detections of a picture say the same? Pairs them off and measures how far they differ.

Knows `Detections` and tolerances. Knows nothing about models, so it serves for ONNX against Detectron2 as for half
precision against full.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fashionseg.detections import Detections


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far two detections may differ and still be the same.

    Attributes:
        box: pixels of the resized picture, per coordinate.
        score: absolute.
        mask: probability, per cell.
        matched: least share of the detections that must have a partner.
    """

    box: float = 0.1
    score: float = 1e-3
    mask: float = 1e-2
    matched: float = 0.999


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two sides agree over some pictures.

    Attributes:
        wanted: detections of the reference that a tolerance decides about.
        found: those of the other side.
        matched: pairs of the same label within the tolerance of box and score.
        mislabelled: detections of the reference whose partner in box and score has another label.
        box: largest difference of a coordinate among pairs, in pixels of the resized picture.
        score: largest difference of a score among pairs.
        mask: largest difference of a mask cell among pairs.
    """

    wanted: int = 0
    found: int = 0
    matched: int = 0
    mislabelled: int = 0
    box: float = 0.0
    score: float = 0.0
    mask: float = 0.0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(
            self.wanted + other.wanted,
            self.found + other.found,
            self.matched + other.matched,
            self.mislabelled + other.mislabelled,
            max(self.box, other.box),
            max(self.score, other.score),
            max(self.mask, other.mask),
        )

    def within(self, tolerance: Tolerance) -> bool:
        """Whether the two sides say the same."""
        missing = max(self.wanted, self.found) - self.matched
        return missing <= self.allowed(tolerance) and self.mask <= tolerance.mask

    def allowed(self, tolerance: Tolerance) -> int:
        """Detections that may lack a partner: one where there are a hundred, as a single rounding decides it."""
        most = max(self.wanted, self.found)
        return max(int((1 - tolerance.matched) * most), 1 if most >= 100 else 0)


def agreement(
    reference: Iterable[Detections],
    other: Iterable[Detections],
    tolerance: Tolerance,
    *,
    score_threshold: float,
    max_detections: int,
) -> Agreement:
    """Pair off the detections of pictures, taken in the same order from both sides.

    A detection whose score lies within the tolerance of the cut (the score threshold, or the last score where a side is
    full) is paired where it can be, but not missed: rounding decides whether it is there.
    """
    total = Agreement()
    for wanted, found in zip(reference, other, strict=True):
        cut = max(_cut(side, score_threshold, max_detections) for side in (wanted, found)) + tolerance.score
        total += _pair(wanted, found, cut, tolerance)
    return total


def _cut(side: Detections, score_threshold: float, max_detections: int) -> float:
    return float(side.scores[-1]) if len(side) >= max_detections else score_threshold


def _pair(wanted: Detections, found: Detections, cut: float, tolerance: Tolerance) -> Agreement:
    free = np.ones(len(found), bool)
    excused_wanted, excused_found = wanted.scores < cut, found.scores < cut
    matched = mislabelled = 0
    worst = np.zeros(3)
    for i in range(len(wanted)):
        box = np.abs(found.boxes - wanted.boxes[i]).max(1, initial=0.0)
        near = free & (box <= tolerance.box) & (np.abs(found.scores - wanted.scores[i]) <= tolerance.score)
        same = near & (found.labels == wanted.labels[i])
        if not same.any():
            mislabelled += bool(near.any())
            continue
        j = int(np.flatnonzero(same)[np.argmin(box[same])])
        free[j] = False
        matched += 1
        excused_wanted[i] = excused_found[j] = False  # it has a partner: it counts
        score, mask = abs(found.scores[j] - wanted.scores[i]), np.abs(found.masks[j] - wanted.masks[i]).max()
        worst = np.maximum(worst, (box[j], score, mask))
    return Agreement(
        int((~excused_wanted).sum()), int((~excused_found).sum()), matched, mislabelled, *(float(x) for x in worst)
    )
