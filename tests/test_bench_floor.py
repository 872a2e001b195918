"""The least time that a model's arithmetic and memory could take, against work counted by hand."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from fashionseg.backends.registry import Device
from fashionseg.benchmarks.bench import floor
from fashionseg.model import INPUTS, OUTPUTS, read_model


def graph_with(nodes, weights):
    """An ONNX file with a model's inputs and outputs whose work is `nodes`, from `pixels` [n, 3, h, w] to `result`."""
    images = helper.make_tensor_value_info(INPUTS[0], TensorProto.UINT8, ["n", "h", "w", 3])
    sizes = helper.make_tensor_value_info(INPUTS[1], TensorProto.INT32, ["n", 2])
    first = [
        helper.make_node("Cast", [INPUTS[0]], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["pixels"], perm=[0, 3, 1, 2]),
    ]
    last = [helper.make_node("ReduceSum", ["result"], [name], keepdims=0) for name in OUTPUTS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in OUTPUTS]
    constants = [numpy_helper.from_array(array, name) for name, array in weights.items()]
    graph = helper.make_graph([*first, *nodes, *last], "test", [images, sizes], outputs, constants)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return proto.SerializeToString()


def ones(*shape):
    return np.ones(shape, np.float32)


@pytest.mark.parametrize(
    ("nodes", "weights", "flops", "numbers"),
    [
        # stride 2 and 2 groups would change it; here 1: 2 pictures x 5 channels x 6 x 8 pixels x 3 x 3 x 3 products
        (
            [helper.make_node("Conv", ["pixels", "w"], ["result"], pads=[1, 1, 1, 1])],
            {"w": ones(5, 3, 3, 3)},
            2 * (2 * 5 * 6 * 8) * 27,
            2 * 3 * 48 + 135 + 2 * 5 * 48,
        ),
        # each input pixel meets 5 x 2 x 2 weights
        (
            [helper.make_node("ConvTranspose", ["pixels", "w"], ["result"], strides=[2, 2])],
            {"w": ones(3, 5, 2, 2)},
            2 * (2 * 3 * 48) * 20,
            2 * 3 * 48 + 60 + 2 * 5 * 192,
        ),
        (
            [
                helper.make_node("Flatten", ["pixels"], ["flat"]),
                helper.make_node("Gemm", ["flat", "w", "b"], ["result"], transB=1),
            ],
            {"w": ones(7, 144), "b": ones(7)},
            2 * 2 * 144 * 7,
            2 * 144 + 7 * 144 + 7 + 2 * 7,
        ),
        (
            [helper.make_node("MatMul", ["pixels", "w"], ["result"])],
            {"w": ones(8, 4)},
            2 * (2 * 3 * 6 * 4) * 8,
            2 * 3 * 48 + 32 + 2 * 3 * 24,
        ),
        ([helper.make_node("Relu", ["pixels"], ["result"])], {}, 0, 0),
    ],
    ids=["conv", "transposed", "gemm", "matmul", "none"],
)
def test_work_is_what_one_counts_by_hand(nodes, weights, flops, numbers):
    batch = np.zeros((2, 6, 8, 3), np.uint8), np.zeros((2, 2), np.int32)
    work = floor.count_work(graph_with(nodes, weights), *batch)
    assert (work.flops, work.bytes) == (flops, 4 * numbers)
    half = floor.count_work(graph_with(nodes, weights), *batch, half=True)
    assert (half.flops, half.bytes) == (flops, 2 * numbers)


def test_the_work_of_the_embedded_model_grows_with_batch_and_size():
    model = read_model()

    def work(n, height, width):
        return floor.count_work(
            model.data, np.zeros((n, height, width, 3), np.uint8), np.array([[height, width]] * n, np.int32)
        )

    small, twice, large = work(1, 64, 64), work(2, 64, 64), work(1, 128, 128)
    assert 0 < small.flops < large.flops
    assert twice.flops == 2 * small.flops


def test_the_machine_does_something(monkeypatch):
    monkeypatch.setattr(floor, "MATRIX_SIDES", {"cpu": (128,)})
    monkeypatch.setattr(floor, "COPY_BYTES", {"cpu": 2**20})
    able = floor.measure_machine(Device("cpu"), 1, "fp32")
    assert able.flops_per_s > 1e8
    assert able.bytes_per_s > 1e7
    assert floor.measure_machine(Device("cpu"), 1, "int8") is None


def test_what_is_not_known_has_no_floor(monkeypatch):
    """A GPU that ONNX Runtime cannot use, and a kind of device that nobody knows how to measure."""
    import onnxruntime

    class Elsewhere:
        def __init__(self, graph, options, providers, enable_fallback):
            assert enable_fallback == 0

        def get_providers(self):
            return ["CPUExecutionProvider"]

    class Refused(Elsewhere):
        def __init__(self, *arguments, **more):
            raise RuntimeError("CUDA failure 100: no CUDA-capable device is detected")

    monkeypatch.setattr(floor, "MATRIX_SIDES", {"cuda": (16,)})
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    for session in (Elsewhere, Refused):
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        for kind in ("cuda", "trt"):
            assert floor.measure_machine(Device(kind, 0), 1, "fp32") is None
    assert floor.measure_machine(Device("openvino"), 1, "fp32") is None


def test_the_floor_is_what_takes_longer():
    able = floor.Machine(flops_per_s=100.0, bytes_per_s=10.0)
    assert floor.floor_seconds(floor.Work(200, 10), able) == 2
    assert floor.floor_seconds(floor.Work(200, 50), able) == 5
