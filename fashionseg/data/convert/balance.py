"""Thinning out common classes by leaving out whole photos. Knows category ids alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def balanced(photos: Sequence[Sequence[int]], ratio: float, seed: int) -> set[int]:
    """Positions of the photos to keep, so that no class has more than `ratio` times the instances of the rarest.

    Photos are visited in a random order; one is left out where every class it shows is still above the limit
    without it, so the rarest class loses nothing. A class that mostly shares photos with rare ones can stay above.

    Args:
        photos: category ids of the instances of each photo.
        ratio: at least 1.
        seed: of the order.
    """
    counts = Counter(category for photo in photos for category in photo)
    kept = set(range(len(photos)))
    if not counts:
        return kept
    limit = ratio * min(counts.values())
    for position in np.random.default_rng(seed).permutation(len(photos)).tolist():
        shown = Counter(photos[position])
        if shown and all(counts[category] - number >= limit for category, number in shown.items()):
            counts.subtract(shown)
            kept.discard(position)
    return kept
