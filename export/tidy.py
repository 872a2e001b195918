"""Tidies a traced ONNX graph: constants computed once, written once, and nothing that nobody reads.

The values of the graph stay what they are. Needs onnx alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from onnx import numpy_helper

if TYPE_CHECKING:
    import onnx
    from numpy.typing import NDArray

MAX_FOLDED = 1 << 20
"""Constants of more elements are weights: they are left where they are."""


def tidy(model: onnx.ModelProto) -> None:
    """Fold constants, write equal ones once, remove what is not used; in place."""
    fold_constants(model)
    share_initializers(model)
    remove_unused(model)


def fold_constants(model: onnx.ModelProto) -> None:
    """Turn Constant nodes, and nodes that depend on small constants alone, into initializers."""
    graph = model.graph
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    small = {name for name, value in known.items() if value.size <= MAX_FOLDED}
    kept = []
    for node in graph.node:
        values = _evaluated(node, known, model) if node.input and small.issuperset(node.input) else None
        if node.op_type == "Constant":
            values = [numpy_helper.to_array(node.attribute[0].t)]
        if values is None or any(value.size > MAX_FOLDED for value in values):
            kept.append(node)
            continue
        for name, value in zip(node.output, values, strict=True):
            known[name] = value
            small.add(name)
            graph.initializer.append(numpy_helper.from_array(value, name))
    del graph.node[:]
    graph.node.extend(kept)


def _evaluated(
    node: onnx.NodeProto, known: dict[str, NDArray[np.generic]], model: onnx.ModelProto
) -> list[NDArray[np.generic]] | None:
    from onnx.reference import ReferenceEvaluator

    if any(attribute.HasField("g") for attribute in node.attribute):
        return None
    feeds = {name: known[name] for name in node.input if name}
    results = ReferenceEvaluator(node, opsets={"": model.opset_import[0].version}).run(None, feeds)
    return [np.ascontiguousarray(result) if np.ndim(result) else np.asarray(result) for result in results]


def share_initializers(model: onnx.ModelProto) -> None:
    """Let nodes read one of several equal initializers; single numbers keep their own, and their name."""
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    renamed = {}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if value.size < 2:
            continue
        same = first.setdefault((tensor.data_type, tuple(tensor.dims), value.tobytes()), tensor.name)
        if same != tensor.name:
            renamed[tensor.name] = same
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)


def remove_unused(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output depends on."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(reversed(kept))
    graph.initializer.extend(weights)
    del graph.value_info[:]
