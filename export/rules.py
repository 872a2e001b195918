"""The rules of a model file's graph: what ONNX Runtime and TensorRT both run at any batch size.

Judges an ONNX model without running it and names the node that breaks a rule. Needs onnx alone; knows nothing about
torch, Detectron2 or where the graph came from, so graphs of lower precision are judged by the same rules.

Limits of TensorRT: https://github.com/onnx/onnx-tensorrt/blob/main/docs/operators.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, numpy_helper

from fashionseg.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

MIN_OPSET = 16
"""RoiAlign has half-pixel coordinates from here on."""

MAX_TOPK = 3840

# fmt: off
ALLOWED = frozenset((
    "Abs", "Add", "And", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Conv", "ConvTranspose", "CumSum", "DequantizeLinear", "Div", "Equal", "Exp", "Expand",
    "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm", "GlobalAveragePool", "Greater",
    "GreaterOrEqual", "GroupNormalization", "HardSigmoid", "Identity", "InstanceNormalization", "Less",
    "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "Not", "Or", "Pad", "Pow",
    "QuantizeLinear", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape",
    "Resize", "RoiAlign", "Round", "Shape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Squeeze", "Sub",
    "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze", "Where",
))
# fmt: on
"""Operators that ONNX Runtime (CPU and CUDA) and TensorRT share, with results whose shape depends on no data."""

REASONS = {
    "NonZero": "the shape of its result depends on data",
    "Compress": "the shape of its result depends on data",
    "Unique": "the shape of its result depends on data",
    "NonMaxSuppression": "the shape of its result depends on data",
    "If": "control flow",
    "Loop": "control flow",
    "Scan": "control flow",
    "ScatterND": "it selects by data, and TensorRT has it without reduction only",
}

SHAPE_INPUTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "CumSum": (1,),
    "Expand": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "ReduceMax": (1,),
    "ReduceMean": (1,),
    "ReduceMin": (1,),
    "ReduceSum": (1,),
    "Reshape": (1,),
    "Resize": (1, 2, 3),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1,),
    "TopK": (1,),
    "Unsqueeze": (1,),
}
"""Inputs that decide the shape of a node's result: these may depend on shapes and constants alone."""

TYPES = frozenset(
    (
        TensorProto.FLOAT,
        TensorProto.FLOAT16,
        TensorProto.INT32,
        TensorProto.INT64,
        TensorProto.BOOL,
        TensorProto.UINT8,
        TensorProto.INT8,
    )
)

