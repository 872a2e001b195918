"""`VideoReader`: every frame of a video once, upright, in presentation order, with its exact time.

Knows colours, rotation and which frames are asked for. How a file is walked through is `decoding.py`; nothing here
knows about sources, models or writing.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from fashionseg.cores import usable_cores
from fashionseg.errors import MediaError
from fashionseg.media.clock import Clock, Reset
from fashionseg.media.completeness import tagged_duration
from fashionseg.media.containers import (
    NATIVE_ERRORS,
    clock_start,
    may_start_anywhere,
    native_error,
    sounds,
)
from fashionseg.media.decoding import MAX_FRAME_PIXELS, BrokenVideoError, Walk
from fashionseg.media.upright import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path
    from types import TracebackType
    from typing import Any

    import numpy as np
    from av.buffer import Buffer
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

__all__ = ["BrokenVideoError", "VideoFrame", "VideoReader"]

MAX_THREADS = 8
"""Of the decoder: each holds frames of its own, 12 MB in 4K."""

_UNKNOWN_RATE = Fraction(25)
_LARGEST_SD_HW = 576, 1024
_NAMED_MATRICES = frozenset({0, 1, 4, 5, 6, 7, 9})
"""Of H.273, as FFmpeg's scaler knows them: RGB, BT.709, FCC, two of BT.601, SMPTE 240M, BT.2020."""

