"""How fast `segment` is from file to file: frames a second of a real video, decode to encode, and where the time goes.

`measure` is meant for a process of its own (see `child.py`): memory is that of the process. Knows `segment` and its
clocks. Knows nothing about how the stages do their work.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.backends.registry import may_run_on_gpu, open_backend
from fashionseg.benchmarks.bench.machine import peak_memory_bytes
from fashionseg.benchmarks.bench.stages import bound_fps, clip_end, stages_alone
from fashionseg.cores import usable_cores
from fashionseg.errors import MediaError
from fashionseg.model import read_model
from fashionseg.segment import SegmentOptions, segment
from fashionseg.segment.run import default_batch
from fashionseg.segment.types import SilentReporter

if TYPE_CHECKING:
    from fashionseg.backends import Backend
    from fashionseg.media.frame import Source
    from fashionseg.model import ModelFile
    from fashionseg.segment.types import Summary

MOST_ALONE = 96
"""Frames that go through the stages one by one, or two batches of the model."""


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Segment a video once.

    Settings: `model` (path or None), `device`, `threads` (or None), `batch` (or None), `source` (a video), `frames` (at
    most so many), `alone` (whether to measure the stages one by one, too).
    """
    model = Path(settings["model"]) if settings["model"] else None
    source, frames = settings["source"], settings["frames"]
    options = SegmentOptions(
        model=model,
        device=settings["device"],
        threads=settings["threads"],
        batch=settings["batch"],
        end=clip_end(source, frames),
    )
    watch, backends, cpu = Watch(), [], time.process_time()

    def opened(model: ModelFile) -> Backend:
        backends.append(_open(model, settings))
        return backends[0]

    with tempfile.TemporaryDirectory() as folder:
        summary = segment([source], Path(folder) / "out", options, watch, open_backend=opened)
        end = time.perf_counter()
    cpu = time.process_time() - cpu
    if summary.failures:
        raise MediaError(summary.failures[0].reason)
    return {
        "fps": watch.fps(end, _batch(settings, backends[0])) or summary.frames / summary.seconds,
        "frames": summary.frames,
        "cpu_ms": 1000 * cpu / summary.frames,
        "memory_bytes": peak_memory_bytes(),
        "stages": stage_clocks(summary, backends[0].streams),
        "alone": _alone(settings) if settings["alone"] else None,
    }


class Watch(SilentReporter):
    """When each frame was written."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def advance(self, source: Source, detections: int) -> None:
        """See `fashionseg.segment.types.Reporter`."""
        self.times.append(time.perf_counter())

    def fps(self, end: float, batch: int) -> float | None:
        """Frames a second from the last frame of the first batch to `end`; None for a single frame.

        Loading the model lies before that; so does the work on the frames that came out of it together with the first.
        """
        first = min(batch, len(self.times) // 2)
        return (len(self.times) - first) / (end - self.times[first - 1]) if first else None


def stage_clocks(summary: Summary, streams: int) -> list[dict[str, Any]]:
    """Of each stage, in order: threads, and what share of their time they worked or waited for their neighbours.

    Where the backend takes fewer runs at a time (`streams`) than `segment` has threads for them, those count: such a
    stage is at its limit although threads wait.
    """
    rows = []
    for clock in summary.clocks:
        threads = min(clock.threads, streams) if clock.name == "infer" else clock.threads
        whole = (clock.busy + clock.starved + clock.blocked) * threads / clock.threads
        busy = min(1.0, clock.busy / whole) if whole else 0.0
        blocked = min(1.0 - busy, clock.blocked / whole) if whole else 0.0
        rows.append(
            {
                "stage": clock.name,
                "threads": threads,
                "busy": busy,
                "starved": 1.0 - busy - blocked if whole else 0.0,
                "blocked": blocked,
                "ms": 1000 * clock.busy / max(summary.frames, 1),
            }
        )
    return rows


def _batch(settings: dict[str, Any], backend: Backend) -> int:
    """As `segment` chooses it."""
    return settings["batch"] or default_batch(backend.device)


def _open(model: ModelFile, settings: dict[str, Any]) -> Backend:
    """As `segment` does."""
    least = SegmentOptions().conf
    return open_backend(model, settings["device"], threads=settings["threads"], several_runs=True, min_score=least)


def _alone(settings: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds a frame of each stage alone, and the frames a second that the cores could do at most."""
    cores = usable_cores()
    with _open(read_model(settings["model"]), settings) as backend:
        batch = _batch(settings, backend)
        stages_alone(settings["source"], backend, frames=2 * batch, batch=batch)  # warm-up
        frames = min(settings["frames"], max(MOST_ALONE, 2 * batch))
        costs = stages_alone(settings["source"], backend, frames=frames, batch=batch)
    per_frame = {stage: (cost.cpu / cost.frames, cost.wall / cost.frames) for stage, cost in costs.items()}
    bound = bound_fps(costs, cores)
    if may_run_on_gpu(backend.device):
        bound = min(bound, 1 / per_frame["infer"][1])
    return {
        "cpu_ms": {stage: 1000 * cpu for stage, (cpu, _) in per_frame.items()},
        "wall_ms": {stage: 1000 * wall for stage, (_, wall) in per_frame.items()},
        "cores": cores,
        "bound_fps": bound,
    }
