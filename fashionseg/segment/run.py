"""One run: decode, preprocess, infer, draw and write at the same time, from sources to journal.

    decode ─► preprocess ─► infer ─► draw ─► write (the calling thread)

Items flow in the order of input. A source that fails, in whatever stage, becomes a `Failed` item at its place and costs
itself only; a failure of the model, the device or the output ends the run. The first two stages are in `decode.py`.
"""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from fashionseg.backends.registry import may_run_on_gpu
from fashionseg.cores import usable_cores
from fashionseg.errors import FashionsegError, MediaError
from fashionseg.inference import Inferred, Runner, form_groups, in_order
from fashionseg.pipeline import Pipeline, waiting
from fashionseg.segment.decode import MAX_BYTES_UNDER_WAY, Decoder, Failed
from fashionseg.segment.types import GPU_BATCH, Failure, Summary, Timings
from fashionseg.segment.video import VideoEnd, VideoSink, VideoStart
from fashionseg.writers.annotated import Artist, Finished
from fashionseg.writers.records import PhotoDone, PhotoFailed

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

    from fashionseg.backends import Backend
    from fashionseg.inference import Group
    from fashionseg.media.frame import Source
    from fashionseg.model import ModelFile
    from fashionseg.segment.types import Plan, Reporter, SegmentOptions
    from fashionseg.writers.folder import RunFolder
    from fashionseg.writers.records import VideoDone

INFER_WORKERS = 2


