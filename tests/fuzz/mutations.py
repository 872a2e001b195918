"""Damages inputs: bytes of any kind, JSON documents, TOML texts. The same random numbers give the same damage.

Blind changes rarely get past a checksum or a parser; those of JSON and TOML keep the form and change what it says.
Knows nothing about readers.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random

NUMBERS = (0, 1, 2, 7, 8, 15, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 1000, 4096, 32_767, 32_768, 65_535, 65_536,
           2**24 - 1, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 2**64 - 1)  # fmt: skip

HUGE, DEEP, DEEP_TABLE = "@huge@", "@deep@", "@deep table@"
"""Stand in a document for what Python's own writer refuses; replaced in the text."""
_TEXTS = {HUGE: "9" * 5000, DEEP: "[" * 2000 + "]" * 2000, DEEP_TABLE: '{"a":' * 2000 + "1" + "}" * 2000}

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 13, 14, 10**6, 2**31, 2**53 + 1, 2**63, 2**64, -(2**63) - 1, 10**400,
    0.0, -0.0, 0.5, 1e-320, 1e308, -1e308, float("nan"), float("inf"), -float("inf"),
    "", "a", "0", "-1", "1/0", "1/3", "nan", "\0", "\n", "\ud800", "\u202e", "../../x", "/etc/passwd", "x" * 300,
    "衣服🧥", "P0", "01", [], {}, [[]], [{}], [None], {"": None},
    [0, 0], [1, 2, 3, 4], [0] * 7, [1e300] * 6, ["a"], [[1, 2], [3, 4]], [[0, 0, 9, 0, 9, 9]],
    {"size": [8, 8], "counts": "0"}, {"size": [8, 8], "counts": [64]}, {"size": [-1, 2**40], "counts": [0]},
    HUGE, DEEP, DEEP_TABLE,
)  # fmt: skip


def damaged_bytes(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """`data` with one to four changes; `others` are spliced in."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        rng.choice(_BYTE_CHANGES)(result, others, rng)
    return bytes(result)


def blind(seeds: list[bytes], rng: random.Random) -> bytes:
    """One of the seeds, damaged without a look at what it is."""
    return damaged_bytes(rng.choice(seeds), seeds, rng)


def _flip(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _set_byte(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _set_number(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    width = rng.choice((2, 3, 4, 8))
    if len(data) >= width:
        at = rng.randrange(len(data) - width + 1)
        number = rng.choice(NUMBERS) % 256**width
        data[at : at + width] = number.to_bytes(width, rng.choice(("big", "little")))


def _remove(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice((1, 2, 4, 16, 200))]


def _repeat(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 4, 8, 64))
    data[at:at] = data[at : at + length] * rng.choice((1, 2, 30))


def _insert(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 4, 16)))


def _cut(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _splice(data: bytearray, others: list[bytes], rng: random.Random) -> None:
    other = rng.choice(others)
    at, length = rng.randrange(len(other) + 1), rng.choice((4, 16, 100, 10_000))
    to = rng.randrange(len(data) + 1)
    data[to : to + length] = other[at : at + length]


_BYTE_CHANGES = (_flip, _flip, _set_byte, _set_byte, _set_number, _set_number, _remove, _repeat, _insert, _cut, _splice)


def damaged_json(document: Any, rng: random.Random) -> Any:
    """A copy of a JSON document with one to three changed, removed, repeated or moved values."""
    result = [copy.deepcopy(document)]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(result))
        holder, key = rng.choice(places)
        change = rng.randrange(10)
        if change < 6:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
        elif change == 6 and len(places) > 1:
            del holder[key]
        elif change == 7:
            other_holder, other_key = rng.choice(places)
            holder[key] = copy.deepcopy(other_holder[other_key])
        elif change == 8 and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif isinstance(holder[key], int | float) and not isinstance(holder[key], bool):
            holder[key] = rng.choice((-holder[key], holder[key] + 1, holder[key] * 1000, str(holder[key])))
        if not result:
            return None
    return result[0]


def _places(value: Any) -> Any:
    """Every (container, key) of a document."""
    items = enumerate(value) if isinstance(value, list) else value.items()
    for key, inner in items:
        yield value, key
        if isinstance(inner, list | dict):
            yield from _places(inner)


def json_text(document: Any) -> bytes:
    """The document as JSON, with what no writer would write."""
    text = json.dumps(document, ensure_ascii=True)
    for mark, replacement in _TEXTS.items():
        text = text.replace(json.dumps(mark), replacement)
    return text.encode()


TOML_VALUES = (
    "0", "-1", "1.5", "nan", "inf", "-inf", "1e400", "true", '""', '"x"', "''", "[]", "{}", "[1, 2]", "[1, [2]]",
    "{a = 1}",
    "0x" + "f" * 4000, "9" * 5000, "1" + "_1" * 100, "[" * 2000 + "]" * 2000, "{a=" * 500 + "1" + "}" * 500,
    "1979-05-27T07:32:00Z", "2026-02-30", "25:00:00", '"\\ud800"', '"\\U0010ffff"', '"\\x"', '"' + "x" * 5000 + '"',
    "[0.5, 2.0]", "[64, 64]", '["a", 1]', "512", '"0.4"', "16777216", '"0:0:1"', '"1/0"', "[[1]]", "=", "",
)  # fmt: skip


def damaged_toml(text: str, keys: tuple[str, ...], rng: random.Random) -> str:
    """A TOML text with lines changed, removed, repeated or moved, and values replaced; `keys` may be added."""
    lines = text.splitlines()
    for _ in range(rng.choice((1, 1, 2, 3))):
        at = rng.randrange(len(lines)) if lines else 0
        change = rng.randrange(8)
        if change < 3 and lines:
            key = lines[at].partition("=")[0].strip() or "a"
            lines[at] = f"{key} = {rng.choice(TOML_VALUES)}"
        elif change == 3:
            lines.insert(at, f"{rng.choice(keys)} = {rng.choice(TOML_VALUES)}")
        elif change == 4 and lines:
            del lines[at]
        elif change == 5 and lines:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif change == 6:
            lines.insert(at, f"[{rng.choice((*keys, 'a.b', '', '[x]', 'detectron2.MODEL'))}]")
        elif lines:
            data = damaged_bytes(lines[at].encode(), [b"[[a]]", b'"""', b"'''", b"\\u"], rng)
            lines[at] = data.decode("latin-1")
    return "\n".join(lines) + "\n"
