"""Two measurements side by side: what changed from one bench.json to another, and whether by more than their spread.

Knows rows and metrics. Knows nothing about how they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.benchmarks.bench.result import LARGER_IS_BETTER, UNITS
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from fashionseg.benchmarks.bench.result import BenchResult, Row

EXACT = frozenset({"file-size", "AP"})
"""Metrics without noise."""

NOISE_OF_ONE_ROUND = 0.05
"""Least spread of a time that was measured in one round: that a machine repeats it to the digit is not known."""

NOISE_OF_MEMORY = 0.02
"""By which the peak memory of the same process differs from run to run."""


@dataclass(frozen=True, slots=True)
class Change:
    """A metric of a row, before and after.

    Attributes:
        row: in words.
        metric: its name, see `UNITS`.
        old: before.
        new: after.
        spread: of the rounds of either, the larger, over the median.
    """

    row: str
    metric: str
    old: float
    new: float
    spread: float

    @property
    def ratio(self) -> float:
        """New over old."""
        return self.new / self.old if self.old else float("inf") if self.new else 1.0

    @property
    def verdict(self) -> str:
        """ "better", "worse", or "" where the change is within the spread."""
        if abs(self.ratio - 1) <= self.spread:
            return ""
        return "better" if (self.new > self.old) == (self.metric in LARGER_IS_BETTER) else "worse"

    def to_json(self) -> dict[str, Any]:
        """As JSON holds it."""
        values = {"row": self.row, "metric": self.metric, "old": self.old, "new": self.new}
        return {**values, "spread": self.spread, "verdict": self.verdict}


def compare(old: BenchResult, new: BenchResult) -> list[Change]:
    """Every metric that both measurements have, row by row.

    Rows belong together where model, precision, device and batch are the same; where no two are, in their order, as
    long as there are as many.

    Raises:
        DataError: the measurements have no rows in common.
    """
    least = NOISE_OF_ONE_ROUND if 1 in (old.repeat, new.repeat) else 0.0
    return [change for one, other in _pairs(old, new) for change in _changes(one, other, least)]


def _pairs(old: BenchResult, new: BenchResult) -> list[tuple[Row, Row]]:
    known = {_key(row): row for row in old.rows}
    pairs = [(known[_key(row)], row) for row in new.rows if _key(row) in known]
    if not pairs and len(old.rows) == len(new.rows):
        pairs = list(zip(old.rows, new.rows, strict=True))
    if not pairs:
        raise DataError("the two measurements have no row in common: measure the same devices and batches")
    return pairs


def _key(row: Row) -> tuple[str, str, str, int]:
    return row.model, row.precision, row.device, row.batch


def _changes(old: Row, new: Row, least: float) -> list[Change]:
    """`least`: spread of a time."""
    before, after = old.flat(), new.flat()
    changes = []
    for metric in UNITS:
        one, other = before[metric], after[metric]
        if one is not None and other is not None:
            spread = max(_spread(row, metric, least) for row in (old, new))
            changes.append(Change(new.label(), metric, one, other, spread))
    return changes


def _spread(row: Row, metric: str, least: float) -> float:
    if metric in EXACT:
        return 0.0
    spread = _measured_spread(row, metric)
    return NOISE_OF_MEMORY if spread is None else max(spread, least)


def _measured_spread(row: Row, metric: str) -> float | None:
    """Of the rounds; None for memory, of which the most is kept."""
    if metric == "fps" and row.end_to_end:
        return row.end_to_end.fps.spread
    if metric == "startup":
        return row.startup_s.spread
    if metric in ("photos/s", "times-floor"):
        return row.pictures_per_s.spread
    if metric.startswith("latency/"):
        return row.latency_spread[metric.removeprefix("latency/")]
    return None
