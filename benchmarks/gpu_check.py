"""What does a GPU give? Parity with the CPU, throughput per batch, and the floor, in one call.

    python -m fashionseg.benchmarks.gpu_check --data val.json --source video.mp4 --json benchmarks/results/gpu.json

The embedded model and an R50-FPN with random weights (where torch and Detectron2 are there to write it), each in
float32 and float16, on ONNX Runtime's CUDA provider; Detectron2 itself on the same GPU; `segment` on a video from file
to file; and TensorRT where it is installed. A part that fails is recorded as such and does not take the others along;
then the exit code is 1. Times are medians. The last line is JSON.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.onnxrt import OnnxRuntimeBackend
from fashionseg.backends.registry import Device, open_backend
from fashionseg.benchmarks.bench.floor import measure_machine
from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.benchmarks.gpu_measures import (
    BATCHES,
    Subject,
    average_precision,
    batch_speeds,
    cuda_session,
    median_ms,
    on_device,
    parity,
    placement,
    speed,
    subject,
    timed_batch,
)
from fashionseg.benchmarks.model_cpu import drawn_picture
from fashionseg.errors import FashionsegError
from fashionseg.export.matching import Tolerance
from fashionseg.media.images import read_image
from fashionseg.model import ModelFile, read_model

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


R50_HW = (800, 1344)
MODEL_HW = (240, 426)
LOOSE = Tolerance(box=1.0, score=0.02, mask=0.1, matched=0.99)
"""For float16 and TF32, where single detections near a threshold come and go; the counts are in the result."""


class Parts:
    """Runs the parts of the check, each for itself, until the time is up; a failed one leaves what it said."""

    def __init__(self, seconds: float) -> None:
        self.results: dict[str, Any] = {}
        self.failed = 0
        self._until = time.perf_counter() + seconds

    def run(self, name: str, part: Callable[[], Any]) -> Any:
        """The result of a part; None where it failed."""
        began = time.perf_counter()
        if began > self._until:
            self.results[name] = {"skipped": "no time was left (--seconds)"}
            return None
        print(f"== {name}", file=sys.stderr, flush=True)
        try:
            value = part()
        except Exception as error:  # noqa: BLE001 - recorded, and told by the exit code
            traceback.print_exc()
            self.failed += 1
            self.results[name] = {"error": f"{type(error).__name__}: {error}"}
            return None
        self.results[name] = value
        print(f"   {time.perf_counter() - began:.1f} s: {value!s:.400}", file=sys.stderr, flush=True)
        return value


def random_r50(picture: NDArray[np.uint8], folder: Path) -> tuple[Any, ModelFile]:
    """Detectron2's R50-FPN with random weights that finds a hundred objects, and its model file in `folder`."""
    from fashionseg.benchmarks.random_rcnn import random_r50_fpn
    from fashionseg.export.exporter import ExportOptions, build

    opened = random_r50_fpn(picture, classes=5)
    path = folder / "r50.onnx"
    if not path.is_file():
        proto, _ = build(opened, ExportOptions())
        path.write_bytes(proto.SerializeToString())
    return opened.model, read_model(path)


def lowered(file: ModelFile) -> ModelFile:
    """The same model in float16, in memory; not proven here."""
    from fashionseg.export.precision_fp16 import to_float16
    from fashionseg.model import parse_onnx

    proto = to_float16(parse_onnx(file.data, str(file.path)))
    return replace(file, data=proto.SerializeToString(), spec=replace(file.spec, precision="fp16"))


