"""Float16 for the network of a model file: weights, convolutions and matrix products; everything else stays float32.

A pass of our own rather than a converter with a list of exceptions: only what was found to be network is touched, so a
new operator in the box arithmetic cannot slip into half precision. One Cast stands wherever a tensor leaves or enters.
Compared on an embedded model: onnxconverter-common 1.16 turned the matrix products of non-maximum suppression into half
too (777 nodes, 84 casts; with box arithmetic blocked by operator 985 and 292), and ONNX Runtime loads neither.
This pass gives 735 nodes with 42 casts, and 223 of 223 detections are found again.
Knows ONNX graphs. Knows nothing about pictures or accuracy: that is `precision_check.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.errors import ExportError
from fashionseg.export.precision_region import data_inputs, find_region, simplified

if TYPE_CHECKING:
    import onnx

LARGEST_FLOAT16 = 65504.0


def to_float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of `model` (float32) whose network computes in float16. Inputs and outputs keep their types.

    Raises:
        ExportError: the graph has no network, or a weight does not fit into float16.
    """
    import onnx

    result = simplified(model)
    _Half(result.graph).run()
    del result.graph.value_info[:]
    onnx.checker.check_model(result, full_check=True)
    return result


class _Half:
    """The pass over one graph; call `run` once.

    A tensor inside the network keeps its name and becomes float16; `.float32` and `.float16` name casts of it.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._region = find_region(graph)
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self._half: set[str] = set()
        self._made: set[str] = set()
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in self._graph.node:
            inside = node.name in self._region.nodes
            for index, name in enumerate(node.input):
                if inside and name in data_inputs(node):
                    node.input[index] = self._as_half(name)
                elif name in self._half:
                    node.input[index] = self._cast(name, "float32")
            self._nodes.append(node)
            if inside:
                self._half.update(node.output)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._drop_unread_weights()

    def _as_half(self, name: str) -> str:
        if name in self._half:
            return name
        return self._half_weight(name) if name in self._weights else self._cast(name, "float16")

    def _half_weight(self, name: str) -> str:
        from onnx import numpy_helper

        stored = f"{name}.float16"
        if stored not in self._made:
            values = numpy_helper.to_array(self._weights[name])
            largest = float(np.abs(values).max(initial=0))
            if not largest <= LARGEST_FLOAT16:
                raise ExportError(f"the weight {name} holds {largest:g}, which float16 cannot: export it as fp32")
            self._graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
            self._made.add(stored)
        return stored

    def _cast(self, name: str, to: str) -> str:
        from onnx import TensorProto, helper

        result = f"{name}.{to}"
        if result not in self._made:
            kind = TensorProto.FLOAT16 if to == "float16" else TensorProto.FLOAT
            self._nodes.append(helper.make_node("Cast", [name], [result], f"{result}.cast", to=kind))
            self._made.add(result)
        return result

    def _drop_unread_weights(self) -> None:
        read = {name for node in self._graph.node for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)


def rounding_twin(half: onnx.ModelProto) -> onnx.ModelProto:
    """A float32 graph that rounds to float16 wherever the graph of `to_float16` does: its answers on any machine.

    ONNX Runtime has no float16 kernels for x86: it runs such a graph in float32 and rounds only here and there, which
    would flatter a proof made there.
    """
    import onnx
    from onnx import TensorProto, numpy_helper

    twin = onnx.shape_inference.infer_shapes(half, strict_mode=True)
    graph = twin.graph
    is_half = {v.name for v in graph.value_info if v.type.tensor_type.elem_type == TensorProto.FLOAT16}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            is_half.add(tensor.name)
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes = list(graph.node)
    del graph.node[:], graph.value_info[:]
    for node in nodes:
        graph.node.extend(_rounded(node) if node.output[0] in is_half else [node])
    onnx.checker.check_model(twin, full_check=True)
    return twin


def _rounded(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node in float32, and its result rounded to float16 and back."""
    from onnx import TensorProto, helper

    name = node.output[0]
    half = f"{name}.half"
    back = helper.make_node("Cast", [half], [name], f"{name}.back", to=TensorProto.FLOAT)
    if node.op_type == "Cast":
        node.output[0] = half
        return [node, back]
    node.output[0] = f"{name}.exact"
    return [node, helper.make_node("Cast", [node.output[0]], [half], f"{name}.round", to=TensorProto.FLOAT16), back]
