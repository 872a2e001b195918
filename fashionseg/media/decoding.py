"""Walking through a video file: its decoded frames in presentation order.

Knows packets, decoder threads and damage. Knows nothing about times, which are in `clock.py`, or pixels: those are in
`video_reader.py`.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import av

from fashionseg.errors import MediaError
from fashionseg.media.completeness import missing_end
from fashionseg.media.containers import (
    NATIVE_ERRORS,
    demuxed,
    may_start_anywhere,
    native_error,
    open_container,
    video_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

MAX_FRAME_PIXELS = 2**27
"""Four times 8K; a file that claims larger frames is refused before it is decoded."""

_LATE_FRAMES = 16
"""Most frames a decoder holds back to bring them into order (H.264 and HEVC: 16)."""


class BrokenVideoError(MediaError):
    """A video breaks off, after `frames` frames that were decoded well and have been delivered."""

    def __init__(self, path: str | Path, frames: int, reason: str) -> None:
        super().__init__(f"{path} breaks off: {reason}; its first {frames} frames are kept")
        self.frames = frames


class Walk:
    """One walk through a file: an iterator over every frame of the main video stream once, in presentation order.

    Where several threads leave it uncertain which frames are sound, the rest is decoded by one thread alone: what comes
    out never depends on the number of threads.

    Attributes:
        container: the open file.
        stream: its main video stream.
        late_streams: whether other streams showed only in the course of the file; nobody can read them.
        stopped: asked before each frame; the walk ends where it says True.
    """

    def __init__(self, path: str | Path, threads: int) -> None:
        """Open the file; decoding begins with the first frame asked for.

        Raises:
            MediaError: it cannot be opened, or holds no video.
        """
        self._path = path
        self._threads = threads
        self.late_streams = False
        self.stopped: Callable[[], bool] = lambda: False
        self.container = open_container(path)
        try:
            self.stream = video_stream(self.container, path)
        except MediaError:
            self.container.close()
            raise
        self._frames = self._decoded()
        self._ahead: list[av.VideoFrame] = []

    def __iter__(self) -> Walk:
        return self

    def __next__(self) -> av.VideoFrame:
        """The next frame.

        Raises:
            BrokenVideoError: after the last sound frame of a video that breaks off.
            MediaError: there is not one sound frame.
        """
        return self._ahead.pop() if self._ahead else next(self._frames)

    def first(self) -> av.VideoFrame:
        """The first frame, without going past it. Raises as `__next__`."""
        self._ahead.append(next(self._frames))
        return self._ahead[0]

    def close(self) -> None:
        """Free the file and the decoder."""
        self._frames.close()
        self.container.close()

    def _note_late_stream(self) -> None:
        self.late_streams = True

    def _decoded(self) -> Generator[av.VideoFrame, None, None]:
        delivered = 0
        try:
            for frame in _decode(self._path, self.container, self.stream, self._threads, self._note_late_stream):
                if self.stopped():
                    return
                yield frame
                delivered += 1
        except _FaultInThreadsError:
            with open_container(self._path) as container:
                again = _decode(self._path, container, video_stream(container, self._path), 1)
                unstopped = itertools.takewhile(lambda frame: not self.stopped(), again)
                yield from itertools.islice(unstopped, delivered, None)


def _decode(
    path: str | Path,
    container: InputContainer,
    stream: VideoStream,
    threads: int,
    late: Callable[[], None] = lambda: None,
) -> Generator[av.VideoFrame, None, None]:
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    decoder = _Decoder(stream, threads, lenient=may_start_anywhere(container))
    packets = demuxed(container, [stream], late)
    while not decoder.fault:
        try:
            packet = next(packets, None)
        except NATIVE_ERRORS as error:
            decoder.fault = str(native_error("the file", error))
            break
        if packet is None:
            break
        yield from decoder.feed(packet)
    yield from decoder.drain()
    reason = decoder.fault or missing_end(path, container, stream, decoder.packets, decoder.end)
    if decoder.frames == 0:
        raise MediaError(f"{path} holds no frame that can be decoded{': ' if reason else ''}{reason}")
    if reason:
        raise BrokenVideoError(path, decoder.frames, reason)


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
        self._context.options = {"max_pixels": str(MAX_FRAME_PIXELS)}
        self._threads = threads
        self._lenient = lenient
        self._hidden = 0
        self.packets = 0
        self.end: int | None = None
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
        if packet.pts is not None:
            self.end = max(self.end or 0, packet.pts + (packet.duration or 0))
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
