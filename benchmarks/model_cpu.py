"""How fast is the static graph on a CPU? Against Detectron2 itself, its plain traced ONNX, and the floor.

    python -m fashionseg.benchmarks.model_cpu --json benchmarks/results/model_cpu.json
    python -m fashionseg.benchmarks.model_cpu --checkpoint model_final.pth --frame frame.jpg   # a model of yours too

Cases: an R50-FPN with random weights on a picture of 800 x 1056 pixels, with 100 live detections of 100 rows, with
5 of 20 and 5 of 100; and a checkpoint on a video frame. For each: Detectron2 eager, the ONNX that Detectron2's
`TracingAdapter` gives of the model as it is (one picture, shapes that depend on data), the static graph of the model
file, and "live": the same as `segment` runs it on a CPU, masks of the rows that exist alone, at batch 1 and 4. They are
interleaved in one process, medians; threads spin, as they do where nothing else needs the cores.

The floor is the time that the multiplications and additions of the convolutions and matrix products of each graph would
take at the FP32 matrix peak measured directly before and after each run. Needs torch and Detectron2. The last line is
JSON.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.live_rows import live_rows_only
from fashionseg.benchmarks.bench.floor import count_work, matrix_probe
from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.benchmarks.random_rcnn import picture_tensor, r50_fpn_config, random_mask_rcnn
from fashionseg.preprocess import make_batch, resize, resized_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

R50_SIZE_HW = (800, 1056)
BATCH = 4
PEERS = ("plain", "eager")


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


def session(model: bytes, threads: int) -> Any:
    """An ONNX Runtime session on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"], enable_fallback=0)


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
    work = {name: count_work(graph, images, sizes).flops for name, graph in (("static", static), ("live", live))}
    result = summary(*interleaved(ways, matrix_probe(threads), frozenset(work), repeats), work)
    return {"case": case.name, "live": int(outputs["num_detections"][0]), "rows": case.rows, **result}


def interleaved(
    ways: dict[str, Callable[[], Any]], peak: Callable[[], float], probed: frozenset[str], repeats: int
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of each way in turn, forth and back, `repeats` times after a warm-up.

    Also the matrix peak at each run of those `probed`, in FLOP/s: the better of one measured directly before it and
    one directly after it.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    peaks: dict[str, list[float]] = {name: [] for name in probed}
    for turn in range(repeats + 1):
        for name, way in list(ways.items())[:: -1 if turn % 2 else 1]:
            around = [peak()] if name in probed else []
            started = time.perf_counter()
            way()
            seconds = time.perf_counter() - started
            if name in probed:
                around.append(peak())
            if turn:
                times[name].append(seconds)
                if around:
                    peaks[name].append(max(around))
    return times, peaks


def summary(times: dict[str, list[float]], peaks: dict[str, list[float]], work: dict[str, int]) -> dict[str, Any]:
    """Medians, ratios of neighbours in time, and the floors.

    Args:
        times: seconds of the runs of each way.
        peaks: FLOP/s of the machine at each run of the ways that have a floor.
        work: FLOP of a run of these.
    """
    milliseconds = {name: round(1e3 * statistics.median(values), 2) for name, values in times.items()}
    milliseconds[f"live, batch {BATCH}"] = round(milliseconds[f"live, batch {BATCH}"] / BATCH, 2)
    floors = {way: [operations / peak for peak in peaks[way]] for way, operations in work.items()}
    return {
        "ms_per_picture": milliseconds,
        **{f"{way}_over": {name: _ratio(times[way], times[name]) for name in PEERS if name in times} for way in work},
        "gflop": {way: round(operations / 1e9, 1) for way, operations in work.items()},
        "peak_gflops": round(statistics.median(peak for values in peaks.values() for peak in values) / 1e9, 1),
        "floor_ms": {way: round(1e3 * statistics.median(values), 2) for way, values in floors.items()},
        "over_floor": {way: _ratio(times[way], values) for way, values in floors.items()},
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
