"""The least time a model can take on a machine: its arithmetic over the matrix peak, its bytes over the copy bandwidth.

Counted are the operators of the graph at the shapes they really have in one run, told by ONNX Runtime's profiler with
optimisation off: rows that a graph leaves out are left out here too. Matrix peak and bandwidth are measured on the
spot, with the threads the model gets. Knows nothing about latencies.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fashionseg.backends.registry import Device

MATRIX_SIDES = {"cpu": (512, 768, 1024), "cuda": (4096, 8192)}
"""Of square matrices whose product is timed, the best counts: small ones stay in a processor's caches, large ones keep
all cores of a GPU busy."""

PROBE_SIDES = (512, 768)
PROBE_RUNS = 3
"""Of each side in one measurement by `matrix_probe`: 4 GFLOP, some 30 ms on two cores."""

COPY_BYTES = {"cpu": 2**27, "cuda": 2**30}
REPEATS = 15

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


def count_work(graph: bytes, images: NDArray[np.uint8], image_sizes: NDArray[np.int32], *, half: bool = False) -> Work:
    """Count one run of a graph over a batch.

    Args:
        graph: an ONNX file with the inputs and outputs of a model file; on a CPU what `live_rows_only` makes of it.
        images: see `fashionseg.backends.Backend.run`.
        image_sizes: likewise.
        half: the device computes the matrix operators in float16. The CPU that counts casts to float32 and back.
    """
    flops = size = 0
    for event in _profile(graph, images, image_sizes):
        details = event.get("args", {})
        count = _COUNTS.get(details.get("op_name", ""))
        if count is None or not event["name"].endswith("_kernel_time"):
            continue
        inputs, outputs = details["input_type_shape"], details["output_type_shape"]
        flops += count([_shape(one) for one in inputs], _shape(outputs[0]))
        size += sum(_bytes(one, half=half) for one in [*inputs, *outputs])
    return Work(flops, size)


def _profile(graph: bytes, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> list[dict[str, Any]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.disable_prepacking", "1")  # packed weights are not told
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        session.run(list(OUTPUTS), dict(zip(INPUTS, (images, image_sizes), strict=True)))
        events: list[dict[str, Any]] = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return events


def _shape(tensor: dict[str, list[int]]) -> list[int]:
    """Of a tensor as the profiler writes it: {"float": [1, 3, 224, 224]}."""
    return next(iter(tensor.values()), [])


def _bytes(tensor: dict[str, list[int]], *, half: bool) -> int:
    sizes = {**_SIZES, "float": 2} if half else _SIZES
    return sum(sizes.get(name, 4) * math.prod(shape) for name, shape in tensor.items())


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
    """Measure what a device can do; None where it is not known how: INT8, or a GPU that ONNX Runtime cannot use.

    Args:
        device: "cpu", "cuda" or "trt"; the last two are the same GPU.
        threads: of the CPU.
        precision: of the computation; a CPU computes "fp16" in 32 bits.
    """
    kind = {"cpu": "cpu", "cuda": "cuda", "trt": "cuda"}.get(device.kind)
    if kind is None or precision == "int8":
        return None
    number = np.float16 if kind == "cuda" and precision == "fp16" else np.float32
    flops_per_s = _matrix_peak(kind, device.index, threads, number)
    bytes_per_s = _bandwidth(kind, device.index, threads)
    return None if flops_per_s is None or bytes_per_s is None else Machine(flops_per_s, bytes_per_s)


def matrix_probe(threads: int) -> Callable[[], float]:
    """A function that measures the float32 matrix peak of the CPU as it is now, in FLOP/s, within tens of milliseconds.

    For ratios of neighbours in time: the speed of a machine that others use, too, changes from second to second.
    """
    products = {side: _product("cpu", 0, threads, side, np.float32) for side in PROBE_SIDES}
    runs = [(2 * side**3, run) for side, run in products.items() if run is not None]
    for _, run in runs:
        run()

    def measure() -> float:
        return max(flops / _timed(run) for flops, run in runs for _ in range(PROBE_RUNS))

    return measure


def _matrix_peak(kind: str, index: int, threads: int, number: type[np.floating[Any]]) -> float | None:
    speeds = []
    for side in MATRIX_SIDES[kind]:
        product = _product(kind, index, threads, side, number)
        if product is None:
            return None
        speeds.append(2 * side**3 / _best(product))
    return max(speeds)


def _product(
    kind: str, index: int, threads: int, side: int, number: type[np.floating[Any]]
) -> Callable[[], None] | None:
    """A function that multiplies two square matrices."""
    matrix = np.full((side, side), 0.5, number)
    return _operator("MatMul", matrix, kind, index, threads, weights=matrix)


def _bandwidth(kind: str, index: int, threads: int) -> float | None:
    size = COPY_BYTES[kind]
    if kind == "cuda":
        copy = _operator("Neg", np.zeros(size // 4, np.float32), kind, index, threads)
        return None if copy is None else 2 * size / _best(copy)
    sources = np.array_split(np.ones(size, np.uint8), threads)
    targets = np.array_split(np.zeros(size, np.uint8), threads)
    with ThreadPoolExecutor(threads) as pool:
        return 2 * size / _best(lambda: list(pool.map(np.copyto, targets, sources)))


def _operator(
    operator: str, array: NDArray[Any], kind: str, index: int, threads: int, weights: NDArray[Any] | None = None
) -> Callable[[], None] | None:
    """A function that runs one ONNX operator over an array that lies on the device already, and constant weights.

    None where ONNX Runtime cannot use the device: that its package has the provider says nothing about the machine.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.force_spinning_stop", "1")  # what is timed next wants the cores
    graph = _one_operator(operator, array, weights)
    providers: list[Any] = ["CPUExecutionProvider"]
    if kind == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            return None
        with contextlib.redirect_stdout(io.StringIO()):  # it prints advice of its own
            onnxruntime.preload_dlls()
        providers.insert(0, ("CUDAExecutionProvider", {"device_id": index}))
    try:
        session = onnxruntime.InferenceSession(graph, options, providers=providers, enable_fallback=0)
    except RuntimeError:
        return None
    if kind == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
        return None
    binding = session.io_binding()
    binding.bind_ortvalue_input("x", onnxruntime.OrtValue.ortvalue_from_numpy(array, kind, index))
    binding.bind_output("y", kind, index)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


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
    """Seconds of one call: the least of some, because others on the machine only ever slow it down."""
    run()
    return min(_timed(run) for _ in range(REPEATS))


def _timed(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