def detectron2_speed(model: Any, picture: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Detectron2's own inference on the GPU, pictures handed over in host memory, float32 and autocast to float16."""
    import torch

    model = model.to("cuda").eval()
    tensor = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))
    rows: list[dict[str, Any]] = []
    for precision in ("fp32", "fp16"):
        for batch in (1, 8):
            inputs = [{"image": tensor} for _ in range(batch)]

            def run(inputs: list[Any] = inputs, half: bool = precision == "fp16") -> None:
                with torch.no_grad(), torch.autocast("cuda", torch.float16, enabled=half):
                    found = model.inference(inputs, do_postprocess=False)
                    [one.to("cpu") for one in found]
                torch.cuda.synchronize()

            try:
                ms = median_ms(run)
            except RuntimeError as error:
                rows.append({"precision": precision, "batch": batch, "error": str(error).splitlines()[0]})
                continue
            rate = round(1000 * batch / ms, 1)
            rows.append({"precision": precision, "batch": batch, "ms": round(ms, 2), "pictures_per_s": rate})
    return rows


def ceilings() -> dict[str, dict[str, Any]]:
    """What the GPU can do, per precision, by ONNX Runtime's own matrix product and copy."""
    found = {}
    for precision in ("fp32", "fp16"):
        able = measure_machine(Device("cuda", 0), 1, precision)
        numbers = {} if able is None else {"tflops": able.flops_per_s / 1e12, "gb_per_s": able.bytes_per_s / 1e9}
        found[precision] = {"machine": able, **numbers}
    return found


def check_model(parts: Parts, one: Subject, peaks: dict[str, Any], folder: Path, options: argparse.Namespace) -> None:
    """All parts that concern one model."""
    parts.run(f"{one.name}: placement", lambda: placement(one, folder))
    half = parts.run(f"{one.name}: to float16", lambda: len(lowered(one.file).data))
    files = {"fp32": one.file}
    if half:
        files["fp16"] = lowered(one.file)
    for precision, file in files.items():
        chosen = replace(one, file=file)
        name = f"{one.name} {precision}"
        tolerance = Tolerance() if precision == "fp32" else LOOSE
        with OnnxRuntimeBackend.on_cuda(file) as backend:
            parts.run(
                f"{name}: parity with fp32 on the CPU",
                lambda backend=backend, t=tolerance: parity(one, one.file, backend, t),  # type: ignore[misc]
            )
            if options.data and one.name == "embedded":
                parts.run(
                    f"{name}: AP",
                    lambda backend=backend: average_precision(backend, options.data, options.images),  # type: ignore[misc]
                )
            parts.run(
                f"{name}: speed",
                lambda b=backend, c=chosen, p=precision: speed(c, b, peaks.get(p, {})),  # type: ignore[misc]
            )


def variants(parts: Parts, one: Subject) -> None:
    """Options of the CUDA provider that might pay, batch 8."""
    images, sizes = timed_batch(one, 8)
    for name, options in {
        "default": {},
        "use_tf32=0": {"use_tf32": 0},
        "prefer_nhwc": {"prefer_nhwc": 1},
        "heuristic": {"cudnn_conv_algo_search": "HEURISTIC"},
    }.items():
        parts.run(
            f"{one.name} {one.file.spec.precision}, CUDA options, {name}",
            lambda o=options: median_ms(on_device(cuda_session(one.file, o), images, sizes)),  # type: ignore[misc]
        )


def end_to_end(source: Path, batch: int | None) -> dict[str, Any]:
    """`segment` on a video with the embedded model, from file to file."""
    from fashionseg.benchmarks.bench.child import measure_in_child

    settings = {"model": None, "device": "cuda", "threads": None, "batch": batch, "source": str(source)}
    measured = measure_in_child("bench.pipeline_speed", {**settings, "frames": 10_000, "alone": False})
    return {key: measured[key] for key in ("fps", "frames", "cpu_ms", "stages")}


