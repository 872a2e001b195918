"""JSON of whole data sets and annotation files, read and written several times as fast as by Python's own module.

orjson does the work. Where it is stricter than Python (a byte order mark, NaN, the lone surrogates of odd file names)
Python's module has the word, so that nothing is refused for the sake of speed and messages stay the same.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def parse_json(data: bytes) -> Any:
    """The value of a JSON text; whole numbers of more than 64 bits become floats.

    Raises:
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return json.loads(data)


def json_bytes(value: Any) -> bytes:
    """A value as compact JSON in ASCII: many programs open such files in the encoding of their system.

    Args:
        value: of dicts with text keys, lists, texts, finite numbers, truth values and None.

    Raises:
        TypeError: it holds something else.
    """
    try:
        data = orjson.dumps(value)
    except TypeError:  # lone surrogates, or what is no JSON value
        data = None
    return data if data is not None and data.isascii() else json.dumps(value, separators=(",", ":")).encode()