def prepare_workers(cores: int) -> int:
    """Threads that decode photos and resize: native code, they run side by side."""
    return max(2, min(8, cores // 2))


def draw_workers(cores: int) -> int:
    """Threads that paste, encode and draw: partly Python, more only get into each other's way.

    100 small garments a frame on 2 cores: 41 ms with one, 53 with two, 65 with three.
    """
    return 1 if cores <= 2 else 2


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
        device: str,
        load: Callable[[], Backend],
    ) -> None:
        """`device` is where the model runs, `load` loads it there; the rest as in `segment`."""
        self._plan = plan
        self._folder = folder
        self._model = model
        self._options = options
        self._labels = labels
        self._reporter = reporter
        self._stop = stop
        self._device = device
        self._load_backend = load
        self._timings = Timings()
        self._batch = options.batch or default_batch(device)
        self._artist = Artist(plan, folder, model.spec, options, self._timings)
        self._sink: VideoSink | None = None
        self._cut: set[int] = set()
        self._summary = Summary(plan, class_names=model.spec.class_names, model=model.spec.name)

    def run(self) -> Summary:
        """Do what is not done yet; returns the summary of this run (without the final files)."""
        summary, cores = self._summary, usable_cores()
        summary.resumed = self._folder.resumed
        self._reporter.begin(self._plan, sum(map(self._is_done, self._plan.sources)))
        with ExitStack() as closing, Pipeline() as pipeline:
            summary.clocks = pipeline.clocks
            runner = pipeline.task("load", functools.partial(self._load, closing))
            self._budget = pipeline.budget(MAX_BYTES_UNDER_WAY)
            self._decoder = self._make_decoder()
            decoded = pipeline.stage("decode", self._decoder.items())
            prepared = pipeline.map("preprocess", self._decoder.prepare, decoded, prepare_workers(cores))
            groups = self._until_stopped(form_groups(prepared, self._model.spec.size_divisor, self._batch))
            inferred = pipeline.map("infer", functools.partial(_infer, runner), groups, INFER_WORKERS)
            drawn = pipeline.map("draw", self._draw, in_order(inferred), draw_workers(cores))
            try:
                for item in pipeline.last("write", drawn):
                    self._write(item)
            finally:
                if self._sink is not None:
                    self._sink.abandon()
        summary.interrupted = self._stop.is_set() and not self._complete()
        summary.timings = self._timings.seconds
        return summary

    def _make_decoder(self) -> Decoder:
        spec = self._model.spec
        batch, budget, timings = self._batch, self._budget, self._timings
        return Decoder(self._plan, self._folder, spec, self._options, batch, budget, timings, self._stop)

    def _is_done(self, source: Source) -> bool:
        if source.kind == "photo":
            return self._folder.photo_done(source.index)
        return self._folder.video_done(source.index) is not None

    def _complete(self) -> bool:
        failed = {failure.path for failure in self._summary.failures}
        return all(self._is_done(source) or str(source.path) in failed for source in self._plan.sources)

    # infer

    def _load(self, closing: ExitStack) -> Runner:
        """Load the model, while the first pictures are decoded."""
        backend = closing.enter_context(self._load_backend())
        self._summary.backend = backend.description
        return Runner(backend, self._reporter.note, functools.partial(self._timings, "infer"))

    def _until_stopped(self, groups: Iterable[Group]) -> Iterator[Group]:
        """The groups until a stop is asked for: what the model has begun is finished, nothing more is begun.

        Nor the groups that are not full: a run that goes on would form others.
        """
        for group in groups:
            if self._stop.is_set():
                return
            yield group

    # draw

    def _draw(self, item: Any) -> Any:
        if not isinstance(item, Inferred):
            return item
        detections = item.detections.filtered(self._options.conf, self._labels)
        source = item.frame.source
        try:
            return self._artist.finish(item, detections)
        except MediaError as error:
            return Failed(source, f"{source.path}: {error}", weight=item.tag.weight)
        except MemoryError:
            if source.kind == "video":
                raise
            return Failed(source, f"{source.path} does not fit into memory", weight=item.tag.weight)

    # write: the calling thread

    def _write(self, item: Any) -> None:
        if isinstance(item, Finished):
            self._budget.give_back(item.place.weight)
            self._write_finished(item)
        elif isinstance(item, VideoStart):
            self._reporter.source(item.source, item.frames, item.start.ordinal)
            self._sink = self._make_sink(item)
        elif isinstance(item, VideoEnd):
            self._end_video(item)
        elif isinstance(item, Failed):
            self._budget.give_back(item.weight)
            self._write_failed(item)

    def _write_finished(self, item: Finished) -> None:
        source = item.source
        if item.place.done or source.index in self._cut:
            return
        if source.kind == "photo":
            self._reporter.source(source, 1, 0)
            self._folder.add(PhotoDone(source.index, item.size_hw, item.output, item.record))
        else:
            try:
                self._the_sink().add(item)
            except MediaError as error:
                self._cut_video(source, error)
                return
        self._summary.frames += 1
        self._summary.inexact += not item.nms_exact
        self._reporter.advance(source, len(item.record.predictions))
        if source.kind == "photo":
            self._reporter.finished(source, self._plan.root / item.output if item.output else None)

    def _write_failed(self, item: Failed) -> None:
        source = item.source
        if source.index in self._cut:
            return
        if self._sink is not None and source.kind == "video":  # one of its frames
            self._cut_video(source, MediaError(item.reason))
            return
        if source.kind == "photo":
            if self._folder.photo_done(source.index):
                return  # it was finished before, and read again for its batch alone
            if not self._folder.photo_failed(source.index):
                self._folder.add(PhotoFailed(source.index, item.reason))
        self._fail(Failure(str(source.path), item.reason, item.frames))

    def _make_sink(self, begin: VideoStart) -> VideoSink:
        on_gpu, note = may_run_on_gpu(self._device), self._reporter.note
        return VideoSink(begin, self._plan, self._folder, self._options, self._timings, note, on_gpu=on_gpu)

    def _the_sink(self) -> VideoSink:
        if self._sink is None:
            raise FashionsegError("a video frame arrived before its video began")
        return self._sink

    def _end_video(self, end: VideoEnd) -> None:
        if end.source.index in self._cut:
            return
        try:
            done = self._the_sink().finish(end.broken)
        except MediaError as error:
            self._cut_video(end.source, error)
            return
        self._sink = None
        for remark in end.remarks:
            self._reporter.note(remark)
        reason = end.broken or (None if done else f"{end.source.path} has no frame to segment")
        self._close_video(end.source, done, reason)

    def _cut_video(self, source: Source, error: MediaError) -> None:
        """End a video whose next frames cannot be written, as one that breaks off there."""
        sink, self._sink = self._the_sink(), None
        self._cut.add(source.index)
        self._decoder.give_up(source)
        reason = f"{source.path} cannot be written to its end: {error}"
        self._close_video(source, sink.cut(reason), reason)

    def _close_video(self, source: Source, done: VideoDone | None, reason: str | None) -> None:
        if reason is not None:
            self._fail(Failure(str(source.path), reason, done.frames if done else 0))
        if done is not None:
            self._reporter.finished(source, self._plan.root / done.output if done.output else None)

    def _fail(self, failure: Failure) -> None:
        self._summary.failures.append(failure)
        self._reporter.failed(failure)


def _infer(runner: Future[Runner], group: Group) -> Group:
    with waiting("starved"):
        run = runner.result()
    return run(group)


def default_batch(device: str) -> int:
    """Pictures a run where the user says nothing and the model runs on `device`."""
    return GPU_BATCH if may_run_on_gpu(device) else 1
