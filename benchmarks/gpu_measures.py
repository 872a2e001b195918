"""What `gpu_check.py` measures of one model on a GPU: agreement with the CPU, AP, times per batch, placement.

Knows backends and ONNX Runtime's sessions. Knows nothing about the order of the check and what may fail in it.
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.backends.onnxrt import OnnxRuntimeBackend
from fashionseg.benchmarks.bench.floor import Work, count_work, floor_seconds
from fashionseg.benchmarks.bench.machine import gpu_memory_bytes
from fashionseg.export.matching import Agreement, Tolerance, agreement
from fashionseg.export.parity import run_onnx
from fashionseg.model import INPUTS, OUTPUTS
from fashionseg.preprocess import make_batch, prepare, resize

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.backends import Backend
    from fashionseg.model import ModelFile

BATCHES = (1, 2, 4, 8, 16)
MIN_RUNS, SECONDS = 8, 0.6


@dataclass(frozen=True, slots=True)
class Subject:
    """A model file and the pictures it is asked about.

    Attributes:
        name: for the table.
        file: the model file.
        pictures: uint8 [h, w, 3], BGR, resized by the rule of the file.
        size_hw: of the pictures that are timed.
        works: of a run by precision and batch, as far as they are counted.
    """

    name: str
    file: ModelFile
    pictures: list[NDArray[np.uint8]]
    size_hw: tuple[int, int]
    works: dict[tuple[str, int], Work] = field(default_factory=dict)

    def work(self, batch: int) -> Work:
        """What the GPU has to do in a run of `batch` pictures, in the precision of the file."""
        precision = self.file.spec.precision
        if (precision, batch) not in self.works:
            counted = count_work(self.file.data, *timed_batch(self, batch), half=precision == "fp16")
            self.works[precision, batch] = counted
        return self.works[precision, batch]


def subject(name: str, file: ModelFile, photos: Sequence[NDArray[np.uint8]], size_hw: tuple[int, int]) -> Subject:
    """A subject from photos (uint8 [H, W, 3], BGR) of any size."""
    return Subject(name, file, [prepare(one, file.spec) for one in photos], size_hw)


def parity(one: Subject, reference: ModelFile, gpu: Backend, tolerance: Tolerance) -> dict[str, Any]:
    """`reference` on the CPU against a GPU backend, picture by picture and in batches of four."""
    rows = {}
    spec = reference.spec
    with OnnxRuntimeBackend.on_cpu(reference) as cpu:
        for size in (1, 4):
            total = Agreement()
            for start in range(0, len(one.pictures), size):
                batch = one.pictures[start : start + size]
                wanted, found = run_onnx(cpu, batch)[0], run_onnx(gpu, batch)[0]
                total += agreement(
                    wanted,
                    found,
                    tolerance,
                    score_threshold=spec.score_threshold,
                    max_detections=spec.max_detections,
                )
            rows[f"batch {size}"] = {**asdict(total), "within": total.within(tolerance)}
    return {"tolerance": asdict(tolerance), **rows}


def average_precision(backend: Backend, data: Path, images: Path | None) -> dict[str, float]:
    """Box and mask AP of a backend on a COCO set, in points."""
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.coco_metrics import CocoProblem, coco_scores
    from fashionseg.evaluation.photos import photo_paths
    from fashionseg.evaluation.runtime import run_model

    coco = read_coco(data, need_instances=True)
    found = run_model(backend, coco, photo_paths(coco, images), "the model").predictions
    problem = CocoProblem(coco, found)
    values = {kind: coco_scores(problem.evaluation(kind), kind).overall["AP"] for kind in problem.iou_types}
    return {f"{kind}/AP": round(100 * value, 3) for kind, value in values.items() if value is not None}


def timed_batch(one: Subject, batch: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """A batch of the subject's pictures at its timed size."""
    pictures = [resize(one.pictures[i % len(one.pictures)], one.size_hw) for i in range(batch)]
    return make_batch(pictures, one.file.spec.size_divisor)


