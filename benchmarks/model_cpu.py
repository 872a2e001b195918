"""How fast is the static graph on a CPU? Against Detectron2 itself, its plain traced ONNX, and the floor.

    python -m fashionseg.benchmarks.model_cpu --json benchmarks/results/model_cpu.json
    python -m fashionseg.benchmarks.model_cpu --checkpoint model_final.pth --frame frame.jpg   # a model of yours too

Cases: an R50-FPN with random weights on a picture of 800 x 1056 pixels, with 100 live detections of 100 rows, with
5 of 20 and 5 of 100; and a checkpoint on a video frame. For each: Detectron2 eager, the ONNX that Detectron2's
`TracingAdapter` gives of the model as it is (one picture, shapes that depend on data), the static graph of the model
file, and "live": the same as `segment` runs it on a CPU, masks of the rows that exist alone, at batch 1 and 4. They are
interleaved in one process, medians; threads spin, as they do where nothing else needs the cores.

The floor is the time that the multiplications and additions of the convolutions and matrix products of each graph would
take at the FP32 matrix peak measured in the same run. Needs torch and Detectron2. The last line is JSON.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.live_rows import live_rows_only
from fashionseg.benchmarks.machine import machine, report
from fashionseg.benchmarks.random_rcnn import picture_tensor, r50_fpn_config, random_mask_rcnn
from fashionseg.preprocess import make_batch, resize, resized_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

R50_SIZE_HW = (800, 1056)
BATCH = 4
PEERS = ("plain", "eager")
PEAK_SIDE = 1536


@dataclass(frozen=True, slots=True)
class Case:
    """A model and a picture.

    Attributes:
        name: for the table.
        model: Detectron2's `GeneralizedRCNN`.
        picture: uint8 [h, w, 3], BGR, resized.
        rows: K of the static graph.
    """

    name: str
    model: Any
    picture: NDArray[np.uint8]
    rows: int


def drawn_picture(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture of people: uint8 [*size_hw, 3], BGR."""
    from fashionseg.data.synth.scene import draw_scene

    return draw_scene(np.random.default_rng(1), size_hw, people=3).image


def r50_case(live: int, rows: int) -> Case:
    """R50-FPN for five classes, random weights, `live` detections of `rows`."""
    picture = drawn_picture(R50_SIZE_HW)
    model = random_mask_rcnn(r50_fpn_config(5, rows), picture, live)
    return Case(f"R50-FPN {R50_SIZE_HW[0]}x{R50_SIZE_HW[1]}, {live} live of {rows}", model, picture, rows)


def checkpoint_case(path: Path, frame: NDArray[np.uint8]) -> Case:
    """A checkpoint on a video frame (uint8 [H, W, 3], BGR)."""
    from fashionseg.export.checkpoint import open_checkpoint

    opened = open_checkpoint(path)
    rule, (height, width) = opened.config.INPUT, frame.shape[:2]
    picture = resize(frame, resized_size((height, width), rule.MIN_SIZE_TEST, rule.MAX_SIZE_TEST))
    name = f"{path.parent.name}/{path.name}, frame of {height}x{width}"
    return Case(name, opened.model, picture, int(opened.config.TEST.DETECTIONS_PER_IMAGE))


def session(model: bytes, threads: int, *, optimised: bool = True, profile: str = "") -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def static_graph(case: Case) -> bytes:
    """The static graph of a case."""
    from fashionseg.export.graph import BatchedRCNN
    from fashionseg.export.write import trace

    data: bytes = trace(BatchedRCNN(case.model, case.rows)).SerializeToString()
    return data


def plain_graph(case: Case) -> bytes:
    """What Detectron2's `TracingAdapter` gives of the model as it is."""
    import io

    import torch
    from detectron2.export import TracingAdapter

    adapter = TracingAdapter(
        case.model,
        [picture_tensor(case.picture)],
        inference_func=lambda model, inputs: [model.inference(inputs, do_postprocess=False)[0]],
    )
    buffer = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(adapter, adapter.flattened_inputs, buffer, opset_version=16, dynamo=False)
    case.model.eval()
    return buffer.getvalue()


