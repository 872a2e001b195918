"""The source's audio tracks for a new MP4: copied where MP4 can hold them, else encoded as AAC, in step and trimmed.

Knows audio packets and their times. Knows nothing about pictures.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av

from fashionseg.errors import MediaError
from fashionseg.media.clock import SoundClock
from fashionseg.media.containers import NATIVE_ERRORS, clock_start, demuxed, native_error, open_container, video_stream

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path
    from types import TracebackType

    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

    from fashionseg.media.clock import Reset

    TimedPacket = tuple[Fraction, Packet[AudioStream]]

COPIED = frozenset({"aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"})
"""Codecs that MP4 holds and that players know there."""

_LOWEST_MP3_RATE = 16_000
"""MP3 below this rate is not part of MPEG-4, and FFmpeg's muxer refuses it (`mov_init` in libavformat/movenc.c)."""

_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350)
_AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_ROUNDING = Fraction(3, 1000)
"""Seconds by which the times of packets that follow each other may be off."""

_LONGEST_SILENCE = 12 * 3600
"""Seconds. Sound that begins again later has a time that cannot be right."""

_PRIMING_PACKETS = 2
"""Packets kept before the first sound wanted: decoders need what comes before to get going. They are not heard."""


class SoundCopy:
    """Takes audio tracks from a source to an output. A context manager.

    Attributes:
        tracks: number of tracks.
        problem: why sound is missing or incomplete, known for sure once `packets` has ended; "" where all is well.
    """

    def __init__(
        self,
        source: str | Path | None,
        output: OutputContainer,
        start: Fraction,
        end: Fraction | None,
        resets: Sequence[Reset] = (),
    ) -> None:
        """Add the tracks of `source` to `output`.

        Args:
            source: the video whose sound to take; None for none.
            output: the file being written; nothing has been written to it yet.
            start: seconds of the source that become zero.
            end: seconds of the source at which sound ends; None for its own end.
            resets: where the pictures' clock was set anew.
        """
        self.problem = ""
        self._tracks: dict[int, _Track] = {}
        self._container: InputContainer | None = None
        if source is None:
            return
        try:
            self._container = open_container(source)
            self._add_tracks(source, self._container, output, start, end, resets)
        except MediaError as error:
            self.problem = str(error)

    def __enter__(self) -> SoundCopy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._container is not None:
            self._container.close()

    @property
    def tracks(self) -> int:
        """Number of audio tracks."""
        return len(self._tracks)

    def packets(self) -> Iterator[TimedPacket]:
        """Packets for the output in about the order of time, with that time in seconds."""
        for packet in self._demuxed():
            yield from self._tracks[packet.stream.index].take(packet)
            if all(track.ended for track in self._tracks.values()):
                break
        for track in self._tracks.values():
            yield from track.finish()
        damaged = sum(track.damaged for track in self._tracks.values())
        if damaged and not self.problem:
            self.problem = f"{damaged} damaged pieces of its sound were left out"

    def _demuxed(self) -> Iterator[Packet[AudioStream]]:
        if self._container is None or not self._tracks:
            return
        packets = demuxed(self._container, [track.source for track in self._tracks.values()])
        while True:
            try:
                packet = next(packets, None)
            except NATIVE_ERRORS as error:
                self.problem = str(native_error("its sound", error))
                return
            if packet is None:
                return
            if packet.size:
                yield cast("Packet[AudioStream]", packet)

    def _add_tracks(
        self,
        path: str | Path,
        container: InputContainer,
        output: OutputContainer,
        start: Fraction,
        end: Fraction | None,
        resets: Sequence[Reset],
    ) -> None:
        picture = video_stream(container, path)
        zero = clock_start(container, picture) * cast("Fraction", picture.time_base) + start
        last = None if end is None else end - start
        for stream in container.streams:
            stream.discard = av.stream.Discard.all
        for stream in container.streams.audio:
            if cast("AudioCodecContext | None", stream.codec_context) is None:
                self.problem = f"an audio track of {path} has a codec that this FFmpeg does not know"
                continue
            stream.discard = av.stream.Discard.default
            kind = _CopiedTrack if _can_be_copied(stream) else _EncodedTrack
            self._tracks[stream.index] = kind(stream, output, zero, last, SoundClock(resets))