def median_ms(run: Callable[[], object], warm_up: int = 3) -> float:
    """Milliseconds of one call, the median of about a second's."""
    for _ in range(warm_up):
        run()
    taken: list[float] = []
    while len(taken) < MIN_RUNS or sum(taken) < SECONDS:
        began = time.perf_counter()
        run()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def speed(one: Subject, backend: OnnxRuntimeBackend, able: dict[str, Any]) -> list[Any]:
    """Per batch: with copies (as `segment` runs it), without (everything lies on the GPU), memory, and the floor."""
    rows = []
    for batch in BATCHES:
        images, sizes = timed_batch(one, batch)
        copied = median_ms(lambda images=images, sizes=sizes: backend.run(images, sizes))  # type: ignore[misc]
        resident = median_ms(on_device(backend._session, images, sizes))  # the same session: its search is done
        row: dict[str, Any] = {"batch": batch, "ms": copied, "ms_without_copies": resident}
        row["pictures_per_s"] = 1000 * batch / copied
        row["gpu_memory_mib"] = used_memory()
        if able.get("machine"):
            floor = 1000 * floor_seconds(one.work(batch), able["machine"])
            row |= {"floor_ms": floor, "times_floor": resident / floor}
        rows.append({key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()})
    return rows


def cuda_session(file: ModelFile, options: dict[str, Any] | None = None, profile: Path | None = None) -> Any:
    """A bare ONNX Runtime session on the first GPU, with options of the CUDA provider."""
    import onnxruntime

    onnxruntime.preload_dlls()
    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 4
    if profile is not None:
        chosen.enable_profiling, chosen.profile_file_prefix = True, str(profile)
    providers = [("CUDAExecutionProvider", {"device_id": 0, **(options or {})}), "CPUExecutionProvider"]
    session = onnxruntime.InferenceSession(file.data, chosen, providers=providers, enable_fallback=0)
    if session.get_providers()[0] != "CUDAExecutionProvider":
        raise RuntimeError("ONNX Runtime does not use the GPU")
    return session


def on_device(session: Any, images: NDArray[np.uint8], sizes: NDArray[np.int32]) -> Callable[[], None]:
    """A function that runs the session over arrays that lie on the GPU, and leaves the outputs there."""
    import onnxruntime

    binding = session.io_binding()
    for name, array in zip(INPUTS, (images, sizes), strict=True):
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array, "cuda", 0))
    for name in OUTPUTS:
        binding.bind_output(name, "cuda", 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def placement(one: Subject, folder: Path) -> dict[str, Any]:
    """Which operators ran on the CPU all the same, and how many copies between the two that cost."""
    import json

    session = cuda_session(one.file, profile=folder / "profile")
    run = on_device(session, *timed_batch(one, 1))
    run()
    events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [e["args"] for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time")]
    on_cpu = Counter(node["op_name"] for node in nodes if node.get("provider") == "CPUExecutionProvider")
    copies = sum(node["op_name"].startswith("Memcpy") for node in nodes)
    return {"nodes": len(nodes), "on_cpu": dict(on_cpu.most_common()), "copies": copies}


def used_memory() -> int | None:
    """MiB in use on the first GPU, by all processes."""
    used = gpu_memory_bytes(0)
    return None if used is None else used // 2**20


def batch_speeds(one: Subject, backend: Backend, able: dict[str, Any]) -> list[dict[str, Any]]:
    """Per batch, as `segment` runs it: milliseconds, pictures a second, and how far from the floor."""
    rows = []
    for batch in BATCHES:
        images, sizes = timed_batch(one, batch)
        ms = median_ms(lambda images=images, sizes=sizes: backend.run(images, sizes))  # type: ignore[misc]
        row = {"batch": batch, "ms": round(ms, 3), "pictures_per_s": round(1000 * batch / ms, 1)}
        if able.get("machine"):
            floor = 1000 * floor_seconds(one.work(batch), able["machine"])
            row |= {"floor_ms": round(floor, 3), "times_floor": round(ms / floor, 2)}
        rows.append({**row, "gpu_memory_mib": used_memory()})
    return rows
