"""From a traced network to an ONNX file: names, dynamic axes, tidying, weight storage, metadata.

Knows torch's exporter and the tensors of the model file. Knows nothing about checkpoints, and judges nothing: the
rules of the graph are in `rules.py`, its answers are compared in `parity.py`.
"""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING

from fashionseg.errors import ExportError
from fashionseg.export.tidy import tidy
from fashionseg.model import INPUTS, OUTPUTS, ModelFile

if TYPE_CHECKING:
    from pathlib import Path

    import onnx
    from torch import nn

    from fashionseg.model import ModelSpec

OPSET = 17
"""RoiAlign with half-pixel coordinates needs 16; 17 is read by TensorRT 8.6 and later."""

TRACE_SIZES = ((160, 224), (192, 160))
"""Heights and widths the network is traced with. Two different pictures, neither of them square: a size that was
baked into the graph shows in the first check."""


def trace(network: nn.Module) -> onnx.ModelProto:
    """The network as an ONNX graph with dynamic N, H and W.

    Batch normalisation stays a node of its own, so that the stored weights are those of the checkpoint; ONNX Runtime
    and TensorRT fold it into the convolutions when they load the file.
    """
    import numpy as np
    import onnx
    import torch
    from detectron2.export import TracingAdapter

    height, width = (max(sides) for sides in zip(*TRACE_SIZES, strict=True))
    generator = np.random.default_rng(0)
    images = torch.from_numpy(generator.integers(0, 256, (len(TRACE_SIZES), height, width, 3), np.uint8))
    sizes = torch.tensor(TRACE_SIZES, dtype=torch.int32)
    adapter = TracingAdapter(network.eval(), (images, sizes))
    buffer = io.BytesIO()
    with torch.no_grad():
        torch.onnx.export(
            adapter,
            adapter.flattened_inputs,
            buffer,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=_dynamic_axes(),
            opset_version=OPSET,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=True,
            dynamo=False,
        )
    network.eval()  # the exporter leaves it in training mode
    model = onnx.load_from_string(buffer.getvalue())
    tidy(model)
    return model


def _dynamic_axes() -> dict[str, dict[int, str]]:
    axes = {name: {0: "N"} for name in (*INPUTS, *OUTPUTS)}
    axes["images"] |= {1: "H", 2: "W"}
    return axes


def store_weights_as_float16(model: onnx.ModelProto) -> None:
    """Store large float32 initializers that float16 holds exactly as float16, cast back to float32 by one node each.

    The caller has rounded the network's weights before tracing (`round_weights`), so this changes no value.
    """
    import numpy as np
    import onnx
    from onnx import helper, numpy_helper

    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = numpy_helper.to_array(tensor)
        half = values.astype(np.float16)
        if values.size < 64 or not np.array_equal(half.astype(np.float32), values):
            continue
        stored = numpy_helper.from_array(half, f"{tensor.name}.float16")
        casts.append(helper.make_node("Cast", [stored.name], [tensor.name], f"{tensor.name}.cast", to=1))
        graph.initializer[index].CopyFrom(stored)
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def round_weights(network: nn.Module, where: Path) -> None:
    """Round weights of two and more axes to float16 in place; vectors (biases, statistics) stay as they are.

    Running variances underflow in float16, and vectors are a thousandth of the file.

    Raises:
        ExportError: a weight is too large for float16; `where` is the checkpoint.
    """
    import torch

    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.dim() >= 2:
                rounded = parameter.half().float()
                if not bool(torch.isfinite(rounded).all()):
                    raise ExportError(f"{where} has weights too large for float16 ({name}): use --weights fp32")
                parameter.copy_(rounded)


def set_metadata(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Write `spec` into the model's metadata properties, and its constant sizes into the types of the outputs."""
    from onnx import helper

    from fashionseg._version import __version__

    rows = spec.max_detections
    sizes = {"boxes": (rows, 4), "labels": (rows,), "masks": (rows, spec.mask_side, spec.mask_side), "scores": (rows,)}
    for output in model.graph.output:
        dims = output.type.tensor_type.shape.dim
        for dim, size in zip(list(dims)[1:], sizes.get(output.name, ()), strict=True):
            dim.dim_value = size
    helper.set_model_props(model, spec.to_properties())
    model.producer_name, model.producer_version = "fashionseg", __version__


def as_model_file(model: onnx.ModelProto, spec: ModelSpec, path: Path) -> ModelFile:
    """A graph with this metadata inside, as `read_model` would return it from `path`."""
    set_metadata(model, spec)
    data = model.SerializeToString()
    return ModelFile(path, data, spec, hashlib.sha256(data).hexdigest())
