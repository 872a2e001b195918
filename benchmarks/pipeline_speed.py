"""How fast `segment` is from file to file: frames a second of a real video, decode to encode, and where the time goes.

`measure` is meant for a process of its own (see `child.py`): memory is that of the process. Knows `segment` and its
clocks. Knows nothing about how the stages do their work.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.backends.onnxrt import usable_cores
from fashionseg.backends.registry import open_backend
from fashionseg.benchmarks.machine import peak_memory_bytes
from fashionseg.benchmarks.stages import bound_fps, clip_end, stages_alone
from fashionseg.errors import MediaError
from fashionseg.model import read_model
from fashionseg.segment import SegmentOptions, segment

if TYPE_CHECKING:
    from fashionseg.segment.types import Summary


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
    cpu = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        summary = segment([source], Path(folder) / "out", options)
    cpu = time.process_time() - cpu
    if summary.failures:
        raise MediaError(summary.failures[0].reason)
    return {
        "fps": summary.frames / summary.seconds,
        "frames": summary.frames,
        "cpu_ms": 1000 * cpu / summary.frames,
        "memory_bytes": peak_memory_bytes(),
        "stages": stage_clocks(summary),
        "alone": _alone(settings) if settings["alone"] else None,
    }


def stage_clocks(summary: Summary) -> list[dict[str, Any]]:
    """Of each stage, in order: threads, and what share of their time they worked or waited for their neighbours."""
    rows = []
    for clock in summary.clocks:
        whole = clock.busy + clock.starved + clock.blocked
        rows.append(
            {
                "stage": clock.name,
                "threads": clock.threads,
                "busy": clock.busy / whole if whole else 0.0,
                "starved": clock.starved / whole if whole else 0.0,
                "blocked": clock.blocked / whole if whole else 0.0,
                "ms": 1000 * clock.busy / max(summary.frames, 1),
            }
        )
    return rows


def _alone(settings: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds a frame of each stage alone, and the frames a second that the cores could do at most."""
    cores = usable_cores()
    backend = open_backend(
        read_model(settings["model"]), settings["device"], threads=settings["threads"], several_runs=True
    )
    with backend:
        stages_alone(settings["source"], backend, frames=2)  # warm-up
        costs = stages_alone(
            settings["source"], backend, frames=min(settings["frames"], 96), batch=settings["batch"] or 1
        )
    per_frame = {stage: (cost.cpu / cost.frames, cost.wall / cost.frames) for stage, cost in costs.items()}
    bound = bound_fps(costs, cores)
    if backend.device != "cpu":
        bound = min(bound, 1 / per_frame["infer"][1])
    return {
        "cpu_ms": {stage: 1000 * cpu for stage, (cpu, _) in per_frame.items()},
        "wall_ms": {stage: 1000 * wall for stage, (_, wall) in per_frame.items()},
        "cores": cores,
        "bound_fps": bound,
    }
