"""The first half of a run: from sources to pictures ready for the model, in the order of input.

Knows what an earlier run has done and where a video goes on. A source that fails becomes a `Failed` item at its place
and costs itself only. Knows nothing about models beyond their resize rule, and nothing about drawing or writing.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.errors import MediaError
from fashionseg.inference import WINDOW_BATCHES, Prepared, prepare_frame
from fashionseg.media.frame import Frame
from fashionseg.segment import video as video_module
from fashionseg.segment.video import ResumePoint, VideoEnd, VideoSink, VideoStart

if TYPE_CHECKING:
    import threading
    from collections.abc import Hashable, Iterable, Iterator

    from fashionseg.media.frame import Source
    from fashionseg.model import ModelSpec
    from fashionseg.pipeline import Budget
    from fashionseg.segment.types import Plan, SegmentOptions, Timings
    from fashionseg.writers.folder import RunFolder

MAX_BYTES_UNDER_WAY = 3 * 2**29
"""Pixels of decoded pictures between reading and writing: more than may wait for a batch (`MAX_HELD_BYTES`)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture belongs: `ordinal` among the kept frames of its video, `pts` in the video's time base.

    `done` says that an earlier run wrote it: it is inferred again only because a picture of its batch is not done.
    `weight` is what it took of the budget, in bytes.
    """

    ordinal: int = 0
    pts: int = 0
    done: bool = False
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """A source that failed, `frames` of it finished by an earlier run (None: a photo, or nothing finished)."""

    source: Source
    reason: str
    frames: int | None = None
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PhotoTask:
    """A photo to be read."""

    source: Source
    block: Hashable
    place: Place


@dataclass(frozen=True, slots=True)
class FrameTask:
    """A decoded video frame."""

    frame: Frame
    place: Place


class Decoder:
    """Reads the sources of one run: `items` in one thread, `prepare` in several."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        spec: ModelSpec,
        options: SegmentOptions,
        batch: int,
        budget: Budget,
        timings: Timings,
        stop: threading.Event,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._spec = spec
        self._options = options
        self._batch = batch
        self._budget = budget
        self._timings = timings
        self._stop = stop
        self._given_up: set[int] = set()

    def give_up(self, source: Source) -> None:
        """No more frames of this video are wanted. May be called from any thread."""
        self._given_up.add(source.index)

    def items(self) -> Iterator[Any]:
        """What is to be done: photos by name (`prepare` reads them, in its own threads), videos frame by frame."""
        blocks = self._photo_blocks()
        for source in self._plan.sources:
            if self._stop.is_set():
                return
            if source.kind == "video":
                yield from self._decode_video(source)
            elif source.index in blocks:
                weight = self._weight_of_photo(source)
                self._budget.take(weight)
                place = Place(done=self._folder.photo_done(source.index), weight=weight)
                yield PhotoTask(source, blocks[source.index], place)

    def _photo_blocks(self) -> dict[int, Hashable]:
        """The block of each photo that is to be read.

        Blocks are windows over the photos in order, so that batches are the same in a run that goes on: a window with
        a photo that was not tried is done whole. Of others, photos that failed are tried again, each alone. A window
        ends at a video, whether that is still to be done or not.
        """
        window = 1 if self._batch == 1 else self._batch * WINDOW_BATCHES
        blocks: dict[int, Hashable] = {}
        for kind, neighbours in itertools.groupby(self._plan.sources, key=lambda source: source.kind):
            photos = [source.index for source in neighbours] if kind == "photo" else []
            for first in range(0, len(photos), window):
                members = photos[first : first + window]
                left = [photo for photo in members if not self._folder.photo_done(photo)]
                if not all(map(self._folder.photo_failed, left)):
                    blocks.update(dict.fromkeys(members, members[0]))
                else:
                    blocks.update({photo: ("again", photo) for photo in left})
        return blocks

    def _weight_of_photo(self, source: Source) -> int:
        """Bytes of a photo's pixels, from its header alone; 0 where it cannot be told: reading it says why."""
        from fashionseg.media.images import image_size

        try:
            with self._timings("decode"):
                height, width = image_size(source.path)
        except MediaError:
            return 0
        return height * width * 3

    def _decode_video(self, source: Source) -> Iterator[Any]:
        from fashionseg.media.video_reader import VideoReader

        done = self._folder.video_done(source.index)
        if done is not None:
            if done.broken:
                yield Failed(source, done.broken, done.frames)
            return
        start = self._resume_point(source)
        options = self._options
        began = False
        reason = None
        remarks: list[str] = []
        try:
            with VideoReader(source.path) as video:
                yield VideoStart.of(source, video, start, options)
                began = True
                frames = video.frames(
                    options.vid_stride,
                    options.start,
                    options.end,
                    first=start.first_index,
                    stopped=functools.partial(self._is_unwanted, source),
                )
                for ordinal, decoded in enumerate(self._timed(frames), start.ordinal):
                    remarks = video.remarks
                    weight = decoded.image.nbytes
                    self._budget.take(weight)
                    if self._is_unwanted(source):
                        self._budget.give_back(weight)
                        break
                    frame = Frame(decoded.image, source, decoded.index, decoded.time)
                    yield FrameTask(frame, Place(ordinal, decoded.pts, weight=weight))
        except MediaError as error:
            reason = str(error)
        if self._stop.is_set():
            return  # whether the video has ended is not known
        if began:
            yield VideoEnd(source, reason, tuple(remarks))
        elif reason is not None:
            yield Failed(source, reason)

    def _is_unwanted(self, source: Source) -> bool:
        return self._stop.is_set() or source.index in self._given_up

    def _timed(self, frames: Iterable[Any]) -> Iterator[Any]:
        iterator = iter(frames)
        while True:
            with self._timings("decode"):
                frame = next(iterator, None)
            if frame is None:
                return
            yield frame

    def _resume_point(self, source: Source) -> ResumePoint:
        """Where to go on in a video that is not finished."""
        folder = self._folder
        parts = folder.parts_done(source.index)
        if "video" in self._options.save:
            paths = [VideoSink.part_path(folder, source, part) for part in range(parts)]
            if not all(path.is_file() for path in paths):
                folder.forget_video(source.index)
                parts = 0
        last = folder.last_part(source.index) if parts else None
        if last is None:
            return ResumePoint()
        finished = (parts - 1) * video_module.PART_FRAMES + len(last.frames)
        return ResumePoint(parts, finished, last.frames[-1].index + 1, last.frames[-1].time)

    def prepare(self, item: Any) -> Any:
        """Read a photo, resize a picture for the model; other items pass through."""
        if isinstance(item, PhotoTask):
            return self._prepare_photo(item)
        if isinstance(item, FrameTask):
            block = (item.frame.source.index, item.place.ordinal // video_module.PART_FRAMES)
            with self._timings("preprocess"):
                return prepare_frame(item.frame, self._spec, block, item.place)
        return item

    def _prepare_photo(self, task: PhotoTask) -> Prepared | Failed:
        from fashionseg.media.images import read_image

        try:
            with self._timings("decode"):
                image = read_image(task.source.path)
            with self._timings("preprocess"):
                return prepare_frame(Frame(image, task.source), self._spec, ("photos", task.block), task.place)
        except MediaError as error:
            reason = str(error)
        except MemoryError:
            reason = f"{task.source.path} does not fit into memory"
        # At once: behind a photo that waits for a full batch, it would be held until the next good photo comes.
        self._budget.give_back(task.place.weight)
        return Failed(task.source, reason)
