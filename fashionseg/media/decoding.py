"""Walking through a video file: its decoded frames in presentation order, and their clock.

Knows packets, decoder threads and damage. Knows nothing about pixels: that is `video_reader.py`.
"""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from fashionseg.errors import MediaError
from fashionseg.media.containers import (
    NATIVE_ERRORS,
    may_start_anywhere,
    missing_end,
    native_error,
    open_container,
    video_stream,
)

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from av.packet import Packet
    from av.video.stream import VideoStream

_LATE_FRAMES = 16
"""Most frames a decoder holds back to bring them into order (H.264 and HEVC: 16)."""

_LONGEST_STEP_BACK = Fraction(1)
_LONGEST_GAP = Fraction(10)


class BrokenVideoError(MediaError):
    """A video breaks off, after `frames` frames that were decoded well and have been delivered."""

    def __init__(self, path: str | Path, frames: int, reason: str) -> None:
        kept = "no frame could be decoded" if frames == 0 else f"its first {frames} frames are kept"
        super().__init__(f"{path} breaks off: {reason}; {kept}")
        self.frames = frames


def decoded_frames(path: str | Path, threads: int) -> Generator[av.VideoFrame, None, None]:
    """Every frame of the main video stream once, in presentation order, as FFmpeg decodes it.

    Where several threads leave it uncertain which frames are sound, the rest is decoded by one thread alone: what comes
    out never depends on `threads`.

    Raises:
        BrokenVideoError: after the last sound frame.
        MediaError: the file cannot be opened.
    """
    delivered = 0
    if threads > 1:
        try:
            with closing(_decode(path, threads)) as frames:
                for frame in frames:
                    yield frame
                    delivered += 1
        except _FaultInThreadsError:
            pass
        else:
            return
    with closing(_decode(path, 1)) as frames:
        for index, frame in enumerate(frames):
            if index >= delivered:
                yield frame


def _decode(path: str | Path, threads: int) -> Generator[av.VideoFrame, None, None]:
    with open_container(path) as container:
        stream = video_stream(container, path)
        for other in container.streams:
            if other is not stream:
                other.discard = av.stream.Discard.all
        run = _Decoder(stream, threads, lenient=may_start_anywhere(container))
        packets = container.demux(stream)
        while not run.fault:
            try:
                packet = next(packets, None)
            except NATIVE_ERRORS as error:
                run.fault = str(native_error("the file", error))
                break
            if packet is None:
                break
            yield from run.feed(packet)
        yield from run.drain()
        reason = run.fault or missing_end(path, container, stream, run.packets)
        if reason:
            raise BrokenVideoError(path, run.frames, reason)


class _FaultInThreadsError(Exception):
    """Decoding in several threads met an error, and which frames are sound is not certain."""


class _Decoder:
    """One decoder at work: what it was given, what it gave, and the first fault.

    `lenient` is for streams that may begin anywhere and lose pieces on their way (broadcasts): what cannot be decoded
    before the first frame is skipped, and pieces marked as damaged are tried.
    """

    def __init__(self, stream: VideoStream, threads: int, *, lenient: bool) -> None:
        self._context = stream.codec_context
        self._context.thread_count = threads
        self._context.thread_type = "AUTO" if threads > 1 else "NONE"
        self._threads = threads
        self._lenient = lenient
        self._hidden = 0
        self.packets = 0
        self.frames = 0
        self.fault = ""

    def feed(self, packet: Packet[VideoStream]) -> Generator[av.VideoFrame, None, None]:
        """Frames that a packet brings to light."""
        if packet.size == 0:
            # At the end, the demuxer's mark of it, without times; elsewhere AVI's way to say "the same picture again",
            # which the decoder would take for the end.
            self.packets += packet.dts is not None
            return
        self.packets += 1
        if packet.is_corrupt and not self._lenient:
            self.fault = "the file is damaged or cut off"
            return
        self._hidden += packet.is_discard
        yield from self._decode(packet)

    def drain(self) -> Generator[av.VideoFrame, None, None]:
        """The frames the decoder still holds."""
        yield from self._decode(None)
        lost = self.packets - self._hidden - self.frames
        # PyAV drops an error, and the frames behind it, where others came out in the same call (`_decode` in its
        # av/codec/context.py): a few frames missing at the end are reason to look again.
        if self._threads > 1 and not self.fault and 0 < lost <= self._threads + _LATE_FRAMES:
            raise _FaultInThreadsError

    def _decode(self, packet: Packet[VideoStream] | None) -> Generator[av.VideoFrame, None, None]:
        try:
            frames = self._context.decode(packet)
        except NATIVE_ERRORS as error:
            if self._lenient and not self.frames and packet is not None:
                return
            if self._threads > 1:
                raise _FaultInThreadsError from error
            self.fault = self.fault or "a frame cannot be decoded"
            return
        for frame in frames:
            self.frames += 1
            yield frame


class Clock:
    """Turns the times of decoded frames into times that start at zero and never stand still.

    Times that make sense pass through unchanged but for the start. Frames without a time follow at the frame rate; a
    jump back, or in a broadcast a jump far ahead, is a clock that was set anew, and the video goes on without a gap.
    """

    def __init__(self, time_base: Fraction, start: int, step: int, *, restarts: bool) -> None:
        """A clock of ticks of `time_base` seconds whose zero is at tick `start`; `step` ticks a frame.

        `restarts`: the clock may jump ahead too, as in broadcasts.
        """
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
            self._start += now - expected
            now = expected
        self._last = max(now, self._last + 1)
        return self._last
