"""A model file's graph with TensorRT's numbers: constants folded, INT8 signed.

It happens in memory when an engine is built; the model file stays as it is. Numbers may change (signed INT8 is coarser
where a tensor has no negative values), and this is what the proof of an INT8 engine runs. RoIAlign is rewritten on top
of it, in `roialign.py`.
Knows ONNX graphs. Knows nothing about TensorRT's API.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

    from fashionseg.model import ModelFile

UNSIGNED_STEPS = 255
SIGNED_STEPS = 127
"""Levels above zero of the two 8-bit forms."""

KEEPS_SIGN = frozenset({"MaxPool", "Resize", "Flatten", "Reshape", "Transpose"})


def numeric_graph(model: ModelFile) -> onnx.ModelProto:
    """The graph with TensorRT's numbers: still standard operators, so that ONNX Runtime runs it too."""
    from fashionseg.export.precision_region import simplified
    from fashionseg.model import parse_onnx

    proto = parse_onnx(model.data, str(model.path))
    if model.spec.precision == "fp32":
        return simplified(proto)  # graphs of lower precision were made from a simplified one
    if model.spec.precision == "int8":
        _Signed(proto.graph).run()
    return proto


class _Signed:
    """Turns the UINT8 Q/DQ nodes of `precision_int8.py` into TensorRT's form; call `run` once.

    TensorRT takes signed symmetric activations alone. A tensor around 128 moves down by 128, to the same numbers. A
    tensor from 0 up spans 127 levels instead of 255, and the Relu that its lower end stood for becomes a node again.
    Biases become float32 (TensorRT has no INT32 DequantizeLinear), and what a convolution hands to an addition is not
    rounded on the way, so that both become one kernel.
    """

    def __init__(self, graph: onnx.GraphProto) -> None:
        from onnx import numpy_helper

        self._graph = graph
        self._values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._readers = defaultdict(list)
        for node in graph.node:
            for name in node.input:
                self._readers[name].append(node)
        self._renamed: dict[str, str] = {}
        self._new: dict[str, NDArray[np.generic]] = {}
        self._nodes: list[onnx.NodeProto] = []

    def run(self) -> None:
        for node in self._graph.node:
            for index, name in enumerate(node.input):
                node.input[index] = self._renamed.get(name, name)
            if node.op_type == "QuantizeLinear":
                self._quantize(node)
            elif node.op_type == "DequantizeLinear":
                self._dequantize(node)
            else:
                self._nodes.append(node)
        self._rebuild()

    def _quantize(self, node: onnx.NodeProto) -> None:
        from onnx import helper

        if self._between_convolution_and_addition(node):
            self._renamed[node.output[0]] = node.input[0]
            return
        if self._zero(node) == 0 and not self._has_no_negatives(node.input[0]):
            positive = f"{node.output[0]}.positive"
            self._nodes.append(helper.make_node("Relu", [node.input[0]], [positive], positive))
            node.input[0] = positive
        self._sign(node)
        self._nodes.append(node)

    def _dequantize(self, node: onnx.NodeProto) -> None:
        stored = self._values.get(node.input[0])
        if stored is not None and stored.dtype == np.int32:
            scale = self._values[node.input[1]]
            self._new[node.output[0]] = (stored * scale.astype(np.float64)).astype(np.float32)
            return
        if stored is None and self._producers.get(node.input[0], node).op_type != "QuantizeLinear":
            self._renamed[node.output[0]] = node.input[0]  # its partner was dropped
            return
        if stored is None:
            self._sign(node)
        self._nodes.append(node)

    def _zero(self, node: onnx.NodeProto) -> int:
        return int(self._values[node.input[2]].reshape(-1)[0])

    def _sign(self, node: onnx.NodeProto) -> None:
        """Give a Q or DQ node of an activation its signed scale and zero point."""
        scale, zero = self._values[node.input[1]], self._zero(node)
        wider = UNSIGNED_STEPS / SIGNED_STEPS if zero == 0 else 1.0
        names = f"{node.input[1]}.from{zero}", f"{node.input[1]}.zero"
        self._new[names[0]] = (scale * wider).astype(np.float32)
        self._new[names[1]] = np.zeros(scale.shape, np.int8)
        node.input[1], node.input[2] = names

    def _between_convolution_and_addition(self, node: onnx.NodeProto) -> bool:
        producer = self._producers.get(node.input[0])
        if producer is None or producer.op_type not in ("Conv", "ConvTranspose") or self._zero(node) == 0:
            return False
        dequantizers = self._readers[node.output[0]]
        readers = [reader for one in dequantizers for reader in self._readers[one.output[0]]]
        return all(reader.op_type == "Add" for reader in readers)

    def _has_no_negatives(self, name: str) -> bool:
        producer = self._producers.get(name)
        if producer is None:
            return False
        if producer.op_type == "DequantizeLinear":
            return bool(producer.input[2].endswith(".zero") and producer.input[1].endswith(".from0"))
        return producer.op_type == "Relu" or (
            producer.op_type in KEEPS_SIGN and self._has_no_negatives(producer.input[0])
        )

    def _rebuild(self) -> None:
        from onnx import numpy_helper

        del self._graph.node[:], self._graph.value_info[:]
        self._graph.node.extend(self._nodes)
        read = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)
        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self._new.items())