INPUT_TYPES = {"images": TensorProto.UINT8, "image_sizes": TensorProto.INT32}
OUTPUT_TYPES = {
    "boxes": TensorProto.FLOAT,
    "labels": TensorProto.INT32,
    "masks": TensorProto.FLOAT,
    "nms_exact": TensorProto.INT32,
    "num_detections": TensorProto.INT32,
    "scores": TensorProto.FLOAT,
}
DYNAMIC_AXES = {"images": (0, 1, 2), **dict.fromkeys(("image_sizes", *OUTPUT_TYPES), (0,))}


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken rule.

    Attributes:
        node: name and operator of the offending node, or the tensor.
        reason: what is wrong with it.
    """

    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.node}: {self.reason}"


def check_rules(model: onnx.ModelProto, where: str) -> None:
    """Refuse a model that breaks a rule.

    Args:
        model: the whole model, weights inside.
        where: its file, for messages.

    Raises:
        ExportError: naming the first offending nodes.
    """
    found = violations(model)
    if found:
        more = f" (and {len(found) - 3} more)" if len(found) > 3 else ""
        raise ExportError(f"{where} breaks the rules of a model file: {'; '.join(map(str, found[:3]))}{more}")


def violations(model: onnx.ModelProto) -> list[Violation]:
    """Every broken rule of a model; empty where it is fine."""
    try:
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        return [Violation("the model", f"onnx.checker refuses it: {str(error).strip().splitlines()[0]}")]
    judge = _Judge(inferred)
    return [*judge.domains(), *judge.interface(), *judge.nodes()]


class _Judge:
    def __init__(self, model: onnx.ModelProto) -> None:
        graph = model.graph
        self.model = model
        self.graph = graph
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        self.producer = {name: node for node in graph.node for name in node.output}
        self.values = {value.name: value for value in (*graph.value_info, *graph.input, *graph.output)}
        self.shape_like = self._shape_like()

    def domains(self) -> Iterator[Violation]:
        for entry in self.model.opset_import:
            if entry.domain not in ("", "ai.onnx"):
                yield Violation("the model", f"it uses operators of the domain {entry.domain!r}")
            elif entry.version < MIN_OPSET:
                yield Violation("the model", f"its opset is {entry.version}, below {MIN_OPSET}")
        for function in self.model.functions:
            yield Violation(function.name, "functions of its own")

    def interface(self) -> Iterator[Violation]:
        for wanted, found in ((INPUT_TYPES, self.graph.input), (OUTPUT_TYPES, self.graph.output)):
            values = {value.name: value for value in found}
            for name in wanted.keys() - values.keys():
                yield Violation(name, "this tensor is missing")
            for name, value in values.items():
                if name not in wanted:
                    yield Violation(name, "a tensor that a model file does not have")
                else:
                    yield from self._check_value(value, wanted[name])

    def _check_value(self, value: onnx.ValueInfoProto, wanted: int) -> Iterator[Violation]:
        kind = value.type.tensor_type
        if kind.elem_type != wanted:
            yield Violation(value.name, f"it is {_type_name(kind.elem_type)}, not {_type_name(wanted)}")
        for axis, dim in enumerate(kind.shape.dim):
            dynamic = axis in DYNAMIC_AXES[value.name]
            if dynamic == dim.HasField("dim_value"):
                yield Violation(value.name, f"axis {axis} must {'not ' if dynamic else ''}be of a fixed size")

    def nodes(self) -> Iterator[Violation]:
        for node in self.graph.node:
            for reason in self._reasons(node):
                yield Violation(f"node {node.name or node.output[0]!r} ({node.op_type})", reason)

    def _reasons(self, node: onnx.NodeProto) -> Iterator[str]:
        if node.op_type not in ALLOWED or node.domain not in ("", "ai.onnx"):
            yield f"this operator is not allowed{_because(node.op_type)}"
            return
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            yield "it holds a graph of its own"
        for position in SHAPE_INPUTS.get(node.op_type, ()):
            name = node.input[position] if position < len(node.input) else ""
            if name and name not in self.shape_like:
                yield f"the shape of its result depends on data ({name})"
        yield from self._type_reasons(node)
        if node.op_type == "TopK":
            yield from self._topk_reasons(node)
        if node.op_type == "RoiAlign":
            yield from self._roi_align_reasons(node)

    def _type_reasons(self, node: onnx.NodeProto) -> Iterator[str]:
        for name in node.output:
            kind = self._type(name)
            if kind and kind not in TYPES:
                yield f"its result {name} is {_type_name(kind)}"
        if "images" in node.input and node.op_type not in ("Cast", "Shape"):
            yield "the uint8 input must be cast before anything else"

    def _topk_reasons(self, node: onnx.NodeProto) -> Iterator[str]:
        constant = self._constant(node.input[1])
        axis = next((int(a.i) for a in node.attribute if a.name == "axis"), -1)
        if constant is None:
            yield "its k is not constant"
            return
        k = int(constant.item())
        if k > MAX_TOPK:
            yield f"its k is {k}; TensorRT takes at most {MAX_TOPK}"
        if self._least(node.input[0], axis) < k:
            yield f"its k is {k}, and axis {axis} of {node.input[0]} may be shorter"

    def _roi_align_reasons(self, node: onnx.NodeProto) -> Iterator[str]:
        for name in node.input[:2]:
            if self._type(name) != TensorProto.FLOAT:
                yield f"its input {name} must be float32: half precision rounds coordinates"
        if "sampling_ratio" not in {attribute.name for attribute in node.attribute}:
            yield "its sampling_ratio must be written out"

    def _least(self, name: str, axis: int) -> int:
        """A length that the axis of a tensor has at least."""
        shape = self.values[name].type.tensor_type.shape.dim if name in self.values else []
        if not shape:
            return 0
        axis %= len(shape)
        if shape[axis].HasField("dim_value"):
            length: int = shape[axis].dim_value
            return length
        node = self.producer.get(name)
        if node is not None and node.op_type == "Pad":
            constant = self._constant(node.input[1])
            pads: list[int] = [] if constant is None else constant.tolist()
            if len(pads) == 2 * len(shape):
                return int(pads[axis]) + int(pads[axis + len(shape)]) + self._least(node.input[0], axis)
        return 0

    def _constant(self, name: str) -> NDArray[np.generic] | None:
        if name in self.initializers:
            return numpy_helper.to_array(self.initializers[name])
        node = self.producer.get(name)
        if node is not None and node.op_type == "Constant":
            return next((numpy_helper.to_array(a.t) for a in node.attribute if a.name == "value"), None)
        return None

    def _type(self, name: str) -> int:
        kind: int = 0
        if name in self.initializers:
            kind = self.initializers[name].data_type
        elif name in self.values:
            kind = self.values[name].type.tensor_type.elem_type
        return kind

    def _shape_like(self) -> frozenset[str]:
        """Tensors that depend on shapes and constants alone."""
        known = {"", *self.initializers}
        for node in self.graph.node:
            if node.op_type in ("Shape", "Constant") or (node.input and known.issuperset(node.input)):
                known.update(node.output)
        return frozenset(known)


def _because(op_type: str) -> str:
    reason = REASONS.get(op_type)
    if reason is None and op_type.startswith("Sequence"):
        reason = "a sequence"
    return f": {reason}" if reason else ""


def _type_name(kind: int) -> str:
    return TensorProto.DataType.Name(kind).lower() if kind else "of unknown type"
