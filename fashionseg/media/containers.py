"""Opening video files with FFmpeg safely, and its errors in words.

Knows containers, streams, and when their clocks begin. Knows nothing about pixels: that is `video_reader.py`.

A video file is data from a stranger. Some "videos" are lists of other files or addresses (HLS, DASH, concat scripts),
and some file names look like FFmpeg protocols ("concat:a|b"): only the file itself is opened, and only by a demuxer
that reads nothing else.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av

from fashionseg.errors import MediaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream

NATIVE_ERRORS = (av.FFmpegError, ValueError, OverflowError, MemoryError)
"""What PyAV may raise over a file's contents."""

_DEMUXERS = (
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,av1,ivf,asf,flv,live_flv,ogg,mxf,gxf,mjpeg,dv,"
    "yuv4mpegpipe,nut,rm,wtv,vc1,nsv"
)
_OPTIONS = {"format_whitelist": _DEMUXERS, "protocol_whitelist": "file"}

_MAY_RESTART = cast("int", av.format.Flags.ts_discont.value)
_LATEST_OWN_START = Fraction(10)
"""A file whose first picture comes later than this carries the clock of a longer recording, not its own."""


@dataclass(frozen=True, slots=True)
class Sound:
    """An audio track of a video.

    Attributes:
        codec: FFmpeg's name of the codec.
        sample_rate: in Hz.
        channels: number of channels.
        language: as the file says, or "".
    """

    codec: str
    sample_rate: int
    channels: int
    language: str


def open_container(path: str | Path, options: dict[str, str] | None = None) -> InputContainer:
    """Open a local video file for reading.

    Args:
        path: the file.
        options: of FFmpeg, for looking into its streams.

    Raises:
        MediaError: it is missing, unreadable, empty, not a regular file, or no container FFmpeg knows.
    """
    try:
        status = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise native_error(path, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{path} is not a regular file")
    if status.st_size == 0:
        raise MediaError(f"{path} is empty (0 bytes)")
    try:
        return av.open(
            f"file:{os.fspath(path)}", options=options, container_options=_OPTIONS, metadata_errors="replace"
        )
    except NATIVE_ERRORS as error:
        raise native_error(path, error) from error


def native_error(path: str | Path, error: Exception) -> MediaError:
    """One sentence with the file's name for an error of PyAV or the operating system."""
    if isinstance(error, FileNotFoundError):
        return MediaError(f"{path} is not there (any more)")
    if isinstance(error, MemoryError):
        return MediaError(f"{path} does not fit into memory")
    if isinstance(error, PermissionError | IsADirectoryError):
        return MediaError(f"cannot read {path}: {error.strerror}")
    if isinstance(error, av.InvalidDataError | av.ArgumentError | EOFError):
        return MediaError(f"{path} is not a video, or it is damaged or cut off, and cannot be opened")
    return MediaError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


def video_stream(container: InputContainer, path: str | Path) -> VideoStream:
    """The main video stream; cover pictures do not count.

    Raises:
        MediaError: there is none, or no decoder for it.
    """
    attached = av.stream.Disposition.attached_pic
    videos = [stream for stream in container.streams.video if not stream.disposition & attached]
    if not videos:
        holds = "sound and a cover picture" if container.streams.video else "no video"
        raise MediaError(f"{path} holds {'only ' if container.streams.video else ''}{holds}")
    best = container.streams.best("video")
    stream = best if best in videos else videos[0]
    if stream.codec_context is None:
        raise MediaError(f"{path} uses a video codec that this FFmpeg cannot decode; convert it to H.264")
    return stream


def demuxed(
    container: InputContainer, streams: Sequence[Stream], late: Callable[[], None] = lambda: None
) -> Iterator[Packet[Any]]:
    """The packets of some streams in the order of the file; raises what PyAV raises, as `NATIVE_ERRORS` lists it.

    A stream that shows only later in a file than FFmpeg looks when it opens one (in recordings of live broadcasts) is
    not among those PyAV knows: its `demux` ends with an IndexError there. Such a packet is skipped, and `late` called.
    """
    packets = container.demux(streams)
    while True:
        try:
            packet = next(packets, None)
        except IndexError:
            late()
            packets = container.demux(streams)  # goes on behind that packet
            continue
        if packet is None:
            return
        yield packet


def clock_start(container: InputContainer, stream: VideoStream) -> int:
    """The tick of the video's clock at which the presentation starts: what `VideoFrame.pts` counts from.

    Zero for files with a clock of their own, so that a picture that comes late comes late in the output as well. The
    earliest start among video and sound where the clock is that of a broadcast or a longer recording (transport
    streams, clips cut out without new times), or where something starts before zero.
    """
    starts = [_start(s) for s in (*container.streams.video, *container.streams.audio) if s.start_time is not None]
    if not starts:
        return 0
    earliest = min(starts)
    if may_start_anywhere(container) or earliest < 0 or earliest > _LATEST_OWN_START:
        return earliest // _tick(stream)
    return 0


def may_start_anywhere(container: InputContainer) -> bool:
    """Whether this is a stream cut from a broadcast or disc: any start time, jumps of the clock, pieces lost."""
    return bool(container.format.flags & _MAY_RESTART)


def sounds(container: InputContainer) -> tuple[Sound, ...]:
    """The audio tracks of a container."""
    return tuple(
        Sound(
            s.codec_context.codec.canonical_name,
            s.codec_context.sample_rate,
            s.codec_context.channels,
            s.language or "",
        )
        for s in container.streams.audio
        if s.codec_context is not None
    )


def _start(stream: Stream) -> Fraction:
    return (stream.start_time or 0) * _tick(stream)


def _tick(stream: Stream) -> Fraction:
    return stream.time_base or Fraction(1, av.time_base)
