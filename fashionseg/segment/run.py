"""One run: decode, preprocess, infer, draw and write at the same time, from sources to journal.

    decode ─► preprocess ─► infer ─► draw ─► write (the calling thread)

Items flow in the order of input. A source that fails becomes a `Failed` item at its place and costs itself only; a
failure of the model, the device or the output ends the run.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.backends.registry import gpu_present, open_backend, parse_device
from fashionseg.errors import FashionsegError, MediaError
from fashionseg.inference import WINDOW_BATCHES, Inferred, Prepared, infer, prepare_frame
from fashionseg.media.frame import Frame
from fashionseg.pipeline import Pipeline
from fashionseg.segment.types import GPU_BATCH, Failure, Summary, Timings
from fashionseg.segment.video import PART_FRAMES, ResumePoint, VideoEnd, VideoSink, VideoStart
from fashionseg.writers.annotated import Artist, Finished
from fashionseg.writers.records import PhotoDone

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator

    from fashionseg.backends import Backend
    from fashionseg.media.frame import Source
    from fashionseg.model import ModelFile
    from fashionseg.segment.types import Plan, Reporter, SegmentOptions
    from fashionseg.writers.folder import RunFolder

DRAW_WORKERS = 2
PREPARE_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Place:
    """Where a picture belongs: `ordinal` among the kept frames of its video, `pts` in the video's time base.

    `done` says that an earlier run wrote it: it is inferred again only because a picture of its batch is not done.
    """

    ordinal: int = 0
    pts: int = 0
    done: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """A source that failed, `frames` of it finished by an earlier run (None: a photo, or nothing finished)."""

    source: Source
    reason: str
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class PhotoTask:
    """A photo to be read."""

    source: Source
    block: int
    done: bool


@dataclass(frozen=True, slots=True)
class FrameTask:
    """A decoded video frame."""

    frame: Frame
    place: Place


class Run:
    """One run over a plan; call `run` once."""

    def __init__(
        self,
        plan: Plan,
        folder: RunFolder,
        model: ModelFile,
        options: SegmentOptions,
        labels: frozenset[int] | None,
        reporter: Reporter,
        stop: threading.Event,
        backend: Callable[[ModelFile], Backend] | None = None,
    ) -> None:
        self._plan = plan
        self._folder = folder
        self._model = model
        self._options = options
        self._labels = labels
        self._reporter = reporter
        self._stop = stop
        self._open = backend or functools.partial(
            open_backend, device=options.device, threads=options.threads, note=reporter.note
        )
        self._timings = Timings()
        self._batch = options.batch or _default_batch(options.device)
        self._artist = Artist(plan, folder, model.spec, options, self._timings)
        self._sink: VideoSink | None = None
        self._summary = Summary(plan, class_names=model.spec.class_names, model=model.spec.name)

    def run(self) -> Summary:
        """Do what is not done yet; returns the summary of this run (without the final files)."""
        summary = self._summary
        summary.resumed = self._folder.resumed
        self._reporter.begin(self._plan, sum(map(self._is_done, self._plan.sources)))
        with Pipeline() as pipeline:
            summary.clocks = pipeline.clocks
            decoded = pipeline.stage("decode", self._decode())
            prepared = pipeline.map("preprocess", self._prepare, decoded, PREPARE_WORKERS)
            inferred = pipeline.stage("infer", self._infer(prepared))
            drawn = pipeline.map("draw", self._draw, inferred, DRAW_WORKERS)
            try:
                for item in drawn:
                    self._write(item)
            finally:
                if self._sink is not None:
                    self._sink.abandon()
        summary.interrupted = self._stop.is_set() and not self._complete()
        summary.timings = self._timings.seconds
        return summary

    def _is_done(self, source: Source) -> bool:
        if source.kind == "photo":
            return self._folder.photo_done(source.index)
        return self._folder.video_done(source.index) is not None

    def _complete(self) -> bool:
        failed = {failure.path for failure in self._summary.failures}
        return all(self._is_done(source) or str(source.path) in failed for source in self._plan.sources)

    # decode: one thread; photos are only named here, they are read by the next stage's threads

    def _decode(self) -> Iterator[Any]:
        blocks = self._photo_blocks()
        for source in self._plan.sources:
            if self._stop.is_set():
                return
            if source.kind == "photo":
                block, needed = blocks[source.index]
                if needed:
                    yield PhotoTask(source, block, self._folder.photo_done(source.index))
            else:
                yield from self._decode_video(source)

    def _photo_blocks(self) -> dict[int, tuple[int, bool]]:
        """Block of each photo, and whether any photo of that block is still to do.

        Blocks are windows over the photos in order, so that batches are the same in a run that goes on.
        """
        window = 1 if self._batch == 1 else self._batch * WINDOW_BATCHES
        photos = [source.index for source in self._plan.sources if source.kind == "photo"]
        blocks = {}
        for first in range(0, len(photos), window):
            members = photos[first : first + window]
            needed = not all(map(self._folder.photo_done, members))
            blocks.update(dict.fromkeys(members, (first, needed)))
        return blocks

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
        try:
            with VideoReader(source.path) as video:
                yield VideoStart.of(source, video, start, options)
                began = True
                frames = video.frames(options.vid_stride, options.start, options.end, first=start.first_index)
                for ordinal, decoded in enumerate(self._timed(frames), start.ordinal):
                    if self._stop.is_set():
                        return
                    frame = Frame(decoded.image, source, decoded.index, decoded.time)
                    yield FrameTask(frame, Place(ordinal, decoded.pts))
            yield VideoEnd(source)
        except MediaError as error:
            yield VideoEnd(source, str(error)) if began else Failed(source, str(error))

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
        finished = (parts - 1) * PART_FRAMES + len(last.frames)
        return ResumePoint(parts, finished, last.frames[-1].index + 1)

    # preprocess

    def _prepare(self, item: Any) -> Any:
        if isinstance(item, PhotoTask):
            return self._prepare_photo(item)
        if isinstance(item, FrameTask):
            block = (item.frame.source.index, item.place.ordinal // PART_FRAMES)
            with self._timings("preprocess"):
                return prepare_frame(item.frame, self._model.spec, block, item.place)
        return item

    def _prepare_photo(self, task: PhotoTask) -> Prepared | Failed:
        from fashionseg.media.images import read_image

        try:
            with self._timings("decode"):
                image = read_image(task.source.path)
        except MediaError as error:
            return Failed(task.source, str(error))
        except MemoryError:
            return Failed(task.source, f"{task.source.path} does not fit into memory")
        with self._timings("preprocess"):
            return prepare_frame(
                Frame(image, task.source), self._model.spec, ("photos", task.block), Place(done=task.done)
            )

    # infer

    def _infer(self, prepared: Iterable[Any]) -> Iterator[Any]:
        with self._open(self._model) as backend:
            self._summary.backend = backend.description
            timed = _Timed(backend, self._timings)
            yield from infer(self._until_stopped(prepared), timed, self._batch, self._reporter.note)

    def _until_stopped(self, items: Iterable[Any]) -> Iterator[Any]:
        """The items until a stop is asked for: what the model has begun is finished, nothing more is begun."""
        for item in items:
            if self._stop.is_set():
                return
            yield item

    # draw

    def _draw(self, item: Any) -> Any:
        if not isinstance(item, Inferred):
            return item
        detections = item.detections.filtered(self._options.conf, self._labels)
        return self._artist.finish(item, detections)

    # write: the calling thread

    def _write(self, item: Any) -> None:
        if isinstance(item, Finished):
            self._write_finished(item)
        elif isinstance(item, VideoStart):
            self._reporter.source(item.source, item.frames, item.start.ordinal)
            self._sink = VideoSink(item, self._plan, self._folder, self._options, self._timings, self._reporter.note)
        elif isinstance(item, VideoEnd):
            self._end_video(item)
        elif isinstance(item, Failed):
            self._fail(Failure(str(item.source.path), item.reason, item.frames))

    def _write_finished(self, item: Finished) -> None:
        summary = self._summary
        source = item.source
        if item.place.done:
            return
        summary.frames += 1
        summary.inexact += not item.nms_exact
        if source.kind == "photo":
            self._reporter.source(source, 1, 0)
            self._folder.add(PhotoDone(source.index, item.size_hw, item.output, item.record))
            self._reporter.advance(source, len(item.record.predictions))
            self._reporter.finished(source, self._plan.root / item.output if item.output else None)
        else:
            self._the_sink().add(item)
            self._reporter.advance(source, len(item.record.predictions))

    def _the_sink(self) -> VideoSink:
        if self._sink is None:
            raise FashionsegError("a video frame arrived before its video began")
        return self._sink

    def _end_video(self, end: VideoEnd) -> None:
        done = self._the_sink().finish(end.broken)
        self._sink = None
        if done is None or end.broken:
            frames = done.frames if done else 0
            reason = end.broken or f"{end.source.path} has no frame to segment"
            self._fail(Failure(str(end.source.path), reason, frames))
        if done is not None:
            self._reporter.finished(end.source, self._plan.root / done.output if done.output else None)

    def _fail(self, failure: Failure) -> None:
        self._summary.failures.append(failure)
        self._reporter.failed(failure)


class _Timed:
    """A backend whose runs are timed."""

    def __init__(self, backend: Backend, timings: Timings) -> None:
        self._backend = backend
        self._timings = timings
        self.spec = backend.spec
        self.device = backend.device
        self.description = backend.description

    def run(self, images: Any, image_sizes: Any) -> Any:
        with self._timings("infer"):
            return self._backend.run(images, image_sizes)

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> _Timed:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _default_batch(device: str) -> int:
    kind = parse_device(device).kind
    return GPU_BATCH if kind in ("cuda", "trt") or (kind == "auto" and gpu_present()) else 1
