"""How long each stage took for each photo.

Knows names of stages and seconds. Knows nothing about what the stages do.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

WARM_UP = 2
"""Photos that are not counted where there are more: the first runs choose algorithms and fill caches."""

StageSeconds = dict[str, float]
"""Seconds of one photo by stage, in the order the stages ran."""


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Time per photo of one stage in milliseconds: median and 95th percentile."""

    stage: str
    median_ms: float
    p95_ms: float


@contextmanager
def timed(seconds: StageSeconds, stage: str) -> Iterator[None]:
    """Add the time spent inside the block to a stage of one photo."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def latencies(photos: Sequence[StageSeconds]) -> tuple[StageLatency, ...]:
    """Each stage, then "total": all of them together; nothing where no photo was timed."""
    counted = photos[WARM_UP:] if len(photos) > WARM_UP else photos
    if not counted:
        return ()
    columns = {stage: np.array([one[stage] for one in counted]) * 1e3 for stage in counted[0]}
    columns["total"] = np.sum(list(columns.values()), axis=0)
    return tuple(
        StageLatency(stage, float(np.median(values)), float(np.percentile(values, 95)))
        for stage, values in columns.items()
    )
