"""NVIDIA's importer takes our graphs: those that the engine builder hands to TensorRT, in every precision."""

import onnx
import pytest
from importer import judge
from onnx import TensorProto, helper

from fashionseg.export.engine_graph import numeric_graph
from fashionseg.model import OUTPUTS, parse_onnx


def expected_outputs(spec):
    """Types and shapes of the outputs for two pictures."""
    rows, side = spec.max_detections, spec.mask_side
    return {
        "boxes": ("FLOAT", (2, rows, 4)),
        "labels": ("INT32", (2, rows)),
        "masks": ("FLOAT", (2, rows, side, side)),
        "nms_exact": ("INT32", (2,)),
        "num_detections": ("INT32", (2,)),
        "scores": ("FLOAT", (2, rows)),
    }


def assert_taken(trt, model):
    verdict = judge(trt, numeric_graph(model))
    assert verdict.errors == []
    assert tuple(sorted(verdict.outputs)) == OUTPUTS
    assert verdict.outputs == expected_outputs(model.spec)
    return verdict


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_the_embedded_model_is_taken(tensorrt_rtx, embedded, precision):
    assert_taken(tensorrt_rtx, embedded[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.detectron2
@pytest.mark.timeout(600)  # tracing and lowering R50-FPN take half a minute of a free processor
@pytest.mark.filterwarnings("ignore")
def test_r50_fpn_is_taken(tensorrt_rtx, r50_fpn, precision):
    assert_taken(tensorrt_rtx, r50_fpn[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_files_themselves_are_taken(tensorrt_rtx, embedded, precision):
    """Without what the engine builder does: `trtexec` reads such files as they are."""
    model = embedded[precision]
    assert judge(tensorrt_rtx, parse_onnx(model.data, "")).errors == []


def test_the_importer_refuses_what_it_should(tensorrt_rtx):
    """So that a pass means something: it knows no Transpose of bytes, which ONNX allows."""
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", "H", "W", 3])
    sizes = helper.make_tensor_value_info("image_sizes", TensorProto.INT32, ["N", 2])
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3, "H", "W"])
    nodes = [
        helper.make_node("Transpose", ["images"], ["turned"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["turned"], ["scores"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "g", [images, sizes], [scores])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    assert judge(tensorrt_rtx, model).errors


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_network_is_in_low_precision_there_too(tensorrt_rtx, embedded, precision):
    """Casts and Q/DQ nodes arrive as such: TensorRT builds the precision that the graph says."""
    verdict = assert_taken(tensorrt_rtx, embedded[precision])
    kinds = {"fp16": ("CAST",), "int8": ("QUANTIZE", "DEQUANTIZE")}[precision]
    assert all(verdict.layers[kind] for kind in kinds), verdict.layers