def _can_be_copied(stream: AudioStream) -> bool:
    context = stream.codec_context
    codec = context.codec.canonical_name
    return codec in COPIED and (codec != "mp3" or context.sample_rate >= _LOWEST_MP3_RATE)


class _Track:
    """One audio track. `zero` is the time of the source that becomes zero, `last` the time in the output to end at."""

    def __init__(
        self, source: AudioStream, output: OutputContainer, zero: Fraction, last: Fraction | None, clock: SoundClock
    ) -> None:
        self.source = source
        self.ended = False
        self.damaged = 0
        self._zero = zero
        self._last = last
        self._clock = clock
        self._tick = cast("Fraction", source.time_base)
        self._target = self._add(output)
        self._target.metadata.update({k: v for k, v in source.metadata.items() if k in ("language", "title")})
        self._target.disposition = source.disposition

    def take(self, packet: Packet[AudioStream]) -> Iterator[TimedPacket]:
        """Packets of the output for a packet of the source; none for a damaged one."""
        if packet.is_corrupt:
            self.damaged += 1
        else:
            self._follow_clock(packet)
            yield from self._take(packet)

    def finish(self) -> Iterator[TimedPacket]:
        """What is still held back at the end."""
        return iter(())

    def _follow_clock(self, packet: Packet[AudioStream]) -> None:
        stamp = _stamp(packet)
        if stamp is None:
            return
        shift = round(self._clock.shift(stamp * self._tick, (packet.duration or 0) * self._tick) / self._tick)
        packet.pts = None if packet.pts is None else packet.pts - shift
        packet.dts = None if packet.dts is None else packet.dts - shift

    def _add(self, output: OutputContainer) -> AudioStream:
        raise NotImplementedError

    def _take(self, packet: Packet[AudioStream]) -> Iterator[TimedPacket]:
        raise NotImplementedError

    def _is_wanted(self, begin: Fraction, length: Fraction, margin: int) -> bool:
        """Whether sound at `begin` seconds of the output, `length` long, is to be heard or warms up the decoder."""
        if self._last is not None and begin >= self._last:
            self.ended = True
            return False
        return self._zero <= 0 or begin + length * (1 + margin) > 0


def _stamp(packet: Packet[AudioStream]) -> int | None:
    return packet.pts if packet.pts is not None else packet.dts


class _CopiedTrack(_Track):
    """Packets as they are, on a clock of samples: the milliseconds of Matroska alone would make the sound stutter.

    A packet that comes early or late by more than rounding explains is put where it belongs; one that lies before the
    packet before is left out.
    """

    def _add(self, output: OutputContainer) -> AudioStream:
        context = self.source.codec_context
        self._sample = Fraction(1, context.sample_rate)
        self._grain = int(self._tick / self._sample) + 1
        self._slip = int(max(self._tick, _ROUNDING) / self._sample) + 1
        self._packet_samples = context.frame_size or 0
        self._before: int | None = None
        self._expected = 0
        return output.add_stream_from_template(self.source)

    def _take(self, packet: Packet[AudioStream]) -> Iterator[TimedPacket]:
        stamp = _stamp(packet)
        if stamp is None:
            return
        begin = stamp * self._tick - self._zero
        length = (packet.duration or 0) * self._tick
        if not self._is_wanted(begin, length, _PRIMING_PACKETS):
            return
        at = round(begin / self._sample)
        if self._before is not None and abs(at - self._expected) <= self._slip:
            at = self._expected
        if self._before is not None and at <= self._before:
            return
        samples = round(length / self._sample)
        if abs(samples - self._packet_samples) <= self._grain:  # the last packet may be shorter
            samples = self._packet_samples
        packet.time_base = self._sample
        packet.duration = max(1, samples)
        packet.pts = packet.dts = at
        packet.stream = self._target
        self._before, self._expected = at, at + packet.duration
        yield at * self._sample, packet


