"""TOML texts of strangers: parsed, or refused with one kind of error.

Knows what Python's parser does not refuse in one way: nesting without end, numbers of thousands of digits.
"""

from __future__ import annotations

import tomllib
from typing import Any


def parse_toml(text: str) -> dict[str, Any]:
    """The table of a TOML text.

    Raises:
        ValueError: it is not TOML, is nested too deeply, or holds a whole number of more than 64 bits.
    """
    try:
        table = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    left: list[Any] = [table]
    while left:
        value = left.pop()
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list):
            left.extend(value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("it holds a whole number of more than 64 bits")
    return table
