"""Whether a video file that could be read to its end is all there.

FFmpeg reads a file that is cut off and simply stops, without an error, in some containers. What their headers promise
tells. Knows AVI, MP4 and Matroska from the outside; knows nothing about decoding.
"""

from __future__ import annotations

import os
import re
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

if TYPE_CHECKING:
    from pathlib import Path

    from av.container import InputContainer
    from av.video.stream import VideoStream

_SEGMENT = 0x18538067
"""The EBML element that holds a whole Matroska file."""


def missing_end(path: str | Path, container: InputContainer, stream: VideoStream, packets: int, end: int | None) -> str:
    """Why a file that could be read to its end is yet not whole, or "". A lost index alone is no loss.

    Args:
        path: the file.
        container: its open container.
        stream: the stream that was read.
        packets: how many packets of the stream there were.
        end: the tick at which the last of them ends, where that is known.
    """
    try:
        return _what_is_missing(path, container, stream, packets, end)
    except OSError as error:
        return f"it cannot be looked at again ({error.strerror})"


def _what_is_missing(
    path: str | Path, container: InputContainer, stream: VideoStream, packets: int, end: int | None
) -> str:
    names = container.format.name.split(",")
    promised = len(stream.index_entries) if "mov" in names else stream.frames
    if "mov" in names and packets < promised:
        return f"it promises {promised} frames"
    if "avi" in names and packets < promised and (missing := _riff_bytes_missing(path)):
        return f"the file is cut off, {missing} bytes are missing"
    if "matroska" in names and (missing := _matroska_bytes_missing(path)) and _ends_early(container, stream, end):
        return f"the file is cut off, {missing} bytes are missing"
    return ""


def _ends_early(container: InputContainer, stream: VideoStream, end: int | None) -> bool:
    """Whether a Matroska stream ends before the time its header tells."""
    promised = tagged_duration(stream.metadata.get("DURATION", ""))
    if promised is None and container.duration:
        promised = Fraction(container.duration, av.time_base)
    frame = 1 / (stream.average_rate or Fraction(25))
    return end is None or promised is None or end * cast("Fraction", stream.time_base) < promised - frame / 2


def tagged_duration(text: str) -> Fraction | None:
    """Seconds of a duration such as "00:01:02.345000000"; None where it is none."""
    match = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)\s*", text)
    return None if match is None else int(match[1]) * 3600 + int(match[2]) * 60 + Fraction(match[3])


def _matroska_bytes_missing(path: str | Path) -> int:
    """How many bytes a Matroska or WebM file is shorter than its segment says (https://www.rfc-editor.org/rfc/rfc8794)."""
    with open(path, "rb") as file:  # noqa: PTH123
        head = file.read(4096)
        size = file.seek(0, os.SEEK_END)
    position = 0
    while position < len(head):
        identity, position = _ebml_number(head, position, keep_marker=True)
        length, position = _ebml_number(head, position, keep_marker=False)
        if length is None:
            return 0  # written live: its size was never known
        if identity == _SEGMENT:
            return max(0, position + length - size)
        position += length
    return 0


def _riff_bytes_missing(path: str | Path) -> int:
    """How many bytes an AVI file is shorter than its RIFF chunks say; long files have several."""
    with open(path, "rb") as file:  # noqa: PTH123
        size = file.seek(0, os.SEEK_END)
        position = end = 0
        while position + 8 <= size:
            file.seek(position)
            head = file.read(8)
            length = int.from_bytes(head[4:], "little")
            if head[:4] != b"RIFF" or length == 0:  # zero: it was never finished, and says nothing
                break
            position = end = position + 8 + length + length % 2
    return max(0, end - size - 1)


def _ebml_number(data: bytes, position: int, *, keep_marker: bool) -> tuple[int | None, int]:
    """A number of variable length and the position behind it; None for the reserved "unknown"."""
    if position >= len(data) or data[position] == 0:
        return None, position + 1
    length = 9 - data[position].bit_length()
    value = int.from_bytes(data[position : position + length], "big")
    bits = value & (1 << 7 * length) - 1
    if keep_marker:
        return value, position + length
    return (None if bits == (1 << 7 * length) - 1 else bits), position + length
