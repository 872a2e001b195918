"""The output video of one source while it grows: closed parts, joined at the end.

Knows parts, the journal and the order of both. Knows nothing about encoding: that is `media/video_writer.py`.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.errors import MediaError, OutputError
from fashionseg.files import make_folder
from fashionseg.writers.names import frames_folder
from fashionseg.writers.records import FrameRecord, PartDone, VideoDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from fractions import Fraction
    from pathlib import Path

    from fashionseg.media.clock import Reset
    from fashionseg.media.frame import Source
    from fashionseg.media.video_reader import VideoReader
    from fashionseg.segment.types import Plan, SegmentOptions, Timings
    from fashionseg.writers.annotated import Finished
    from fashionseg.writers.folder import RunFolder

PART_FRAMES = 100
"""Frames of a part: what a killed run loses at most of a video. Each part begins with a key frame."""

PART_SUFFIX = ".mp4"


@dataclass(frozen=True, slots=True)
class ResumePoint:
    """Where to go on in a video.

    Attributes:
        part: number of the first part that is not finished.
        ordinal: number of the first kept frame that is not finished.
        first_index: that frame's index in the source is at least this.
        time: of the frame before, in seconds.
    """

    part: int = 0
    ordinal: int = 0
    first_index: int = 0
    time: Fraction | None = None


@dataclass(frozen=True, slots=True)
class VideoStart:
    """A video begins in the stream of items.

    Attributes:
        frames: how many frames its file promises to give, those done included; None: unknown.
        resets: where its clock was set anew among the frames read so far; grows while it is read.
    """

    source: Source
    start: ResumePoint
    size_hw: tuple[int, int]
    time_base: Fraction
    rate: Fraction
    sample_aspect_ratio: Fraction
    frames: int | None
    resets: Sequence[Reset]

    @classmethod
    def of(cls, source: Source, video: VideoReader, start: ResumePoint, options: SegmentOptions) -> VideoStart:
        """What the writer needs to know of an opened video."""
        frames = expected_frames(video.frame_count, video.average_rate, options)
        aspect = video.sample_aspect_ratio
        return cls(source, start, video.size_hw, video.time_base, video.average_rate, aspect, frames, video.resets)


@dataclass(frozen=True, slots=True)
class VideoEnd:
    """A video ends; `broken` says why it ended before its end, `remarks` what was odd about it."""

    source: Source
    broken: str | None = None
    remarks: tuple[str, ...] = ()


def expected_frames(count: int | None, rate: Fraction, options: SegmentOptions) -> int | None:
    """Frames a video will give under the options, as far as its header tells."""
    if count is None:
        return None
    first = min(count, int((options.start or 0) * rate))
    last = count if options.end is None else min(count, int(options.end * rate) + 1)
    return max(0, -(-(last - first) // options.vid_stride))


class VideoSink:
    """Takes the finished frames of one video in order."""

    def __init__(
        self,
        begin: VideoStart,
        plan: Plan,
        folder: RunFolder,
        options: SegmentOptions,
        timings: Timings,
        note: Callable[[str], None],
        *,
        on_gpu: bool,
    ) -> None:
        """`on_gpu` says where the model runs, `note` hears of sound that is missing."""
        self._begin = begin
        self._source = begin.source
        self._name = plan.outputs[begin.source.index]
        self._folder = folder
        self._options = options
        self._timings = timings
        self._note = note
        self._on_gpu = on_gpu
        self._saves = "video" in options.save
        self._part = begin.start.part
        self._frames = begin.start.ordinal
        self._time = begin.start.time
        self._records: list[FrameRecord] = []
        self._writer: Any = None

    @staticmethod
    def part_path(folder: RunFolder, source: Source, part: int) -> Path:
        """Where a part lies until the parts are joined."""
        return folder.part_path(source.index, part, PART_SUFFIX)

    def add(self, item: Finished) -> None:
        """The next frame: encoded, and noted once its part is closed.

        Raises:
            MediaError: it cannot be written into a video; what was added before can be.
        """
        if item.place.ordinal != self._frames:
            raise OutputError(f"frame {self._frames} of {self._source.path} is missing; begin anew with --restart")
        if item.image is not None:
            self._check_gap(item.record.time)
            with self._timings("encode"), self._dropping_the_part():
                self._open_writer(item.size_hw).write(item.image, item.place.pts)
        self._records.append(item.record)
        self._time = item.record.time
        self._frames += 1
        if len(self._records) == PART_FRAMES:
            self._close_part()

    def finish(self, broken: str | None) -> VideoDone | None:
        """Close the last part, join the parts; None where there was no frame at all."""
        if self._records:
            self._close_part()
        if not self._frames:
            return None
        output = self._join() if self._saves else None
        done = VideoDone(self._source.index, self._frames, output, broken)
        self._folder.add(done)
        self._folder.drop_parts(self._source.index)
        return done

    def cut(self, reason: str) -> VideoDone | None:
        """End the video here, as one that breaks off; None where nothing is kept."""
        try:
            return self.finish(reason)
        except MediaError:  # not even what there is can be joined
            self._folder.forget_video(self._source.index)
            self._folder.drop_parts(self._source.index)
            return None

    def abandon(self) -> None:
        """Drop the part that is not closed; it is done again when the run goes on."""
        if self._writer is not None:
            self._writer.abandon()
            self._writer = None

    @contextlib.contextmanager
    def _dropping_the_part(self) -> Iterator[None]:
        """Forget the part that is not closed where its writer fails: what is in it is not known."""
        try:
            yield
        except MediaError:
            self.abandon()
            self._frames -= len(self._records)
            self._records.clear()
            raise

    def _check_gap(self, time: Fraction | None) -> None:
        from fashionseg.media.output import Timescale

        if time is not None and self._time is not None:
            Timescale.of(self._begin.time_base).check_gap(time - self._time)

    def _open_writer(self, size_hw: tuple[int, int]) -> Any:
        if self._writer is None:
            from fashionseg.media.encoders import choose_encoder
            from fashionseg.media.video_writer import PartWriter

            path = self.part_path(self._folder, self._source, self._part)
            encoder = choose_encoder(self._options.encoder, size_hw, on_gpu=self._on_gpu)
            make_folder(path.parent, inside=self._folder.root)
            begin = self._begin
            self._writer = PartWriter(
                path,
                size_hw,
                begin.time_base,
                begin.rate,
                encoder=encoder,
                sample_aspect_ratio=begin.sample_aspect_ratio,
            )
        return self._writer

    def _close_part(self) -> None:
        if self._writer is not None:
            with self._timings("encode"), self._dropping_the_part():
                self._writer.close()
            self._writer = None
        records = tuple(self._records)
        folder = frames_folder(self._name) if "frames" in self._options.save else None
        self._folder.add(PartDone(self._source.index, self._part, self._begin.size_hw, records, folder))
        self._records.clear()
        self._part += 1

    def _join(self) -> str:
        from fashionseg.media.joining import join_parts

        paths = [self.part_path(self._folder, self._source, part) for part in range(self._part)]
        target = self._folder.root / self._name
        make_folder(target.parent, inside=self._folder.root)
        with self._timings("join"):
            joined = join_parts(
                paths,
                target,
                self._source.path,
                start=self._options.start,
                end=self._options.end,
                beside=self._folder.temporary,
                resets=tuple(self._begin.resets),
            )
        if joined.sound_problem:
            self._note(f"{target}: {joined.sound_problem}")
        return self._name
