"""What do float16 and INT8 cost in accuracy, and what does INT8 bring on a CPU?

    python -m fashionseg.benchmarks.precision --calibrate train.json --data val.json \\
        --json benchmarks/results/precision.json

Two questions. Accuracy: the model file (default: the embedded one) is lowered as `fashionseg export --precision` does,
and compared with float32 on every photo of a COCO set: AP of boxes and masks, and how many detections are found again
as the same class with a mask IoU of 0.95. Float16 is measured with every rounding of a GPU that has such kernels.
Speed: INT8 against float32 for that model, and for an R50-FPN with random weights, 800 x 1056, 100 detections, where
Detectron2 is installed; interleaved in one process, medians. Float16 is no faster on a CPU and not timed.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.onnxrt import OnnxRuntimeBackend
from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.cores import usable_cores
from fashionseg.errors import MissingExtraError
from fashionseg.export.precision import LowerOptions, lowered_model
from fashionseg.export.precision_photos import photo_files
from fashionseg.media.images import read_image
from fashionseg.model import ModelFile, parse_onnx, read_model
from fashionseg.preprocess import make_batch, prepare

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.export.precision import Precision

R50_SIZE_HW = (800, 1056)
R50_DETECTIONS = 100
ROUNDS = 12
WARM_UP = 2

BARS = {"fp16": {"drop": 0.3, "share": 0.99}, "int8": {"drop": 1.0, "share": 0.90}}
"""Most mask AP, in points, and least share of the detections above 0.3 that are found again."""

INT8_SPEEDUP = 1.6
"""Of the R50-FPN."""


def lowered(model: ModelFile, precision: Precision, calibrate: tuple[Path, ...], data: Path) -> tuple[ModelFile, Any]:
    """The model in lower precision, and its row of the result; whatever it costs."""
    photos = calibrate if precision == "int8" else ()
    options = LowerOptions(precision, photos, check_data=data, max_drop=math.inf)
    made = lowered_model(model, Path(f"{model.path.stem}-{precision}.onnx"), options)
    found = made.comparison
    row = {
        **asdict(found),
        "ap": {kind: [round(100 * value, 3) for value in pair] for kind, pair in found.ap.items()},
        "drop": round(found.drop or 0.0, 3),
        "share": round(found.share, 4),
        "bytes": len(made.model.data),
        "float_layers": float_layers(made.model),
        "seconds": round(made.seconds, 1),
        "bar": BARS[precision],
    }
    row["passed"] = row["drop"] <= BARS[precision]["drop"] and found.share >= BARS[precision]["share"]
    return made.model, row


def float_layers(model: ModelFile) -> int:
    """Layers with float32 weights that are left."""
    from onnx import TensorProto

    proto = parse_onnx(model.data, str(model.path))
    weights = {t.name for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) >= 2}
    return sum(
        node.op_type in ("Conv", "ConvTranspose", "Gemm") and node.input[1] in weights for node in proto.graph.node
    )


def speed(plain: ModelFile, small: ModelFile, picture: NDArray[np.uint8]) -> dict[str, Any]:
    """Milliseconds of both models for a resized picture, uint8 [h, w, 3], all cores, in turns; and the speed-up."""
    batch = make_batch([picture], plain.spec.size_divisor)
    seconds: dict[str, list[float]] = {"fp32": [], "int8": []}
    with OnnxRuntimeBackend.on_cpu(plain) as one, OnnxRuntimeBackend.on_cpu(small) as other:
        for number in range(WARM_UP + ROUNDS):
            for taken, backend in zip(seconds.values(), (one, other), strict=True):
                began = time.perf_counter()
                backend.run(*batch)
                if number >= WARM_UP:
                    taken.append(time.perf_counter() - began)
    before, after = map(statistics.median, seconds.values())
    return {
        "size_hw": list(batch[0].shape[1:3]),
        "ms": {"fp32": round(1000 * before, 1), "int8": round(1000 * after, 1)},
        "speedup": round(before / after, 2),
    }


def r50_file(picture: NDArray[np.uint8]) -> ModelFile:
    """An R50-FPN with random weights that finds a hundred objects in `picture`, as a model file.

    Raises:
        MissingExtraError: Detectron2 is not installed.
    """
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Detectron2", "train") from error
    from fashionseg.benchmarks.random_rcnn import random_r50_fpn
    from fashionseg.export.exporter import ExportOptions, build
    from fashionseg.export.write import as_model_file

    opened = random_r50_fpn(picture, detections=R50_DETECTIONS)
    return as_model_file(*build(opened, ExportOptions()), Path("random-r50-fpn.onnx"))


def r50_speed() -> dict[str, Any]:
    """INT8 against float32 for the R50-FPN, calibrated on the very picture that is timed: only speed is asked for."""
    from fashionseg.data.synth.scene import draw_scene
    from fashionseg.export.precision_int8 import to_int8
    from fashionseg.export.write import as_model_file

    picture = draw_scene(np.random.default_rng(1), R50_SIZE_HW, people=3).image
    plain = r50_file(picture)
    proto = to_int8(parse_onnx(plain.data, "R50-FPN"), [make_batch([picture], plain.spec.size_divisor)])
    small = as_model_file(proto, replace(plain.spec, precision="int8"), Path("random-r50-fpn-int8.onnx"))
    found = speed(plain, small, picture)
    return {**found, "bar": INT8_SPEEDUP, "passed": found["speedup"] >= INT8_SPEEDUP}


def measure(model: ModelFile, calibrate: tuple[Path, ...], data: Path) -> dict[str, Any]:
    """Both questions; see the module's text."""
    result: dict[str, Any] = {
        "benchmark": "precision",
        "model": {"name": model.spec.name, "sha256": model.sha256, "bytes": len(model.data)},
        "data": data.name,
    }
    _, result["fp16"] = lowered(model, "fp16", calibrate, data)
    small, result["int8"] = lowered(model, "int8", calibrate, data)
    picture = prepare(read_image(photo_files((data,))[0]), model.spec)
    result["speed"] = {"model": speed(model, small, picture)}
    try:
        result["speed"]["random R50-FPN"] = r50_speed()
    except MissingExtraError as error:
        result["speed"]["random R50-FPN"] = {"skipped": str(error)}
    asked = (result["fp16"], result["int8"], result["speed"]["random R50-FPN"])
    result["passed"] = all(row.get("passed", True) for row in asked)
    return result


