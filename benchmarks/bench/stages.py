"""What each stage of the pipeline costs alone: processor and wall time of a frame, nothing else going on.

Their processor times together bound the frames a second that the cores can do: `bound_fps`. Knows the stages of
`fashionseg.segment.run` by what they call. Knows nothing about threads and queues.
"""

from __future__ import annotations

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.backends.registry import may_run_on_gpu
from fashionseg.drawing import Annotator
from fashionseg.inference import Inferred, Prepared, Runner, form_groups, in_order, prepare_frame
from fashionseg.masks import paste_masks
from fashionseg.media.frame import Frame, Source
from fashionseg.media.video_reader import VideoReader
from fashionseg.media.video_writer import PartWriter
from fashionseg.writers.annotated import predictions_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fashionseg.backends import Backend
    from fashionseg.media.video_reader import VideoFrame

STAGES = ("decode", "preprocess", "infer", "draw", "write")
CHUNK = 16
"""About so many frames go through one stage before the next has its turn: caches are cold as in a run, memory is
bounded."""


@dataclass(slots=True)
class StageCost:
    """Seconds of one stage, summed over `frames` frames: of the processor (all threads of the process), of the wall."""

    cpu: float = 0.0
    wall: float = 0.0
    frames: int = 0

    @contextmanager
    def __call__(self, frames: int) -> Iterator[None]:
        """Add what happens inside the block."""
        began, began_cpu = time.perf_counter(), time.process_time()
        yield
        self.wall += time.perf_counter() - began
        self.cpu += time.process_time() - began_cpu
        self.frames += frames


def bound_fps(costs: dict[str, StageCost], cores: int) -> float:
    """Frames a second if all cores did nothing but these stages."""
    return cores / sum(cost.cpu / cost.frames for cost in costs.values())


def stages_alone(
    path: str | Path, backend: Backend, *, frames: int, batch: int = 1, conf: float = 0.5
) -> dict[str, StageCost]:
    """Run the stages one after the other over the first frames of a video.

    Args:
        path: the video.
        backend: as `segment` opens it; a GPU's gets as many runs at a time as it takes, a CPU's one: there the
            processor time counts.
        frames: how many at most.
        batch: pictures a run of the model.
        conf: least score of a detection that is drawn.
    """
    costs = {stage: StageCost() for stage in STAGES}
    names = backend.spec.class_names
    streams = backend.streams if may_run_on_gpu(backend.device) else 1
    turn = batch * streams
    chunk_size = -(-CHUNK // turn) * turn  # whole batches
    source = Source(0, Path(path), Path(path).name, "video")
    # One thread each: others would go on working, unseen, while the next stage is timed.
    with VideoReader(path, threads=1) as video, tempfile.TemporaryDirectory() as folder:
        part = Path(folder) / "part.mp4"
        with PartWriter(part, video.size_hw, video.time_base, video.average_rate, threads=1) as writer:
            decoded = islice(video, frames)
            for chunk in _chunks(decoded, chunk_size, costs["decode"]):
                shown = [Frame(one.image, source, one.index, one.time) for one in chunk]
                with costs["preprocess"](len(chunk)):
                    prepared = [prepare_frame(frame, backend.spec, 0) for frame in shown]
                with costs["infer"](len(chunk)):
                    inferred = _infer(prepared, backend, batch, streams)
                with costs["draw"](len(chunk)):
                    _draw(inferred, Annotator(names), conf)
                with costs["write"](len(chunk)):
                    for one in chunk:
                        writer.write(one.image, one.pts)
            with costs["write"](0):
                writer.close()
    return costs


def _chunks(frames: Iterable[VideoFrame], size: int, cost: StageCost) -> Iterator[list[VideoFrame]]:
    iterator = iter(frames)
    while True:
        with cost(0):
            chunk = list(islice(iterator, size))
        cost.frames += len(chunk)
        if not chunk:
            return
        yield chunk


def _infer(prepared: list[Prepared], backend: Backend, batch: int, streams: int) -> list[Inferred]:
    groups = form_groups(iter(prepared), backend.spec.size_divisor, batch)
    if streams == 1:
        return list(in_order(map(Runner(backend), groups)))
    with ThreadPoolExecutor(streams) as pool:
        return list(in_order(pool.map(Runner(backend), groups)))


def _draw(items: list[Inferred], annotator: Annotator, conf: float) -> None:
    for item in items:
        detections = item.detections.filtered(conf, None)
        pasted = paste_masks(detections)
        predictions_of(detections, pasted)
        annotator.draw(item.frame.image, detections, pasted)


def clip_end(path: str | Path, frames: int) -> Fraction | None:
    """The time at which a video has given `frames` frames, for `SegmentOptions.end`; None where it has no more."""
    with VideoReader(path) as video:
        count = video.frame_count
        if count is not None and count <= frames:
            return None
        return Fraction(frames) / video.average_rate
