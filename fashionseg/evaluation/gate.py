"""`--require "segm/AP>=0.30"`: a bound that a metric has to keep, so that a pipeline stops where a model got worse.

Knows names, comparisons and bounds. Knows nothing about how a metric is made. Metrics are on the scale of
`metrics.json`: accuracy 0..1, latency in milliseconds.
"""

from __future__ import annotations

import difflib
import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fashionseg.errors import DataError, QualityError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_PATTERN = re.compile(r"(?P<name>.+?)\s*(?P<sign>>=|<=|>|<)\s*(?P<bound>[-+0-9.eE]+)")
_UNBOUNDED = "latency/"


@dataclass(frozen=True, slots=True)
class Requirement:
    """A bound: the metric's name, one of >= <= > <, and a number on the metric's scale."""

    name: str
    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.bound:g}"

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps the bound."""
        return _COMPARE[self.sign](value, self.bound)


def parse_requirement(text: str) -> Requirement:
    """A requirement from text such as "segm/AP>=0.30".

    Raises:
        ValueError: it is none, or its bound is in points where the metric is 0..1.
    """
    found = parse_bound(text, example="segm/AP>=0.30")
    if not found.name.startswith(_UNBOUNDED) and not -1 <= found.bound <= 1:
        points = found.bound
        raise ValueError(
            f"{text!r}: accuracy is 0..1 here, as in metrics.json; write {points / 100:g} for {points:g} points"
        )
    return found


def parse_bound(text: str, example: str) -> Requirement:
    """A requirement of any scale from text such as `example`.

    Raises:
        ValueError: it is none.
    """
    found = _PATTERN.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is not a requirement: write a metric, >= or <=, and a number, as in {example}")
    try:
        bound = float(found["bound"])
    except ValueError:
        raise ValueError(f"{text!r}: {found['bound']!r} is not a number") from None
    return Requirement(found["name"], found["sign"], bound)


def check_names(requirements: Sequence[Requirement], known: Mapping[str, float | None]) -> None:
    """Refuse names of metrics that do not exist.

    Raises:
        DataError: with the names that look like it.
    """
    for requirement in requirements:
        if requirement.name not in known:
            near = difflib.get_close_matches(requirement.name, list(known), 3) or list(known)[:3]
            raise DataError(
                f"--require: there is no metric {requirement.name!r}; there are, among others, {', '.join(near)}"
            )


def check(requirements: Sequence[Requirement], measured: Mapping[str, float | None]) -> None:
    """Check measured values against requirements.

    Raises:
        DataError: there is no metric of such a name.
        QualityError: a bound is broken, or its metric could not be measured; all of them are named.
    """
    check_names(requirements, measured)
    broken = []
    for requirement in requirements:
        value = measured[requirement.name]
        if value is None:
            broken.append(f"{requirement.name} could not be measured on these data")
        elif not requirement.holds(value):
            broken.append(f"{requirement.name} is {value:.4g}, required {requirement.sign} {requirement.bound:g}")
    if broken:
        raise QualityError("; ".join(broken))
