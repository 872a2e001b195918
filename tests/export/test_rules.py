"""The rules of a model file's graph: the embedded model keeps them, and each broken one names its node."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fashionseg.errors import ExportError
from fashionseg.export.rules import DYNAMIC_AXES, INPUT_TYPES, OUTPUT_TYPES, check_rules, violations
from fashionseg.model import default_model_path

SHAPES = {"images": ["N", "H", "W", 3], "image_sizes": ["N", 2]}
ROWS = {"boxes": [5, 4], "labels": [5], "masks": [5, 28, 28], "scores": [5]}


@pytest.fixture(scope="module")
def embedded():
    return onnx.load(default_model_path())


def test_the_embedded_model_keeps_the_rules(embedded):
    assert violations(embedded) == []
    check_rules(embedded, "default.onnx")


def graph(nodes, constants=None, changes=None, opset=17):
    """A model with the tensors of a model file, whose `scores` come from `nodes`; other outputs are constants."""
    values = {name: np.asarray(value) for name, value in (constants or {}).items()}
    sizes = {name: [1, *ROWS.get(name, [])] for name in OUTPUT_TYPES}
    made = {output for node in nodes for output in node.output}
    filler = []
    for name, kind in OUTPUT_TYPES.items():
        if name not in made:
            values[f"{name}_0"] = np.zeros(sizes[name][1:], helper.tensor_dtype_to_np_dtype(kind))
            values[f"{name}_ones"] = np.array(sizes[name][1:], np.int64)
            filler += [
                helper.make_node("Shape", ["image_sizes"], [f"{name}_n"], start=0, end=1),
                helper.make_node("Concat", [f"{name}_n", f"{name}_ones"], [f"{name}_shape"], axis=0),
                helper.make_node("Expand", [f"{name}_0", f"{name}_shape"], [name]),
            ]
    types = {**INPUT_TYPES, **OUTPUT_TYPES, **(changes or {})}
    shapes = {**SHAPES, **{name: ["N", *ROWS.get(name, [])] for name in OUTPUT_TYPES}}
    inputs = [helper.make_tensor_value_info(name, types[name], shapes[name]) for name in INPUT_TYPES]
    outputs = [helper.make_tensor_value_info(name, types[name], shapes[name]) for name in OUTPUT_TYPES]
    initializers = [numpy_helper.from_array(value, name) for name, value in values.items()]
    body = helper.make_graph([*nodes, *filler], "g", inputs, outputs, initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pixels(*nodes):
    """Nodes after the pixels were cast and averaged per picture to float32 [N, 3]."""
    return [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[1, 2], keepdims=0),
        *nodes,
    ]


def padded_topk(pads, k=5):
    """The five largest of the columns of a picture, an axis of unknown length, after padding."""
    nodes = [
        helper.make_node("Cast", ["images"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["columns"], axes=[1, 3], keepdims=0),
        helper.make_node("Pad", ["columns", "pads", "low"], ["long"], "pad"),
        helper.make_node("TopK", ["long", "k"], ["largest", "order"], "best"),
        helper.make_node("Slice", ["largest", "from", "to", "axis"], ["scores"]),
    ]
    numbers = {"pads": pads, "k": [k], "from": [0], "to": [5], "axis": [1]}
    return graph(nodes, {**{name: np.array(n, np.int64) for name, n in numbers.items()}, "low": np.float32(-1)})


def reasons(model):
    return [str(one) for one in violations(model)]


def test_a_small_graph_that_keeps_the_rules():
    assert reasons(padded_topk([0, 0, 0, 5])) == []
    assert reasons(padded_topk([0, 3, 0, 2])) == []


def test_topk_never_longer_than_its_axis():
    (reason,) = reasons(padded_topk([0, 0, 0, 4]))
    assert "'best' (TopK)" in reason and "may be shorter" in reason


def test_topk_has_a_limit():
    (reason,) = reasons(padded_topk([0, 0, 0, 4000], k=3841))
    assert "TensorRT takes at most 3840" in reason


def test_topk_with_a_computed_k():
    nodes = pixels(
        helper.make_node("Shape", ["means"], ["k"], start=1, end=2),
        helper.make_node("TopK", ["means", "k"], ["scores", "order"], "best"),
    )
    assert any("its k is not constant" in reason for reason in reasons(graph(nodes)))


def test_shapes_must_not_depend_on_data():
    nodes = pixels(
        helper.make_node("Cast", ["image_sizes"], ["sizes"], to=TensorProto.INT64),
        helper.make_node("Reshape", ["sizes", "flat"], ["row"]),
        helper.make_node("Slice", ["row", "from", "to"], ["two"]),
        helper.make_node("Expand", ["one", "two"], ["scores"], "grow"),
    )
    constants = {
        "flat": np.array([-1]),
        "from": np.array([0]),
        "to": np.array([2]),
        "one": np.zeros((1, 5), np.float32),
    }
    (reason,) = reasons(graph(nodes, constants))
    assert "'grow' (Expand)" in reason and "depends on data" in reason


def test_operators_that_are_not_allowed():
    nodes = pixels(
        helper.make_node("NonZero", ["means"], ["where"], "select"),
        helper.make_node("Expand", ["one", "shape"], ["scores"]),
    )
    model = graph(nodes, {"one": np.zeros((1, 5), np.float32), "shape": np.array([1, 5])})
    assert "node 'select' (NonZero): this operator is not allowed: the shape of its result depends on data" in reasons(
        model
    )
    with pytest.raises(ExportError, match=r"model\.onnx breaks the rules.*'select' \(NonZero\)"):
        check_rules(model, "model.onnx")


def test_uint8_is_cast_first():
    nodes = [helper.make_node("Transpose", ["images"], ["turned"], "turn", perm=[0, 3, 1, 2])]
    nodes += [
        helper.make_node("Cast", ["turned"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("Pad", ["means", "pads"], ["scores"]),
    ]
    assert any(
        "'turn' (Transpose): the uint8 input" in reason
        for reason in reasons(graph(nodes, {"pads": np.array([0, 0, 0, 2])}))
    )


@pytest.mark.parametrize(("kind", "named"), [(TensorProto.DOUBLE, "double"), (TensorProto.INT16, "int16")])
def test_types_that_are_not_shared(kind, named):
    nodes = pixels(
        helper.make_node("Cast", ["means"], ["strange"], "strange", to=kind),
        helper.make_node("Cast", ["strange"], ["back"], to=TensorProto.FLOAT),
        helper.make_node("Pad", ["back", "pads"], ["scores"]),
    )
    (reason,) = reasons(graph(nodes, {"pads": np.array([0, 0, 0, 2])}))
    assert "'strange' (Cast)" in reason and named in reason


def test_roi_align_in_float32_with_its_ratio_written(embedded):
    changed = onnx.ModelProto()
    changed.CopyFrom(embedded)
    node = next(node for node in changed.graph.node if node.op_type == "RoiAlign")
    kept = [attribute for attribute in node.attribute if attribute.name != "sampling_ratio"]
    del node.attribute[:]
    node.attribute.extend(kept)
    (reason,) = reasons(changed)
    assert node.name in reason and "sampling_ratio" in reason


def test_tensors_of_the_file():
    fine = padded_topk([0, 0, 0, 5])
    changed = onnx.ModelProto()
    changed.CopyFrom(fine)
    changed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    assert any("images: axis 0 must not be of a fixed size" in reason for reason in reasons(changed))
    changed.CopyFrom(fine)
    del changed.graph.output[0]
    assert any("boxes: this tensor is missing" in reason for reason in reasons(changed))
    extra = helper.make_tensor_value_info("order", TensorProto.INT64, ["N", 5])
    changed.CopyFrom(fine)
    changed.graph.output.append(extra)
    assert any("order: a tensor that a model file does not have" in reason for reason in reasons(changed))
    assert set(DYNAMIC_AXES) == {*INPUT_TYPES, *OUTPUT_TYPES}


def test_domains_opsets_and_broken_graphs(embedded):
    changed = onnx.ModelProto()
    changed.CopyFrom(embedded)
    changed.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    assert any("domain 'com.microsoft'" in reason for reason in reasons(changed))
    assert any("its opset is 15" in reason for reason in reasons(padded_topk_in_opset_15()))
    changed.CopyFrom(embedded)
    changed.graph.node[10].input[0] = "nowhere"
    (reason,) = reasons(changed)
    assert reason.startswith("the model: onnx.checker refuses it")


def padded_topk_in_opset_15():
    model = padded_topk([0, 0, 0, 5])
    model.opset_import[0].version = 15
    return model
