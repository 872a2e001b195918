"""NVIDIA's own ONNX importer as a judge of graphs, without a GPU: that of TensorRT-RTX, which anyone can install.

It is not TensorRT's: a refusal here is a finding, a pass no proof that an engine builds. RoiAlign is taken out of a
copy first, since its plugin asks for a live GPU; all other nodes are judged, and the shapes they give are inferred.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime

PICTURES = (np.zeros((2, 192, 256, 3), np.uint8), np.array([[192, 200], [160, 256]], np.int32))
"""A batch of two for shapes: images and their sizes."""


@dataclass(frozen=True)
class Verdict:
    """What the importer says of a graph.

    Attributes:
        errors: why it refuses it; none where it takes it.
        outputs: by name the type, such as "FLOAT", and the shape for `PICTURES`.
        layers: how many of each kind TensorRT made of it.
    """

    errors: list[str]
    outputs: dict[str, tuple[str, tuple[int, ...]]]
    layers: Counter[str]


def judge(trt, model: onnx.ModelProto) -> Verdict:
    """Parse a graph, RoiAlign aside.

    Args:
        trt: the module `tensorrt_rtx`.
        model: a graph with the inputs of a model file.
    """
    cut, shapes = without_roi_align(model)
    messages: list[str] = []

    class Log(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)

        def log(self, severity, text):
            if severity <= trt.ILogger.ERROR:
                messages.append(text)

    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    taken = parser.parse(cut.SerializeToString())
    errors = [str(parser.get_error(number)) for number in range(parser.num_errors)]
    if not taken or errors:
        return Verdict([*errors, *messages] or ["refused without a word"], {}, Counter())
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        tensor.shape = shapes[tensor.name]
    results = [network.get_output(number) for number in range(network.num_outputs)]
    outputs = {tensor.name: (tensor.dtype.name, tuple(tensor.shape)) for tensor in results}
    layers = Counter(network.get_layer(number).type.name for number in range(network.num_layers))
    return Verdict(messages, outputs, layers)


def without_roi_align(model: onnx.ModelProto) -> tuple[onnx.ModelProto, dict[str, tuple[int, ...]]]:
    """A copy whose RoiAlign nodes are gone and their results inputs, and the shape of each input for `PICTURES`."""
    cut = onnx.ModelProto()
    cut.CopyFrom(model)
    feeds = dict(zip([value.name for value in model.graph.input], PICTURES, strict=True))
    shapes = {name: array.shape for name, array in feeds.items()}
    pooling = [node for node in model.graph.node if node.op_type == "RoiAlign"]
    names = [node.output[0] for node in pooling]
    if not names:
        return cut, shapes
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    watched.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(watched.SerializeToString(), providers=["CPUExecutionProvider"])
    for name, result in zip(names, session.run(names, feeds), strict=True):
        shapes[name] = result.shape
        cut.graph.input.append(onnx.helper.make_tensor_value_info(name, 1, [f"{name}.rows", *result.shape[1:]]))
    for node in pooling:
        cut.graph.node.remove(node)
    return cut, shapes
