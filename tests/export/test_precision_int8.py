"""INT8: how weights and activations are quantized, what runs in 8 bits under ONNX Runtime, and what is refused."""

import numpy as np
import onnx
import onnx_graphs as graphs
import onnxruntime
import pytest

from fashionseg.errors import ExportError
from fashionseg.export import precision_int8
from fashionseg.export.precision_int8 import to_int8
from fashionseg.export.precision_region import find_region, simplified
from fashionseg.export.rules import violations
from fashionseg.model import parse_onnx


@pytest.fixture(scope="module")
def small(embedded):
    return parse_onnx(embedded["int8"].data, "int8")


@pytest.fixture(scope="module")
def region(embedded):
    return find_region(simplified(parse_onnx(embedded["fp32"].data, "fp32")).graph)


def quantized(model):
    """(node, producer of its weight) of every layer whose weight comes out of a DequantizeLinear."""
    makers = graphs.producers(model)
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm")]
    found = [(node, makers.get(node.input[1])) for node in layers]
    return [(node, maker) for node, maker in found if maker is not None and maker.op_type == "DequantizeLinear"]


def coarse_network():
    """A network whose first layer is not worth float32: it leaves an eighth of the resolution."""
    return graphs.small_network(stride=8)


def batches(count=2):
    rng = np.random.default_rng(1)
    sizes = np.array([[48, 40]], np.int32)
    return [(rng.integers(0, 256, (1, 48, 40, 3), np.uint8), sizes) for _ in range(count)]


def test_weights_are_symmetric_per_output_channel(small):
    values = graphs.constants(small)
    layers = quantized(small)
    assert len(layers) > 50
    for node, maker in layers:
        weight, scale, zero = (values[name] for name in maker.input)
        axis = next((a.i for a in maker.attribute if a.name == "axis"), 1)
        assert weight.dtype == np.int8, node.name
        assert not zero.any(), node.name
        assert axis == (1 if node.op_type == "ConvTranspose" else 0), node.name
        assert scale.shape == (weight.shape[axis],), node.name
        assert np.abs(weight.astype(int)).max() == 127, node.name


def test_activations_are_symmetric(small):
    values = graphs.constants(small)
    makers = graphs.producers(small)
    nodes = [node for node in small.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {node.name: (int(values[node.input[2]]), values[node.input[2]].dtype) for node in nodes}
    assert set(zeros.values()) == {(0, np.dtype(np.uint8)), (128, np.dtype(np.uint8))}
    for node in nodes:
        if makers[node.input[0]].op_type == "Relu":
            assert zeros[node.name][0] == 0, node.name


def test_predictors_boxes_scores_and_pooling_stay_float(small, region):
    makers = graphs.producers(small)
    nodes = {node.name: node for node in small.graph.node}
    assert region.predictors
    for name in region.predictors:
        assert makers.get(nodes[name].input[1]) is None, f"{name} is quantized"
    for node in small.graph.node:
        if node.op_type in ("RoiAlign", "Softmax", "TopK", "Exp", "Where", "Div", "Sub"):
            reads = {makers[name].op_type for name in node.input if name in makers}
            assert "QuantizeLinear" not in reads, node.name
            for name in node.output:
                assert not [n for n in small.graph.node if n.op_type == "QuantizeLinear" and name in n.input] or (
                    node.op_type in ("RoiAlign", "Div", "Sub")  # what enters the network
                ), node.name


def test_the_beginning_stays_float(small, region):
    """The first convolution and the first stage of the ResNet, and those alone."""
    makers = graphs.producers(small)
    layers = [node for node in small.graph.node if node.op_type == "Conv"]
    beginning = [node for node in layers if "/stem/" in node.name or "/res2/" in node.name]
    assert {node.name for node in beginning} == region.fine & region.layers
    for node in beginning:
        assert "DequantizeLinear" not in {makers[name].op_type for name in node.input if name in makers}, node.name


def test_every_other_layer_runs_in_8_bits(embedded, region, tmp_path):
    """ONNX Runtime fuses Q/DQ and layer into one 8-bit kernel, or silently computes in float: here none may."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(embedded["int8"].data, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]
    eight = sum(kinds.count(kind) for kind in ("QLinearConv", "QGemm", "ConvTranspose"))
    kept = region.layers & (region.predictors | region.fine)
    assert eight == len(region.layers) - len(kept) > 50
    float_layers = sum(kinds.count(kind) for kind in ("Conv", "FusedConv", "Gemm", "FusedGemm"))
    assert float_layers == len(kept)


def test_inputs_outputs_and_rules_are_those_of_the_model(small, embedded):
    plain = parse_onnx(embedded["fp32"].data, "fp32")
    assert list(small.graph.input) == list(plain.graph.input)
    assert list(small.graph.output) == list(plain.graph.output)
    assert violations(small) == []
    assert {entry.key.partition(".")[0] for entry in small.metadata_props} == {"fashionseg"}


def test_the_range_is_the_mean_of_the_batches():
    """Of a bright and a dark photo the range of the pixels is the middle, so no odd photo decides."""
    bright, dark = batches(2)
    bright[0][:], dark[0][:] = 240, 160  # 120 and 40 above the mean
    model = to_int8(coarse_network(), [bright, dark])
    makers = graphs.producers(model)
    pixels = next(n for n in model.graph.node if n.op_type == "QuantizeLinear" and makers[n.input[0]].op_type == "Sub")
    scale = float(graphs.constants(model)[pixels.input[1]])
    assert scale * 255 == pytest.approx(80, rel=0.01)


def test_no_photo_to_calibrate_on():
    with pytest.raises(ExportError, match="at least one photo"):
        to_int8(coarse_network(), [])


def test_an_onnx_runtime_that_knows_no_symmetric_activations(monkeypatch):
    from onnxruntime.quantization import quantize_static

    def older(*arguments, extra_options, **options):
        del extra_options["ActivationRestrictedAsymmetric"]
        return quantize_static(*arguments, extra_options=extra_options, **options)

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", older)
    with pytest.raises(ExportError, match=r"onnxruntime 1\.27 or newer"):
        to_int8(coarse_network(), batches())


def test_a_network_that_is_all_beginning_and_end():
    with pytest.raises(ExportError, match="no layer of this network is worth 8 bits"):
        to_int8(graphs.small_network(), batches())


def test_a_layer_that_was_left_out_is_told(monkeypatch):
    monkeypatch.setattr(precision_int8, "QUANTIZED_OPERATORS", ("Relu",))
    with pytest.raises(ExportError, match=r"quantized 0 of 1 layers; export this model as fp16"):
        to_int8(coarse_network(), batches())
