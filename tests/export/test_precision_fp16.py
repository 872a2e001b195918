"""Float16: what computes in half precision and what must not, where casts stand, and that the twin rounds alike."""

import numpy as np
import onnx
import onnx_graphs as graphs
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from fashionseg.errors import ExportError
from fashionseg.export.precision_fp16 import rounding_twin, to_float16
from fashionseg.export.rules import violations
from fashionseg.model import parse_onnx

HALF, FULL = TensorProto.FLOAT16, TensorProto.FLOAT


@pytest.fixture(scope="module")
def half(embedded):
    return parse_onnx(embedded["fp16"].data, "fp16")


@pytest.fixture(scope="module")
def kinds(half):
    return graphs.element_types(half)


def run(model, feeds):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in model.graph.output], session.run(None, feeds), strict=True))


def test_only_network_operators_see_float16(half, kinds):
    seen = {
        node.op_type
        for node in half.graph.node
        for name in (*node.input, *node.output)
        if node.op_type != "Cast" and kinds.get(name) == HALF
    }
    assert {"Conv", "Gemm", "Relu"} <= seen <= graphs.NETWORK


def test_every_layer_with_weights_computes_in_float16(half, kinds):
    weights = {tensor.name for tensor in half.graph.initializer if len(tensor.dims) >= 2}
    layers = [
        n for n in half.graph.node if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and n.input[1] in weights
    ]
    assert len(layers) > 50
    for node in layers:
        assert {kinds[name] for name in (*node.input, *node.output)} == {HALF}, node.name


def test_boxes_scores_and_pooling_stay_float32(half, kinds):
    kept = {"RoiAlign", "Softmax", "Sigmoid", "TopK", "Exp", "Mul", "Sub", "Div", "Min", "Max", "Where", "Greater"}
    found = [node for node in half.graph.node if node.op_type in kept]
    assert {"RoiAlign", "Softmax", "TopK", "Exp"} <= {node.op_type for node in found}
    for node in found:
        assert HALF not in {kinds.get(name) for name in (*node.input, *node.output)}, f"{node.op_type} {node.name}"


def test_casts_stand_at_borders_alone(half, kinds):
    makers = graphs.producers(half)
    pairs = {FULL, HALF}
    casts = [n for n in half.graph.node if n.op_type == "Cast" and {kinds[n.input[0]], kinds[n.output[0]]} <= pairs]
    assert casts
    for node in casts:
        assert {kinds[node.input[0]], kinds[node.output[0]]} == pairs, f"{node.name} casts to what it is"
        maker = makers.get(node.input[0])
        assert maker is None or maker.op_type != "Cast" or kinds[maker.input[0]] not in pairs, "there and back"
    assert len({(node.input[0], kinds[node.output[0]]) for node in casts}) == len(casts), "the same cast twice"


def test_inputs_outputs_and_rules_are_those_of_the_model(half, embedded):
    plain = parse_onnx(embedded["fp32"].data, "fp32")
    assert list(half.graph.input) == list(plain.graph.input)
    assert list(half.graph.output) == list(plain.graph.output)
    assert violations(half) == []


def test_a_network_by_hand():
    """Weights and activations are rounded to float16, the softmax is float32; NumPy follows each step."""
    model = graphs.small_network()
    weights = graphs.constants(model)
    half = to_float16(model)
    images = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    feeds = {"images": images, "image_sizes": np.array([[3, 5], [7, 9]], np.int32)}

    def rounded(array):
        return array.astype(np.float16).astype(np.float32)

    planes = images.transpose(0, 3, 1, 2).astype(np.float32) - graphs.PIXEL_MEAN
    features = rounded(np.einsum("nchw,kc->nkhw", rounded(planes), rounded(weights["first"][:, :, 0, 0])))
    active = np.maximum(features, 0)
    logits = rounded(np.einsum("nchw,kc->nkhw", active, rounded(weights["second"][:, :, 0, 0])))
    wanted = np.exp(logits - logits.max(1, keepdims=True))
    wanted /= wanted.sum(1, keepdims=True)
    found = run(rounding_twin(half), feeds)
    # The order of a sum may move a value over a border of rounding: then it is one step of float16 away.
    assert np.isclose(found["scores"], wanted, atol=1e-6).mean() > 0.9, np.abs(found["scores"] - wanted).max()
    np.testing.assert_allclose(found["scores"], wanted, atol=2e-3)
    assert np.abs(found["scores"] - run(model, feeds)["scores"]).max() > 1e-5, "nothing was rounded"
    assert found["middle"].tolist() == [[1.5, 2.5], [3.5, 4.5]]


def test_the_twin_has_no_float16_but_in_casts(half):
    twin = rounding_twin(half)
    kinds = graphs.element_types(twin)
    users = {n.op_type for n in twin.graph.node for name in (*n.input, *n.output) if kinds.get(name) == HALF}
    assert users == {"Cast"}
    assert violations(twin) == []


def test_the_given_model_is_left_alone():
    model = graphs.small_network()
    before = model.SerializeToString()
    to_float16(model)
    assert model.SerializeToString() == before


def test_weights_that_float16_cannot_hold():
    weight = np.full((4, 3), 1e5, np.float32)
    with pytest.raises(ExportError, match=r"first.* holds 100000, which float16 cannot"):
        to_float16(graphs.small_network(weight))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_no_numbers(bad):
    with pytest.raises(ExportError, match="which float16 cannot"):
        to_float16(graphs.small_network(np.full((4, 3), bad, np.float32)))


def test_a_graph_without_network():
    model = graphs.small_network()
    for name in ("first", "second"):
        index = next(i for i, tensor in enumerate(model.graph.initializer) if tensor.name == name)
        array = numpy_helper.to_array(model.graph.initializer[index])
        del model.graph.initializer[index]
        model.graph.input.append(onnx.helper.make_tensor_value_info(name, FULL, array.shape))
    with pytest.raises(ExportError, match="nothing to lower"):
        to_float16(model)
