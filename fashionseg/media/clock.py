"""Times of frames and of sound that start at zero and never stand still, whatever the clock of a file does.

Knows times alone: nothing about files, packets or pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LONGEST_STEP_BACK = Fraction(1, 5)
_LONGEST_GAP = Fraction(10)
"""Seconds. A clock that is off by less is taken for a slip of one frame, by more for one that was set anew."""

_SMOOTH = _LONGEST_STEP_BACK / 2
"""Seconds by which sound may be early or late before a reset is looked for: half of the least that a reset moves."""

_LONGEST_OVERLAP = Fraction(1)
"""Seconds. Sound that comes back by more, where the pictures do not, has a clock of its own that was set anew."""

_INTERLEAVED = Fraction(10)
"""Seconds by which sound and pictures that belong together may lie apart at a reset."""

_RESETS_AHEAD = 16
"""Resets in a row that a track may be silent over and still be put into its place."""


@dataclass(frozen=True, slots=True)
class Reset:
    """A clock that was set anew between two frames. All in seconds; times are those of the file.

    Attributes:
        before: time of the last frame before.
        after: time of the first frame after.
        shift: what is taken from all times after, besides the shifts of the resets before, so that they go on without
            a gap.
    """

    before: Fraction
    after: Fraction
    shift: Fraction


class Clock:
    """Turns the times of decoded frames into times that start at zero and never stand still.

    Times that make sense pass through unchanged but for the start. Frames without a time follow at the frame rate; a
    jump back, or in a broadcast a jump far ahead, is a clock that was set anew, and the video goes on without a gap.

    Attributes:
        resets: where the clock was set anew so far.
    """

    def __init__(
        self, time_base: Fraction, start: int, step: int, *, restarts: bool, resets: list[Reset] | None = None
    ) -> None:
        """A clock of ticks of `time_base` seconds whose zero is at tick `start`; `step` ticks a frame.

        `restarts`: the clock may jump ahead too, as in broadcasts. `resets`: the list to note them in.
        """
        self.resets: list[Reset] = [] if resets is None else resets
        self._tick = time_base
        self._start = start
        self._step = step
        self._most_back = int(_LONGEST_STEP_BACK / time_base)
        self._most_ahead = int(_LONGEST_GAP / time_base) if restarts else None
        self._last = -1

    def stamp(self, pts: int | None) -> int:
        """Ticks from the start of the presentation for the next frame."""
        expected = self._last + self._step if self._last >= 0 else 0
        now = expected if pts is None else pts - self._start
        jumped_back = self._last - now > self._most_back
        jumped_ahead = self._most_ahead is not None and now - self._last > self._most_ahead
        if jumped_back or jumped_ahead:
            before, after, shift = self._start + self._last, self._start + now, now - expected
            self.resets.append(Reset(before * self._tick, after * self._tick, shift * self._tick))
            self._start += shift
            now = expected
        self._last = max(now, self._last + 1)
        return self._last


class SoundClock:
    """Follows the resets of the pictures' clock through the packets of one audio track.

    The times of sound jump where those of the pictures do, but for the fraction of a second by which the one is stored
    ahead of the other. Where sound jumps, it belongs behind the reset with which it goes on most nearly.
    """

    def __init__(self, resets: Sequence[Reset]) -> None:
        self._resets = resets
        self._shifts = list(accumulate((reset.shift for reset in resets), initial=Fraction(0)))
        self._passed = 0
        self._own = Fraction(0)
        self._expected: Fraction | None = None

    def shift(self, time: Fraction, length: Fraction) -> Fraction:
        """What to take from the time of the next packet; all in seconds of the file's clock.

        Args:
            time: when it is to be heard.
            length: how long it is; 0 where that is unknown.
        """
        jump = None if self._expected is None else time - self._expected
        self._expected = time + length
        if jump is None:
            self._passed = next(self._possible(time), 0)
        elif abs(jump) > _SMOOTH:
            self._follow(time, jump)
        return self._shifts[self._passed] + self._own

    def _follow(self, time: Fraction, jump: Fraction) -> None:
        gaps = {passed: jump - self._shifts[passed] + self._shifts[self._passed] for passed in self._possible(time)}
        gaps = gaps or {self._passed: jump}
        self._passed = min(gaps, key=lambda passed: abs(gaps[passed]))
        if gaps[self._passed] < -_LONGEST_OVERLAP:
            self._own += gaps[self._passed]

    def _possible(self, time: Fraction) -> Iterator[int]:
        """How many resets may lie before a packet of this time."""
        for passed in range(self._passed, min(len(self._resets), self._passed + _RESETS_AHEAD) + 1):
            begins = passed == 0 or time >= self._resets[passed - 1].after - _INTERLEAVED
            goes_on = passed == len(self._resets) or time <= self._resets[passed].before + _INTERLEAVED
            if begins and goes_on:
                yield passed
