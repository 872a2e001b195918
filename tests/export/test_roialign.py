"""RoIAlign in plain operators against ONNX's own operator, and as TensorRT's plugin."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from fashionseg.export.engine_graph import numeric_graph
from fashionseg.export.roialign import rewrite_roi_align
from fashionseg.model import read_model

BOXES = 24
SIDE = (40, 56)


def graph(samples, size=7, mode="half_pixel", scale=0.25):
    """A model of one RoiAlign: features [2, 3, 40, 56], `BOXES` boxes of each picture."""
    node = helper.make_node(
        "RoiAlign",
        ["x", "rois", "batch"],
        ["y"],
        "pool",
        coordinate_transformation_mode=mode,
        mode="avg",
        output_height=size,
        output_width=size,
        sampling_ratio=samples,
        spatial_scale=scale,
    )
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, "H", "W"]),
        helper.make_tensor_value_info("rois", TensorProto.FLOAT, ["R", 4]),
        helper.make_tensor_value_info("batch", TensorProto.INT64, ["R"]),
    ]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["R", 3, size, size])]
    body = helper.make_graph([node], "g", inputs, outputs)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def feeds(scale=0.25):
    """Boxes of all kinds: inside, across each border, far outside, tiny."""
    rng = np.random.default_rng(5)
    height, width = SIDE[0] / scale, SIDE[1] / scale
    boxes = rng.uniform(-30, 1, (2 * BOXES, 4)).astype(np.float32)
    boxes[:, :2] = rng.uniform((-40, -40), (width, height), (2 * BOXES, 2))
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(0.1, 1.2, (2 * BOXES, 2)) * (width, height)
    boxes[0] = (-300, -300, -200, -200)
    boxes[1] = (10, 10, 10.01, 10.01)
    boxes[2] = (0, 0, width, height)
    return {
        "x": rng.standard_normal((2, 3, *SIDE), np.float32),
        "rois": boxes,
        "batch": np.repeat(np.arange(2), BOXES),
    }


def run(model, values):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {value.name for value in session.get_inputs()}
    return session.run(None, {name: value for name, value in values.items() if name in names})[0]


@pytest.mark.parametrize("mode", ["half_pixel", "output_half_pixel"])
@pytest.mark.parametrize(("samples", "size"), [(2, 7), (2, 14), (1, 7), (4, 3)])
def test_with_a_fixed_number_of_samples_plain_operators_are_exact(samples, size, mode):
    model, values = graph(samples, size, mode), feeds()
    expected = run(model, values)
    assert rewrite_roi_align(model, "grid") == 1
    assert {node.op_type for node in model.graph.node} >= {"GridSample", "AveragePool"}
    difference = np.abs(run(model, values) - expected)
    assert difference.max() < 1e-4, (difference.max(), difference.mean())
    assert np.abs(expected).max() > 0.5, "the boxes hit the features"


def test_boxes_outside_give_zero():
    model = graph(2)
    rewrite_roi_align(model, "grid")
    assert not run(model, feeds())[0].any()


def test_an_adaptive_number_of_samples_becomes_two_and_differs():
    values = feeds()
    small = np.concatenate([np.random.default_rng(1).uniform((20, 20), (80, 80), (2 * BOXES, 2))] * 2, 1)
    values["rois"] = small.astype(np.float32)
    values["rois"][:, 2:] += 56 - 1e-3  # 14 pixels of the features: two samples a cell, as the operator takes too
    model = graph(0)
    expected = run(model, values)
    rewrite_roi_align(model, "grid")
    assert np.abs(run(model, values) - expected).max() < 1e-4
    values["rois"][:, 2:] += 40
    larger = graph(0)
    assert np.abs(run(model, values) - run(larger, values)).max() > 0.01


def test_a_pooling_that_is_not_square_is_refused():
    model = graph(2)
    next(a for a in model.graph.node[0].attribute if a.name == "output_width").i = 5
    with pytest.raises(ValueError, match="pool: cells of 7 x 5"):
        rewrite_roi_align(model, "grid")


def test_the_plugin_gets_every_attribute():
    model = graph(2, 14, "output_half_pixel")
    assert rewrite_roi_align(model, "plugin") == 1
    cast, plugin = model.graph.node
    assert cast.op_type == "Cast" and cast.attribute[0].i == TensorProto.INT32
    assert (plugin.op_type, plugin.name, list(plugin.output)) == ("ROIAlign_TRT", "pool", ["y"])
    assert list(plugin.input) == ["x", "rois", cast.output[0]]
    assert {a.name: helper.get_attribute_value(a) for a in plugin.attribute} == {
        "plugin_version": b"2",
        "plugin_namespace": b"",
        "coordinate_transformation_mode": 0,
        "mode": 1,
        "output_height": 14,
        "output_width": 14,
        "sampling_ratio": 2,
        "spatial_scale": 0.25,
    }


def test_the_embedded_model_finds_the_same_with_plain_operators():
    model = read_model()
    images = np.random.default_rng(2).integers(0, 255, (2, 256, 320, 3), np.uint8)
    values = {"images": images, "image_sizes": np.array([[256, 320], [200, 300]], np.int32)}
    rewritten = numeric_graph(model)
    assert rewrite_roi_align(rewritten, "grid") == 2
    outputs = []
    for data in (model.data, rewritten.SerializeToString()):
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        outputs.append(dict(zip((o.name for o in session.get_outputs()), session.run(None, values), strict=True)))
    plain, grid = outputs
    assert plain["num_detections"].tolist() == grid["num_detections"].tolist()
    for name in ("boxes", "scores", "masks"):
        difference = np.abs(plain[name] - grid[name]).max()
        assert difference < 1e-3, (name, difference)