def flops(model: bytes, feeds: dict[str, NDArray[Any]], folder: Path) -> float:
    """Operations (2 a multiply-add) of all convolutions and matrix products, with the shapes of a real run."""
    import json

    traced = session(model, 1, optimised=False, profile=str(folder / "flops"))
    traced.run(None, feeds)
    events = json.loads(Path(traced.end_profiling()).read_text())
    nodes = (event for event in events if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"))
    return sum(_node_flops(node["args"]) for node in nodes)


def _node_flops(details: dict[str, Any]) -> float:
    kind = details["op_name"]
    if kind not in ("Conv", "ConvTranspose", "FusedConv", "Gemm", "FusedGemm", "MatMul"):
        return 0.0
    inputs: list[list[int]] = [next(iter(shape.values())) for shape in details["input_type_shape"]]
    output: list[int] = next(iter(details["output_type_shape"][0].values()))
    if "Conv" in kind:
        # Each output of a convolution sums over weight[1:]; each input of a transposed one spreads over it.
        places = inputs[0] if kind == "ConvTranspose" else output
        return 2.0 * math.prod(places) * math.prod(inputs[1][1:])
    return 2.0 * math.prod(output) * inputs[0][-1]


def peak_gemm(threads: int) -> Callable[[], float]:
    """A function that measures the FP32 matrix peak once, in operations a second, by ONNX Runtime's own kernel."""
    from onnx import TensorProto, helper, numpy_helper

    side = PEAK_SIDE
    rng = np.random.default_rng(0)
    weight = numpy_helper.from_array(rng.standard_normal((side, side), np.float32), "w")
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [side, side]) for name in "xy"]
    body = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "peak", value[:1], value[1:], [weight])
    proto = helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    product = session(proto.SerializeToString(), threads)
    x = rng.standard_normal((side, side), np.float32)

    def measure() -> float:
        started = time.perf_counter()
        for _ in range(4):
            product.run(None, {"x": x})
        return 4 * 2.0 * side**3 / (time.perf_counter() - started)

    return measure


def measure(case: Case, threads: int, repeats: int, *, eager: bool) -> dict[str, Any]:
    """Time all ways of a case, interleaved."""
    import torch

    static, plain = static_graph(case), plain_graph(case)
    images, sizes = make_batch([case.picture], 32)
    one: dict[str, NDArray[Any]] = {"images": images, "image_sizes": sizes}
    four = {name: value.repeat(BATCH, 0) for name, value in one.items()}
    live = live_rows_only(static)
    sessions = {name: session(data, threads) for name, data in (("static", static), ("live", live), ("plain", plain))}
    chw = {sessions["plain"].get_inputs()[0].name: case.picture.transpose(2, 0, 1).astype(np.float32)}
    inputs = [picture_tensor(case.picture)]

    def run_eager() -> None:
        with torch.no_grad():
            case.model.inference(inputs, do_postprocess=False)

    ways: dict[str, Callable[[], Any]] = {
        "plain": lambda: sessions["plain"].run(None, chw),
        "static": lambda: sessions["static"].run(None, one),
        "live": lambda: sessions["live"].run(None, one),
        f"live, batch {BATCH}": lambda: sessions["live"].run(None, four),
    }
    if eager:
        ways["eager"] = run_eager
    names = [output.name for output in sessions["static"].get_outputs()]
    outputs = dict(zip(names, ways["static"](), strict=True))
    with tempfile.TemporaryDirectory() as folder:
        work = {"static": flops(static, one, Path(folder)), "live": flops(live, one, Path(folder))}
    peak = peak_gemm(threads)
    times, peaks = interleaved(ways, peak, repeats)
    result = summary(times, statistics.median(peaks), work)
    return {"case": case.name, "live": int(outputs["num_detections"][0]), "rows": case.rows, **result}