class _EncodedTrack(_Track):
    def _add(self, output: OutputContainer) -> AudioStream:
        context = self.source.codec_context
        rate = next((r for r in _AAC_RATES if r <= context.sample_rate), _AAC_RATES[-1])
        layout = _AAC_LAYOUTS.get(context.channels, "stereo")
        target = output.add_stream("aac", rate=rate)
        target.codec_context.layout = layout
        target.codec_context.bit_rate = 96_000 * max(1, target.codec_context.layout.nb_channels)
        target.codec_context.open()
        self._graph: av.filter.Graph | None = None
        self._rate, self._layout = rate, layout
        self._next = 0
        self._sample = Fraction(1, rate)
        return target

    def _take(self, packet: Packet[AudioStream]) -> Iterator[TimedPacket]:
        try:
            frames = self.source.decode(packet)
        except NATIVE_ERRORS:
            self.damaged += 1
            return
        for frame in frames:
            yield from self._take_frame(frame)

    def finish(self) -> Iterator[TimedPacket]:
        if self._graph is not None:
            self._graph.push(None)
            yield from self._encode_ready(self._graph)
            yield from self._timed(self._target.encode(None))

    def _take_frame(self, frame: AudioFrame) -> Iterator[TimedPacket]:
        if frame.pts is None:
            return
        begin = frame.pts * self._tick - self._zero
        if not self._is_wanted(begin, Fraction(frame.samples, frame.sample_rate), 0):
            return
        if self._graph is None:
            self._graph = self._make_graph(frame)
            self._next = round(begin * frame.sample_rate)
        at = round(begin * frame.sample_rate)
        if at - self._next > _LONGEST_SILENCE * frame.sample_rate:
            self.damaged += 1
            return
        frame.time_base, frame.pts = Fraction(1, frame.sample_rate), at
        yield from self._fill(self._graph, frame, at)
        self._graph.push(frame)
        self._next = at + frame.samples
        yield from self._encode_ready(self._graph)

    def _fill(self, graph: av.filter.Graph, frame: AudioFrame, at: int) -> Iterator[TimedPacket]:
        """Silence up to less than a second before `frame`: all at once, an hour would take 700 MB."""
        second = frame.sample_rate
        while at - self._next > second:
            graph.push(_silence(frame, second, self._next))
            self._next += second
            yield from self._encode_ready(graph)

    def _make_graph(self, frame: AudioFrame) -> av.filter.Graph:
        """Resample, and fill gaps with silence, so that counting samples keeps the time."""
        graph = av.filter.Graph()
        nodes = [
            graph.add_abuffer(
                sample_rate=frame.sample_rate,
                format=frame.format.name,
                layout=frame.layout.name,
                time_base=Fraction(1, frame.sample_rate),
            ),
            graph.add("aresample", f"{self._rate}:async=1"),
            graph.add("aformat", f"sample_fmts=fltp:channel_layouts={self._layout}"),
            graph.add("asetnsamples", f"n={self._target.codec_context.frame_size}:p=0"),
            graph.add("abuffersink"),
        ]
        graph.link_nodes(*nodes).configure()
        return graph

    def _encode_ready(self, graph: av.filter.Graph) -> Iterator[TimedPacket]:
        while True:
            try:
                frame = cast("AudioFrame", graph.pull())
            except (av.BlockingIOError, av.EOFError):
                return
            yield from self._timed(self._target.encode(frame))

    def _timed(self, packets: list[Packet[AudioStream]]) -> Iterator[TimedPacket]:
        for packet in packets:
            if packet.pts is not None:
                yield packet.pts * packet.time_base, packet


def _silence(like: AudioFrame, samples: int, pts: int) -> AudioFrame:
    """A silent frame that goes on at `pts` in what `like` is a frame of."""
    frame = av.AudioFrame(like.format.name, like.layout.name, samples)
    for plane in frame.planes:
        plane.update((b"\x80" if like.format.name.startswith("u8") else b"\0") * plane.buffer_size)
    frame.sample_rate, frame.time_base, frame.pts = like.sample_rate, like.time_base, pts
    return frame
