"""COCO's compressed run-length encoding, straight from the runs of a pasted mask.

Knows the counts (lengths of alternating runs of 0 and 1 over the whole picture in column order) and the text they
are written as. Knows nothing about boxes, models or files. Gives the bytes of pycocotools
(https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c) without pycocotools.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.masks import PastedMask

_BITS = 5  # of a number in each character
_FIRST = 48  # character "0" stands for 0
_MAX_DIGITS = 7  # characters of a number: runs of up to 2**34 pixels


def encode_rle(pasted: PastedMask, size_hw: tuple[int, int]) -> str:
    """The `counts` of a COCO segmentation `{"size": [height, width], "counts": counts}` of a picture of `size_hw`."""
    height, width = size_hw
    starts = pasted.runs[:, 0].astype(np.int64) * height
    ends = starts + pasted.runs[:, 2]
    starts += pasted.runs[:, 1]
    apart = starts[1:] != ends[:-1]  # a run at the bottom and one at the top of the next column are one run
    count = int(apart.sum()) + 1 if len(starts) else 0
    edges = np.zeros(2 * count + 2, np.int64)
    if count:
        edges[1], edges[-2] = starts[0], ends[-1]
        edges[3:-1:2] = starts[1:][apart]
        edges[2:-2:2] = ends[:-1][apart]
    edges[-1] = height * width
    counts = np.diff(edges)
    return counts_to_text(counts[:-1] if count and not counts[-1] else counts)


def decode_rle(counts: str | bytes, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The mask of a picture of `size_hw`: uint8 [height, width], 0 or 1.

    Raises:
        DataError: the counts are damaged or belong to a picture of another size.
    """
    height, width = size_hw
    lengths = _lengths(counts, size_hw)
    values = np.zeros(len(lengths), np.uint8)
    values[1::2] = 1
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width, height).T)


def rle_area(counts: str | bytes) -> int:
    """Number of pixels of the mask.

    Raises:
        DataError: the counts are damaged.
    """
    return int(text_to_counts(counts)[1::2].sum())


def rle_runs(counts: str | bytes, size_hw: tuple[int, int]) -> NDArray[np.int32]:
    """The vertical runs of the mask: int32 [k, 3], column, first row, row after the last (see `PastedMask`).

    Raises:
        DataError: the counts are damaged or belong to a picture of another size.
    """
    height = size_hw[0]
    edges = np.cumsum(_lengths(counts, size_hw))
    edges = edges[: len(edges) // 2 * 2]
    starts, ends = edges[::2], edges[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    first = starts // height
    columns = (ends - 1) // height - first + 1  # a run over the bottom goes on at the top of the next column
    of = np.repeat(np.arange(len(starts)), columns)
    column = first[of] + np.arange(len(of)) - np.repeat(np.cumsum(columns) - columns, columns)
    top = np.maximum(starts[of] - column * height, 0)
    bottom = np.minimum(ends[of] - column * height, height)
    return np.stack([column, top, bottom], axis=1).astype(np.int32)


def counts_to_text(counts: NDArray[np.int64]) -> str:
    """Lengths of alternating runs, int64 [k], as COCO's text.

    From the fourth on, the difference to the length two before is written. A number is written in base 32, least
    digit first, each digit as one character that also says whether more follow; the last one carries the sign.
    """
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    table = np.zeros((len(rest), _MAX_DIGITS), np.uint8)  # a number a row; unused places stay 0 and are dropped
    rows: slice | NDArray[np.intp] = slice(None)
    for place in range(_MAX_DIGITS):
        digits = (rest & 31) + _FIRST
        more = np.flatnonzero((rest + 16) >> _BITS)  # what does not fit into five bits with sign
        digits[more] += 32
        table[rows, place] = digits
        if not len(more):
            break
        rest = rest[more] >> _BITS
        rows = more if isinstance(rows, slice) else rows[more]
    return table.tobytes().translate(None, b"\0").decode("ascii")


def text_to_counts(text: str | bytes) -> NDArray[np.int64]:
    """The inverse of `counts_to_text`: int64 [k].

    Raises:
        DataError: the text is damaged.
    """
    data = np.frombuffer(text.encode("latin-1", "replace") if isinstance(text, str) else text, np.uint8)
    characters = data.astype(np.int64) - _FIRST
    if not len(characters) or characters.min() < 0 or characters.max() > 63 or characters[-1] & 32:
        raise DataError("a mask's run-length encoding is damaged: it is not COCO's compressed form")
    last = np.flatnonzero(characters & 32 == 0)
    first = np.concatenate([[0], last[:-1] + 1])
    place = np.arange(len(characters)) - np.repeat(first, last - first + 1)
    if place.max() >= _MAX_DIGITS:
        raise DataError("a mask's run-length encoding is damaged: it holds a number that no picture has pixels for")
    numbers = np.add.reduceat((characters & 31) << (place * _BITS), first)
    negative = characters[last] & 16 != 0
    numbers[negative] -= np.int64(1) << ((place[last][negative] + 1) * _BITS)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    if numbers.min() < 0:
        raise DataError("a mask's run-length encoding is damaged: a run has a negative length")
    return numbers


def _lengths(counts: str | bytes, size_hw: tuple[int, int]) -> NDArray[np.int64]:
    lengths = text_to_counts(counts)
    if lengths.sum() != size_hw[0] * size_hw[1]:
        raise DataError(
            f"a mask's run-length encoding covers {lengths.sum()} pixels, but its picture has "
            f"{size_hw[0]} x {size_hw[1]}: it belongs to another picture"
        )
    return lengths
