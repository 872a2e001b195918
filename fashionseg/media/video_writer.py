"""Writing video: `PartWriter` encodes one closed part, `join_parts` puts the parts together.

Knows H.264, colours and exact times. Knows nothing about sources, resuming or drawing. Joining is in `joining.py`.
"""

from __future__ import annotations

import contextlib
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from fashionseg.errors import MediaError, OutputError
from fashionseg.files import flush_folder, replacing
from fashionseg.media.containers import NATIVE_ERRORS
from fashionseg.media.encoders import CODECS, Encoder
from fashionseg.media.joining import Joined, join_parts
from fashionseg.media.output import Timescale, open_output, output_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from av.container import OutputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

__all__ = ["Joined", "PartWriter", "join_parts"]

_BT709 = 1
_LIMITED_RANGE = 1
_HIGHEST_RATE = Fraction(240)
_SMALL_SIDE = 128
"""x264 gives slightly other bytes from run to run for smaller frames, with one thread too, unless it leaves out its
macroblock tree: 294 of 1,000 parts of 48 x 64 pixels differed, 1 of 112 x 112, none of 144 x 176 and larger.
"""


class _AbandonedError(Exception):
    """The part is not wanted: what was written of it is removed."""


class PartWriter:
    """One closed part of a video: H.264 in MP4 that starts with a key frame. A context manager.

    The part appears under its name when it is closed, whole and on the disk, or not at all. Frames stand at their times
    in the whole video, so a part can be looked at by itself. Colours are BT.709 in limited range and tagged so.

    4:2:0 needs even sides: of a picture with an odd side the last row or column is written twice, so that nothing is
    cut off; H.264 cannot store a crop of one row in 4:2:0.
    """

    def __init__(
        self,
        path: Path,
        size_hw: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        *,
        encoder: Encoder = "x264",
        crf: int = 20,
        preset: str = "veryfast",
        threads: int = 0,
        sample_aspect_ratio: Fraction = Fraction(1),
    ) -> None:
        """Begin a part.

        Args:
            path: its final name.
            size_hw: height and width in pixels of every frame.
            time_base: seconds a tick of `pts` lasts, as `VideoReader.time_base`.
            rate: frames a second, a hint for the encoder.
            encoder: x264, which every machine has and which gives the same bytes on all, or the GPU's.
            crf: quality, 0 (lossless) to 51; 20 can hardly be told from the original.
            preset: x264's trade of time for size.
            threads: of the encoder; 0 lets it choose.
            sample_aspect_ratio: width of a pixel over its height.

        Raises:
            OutputError: the encoder is not available, or the file cannot be written.
            MediaError: H.264 cannot hold such frames.
        """
        self.path = path
        self._size_hw = size_hw
        self._timescale = Timescale.of(time_base)
        self._last = -1
        self._reformatter = VideoReformatter()
        self._replacing = replacing(path)
        self._temporary = self._replacing.__enter__()
        self._container: OutputContainer | None = None
        try:
            with output_errors(path):
                self._container = open_output(self._temporary, self._timescale.per_second)
                self._stream = _add_stream(self._container, CODECS[encoder], _options(encoder, crf, preset, size_hw))
                self._configure(self._stream.codec_context, rate, threads, sample_aspect_ratio)
            with _encoder_errors(encoder, size_hw):
                self._stream.codec_context.open()
        except (OutputError, MediaError):
            self.abandon()
            raise

    def __enter__(self) -> PartWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abandon()

    def write(self, image: NDArray[np.uint8], pts: int) -> None:
        """Encode a frame.

        Args:
            image: uint8 [H, W, 3], BGR, C-contiguous; free to be changed once this returns.
            pts: presentation time in ticks of `time_base`, larger than that of the frame before.

        Raises:
            OutputError: the disk is full, the folder is gone.
            MediaError: MP4 cannot hold it: its time is hours after the last, say.
        """
        if image.shape[:2] != self._size_hw:
            raise OutputError(f"a frame of {image.shape[:2]} does not fit into {self.path} of {self._size_hw}")
        picture = av.VideoFrame.from_numpy_buffer(_even(image), format="bgr24")
        with self._errors():
            frame = self._reformatter.reformat(
                picture,
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                # Without ACCURATE_RND the picture gets darker by half a step: 0.7 ms more for 1280 x 720.
                interpolation=Interpolation.BILINEAR | Interpolation.ACCURATE_RND,
                src_color_range=ColorRange.JPEG,
                dst_color_range=ColorRange.MPEG,
                threads=1,
            )
            frame.pts = self._last = max(self._last + 1, self._timescale.ticks(pts))
            frame.time_base = self._timescale.tick
            self._mux(frame)

    def close(self) -> None:
        """Finish the part and give it its name. Calling it twice, or after `abandon`, is fine.

        Raises:
            OutputError: it cannot be finished; nothing is left behind.
            MediaError: likewise, and the machine is not at fault.
        """
        if self._container is None:
            return
        if self._last < 0:
            self.abandon()
            raise OutputError(f"cannot write {self.path}: it has no frame")
        try:
            with self._errors():
                self._mux(None)
                self._container.close()
            self._container = None
            self._replacing.__exit__(None, None, None)
        except (OutputError, MediaError):
            self.abandon()
            raise
        flush_folder(self.path.parent)

    def abandon(self) -> None:
        """Drop the part and what was written of it."""
        container, self._container = self._container, None
        if container is not None:
            with contextlib.suppress(*NATIVE_ERRORS):  # the file is thrown away: why it cannot be finished is no matter
                container.close()
        abandoned = _AbandonedError()
        self._replacing.__exit__(_AbandonedError, abandoned, None)

    def _mux(self, frame: av.VideoFrame | None) -> None:
        if self._container is not None:
            self._container.mux(self._stream.encode(frame))

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return output_errors(self.path)

    def _configure(self, context: VideoCodecContext, rate: Fraction, threads: int, aspect: Fraction) -> None:
        context.height, context.width = (side + side % 2 for side in self._size_hw)
        context.pix_fmt = "yuv420p"
        context.time_base = self._timescale.tick
        context.framerate = min(rate, _HIGHEST_RATE)
        context.thread_count = threads
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED_RANGE
        context.sample_aspect_ratio = aspect


def _options(encoder: Encoder, crf: int, preset: str, size_hw: tuple[int, int]) -> dict[str, str]:
    """Encoder options. Without B-frames the file is a fifth larger and 7% faster to write, and frames are stored in the
    order and at the times they are shown: no edit list has to shift them back, which players get wrong, and FFmpeg's
    muxer too where the rate varies.
    """
    if encoder == "nvenc":
        return {"bf": "0", "rc": "vbr", "cq": str(crf), "preset": "p4"}
    options = {"bf": "0", "crf": str(crf), "preset": preset}
    return {**options, "x264-params": "mbtree=0"} if min(size_hw) < _SMALL_SIDE else options


def _add_stream(container: OutputContainer, codec: str, options: dict[str, str]) -> VideoStream:
    return cast("VideoStream", container.add_stream(codec, options=options))


@contextlib.contextmanager
def _encoder_errors(encoder: Encoder, size_hw: tuple[int, int]) -> Iterator[None]:
    try:
        yield
    except NATIVE_ERRORS as error:
        if encoder == "x264":  # part of every PyAV: what it refuses are the frames
            raise MediaError(f"frames of {size_hw[1]} x {size_hw[0]} pixels cannot be encoded as H.264") from error
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"the encoder {encoder!r} cannot be used here ({reason}); take --encoder x264") from error


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] with the last row and column repeated where a side is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
