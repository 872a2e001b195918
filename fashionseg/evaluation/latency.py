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
    from collections.abc import Iterator

WARM_UP = 2
"""Photos that are not counted where there are more: the first runs choose algorithms and fill caches."""


@dataclass(frozen=True, slots=True)
class StageLatency:
    """Time per photo of one stage in milliseconds: median and 95th percentile."""

    stage: str
    median_ms: float
    p95_ms: float


class Stopwatch:
    """Collects seconds per stage, in the order stages are first seen. For one thread."""

    def __init__(self) -> None:
        self._seconds: dict[str, list[float]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside the block; a block that raises is not counted."""
        start = time.perf_counter()
        yield
        self._seconds.setdefault(name, []).append(time.perf_counter() - start)

    def latencies(self) -> tuple[StageLatency, ...]:
        """Each stage, then all of them together; nothing where no photo was timed."""
        columns = {name: np.array(_warm(values)) * 1e3 for name, values in self._seconds.items()}
        if columns:
            columns["total"] = np.sum(list(columns.values()), axis=0)
        return tuple(
            StageLatency(name, float(np.median(values)), float(np.percentile(values, 95)))
            for name, values in columns.items()
        )


def _warm(values: list[float]) -> list[float]:
    return values[WARM_UP:] if len(values) > WARM_UP else values
