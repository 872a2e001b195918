"""Joining closed parts into one MP4 without encoding again, with the source's sound.

Knows packets and their order. Knows nothing about pixels; how sound is carried over is in `sound.py`.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from fractions import Fraction
from operator import itemgetter
from typing import TYPE_CHECKING, cast

from fashionseg.errors import MediaError, OutputError
from fashionseg.files import flush_folder, replacing
from fashionseg.media.containers import open_container
from fashionseg.media.output import open_output, output_errors
from fashionseg.media.sound import SoundCopy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

    from fashionseg.media.clock import Reset


@dataclass(frozen=True, slots=True)
class Joined:
    """What `join_parts` wrote.

    Attributes:
        frames: number of frames.
        sounds: number of audio tracks.
        sound_problem: why sound of the source is missing or incomplete; "" where all is well.
    """

    frames: int
    sounds: int
    sound_problem: str = ""


def join_parts(
    parts: Sequence[Path],
    target: Path,
    source: str | Path | None = None,
    start: Fraction | None = None,
    end: Fraction | None = None,
    beside: Path | None = None,
    resets: Sequence[Reset] = (),
) -> Joined:
    """Join parts into one MP4 that plays in browsers, and take over the source's audio tracks, in step.

    Frames are copied as they are and keep their times exactly. Sound that MP4 can hold is copied, other sound is
    encoded as AAC. Where the sound of the source cannot be read to its end, as in a broken file, the rest is silent.
    Subtitles are not taken over.

    Args:
        parts: files closed by `PartWriter`, in order, all of one video.
        target: the file to write; it appears whole and flushed to the disk, or not at all.
        source: the video whose sound to take over; None for none.
        start: seconds of the source that become zero.
        end: seconds of the source at which sound ends; None keeps all of it, also where it outlasts the video.
        beside: folder of the temporary file, on the target's file system; default: the target's.
        resets: where the clock of `source` was set anew, see `VideoReader.resets`: sound goes on there as the video
            does.

    Raises:
        OutputError: the target cannot be written, or a part is damaged or does not belong to the others.
        MediaError: an MP4 cannot hold this video.
    """
    if not parts:
        raise OutputError(f"cannot write {target}: there is no part of it")

    def write(sound: str | Path | None) -> Joined:
        with replacing(target, beside) as temporary, output_errors(target):
            return _join(parts, temporary, sound, start or Fraction(0), end, resets)

    try:
        joined = write(source)
    except MediaError as error:
        if source is None:
            raise
        joined = replace(write(None), sound_problem=f"its sound is left out: {error}")
    flush_folder(target.parent)
    return joined


def _join(
    parts: Sequence[Path],
    temporary: Path,
    source: str | Path | None,
    start: Fraction,
    end: Fraction | None,
    resets: Sequence[Reset],
) -> Joined:
    with _open_part(parts[0]) as template:
        like = template.streams.video[0]
        tick = cast("Fraction", like.time_base)
        shift = int(start / tick)  # a whole number of ticks: sound is shifted by exactly as much
        pictures = _Pictures(parts, shift, bytes(like.codec_context.extradata or b""))
        with open_output(temporary, tick.denominator, faststart=True) as output:
            video = output.add_stream_from_template(like)
            video.time_base = tick
            video.codec_context.framerate = like.average_rate or Fraction(25)
            with SoundCopy(source, output, shift * tick, end, resets) as sound:
                output.start_encoding()
                frames = ((cast("int", packet.dts) * tick, packet) for packet in pictures.packets(video))
                both: Iterable[tuple[Fraction, Packet[Any]]] = heapq.merge(frames, sound.packets(), key=itemgetter(0))
                for _, packet in both:
                    output.mux(packet)
            return Joined(pictures.count, sound.tracks, sound.problem)


class _Pictures:
    """The frames of all parts as packets, at their final times; without B-frames they are stored as they are shown."""

    def __init__(self, parts: Sequence[Path], shift: int, parameters: bytes) -> None:
        self._parts = parts
        self._shift = shift
        self._parameters = parameters
        self.count = 0

    def packets(self, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
        """Packets in order, rebased to the output's `stream`."""
        last = None
        for packet in self._read():
            now = cast("int", packet.pts) - self._shift
            if last is not None and now <= last:
                raise OutputError("the parts of a video are not in order; begin anew with --restart")
            packet.pts = packet.dts = last = now
            packet.stream = stream
            self.count += 1
            yield packet

    def _read(self) -> Iterator[Packet[VideoStream]]:
        for part in self._parts:
            with _open_part(part) as container:
                stream = container.streams.video[0]
                if bytes(stream.codec_context.extradata or b"") != self._parameters:
                    raise OutputError(f"{part} was encoded with other settings than the parts before; use --restart")
                for packet in container.demux(stream):
                    if packet.size:
                        yield packet


def _open_part(path: Path) -> InputContainer:
    try:
        # Only packets are wanted: without this, opening decodes twenty frames to learn what nobody asks (30 ms).
        return open_container(path, {"skip_frame": "all"})
    except MediaError as error:
        raise OutputError(f"a finished part is damaged: {error}; begin anew with --restart") from error
