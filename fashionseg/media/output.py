"""What every MP4 that is written needs: its clock, its opening, and its errors in words.

Knows the MP4 muxer. Knows nothing about encoders or pixels.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from fashionseg.errors import MediaError, OutputError
from fashionseg.media.containers import NATIVE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from av.container import OutputContainer

_LOWEST = 10_000
_HIGHEST = 10_000_000
"""Ticks a second that MP4 holds without trouble: above, a gap of minutes overflows its 32-bit durations."""

_MICROSECONDS = 1_000_000

LONGEST_GAP = 2**31 - 2
"""Ticks from one frame to the next that FFmpeg's MP4 muxer takes; beyond, it makes up a time of its own
(`check_pkt` in libavformat/movenc.c)."""


@dataclass(frozen=True, slots=True)
class Timescale:
    """The clock of an MP4 file: a whole number of ticks a second.

    It holds every tick of the source's clock exactly (as long as that is no finer than a tenth of a microsecond).

    Attributes:
        per_second: ticks a second.
        factor: ticks for one tick of the source.
    """

    per_second: int
    factor: Fraction

    @classmethod
    def of(cls, time_base: Fraction) -> Timescale:
        """The timescale for a source whose ticks last `time_base` seconds."""
        per_second = time_base.denominator if time_base.denominator <= _HIGHEST else _MICROSECONDS
        while per_second < _LOWEST:
            per_second *= 2
        return cls(per_second, time_base * per_second)

    @property
    def tick(self) -> Fraction:
        """Seconds a tick lasts."""
        return Fraction(1, self.per_second)

    def check_gap(self, seconds: Fraction) -> None:
        """Refuse a time between two frames that MP4 cannot hold.

        Raises:
            MediaError: it is too long.
        """
        if seconds * self.per_second > LONGEST_GAP:
            raise MediaError(f"the next frame comes after {float(seconds):.0f} s, a gap that MP4 cannot hold")

    def ticks(self, pts: int) -> int:
        """Ticks of this clock for ticks of the source."""
        return round(pts * self.factor)


def open_output(path: Path, timescale: int, *, faststart: bool = False) -> OutputContainer:
    """Open an MP4 file for writing.

    The clock of the whole file is that of the video: MP4 keeps the time before the first frame in it, and its usual
    milliseconds would round that.

    Args:
        path: where to write.
        timescale: ticks a second of the video track.
        faststart: put the index in front, so that a browser can play while it loads.
    """
    options = {"video_track_timescale": str(timescale), "movie_timescale": str(timescale)}
    if faststart:
        options["movflags"] = "+faststart"
    return av.open(f"file:{os.fspath(path)}", "w", format="mp4", container_options=options)


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn errors of PyAV and the operating system inside the block into ours, which name `path`.

    Raises:
        OutputError: the machine is at fault: disk full, folder gone, no memory.
        MediaError: these pictures, times or sounds cannot be put into an MP4; others can.
    """
    try:
        yield
    except (*NATIVE_ERRORS, OSError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        reason = f"{reason[:1].lower()}{reason[1:]}"
        if isinstance(error, OSError | MemoryError):
            raise OutputError(f"cannot write {path}: {reason}") from error
        raise MediaError(f"an MP4 file such as {path} cannot hold it: {reason}") from error
