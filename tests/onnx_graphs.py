"""What tests ask of ONNX graphs: types of tensors, who made them, and small networks to lower."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
NETWORK = LAYERS | {"Relu", "Add", "MaxPool", "Resize", "Flatten", "Reshape", "Transpose", "Pad", "Concat"}
"""Operators that may compute in lower precision; no arithmetic of boxes is among them but `Add`."""

PIXEL_MEAN = 120.0


def element_types(model):
    """Element type of every tensor of a model, by name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    return {**found, **{tensor.name: tensor.data_type for tensor in graph.initializer}}


def producers(model):
    """The node that makes each tensor, by name."""
    return {name: node for node in model.graph.node for name in node.output}


def constants(model):
    """The arrays of a model, by name."""
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def small_network(weight=None, stride=1):
    """Images to scores by a convolution, Relu, a predictor and Softmax; arithmetic on `image_sizes` beside it.

    The pixels lose `PIXEL_MEAN`. The convolutions are 1 x 1, so that NumPy can follow: weights float32 [4, 3], [2, 4].
    The first has the stride given.
    """
    rng = np.random.default_rng(5)
    first = rng.normal(0, 0.02, (4, 3)).astype(np.float32) if weight is None else weight
    second = rng.normal(0, 0.5, (2, 4)).astype(np.float32)
    arrays = {
        "first": first[:, :, None, None],
        "second": second[:, :, None, None],
        "mean": np.array(PIXEL_MEAN, np.float32),
        "half": np.array(0.5, np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["raw"], perm=[0, 3, 1, 2]),
        helper.make_node("Sub", ["raw", "mean"], ["planes"]),
        helper.make_node("Conv", ["planes", "first"], ["features"], strides=[stride, stride]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("Conv", ["active", "second"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
        helper.make_node("Cast", ["image_sizes"], ["sizes"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["sizes", "half"], ["middle"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3]),
            helper.make_tensor_value_info("image_sizes", TensorProto.INT32, ["N", 2]),
        ],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 2, "H", "W"]),
            helper.make_tensor_value_info("middle", TensorProto.FLOAT, ["N", 2]),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
