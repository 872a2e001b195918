"""Masks for the rows that exist alone: a model's graph rewritten in memory, for ONNX Runtime on a CPU.

A model file gives every picture the same K rows, found or not, as TensorRT and CUDA graphs want no shape that depends
on data. On a CPU that is dear: with 5 detections of 20 rows the embedded model spends a sixth of its time on masks that
nobody reads, an R50-FPN with 5 of 100 a third. Here the rows that exist, and whose score is high enough for whoever
asks, are picked out in front of the mask head and its answers are put back in their places; the tensors that leave the
graph stay what they were.

Knows the mask branch by its shape, not by names: from the RoiAlign that begins it to the Reshape that gives every
picture its K rows again. A graph of another shape is left as it is. Knows nothing about sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

_PASS_THROUGH = frozenset({"Cast", "Sigmoid", "QuantizeLinear", "DequantizeLinear"})
_PREFIX = "live_rows/"
_EVERYTHING = np.iinfo(np.int64).max


def live_rows_only(data: bytes, min_score: float = 0.0) -> bytes:
    """The model file, rewritten; the very same bytes where the graph has no mask branch of the expected shape.

    Masks of rows whose score is below `min_score` are not computed either: what the graph says of them is void.

    Bytes that are no ONNX file, too, come back as they are: whoever loads them says so.
    """
    try:
        model = onnx.ModelProto.FromString(data)
    except DecodeError:
        return data
    branch = _find(model.graph)
    if branch is None:
        return data
    _rewrite(model.graph, branch, min_score)
    rewritten: bytes = model.SerializeToString()
    return rewritten


@dataclass(frozen=True, slots=True)
class _Branch:
    """The mask branch.

    Attributes:
        found: tensor bool [N, K, 1, 1], which rows exist.
        fed: (node, position) of every input of the branch that has a row for each detection of all pictures.
        last: the Reshape to [N, K, m, m].
        cells: m, m.
    """

    found: str
    fed: list[tuple[onnx.NodeProto, int]]
    last: onnx.NodeProto
    cells: list[int]


class _Graph:
    """A graph by its tensors: who makes each, who reads it, which depend on the inputs."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        nodes = list(graph.node)
        self.makers = {name: node for node in nodes for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        self.varying = {value.name for value in graph.input}
        for node in nodes:  # in topological order, as ONNX demands
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
            if self.varying.intersection(node.input):
                self.varying.update(node.output)

    def shape_at(self, name: str) -> list[int]:
        """The values of a constant of four int64; none where it is another or not constant."""
        tensor = self.constants.get(name)
        if tensor is None or tensor.data_type != TensorProto.INT64 or list(tensor.dims) != [4]:
            return []
        whole = len(tensor.raw_data) == 4 * 8 or len(tensor.int64_data) == 4
        return numpy_helper.to_array(tensor).tolist() if whole else []

    def read_by(self, name: str) -> list[onnx.NodeProto]:
        """The nodes that read a tensor."""
        return self.readers.get(name, [])

    def between(self, first: onnx.NodeProto, last: onnx.NodeProto) -> list[onnx.NodeProto]:
        """Nodes on the ways from `first` to `last`, both included."""
        behind, waiting = {id(first): first}, list(first.output)
        while waiting:
            for reader in self.read_by(waiting.pop()):
                if id(reader) not in behind and id(reader) != id(last):
                    waiting.extend(reader.output)
                behind[id(reader)] = reader
        return [node for node in self.ancestors(last, stop=first) if id(node) in behind]

    def ancestors(self, last: onnx.NodeProto, stop: onnx.NodeProto) -> Iterable[onnx.NodeProto]:
        """The node, what it depends on, and so on; nothing that `stop` depends on."""
        seen, waiting = {id(last): last}, [last]
        while waiting:
            node = waiting.pop()
            if id(node) == id(stop):
                continue
            for name in node.input:
                maker = self.makers.get(name)
                if maker is not None and id(maker) not in seen:
                    seen[id(maker)] = maker
                    waiting.append(maker)
        return seen.values()


def _find(proto: onnx.GraphProto) -> _Branch | None:
    if any(attribute.HasField("g") or attribute.graphs for node in proto.node for attribute in node.attribute):
        return None  # graphs inside of graphs may read anything
    graph = _Graph(proto)
    found, last, shape = _end(graph)
    first = _up(graph, last, lambda node: node.op_type == "RoiAlign")
    if first is None or len(first.input) != 3 or last is None or not found:
        return None
    inside = graph.between(first, last)
    members = {id(node) for node in inside}
    made = {name for node in inside for name in node.output}
    readers = [reader for node in inside if node is not last for name in node.output for reader in graph.read_by(name)]
    if not members.issuperset(map(id, readers)):
        return None  # somebody else reads from inside the branch
    fed = [(first, 1), (first, 2)]
    for node in inside:
        if node is not first:
            fed += [(node, i) for i, name in enumerate(node.input) if name in graph.varying and name not in made]
    return _Branch(found, fed, last, shape[2:])


def _end(graph: _Graph) -> tuple[str, onnx.NodeProto | None, list[int]]:
    """The tensor that says which rows exist, the Reshape that ends the branch, and its shape."""
    where = _up(graph, graph.makers.get("masks"), lambda node: node.op_type == "Where", _PASS_THROUGH)
    if where is None or len(where.input) != 3:
        return "", None, []
    last = _up(graph, graph.makers.get(where.input[1]), lambda node: node.op_type == "Reshape", _PASS_THROUGH)
    shape = graph.shape_at(last.input[1]) if last is not None and len(last.input) == 2 else []
    return where.input[0], last if shape else None, shape


def _up(
    graph: _Graph,
    node: onnx.NodeProto | None,
    wanted: Callable[[onnx.NodeProto], bool],
    through: frozenset[str] | None = None,
) -> onnx.NodeProto | None:
    """The nearest node wanted, going up along first inputs, through nodes of these kinds alone (None: any)."""
    while node is not None and not wanted(node):
        passes = node.input and (through is None or node.op_type in through)
        node = graph.makers.get(node.input[0]) if passes else None
    return node


def _rewrite(graph: onnx.GraphProto, branch: _Branch, min_score: float) -> None:
    constants = _Additions(graph)
    nodes: list[onnx.NodeProto] = []

    def add(kind: str, inputs: list[str], name: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [_PREFIX + name], _PREFIX + name, **attributes))
        return _PREFIX + name

    # The first row always counts: a convolution over no row at all is asking for trouble.
    flat = add("Reshape", [branch.found, constants.of([-1])], "found")
    if min_score > 0:
        scores = add("Reshape", ["scores", constants.of([-1])], "scores")
        enough = add("GreaterOrEqual", [scores, constants.of(float(min_score))], "enough")
        flat = add("And", [flat, enough], "found.enough")
    others = add("Slice", [flat, constants.of([1]), constants.of([_EVERYTHING]), constants.of([0])], "others")
    wanted = add("Concat", [constants.of([True]), others], "wanted", axis=0)
    rows = add("Reshape", [add("NonZero", [wanted], "where"), constants.of([-1])], "rows")
    for number, (node, position) in enumerate(branch.fed):
        node.input[position] = add("Gather", [node.input[position], rows], f"picked.{number}", axis=0)

    last, cells = branch.last, branch.cells
    answers = add("Reshape", [last.input[0], constants.of([-1, *cells])], "answers")
    blank = add("Concat", [add("Shape", [flat], "count"), constants.of(cells)], "size", axis=0)
    zeros = add("Expand", [add("CastLike", [constants.of(0.0), answers], "zero"), blank], "zeros")
    places = add("Reshape", [rows, constants.of([-1, 1])], "places")
    last.input[0] = add("ScatterND", [zeros, places, answers], "placed")
    graph.node.extend(nodes)
    _sort(graph)


class _Additions:
    """Constants added to a graph."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._graph = graph
        self._number = 0

    def of(self, values: list[int] | list[bool] | float) -> str:
        """The name of a new constant: int64, bool, or float32."""
        array: NDArray[np.generic] = np.asarray(values, np.float32 if isinstance(values, float) else None)
        name = f"{_PREFIX}constant.{self._number}"
        self._number += 1
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name


def _sort(graph: onnx.GraphProto) -> None:
    """Put nodes behind those they read from; otherwise the order stays. A cycle is left for ONNX Runtime to refuse."""
    waiting = list(graph.node)
    known = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer} | {""}
    ordered: list[onnx.NodeProto] = []
    while waiting:
        left = []
        for node in waiting:
            if known.issuperset(node.input):
                ordered.append(node)
                known.update(node.output)
            else:
                left.append(node)
        if len(left) == len(waiting):
            break
        waiting = left
    del graph.node[:]
    graph.node.extend([*ordered, *waiting])
