"""The least time a model can take on a machine: its arithmetic over the matrix peak, its bytes over the copy bandwidth.

Counted are the operators of the graph at the shapes they really have in one run, told by ONNX Runtime's profiler with
optimisation off: rows that a graph leaves out are left out here too. Matrix peak and bandwidth are measured on the
spot, with the threads the model gets. Knows nothing about latencies.
"""

from __future__ import annotations

import json
import math
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends.live_rows import live_rows_only
from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fashionseg.backends.registry import Device
    from fashionseg.model import ModelFile

MATRIX_SIDES = {"cpu": (512, 768, 1024), "cuda": (4096, 8192)}
"""Of square matrices whose product is timed, the best counts: small ones stay in a processor's caches, large ones keep
all cores of a GPU busy."""

COPY_BYTES = {"cpu": 2**27, "cuda": 2**30}
REPEATS = 5
TRIES = 3

_SIZES = {"float": 4, "float16": 2, "bfloat16": 2, "double": 8, "int64": 8, "uint64": 8, "int32": 4, "uint32": 4}
_SIZES |= {"int16": 2, "uint16": 2, "int8": 1, "uint8": 1, "bool": 1}


@dataclass(frozen=True, slots=True)
class Work:
    """What one run of a model has to do.

    Attributes:
        flops: floating-point operations of the matrix operators; a multiplication and its addition are two.
        bytes: read and written by the matrix operators, if everything between them were fused into them.
    """

    flops: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Machine:
    """What the machine can do: FLOP/s of a matrix product, and bytes read and written a second by a copy."""

    flops_per_s: float
    bytes_per_s: float


def floor_seconds(work: Work, machine: Machine) -> float:
    """The least time of one run: arithmetic or memory, whichever takes longer."""
    return max(work.flops / machine.flops_per_s, work.bytes / machine.bytes_per_s)


def count_work(
    model: ModelFile, images: NDArray[np.uint8], image_sizes: NDArray[np.int32], *, live_rows: bool = False
) -> Work:
    """Count one run of a model file over a batch (see `fashionseg.backends.Backend.run`).

    With `live_rows`, of the graph as a CPU runs it: masks of the rows that exist alone.
    """
    flops = size = 0
    for event in _profile(live_rows_only(model.data) if live_rows else model.data, images, image_sizes):
        details = event.get("args", {})
        count = _COUNTS.get(details.get("op_name", ""))
        if count is None or not event["name"].endswith("_kernel_time"):
            continue
        inputs, outputs = details["input_type_shape"], details["output_type_shape"]
        flops += count([_shape(one) for one in inputs], _shape(outputs[0]))
        size += sum(_bytes(one) for one in [*inputs, *outputs])
    return Work(flops, size)


def _profile(model: bytes, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> list[dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights are not told
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        session.run(list(OUTPUTS), dict(zip(INPUTS, (images, image_sizes), strict=True)))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return events


def _shape(tensor: dict[str, list[int]]) -> list[int]:
    """Of a tensor as the profiler writes it: {"float": [1, 3, 224, 224]}."""
    return next(iter(tensor.values()), [])


def _bytes(tensor: dict[str, list[int]]) -> int:
    return sum(_SIZES.get(name, 4) * math.prod(shape) for name, shape in tensor.items())


def _conv(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(output) * math.prod(inputs[1][1:])


def _conv_transpose(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _gemm(inputs: list[list[int]], output: list[int]) -> int:
    rows = output[0]
    return 2 * math.prod(output) * (math.prod(inputs[0]) // rows) if rows else 0


def _matmul(inputs: list[list[int]], output: list[int]) -> int:
    return 2 * math.prod(output) * inputs[0][-1]


_COUNTS: dict[str, Callable[[list[list[int]], list[int]], int]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}


def measure_machine(device: Device, threads: int, precision: str) -> Machine | None:
    """Measure what a device can do; None where it is not known how (TensorRT without CUDA in ONNX Runtime, INT8).

    Args:
        device: "cpu", "cuda" or "trt"; the last two are the same GPU.
        threads: of the CPU.
        precision: of the computation; a CPU computes "fp16" in 32 bits.
    """
    import onnxruntime

    kind = "cpu" if device.kind == "cpu" else "cuda"
    if precision == "int8" or (kind == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers()):
        return None
    precision = "fp32" if kind == "cpu" else precision
    return Machine(_matrix_peak(kind, device.index, threads, precision), _bandwidth(kind, device.index, threads))


def _matrix_peak(kind: str, index: int, threads: int, precision: str) -> float:
    number = np.float32 if precision == "fp32" else np.float16
    speeds = []
    for side in MATRIX_SIDES[kind]:
        matrix = np.full((side, side), 0.5, number)
        speeds.append(2 * side**3 / _seconds_of("MatMul", matrix, kind, index, threads, weights=matrix))
    return max(speeds)


def _bandwidth(kind: str, index: int, threads: int) -> float:
    size = COPY_BYTES[kind]
    if kind == "cuda":
        array = np.zeros(size // 4, np.float32)
        return 2 * size / _seconds_of("Neg", array, kind, index, threads)
    sources = np.array_split(np.ones(size, np.uint8), threads)
    targets = np.array_split(np.zeros(size, np.uint8), threads)
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size / _best(lambda: list(pool.map(np.copyto, targets, sources)))


def _seconds_of(
    operator: str, array: NDArray[Any], kind: str, index: int, threads: int, weights: NDArray[Any] | None = None
) -> float:
    """The best time of one ONNX operator over an array that lies on the device already, and constant weights."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    providers: list[Any] = [("CUDAExecutionProvider", {"device_id": index})] if kind == "cuda" else []
    graph = _one_operator(operator, array, weights)
    session = onnxruntime.InferenceSession(graph, options, providers=[*providers, "CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(array, kind, index))
    binding.bind_output("y", kind, index)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return _best(run)


def _one_operator(operator: str, array: NDArray[Any], weights: NDArray[Any] | None) -> bytes:
    from onnx import helper, numpy_helper

    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    x, y = (helper.make_tensor_value_info(name, kind, array.shape) for name in ("x", "y"))
    constants = [] if weights is None else [numpy_helper.from_array(weights, "weights")]
    node = helper.make_node(operator, ["x", *(one.name for one in constants)], ["y"])
    graph = helper.make_graph([node], operator, [x], [y], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString()
    return data


def _best(run: Callable[[], object]) -> float:
    """Seconds of one call: the best of a few medians, because others on the machine only ever slow it down."""
    run()
    medians = []
    for _ in range(TRIES):
        seconds = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - began)
        medians.append(statistics.median(seconds))
    return min(medians)
