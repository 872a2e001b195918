"""Numbers and names as people read them, on a screen and in the report.

Knows formats. Knows nothing about where the text goes; escaping for HTML or a terminal's markup is left to those.
"""

from __future__ import annotations

UNKNOWN = "–"
IOU_NAMES = {"bbox": "box", "segm": "mask"}


def points(value: float | None, digits: int = 1) -> str:
    """A number 0..1 in points (0..100)."""
    return UNKNOWN if value is None else f"{100 * value:.{digits}f}"


def signed_points(value: float, digits: int = 1) -> str:
    """A difference of numbers 0..1 in points, with its sign."""
    rounded = round(100 * value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"


def score(value: float | None) -> str:
    """A confidence 0..1."""
    return UNKNOWN if value is None else f"{value:.2f}"


def milliseconds(value: float) -> str:
    """A time in milliseconds, three digits or so."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def printable(text: str) -> str:
    """A stranger's text without control characters and what no encoding can write."""
    return "".join(c if c.isprintable() else "?" for c in text)


def shown_name(name: str) -> str:
    """A class name for people."""
    return printable(name.replace("_", " "))
