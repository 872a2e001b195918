"""`--require "fps>=20"`: bounds that every row of a measurement has to keep. Knows the names of the metrics."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from fashionseg.benchmarks.bench.result import UNITS
from fashionseg.errors import QualityError
from fashionseg.evaluation.gate import Requirement, parse_bound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.benchmarks.bench.result import BenchResult


def parse(text: str) -> Requirement:
    """A bound from text such as "fps>=20".

    Raises:
        ValueError: it is none, or names no metric.
    """
    bound = parse_bound(text, example="fps>=20")
    if bound.name not in UNITS:
        near = difflib.get_close_matches(bound.name, list(UNITS), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(UNITS)}"
        raise ValueError(f"{text!r}: there is no metric {bound.name!r}; {hint}")
    return bound


def check(bounds: Sequence[Requirement], result: BenchResult) -> None:
    """Check every row against every bound.

    Raises:
        QualityError: a row breaks a bound, or the metric was not measured; all of them are named.
    """
    broken = []
    for bound in bounds:
        for row in result.rows:
            value = row.flat()[bound.name]
            if value is None:
                broken.append(f"{bound.name} of {row.label()} was not measured")
            elif not bound.holds(value):
                broken.append(f"{bound.name} of {row.label()} is {value:.4g}, required {bound.sign} {bound.bound:g}")
    if broken:
        raise QualityError("; ".join(broken))