def interleaved(
    ways: dict[str, Callable[[], Any]], peak: Callable[[], float], repeats: int
) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds of each way in turn, forth and back, `repeats` times after a warm-up, and the peak measured between."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks = []
    for turn in range(repeats + 1):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            way()
            if turn:
                times[name].append(time.perf_counter() - started)
        if turn:
            peaks.append(peak())
    return times, peaks


def summary(times: dict[str, list[float]], peak: float, work: dict[str, float]) -> dict[str, Any]:
    """Medians, ratios of neighbours in time, and the floors; `work` in operations of a run of each graph."""
    milliseconds = {name: round(1e3 * statistics.median(values), 2) for name, values in times.items()}
    milliseconds[f"live, batch {BATCH}"] = round(milliseconds[f"live, batch {BATCH}"] / BATCH, 2)
    floors = {name: operations / peak for name, operations in work.items()}
    return {
        "ms_per_picture": milliseconds,
        **{f"{way}_over": {name: _ratio(times[way], times[name]) for name in PEERS if name in times} for way in work},
        "gflop": {name: round(operations / 1e9, 1) for name, operations in work.items()},
        "peak_gflops": round(peak / 1e9, 1),
        "floor_ms": {name: round(1e3 * floor, 2) for name, floor in floors.items()},
        "over_floor": {name: round(statistics.median(times[name]) / floor, 3) for name, floor in floors.items()},
    }


def _ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of the ratios of neighbours in time."""
    return round(statistics.median(a / b for a, b in zip(ours, theirs, strict=True)), 3)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="The static graph on a CPU against Detectron2 and plain traced ONNX.")
    parser.add_argument("--checkpoint", type=Path, help="also measure this Detectron2 checkpoint on a video frame")
    parser.add_argument("--frame", type=Path, help="the frame, a picture (default: a drawn one of 720p)")
    parser.add_argument("--only-checkpoint", action="store_true", help="leave the R50-FPN out")
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1), help="threads (default 2)")
    parser.add_argument("--repeats", type=int, default=7, help="runs of each way (default 7)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    cases = []
    for case, repeats in _cases(options):
        cases.append(measure(case, options.threads, repeats, eager=True))
        _print(cases[-1])
    details = machine(options.threads, "torch", "torchvision", "detectron2", "onnxruntime-gpu", "numpy")
    report({"benchmark": "model_cpu", "repeats": options.repeats, "cases": cases, "machine": details}, options.json)
    return 0


def _print(row: dict[str, Any]) -> None:
    print(f"{row['case']}, peak {row['peak_gflops']} GFLOP/s")
    for name, value in row["ms_per_picture"].items():
        print(f"  {name:18}{value:10.2f} ms a picture")
    for way, operations in row["gflop"].items():
        over = ", ".join(f"{ratio:.3f} of {name}" for name, ratio in row[f"{way}_over"].items())
        floor = f"{operations} GFLOP, floor {row['floor_ms'][way]} ms"
        print(f"  {way}: {over}; {row['over_floor'][way]} times its floor ({floor})", flush=True)


def _cases(options: argparse.Namespace) -> Iterator[tuple[Case, int]]:
    """Each made when it is its turn: an R50-FPN takes a minute to make."""
    import torch

    torch.set_num_threads(options.threads)
    if not options.only_checkpoint:
        yield r50_case(100, 100), options.repeats
        few = r50_case(5, 20)
        yield few, options.repeats
        yield replace(few, name=few.name.removesuffix("20") + "100", rows=100), options.repeats
    if options.checkpoint:
        from fashionseg.media.images import read_image

        frame = read_image(options.frame) if options.frame else drawn_picture((720, 1280))
        yield checkpoint_case(options.checkpoint, frame), 5 * options.repeats


if __name__ == "__main__":
    sys.exit(main())
