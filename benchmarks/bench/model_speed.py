"""How fast a model alone is on a device: start-up, latency, pictures a second, memory, and the floor beside it.

`measure` is meant for a process of its own (see `child.py`): start-up and memory are those of the process. The model is
asked for what `segment` asks for by default, detections of a score of at least 0.5. Knows backends. Knows nothing about
the pipeline around the model.
"""

from __future__ import annotations

import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.live_rows import live_rows_only
from fashionseg.backends.registry import may_run_on_gpu, open_backend, parse_device
from fashionseg.benchmarks.bench.floor import count_work, floor_seconds, measure_machine
from fashionseg.benchmarks.bench.machine import gpu_memory_bytes, peak_memory_bytes
from fashionseg.model import read_model
from fashionseg.preprocess import make_batch, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.backends import Backend
    from fashionseg.model import ModelFile, ModelSpec

    Inputs = tuple[NDArray[np.uint8], NDArray[np.int32]]

WARM_UP = 3
MIN_RUNS = 5
MIN_SCORE = 0.5
"""What `segment` asks for by default; written out here, as importing `segment` would count as start-up."""


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Measure one model on one device with one batch size.

    Settings: `model` (path or None), `device`, `threads` (or None), `batch`, `source` (a video whose frames are run),
    `seconds` (of timed runs, each of two times), `floor` (whether to find it), `spawned` (see `child.py`).
    """
    model = read_model(settings["model"])
    device, threads, batch = settings["device"], settings["threads"], settings["batch"]
    memory_before = _gpu_memory(device)
    with open_backend(model, device, threads=threads, several_runs=True, min_score=MIN_SCORE) as backend:
        backend.run(*_blank(model.spec))
        startup = time.monotonic() - settings["spawned"]
        inputs = _inputs(settings["source"], model.spec, batch)
        pictures_per_s = throughput(backend, inputs, settings["seconds"])
        memory, gpu_memory = peak_memory_bytes(), _gpu_memory(backend.device)
        latencies = _latencies(backend, inputs, settings["seconds"]) if backend.streams == 1 else []
        streams, used, description = backend.streams, backend.device, backend.description
    if not latencies:
        with open_backend(model, device, threads=threads, min_score=MIN_SCORE) as backend:
            latencies = _latencies(backend, inputs, settings["seconds"])
    found = gpu_memory - memory_before if gpu_memory is not None and memory_before is not None else None
    return {
        "name": model.spec.name,
        "precision": model.spec.precision,
        "weights": model.spec.weights,
        "sha256": model.sha256,
        "file_bytes": len(model.data),
        "device": used,
        "backend": description,
        "streams": streams,
        "batch": batch,
        "input_hw": list(inputs[0][0].shape[1:3]),
        "startup_s": startup,
        "latencies_ms": [1000 * seconds for seconds in latencies],
        "pictures_per_s": pictures_per_s,
        "memory_bytes": memory,
        "gpu_memory_bytes": found,
        "floor": _floor(model, used, threads, inputs[0]) if settings["floor"] else None,
    }


def _blank(spec: ModelSpec) -> Inputs:
    return make_batch([np.zeros((spec.size_divisor, spec.size_divisor, 3), np.uint8)], spec.size_divisor)


def _inputs(source: str, spec: ModelSpec, batch: int) -> list[Inputs]:
    """A few batches of the video's frames, spread over its first seconds."""
    from fashionseg.media.video_reader import VideoReader

    with VideoReader(source) as video:
        frames = [prepare(frame.image, spec) for frame in itertools.islice(video.frames(stride=5), 4 * batch)]
    wanted = itertools.islice(itertools.cycle(frames), max(len(frames) // batch, 1) * batch)
    pictures = list(wanted)
    return [make_batch(pictures[i : i + batch], spec.size_divisor) for i in range(0, len(pictures), batch)]


def _latencies(backend: Backend, inputs: list[Inputs], seconds: float) -> list[float]:
    """Seconds of each run, one after the other, for about `seconds` after a warm-up."""
    taken: list[float] = []
    ending = float("inf")
    for number, batch in enumerate(itertools.cycle(inputs)):
        if number == WARM_UP:
            ending = time.perf_counter() + seconds
        if len(taken) >= MIN_RUNS and time.perf_counter() >= ending:
            break
        began = time.perf_counter()
        backend.run(*batch)
        if number >= WARM_UP:
            taken.append(time.perf_counter() - began)
    return taken


def throughput(backend: Backend, inputs: list[Inputs], seconds: float) -> float:
    """Pictures a second with as many runs at a time as the backend takes, as in `segment`."""
    with ThreadPoolExecutor(backend.streams) as pool:
        runs = list(pool.map(lambda _: _latencies(backend, inputs, seconds), range(backend.streams)))
    return len(inputs[0][0]) * sum(len(taken) / sum(taken) for taken in runs)


def _floor(model: ModelFile, device: str, threads: int | None, inputs: Inputs) -> dict[str, float] | None:
    from fashionseg.cores import usable_cores

    if model.engine is not None:
        return None  # an engine does not tell how much it computes
    parsed = parse_device(device)
    able = measure_machine(parsed, threads or usable_cores(), model.spec.precision)
    if able is None:
        return None
    on_cpu = parsed.kind == "cpu"
    graph = live_rows_only(model.data, MIN_SCORE) if on_cpu else model.data
    work = count_work(graph, *inputs, half=model.spec.precision == "fp16" and not on_cpu)
    return {
        "flops": work.flops,
        "bytes": work.bytes,
        "flops_per_s": able.flops_per_s,
        "bytes_per_s": able.bytes_per_s,
        "ms": 1000 * floor_seconds(work, able),
    }


def _gpu_memory(device: str) -> int | None:
    """Bytes in use on a GPU, by all processes; None for a CPU or where nobody tells."""
    return gpu_memory_bytes(parse_device(device).index) if may_run_on_gpu(device) else None