def print_tables(result: dict[str, Any]) -> None:
    """Accuracy, then speed."""
    print(f"{'':8}{'AP masks':>18}{'AP boxes':>18}{'found again':>22}{'score':>9}{'MB':>7}")
    for precision in ("fp16", "int8"):
        row = result[precision]
        masks, boxes = ("{:.2f} -> {:.2f}".format(*row["ap"][kind]) for kind in ("segm", "bbox"))
        again = f"{row['matched']} of {row['wanted']}, {row['share']:.1%}"
        print(f"{precision:8}{masks:>18}{boxes:>18}{again:>22}{row['mean_score']:9.4f}{row['bytes'] / 1e6:7.1f}")
    for name, row in result["speed"].items():
        if "skipped" in row:
            print(f"{name}: skipped, {row['skipped']}")
        else:
            height, width = row["size_hw"]
            times = ", ".join(f"{key} {value} ms" for key, value in row["ms"].items())
            print(f"{name}, {height} x {width}: {times}, {row['speedup']} times as fast")


def main(arguments: list[str] | None = None) -> int:
    """Measure, print tables and one JSON line; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description="What float16 and INT8 cost and bring.")
    parser.add_argument("--model", type=Path, help="a float32 model file (default: the embedded one)")
    parser.add_argument(
        "--calibrate", type=Path, action="append", required=True, help="COCO file or photos of the training set"
    )
    parser.add_argument("--data", type=Path, required=True, help="COCO file to measure AP on")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    result = measure(read_model(options.model), tuple(options.calibrate), options.data)
    print_tables(result)
    result["machine"] = machine(usable_cores(), "onnxruntime-gpu", "onnx", "numpy", "torch", "detectron2")
    report(result, options.json)
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
