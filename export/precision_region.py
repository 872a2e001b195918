"""Which nodes of a model file are its network: layers with weights and what lies between them.

Lower precision belongs there. Everything else (box arithmetic, top-k, non-maximum suppression, softmax, RoIAlign) stays
in float32: coordinates need its digits and cost little. The network is found by its weights, never by names, so any
graph of `graph.py` serves, whatever its nodes are called.
Also brings a graph into the plain form that both precisions start from. Knows nothing about number formats.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import onnx

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that are layers where their second input is a weight."""

BETWEEN = frozenset(
    {"Relu", "Add", "MaxPool", "AveragePool", "Resize", "Flatten", "Reshape", "Transpose", "Pad", "Concat"}
)
"""Operators that belong to the network where all their float inputs come from it."""

ONE_INPUT = frozenset({"Resize", "Reshape", "Pad"})
"""Operators whose first input alone is data; the rest are sizes, scales and widths."""


FINE_STRIDE = 4
"""Pixels of the picture to a step of the finest level of a pyramid."""


@dataclass(frozen=True, slots=True)
class Region:
    """The network of a graph.

    Attributes:
        layers: names of nodes with weights.
        nodes: names of all its nodes, the layers included.
        predictors: names of layers whose answers leave the network at once: scores, logits and box deltas.
        fine: names of nodes from the pixels on, until the resolution falls below a quarter (`FINE_STRIDE`): of a ResNet
            the first convolution and the first stage.
    """

    layers: frozenset[str]
    nodes: frozenset[str]
    predictors: frozenset[str]
    fine: frozenset[str]


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with constants folded, batch normalisation inside the convolutions, and a name for each node.

    This is ONNX Runtime's basic optimisation: standard operators in, standard operators out.
    """
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory(prefix="fashionseg-") as folder:
        path = Path(folder) / "simplified.onnx"
        options.optimized_model_filepath = str(path)
        data = model.SerializeToString()
        onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        result = onnx.load(path)
    opset = next(entry for entry in result.opset_import if entry.domain == "")
    del result.opset_import[:]
    result.opset_import.append(opset)
    result.ir_version = model.ir_version
    result.producer_name, result.producer_version = model.producer_name, model.producer_version
    _name_nodes(result.graph)
    return result


def _name_nodes(graph: onnx.GraphProto) -> None:
    """Give every node a name of its own."""
    taken: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in taken:
            node.name = f"{node.op_type}_{index}"
        taken.add(node.name)


def find_region(graph: onnx.GraphProto) -> Region:
    """The network of a simplified graph.

    Raises:
        ExportError: there is no layer with weights.
    """
    weights = {tensor.name for tensor in graph.initializer if len(tensor.dims) >= 2}
    constants = {tensor.name for tensor in graph.initializer}
    layers = {node.name for node in graph.node if node.op_type in LAYERS and node.input[1] in weights}
    if not layers:
        raise ExportError("the graph has no convolution or matrix product with weights: nothing to lower")
    inside, members = set(), set(layers)
    outputs = {value.name for value in graph.output}
    for node in graph.node:  # in topological order, as ONNX demands
        if node.name not in layers and _may_lie_between(node) and not outputs & set(node.output):
            data = data_inputs(node)
            if any(name in inside for name in data) and all(name in inside or name in constants for name in data):
                members.add(node.name)
        if node.name in members:
            inside.update(node.output)
    predictors = _predictors(graph, layers, members)
    return Region(
        frozenset(layers), frozenset(members), frozenset(predictors), frozenset(_fine(graph, layers, members))
    )


def data_inputs(node: onnx.NodeProto) -> list[str]:
    """The inputs of a node that carry the network's values."""
    return [name for name in node.input[: 1 if node.op_type in ONE_INPUT else None] if name]


def _may_lie_between(node: onnx.NodeProto) -> bool:
    """Whether the kind of a node belongs to networks. Padding with a value does not: it marks absent rows."""
    if node.op_type == "Pad":
        return any(attribute.name == "mode" and attribute.s != b"constant" for attribute in node.attribute)
    return node.op_type in BETWEEN


def _predictors(graph: onnx.GraphProto, layers: set[str], members: set[str]) -> Iterable[str]:
    """Layers whose answers reach no further layer, product of matrices or RoIAlign."""
    readers = defaultdict(list)
    for node in graph.node:
        for name in node.input:
            readers[name].append(node)

    def feeds(tensor: str) -> bool:
        """Whether a tensor reaches one of those through nodes that only move, join or pass on values."""
        for node in readers[tensor]:
            if (
                node.name in layers
                or node.op_type == "MatMul"
                or (node.op_type == "RoiAlign" and node.input[0] == tensor)
            ):
                return True
            moves = node.name in members or node.op_type in ("Pad", "Concat")
            if moves and tensor in data_inputs(node) and feeds(node.output[0]):
                return True
        return False

    return [node.name for node in graph.node if node.name in layers and not feeds(node.output[0])]


def _fine(graph: onnx.GraphProto, layers: set[str], members: set[str]) -> Iterable[str]:
    """Nodes of the network before anything coarser than `FINE_STRIDE` is computed; not the layers that lead there."""
    constants = {tensor.name for tensor in graph.initializer}
    strides = {value.name: 1 for value in graph.input}
    fine = []
    for node in graph.node:
        data = [name for name in data_inputs(node) if name not in constants]
        stride = _stride(node) * max((strides.get(name, FINE_STRIDE + 1) for name in data), default=1)
        if stride <= FINE_STRIDE:
            strides.update(dict.fromkeys(node.output, stride))
            if node.name in members:
                fine.append(node)
    go_on: set[str] = set()
    for node in reversed(fine):
        if go_on & set(node.output):
            yield node.name
        if node.name in layers or go_on & set(node.output):
            go_on.update(data_inputs(node))


def _stride(node: onnx.NodeProto) -> int:
    return max((side for one in node.attribute if one.name == "strides" for side in one.ints), default=1)