def tensorrt_parts(parts: Parts, one: Subject, peaks: dict[str, Any], folder: Path) -> None:
    """An engine of each precision, built, compared with float32 on the CPU, and timed; where TensorRT is installed."""
    try:
        from fashionseg.backends.trt_library import load_library

        load_library()
    except FashionsegError as error:
        parts.results[f"{one.name}: TensorRT"] = {"skipped": str(error)}
        return
    for precision in ("fp32", "fp16"):
        source = one.file if precision == "fp32" else lowered(one.file)
        engine = parts.run(
            f"{one.name}: TensorRT {precision}, built",
            lambda source=source, path=folder / f"{one.name}-{precision}.engine": built(source, one.size_hw, path),  # type: ignore[misc]
        )
        if not engine:
            continue
        with open_backend(read_model(Path(engine["file"])), "trt") as backend:
            name = f"{one.name}: TensorRT {precision}"
            parts.run(f"{name}, parity", lambda b=backend: parity(one, one.file, b, LOOSE))  # type: ignore[misc]
            able, chosen = peaks.get(precision, {}), replace(one, file=source)
            parts.run(f"{name}, speed", lambda b=backend, c=chosen, able=able: batch_speeds(c, b, able))  # type: ignore[misc]


def built(file: ModelFile, size_hw: tuple[int, int], path: Path) -> dict[str, Any]:
    """Build an engine for batches of 1 to 16 pictures of a size; its file, bytes and the seconds it took."""
    from fashionseg.export.engine import EngineOptions, build_engine

    height, width = (-(-side // file.spec.size_divisor) * file.spec.size_divisor for side in size_hw)
    began = time.perf_counter()
    build_engine(file, path, EngineOptions(batch=(1, 8, max(BATCHES)), sizes=((height, width),)))
    return {"file": str(path), "bytes": path.stat().st_size, "seconds": round(time.perf_counter() - began, 1)}


def main(arguments: list[str] | None = None) -> int:
    """Run all parts, write one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="COCO annotations: AP on the GPU, and pictures for parity")
    parser.add_argument("--images", type=Path, help="folder of the photos (default: found from the annotations)")
    parser.add_argument("--source", type=Path, help="video for `segment`")
    parser.add_argument("--photos", type=int, default=100, help="pictures for parity (default 100)")
    parser.add_argument("--seconds", type=float, default=420, help="begin no part after so long (default 420)")
    parser.add_argument("--work", type=Path, default=Path("gpu-check"), help="folder for intermediate files")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    parts = Parts(options.seconds)
    peaks = parts.run("ceilings", ceilings) or {}
    photos = _photos(options)
    embedded = subject("embedded", read_model(None), photos, MODEL_HW)
    check_model(parts, embedded, peaks, options.work, options)
    variants(parts, embedded)
    drawn = drawn_picture(R50_HW)
    made: list[tuple[Any, ModelFile]] = []
    parts.run("R50-FPN written", lambda: made.append(random_r50(drawn, options.work)))
    if made:
        model, file = made[0]
        large = subject("R50-FPN", file, [drawn, *photos[:7]], R50_HW)
        parts.run("Detectron2 R50-FPN", lambda: detectron2_speed(model, drawn))
        check_model(parts, large, peaks, options.work, options)
        variants(parts, large)
    if options.source:
        for batch in (None, 8):
            parts.run(f"segment, batch {batch or 'default'}", lambda b=batch: end_to_end(options.source, b))  # type: ignore[misc]
    tensorrt_parts(parts, embedded, peaks, options.work)
    if made:
        tensorrt_parts(parts, large, peaks, options.work)
    names = ("onnxruntime-gpu", "torch", "torchvision", "detectron2", "tensorrt", "numpy", "onnx")
    result = {"benchmark": "gpu_check", "parts": _plain(parts.results), "failed": parts.failed}
    report({**result, "machine": machine(1, *names)}, options.json)
    return 1 if parts.failed else 0


def _photos(options: argparse.Namespace) -> list[NDArray[np.uint8]]:
    if options.data is None:
        from fashionseg.export.parity import built_in_pictures

        return built_in_pictures()
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.photos import photo_paths

    return [read_image(path) for path in photo_paths(read_coco(options.data), options.images)[: options.photos]]


def _plain(results: dict[str, Any]) -> dict[str, Any]:
    """The results without objects that JSON cannot hold."""
    ceilings_found = results.get("ceilings", {})
    for one in ceilings_found.values():
        if isinstance(one, dict):
            one.pop("machine", None)
    return results


if __name__ == "__main__":
    sys.exit(main())