_BT2020_CONSTANT = 10
_UNNAMED_MATRICES = frozenset({2, 3, 12, 13})


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One decoded frame.

    Attributes:
        image: uint8 [H, W, 3], BGR, C-contiguous, writable, upright; the receiver's own.
        index: number among all decoded frames of the video, from 0.
        pts: presentation time in ticks of `VideoReader.time_base` from the start of the presentation; strictly
            increasing, never negative.
        time: the same in seconds.
    """

    image: NDArray[np.uint8]
    index: int
    pts: int
    time: Fraction


class VideoReader:
    """A video opened for reading. A context manager; may be read several times, each time from its beginning.

    Frames come as they were decoded: interlaced ones are not de-interlaced, pixels that are not square stay so, frames
    of a video that changes its size are scaled to its first size. 10-bit and HDR video is converted to 8 bits plainly,
    without tone mapping: HDR looks flat.

    Attributes:
        path: the file.
        size_hw: height and width in pixels, upright.
        time_base: seconds a tick of `VideoFrame.pts` lasts.
        average_rate: frames a second, as far as the file tells.
        frame_count: number of frames as far as the file tells; an estimate, None where there is none.
        duration: seconds as the file tells, or None.
        codec: FFmpeg's name of the codec.
        sounds: its audio tracks.
        sample_aspect_ratio: width of a pixel over its height, upright; 1 where unknown.
        resets: where its clock was set anew among the frames read so far; one list, to which others are added as
            frames are read.
        remarks: what was odd about the frames delivered so far, in sentences.
    """

    def __init__(self, path: str | Path, *, threads: int | None = None) -> None:
        """Open a video and decode its first frame.

        Args:
            path: the file.
            threads: of the decoder; None chooses by the cores this process may use.

        Raises:
            MediaError: it cannot be read, holds no video, or not one frame of it can be decoded.
        """
        self.path = path
        self.resets: list[Reset] = []
        self._concealed = 0
        self._late_streams = False
        self._threads = threads or min(MAX_THREADS, usable_cores())
        self._active: list[Generator[VideoFrame, None, None]] = []
        self._reformatter = VideoReformatter()
        self._unused: Walk | None = Walk(path, self._threads)  # the first walk goes on from here: opening is slow
        try:
            self._read_header(self._unused.container, self._unused.stream)
            self._read_first_frame(self._unused.first())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Generator[VideoFrame, None, None]:
        return self.frames()

    def close(self) -> None:
        """Free the file and the decoder. Calling it twice is fine."""
        for frames in self._active:
            frames.close()
        self._active.clear()
        if self._unused is not None:
            self._unused.close()
            self._unused = None

    def frames(
        self,
        stride: int = 1,
        start: Fraction | None = None,
        end: Fraction | None = None,
        first: int = 0,
        stopped: Callable[[], bool] = lambda: False,
    ) -> Generator[VideoFrame, None, None]:
        """Frames in presentation order.

        Args:
            stride: take frames 0, stride, 2 stride ... of the video.
            start: seconds; frames before are left out.
            end: seconds; frames at this time and later are left out.
            first: leave out frames with a smaller index, to go on after an interruption; indices and times stay those
                of an uninterrupted run, because everything before is decoded again.
            stopped: asked before each frame that is decoded, those left out too; once it says True, no more come.

        Raises:
            BrokenVideoError: after the last good frame of a video that breaks in the middle.
            MediaError: the file has changed or vanished since it was opened.
        """
        generator = self._frames(stride, start, end, first, stopped)
        self._active.append(generator)
        return generator

    def _frames(
        self, stride: int, start: Fraction | None, end: Fraction | None, first: int, stopped: Callable[[], bool]
    ) -> Generator[VideoFrame, None, None]:
        self.resets.clear()
        clock = Clock(self.time_base, self._clock_start, self._step, restarts=self._restarts, resets=self.resets)
        walk, self._unused = self._unused or Walk(self.path, self._threads), None
        walk.stopped = stopped
        with closing(walk):
            for index, frame in enumerate(walk):
                self._late_streams = walk.late_streams
                pts = clock.stamp(frame.pts)
                time = pts * self.time_base
                if end is not None and time >= end:
                    return
                if index >= first and index % stride == 0 and (start is None or time >= start):
                    self._concealed += frame.is_corrupt
                    yield VideoFrame(self._upright_bgr(frame), index, pts, time)

    @property
    def remarks(self) -> list[str]:
        """What was odd about the frames delivered so far, in sentences."""
        found = []
        if self._concealed:
            found.append(f"{self.path}: {self._concealed} of its frames are damaged and were patched up")
        if self._late_streams:
            found.append(
                f"{self.path}: another stream, such as sound, begins too late in the file to be found; left out"
            )
        return found

    # opening

    def _read_header(self, container: InputContainer, stream: VideoStream) -> None:
        context = stream.codec_context
        if context.width * context.height > MAX_FRAME_PIXELS:
            raise MediaError(f"{self.path} claims frames of {context.width} x {context.height} pixels; scale it down")
        self.codec = context.codec.canonical_name
        self.sounds = sounds(container)
        self.time_base: Fraction = stream.time_base or Fraction(1, av.time_base)
        self.average_rate = stream.average_rate or stream.guessed_rate or stream.base_rate or _UNKNOWN_RATE
        self.duration = _duration(container, stream)
        self.frame_count = _frame_count(container, stream, self.duration, self.average_rate)
        self._clock_start = clock_start(container, stream)
        self._restarts = may_start_anywhere(container)
        self._step = max(1, round(1 / self.average_rate / self.time_base))
        self._stored_aspect = stream.sample_aspect_ratio or Fraction(1)

    def _read_first_frame(self, frame: av.VideoFrame) -> None:
        self._turn = _turn(frame)
        self._stored_hw = frame.height, frame.width
        self._matrix(frame.colorspace)
        self.size_hw = self._turn.size_hw(self._stored_hw)
        aspect = self._stored_aspect
        self.sample_aspect_ratio = 1 / aspect if self._turn.transposed else aspect

    # pixels

    def _upright_bgr(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], BGR. One conversion; a second copy only where FFmpeg padded the rows or the video is turned.

        This is the fast unscaled path of FFmpeg's scaler (no ACCURATE_RND): at most 3 of 255 off the exact formula,
        greys exact, 0.7 ms instead of 3.4 for 1280 x 720.
        """
        height, width = self._stored_hw
        try:
            converted = self._reformatter.reformat(
                frame,
                width,
                height,
                "bgr24",
                src_colorspace=self._matrix(frame.colorspace),
                interpolation=Interpolation.BILINEAR,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            )
        except NATIVE_ERRORS as error:
            raise native_error(self.path, error) from error
        pixels: NDArray[Any] = converted.to_ndarray()
        upright = self._turn.apply(pixels)
        # A frame that is BGR already comes back as it is: those pixels may still belong to the decoder.
        return upright.copy() if converted is frame and upright is pixels else upright

    def _matrix(self, named: int) -> Colorspace | None:
        """The matrix to convert with; None for the one the frame names.

        Where it names none, the rule of players holds: BT.601 up to standard definition, BT.709 above.
        """
        if named in _NAMED_MATRICES:
            return None
        if named == _BT2020_CONSTANT:
            return Colorspace.BT2020
        if named not in _UNNAMED_MATRICES:
            raise MediaError(
                f"{self.path} uses an unusual colour matrix (number {named} of H.273); convert it to BT.709"
            )
        height, width = self._stored_hw
        small = height <= _LARGEST_SD_HW[0] and width <= _LARGEST_SD_HW[1]
        return Colorspace.ITU601 if small else Colorspace.ITU709


def _turn(frame: av.VideoFrame) -> Turn:
    matrix = frame.side_data.get("DISPLAYMATRIX")
    return Turn() if matrix is None else Turn.from_display_matrix(bytes(cast("Buffer", matrix)))


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration:
        return stream.duration * (stream.time_base or Fraction(1, av.time_base))
    tagged = tagged_duration(stream.metadata.get("DURATION", ""))
    if tagged:
        return tagged - (stream.start_time or 0) * (stream.time_base or Fraction(1, av.time_base))
    if not container.duration:
        return None
    # Matroska counts from zero, where the others count from their first frame.
    skipped = container.start_time or 0 if "matroska" in container.format.name else 0
    return Fraction(container.duration - skipped, av.time_base)


def _frame_count(
    container: InputContainer, stream: VideoStream, duration: Fraction | None, rate: Fraction
) -> int | None:
    if stream.frames:
        cut_off = "mov" in container.format.name and len(stream.index_entries)
        # What an edit list leaves out at the end is not in the index; what it leaves out in front is marked.
        return sum(not entry.is_discard for entry in stream.index_entries) if cut_off else stream.frames
    return round(duration * rate) if duration else None
