"""Tidying a graph leaves what it computes as it is."""

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from fashionseg.export.tidy import tidy


def example():
    """y = x reshaped to (2, 3), where the shape is computed; some equal weights, and a node nobody reads."""
    constant = numpy_helper.from_array(np.array([2], np.int64))
    nodes = [
        helper.make_node("Constant", [], ["two"], value=constant),
        helper.make_node("Add", ["two", "one"], ["three"]),
        helper.make_node("Concat", ["two", "three"], ["shape"], axis=0),
        helper.make_node("Reshape", ["x", "shape"], ["rows"]),
        helper.make_node("Add", ["rows", "a"], ["more"]),
        helper.make_node("Mul", ["more", "b"], ["y"]),
        helper.make_node("Neg", ["rows"], ["unread"]),
    ]
    weights = {
        "one": np.array([1], np.int64),
        "a": np.ones(3, np.float32),
        "b": np.ones(3, np.float32),
        "dead": np.ones(5),
    }
    inputs = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [6])]
    outputs = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2, 3])]
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    body = helper.make_graph(nodes, "g", inputs, outputs, initializers)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_tidy():
    x = np.arange(6, dtype=np.float32)
    model = example()
    (before,) = ReferenceEvaluator(model).run(None, {"x": x})
    tidy(model)
    onnx.checker.check_model(model, full_check=True)
    (after,) = ReferenceEvaluator(model).run(None, {"x": x})
    np.testing.assert_array_equal(after, before)
    assert [node.op_type for node in model.graph.node] == ["Reshape", "Add", "Mul"]
    assert {tensor.name for tensor in model.graph.initializer} == {"shape", "a"}


def test_single_numbers_keep_their_names():
    model = example()
    model.graph.initializer.append(numpy_helper.from_array(np.array([1], np.int64), "threshold"))
    model.graph.node[3].input[1] = "shape2"
    model.graph.node.insert(3, helper.make_node("Mul", ["shape", "threshold"], ["shape2"]))
    model.graph.node.insert(4, helper.make_node("Shape", ["x"], ["size"]))
    model.graph.node.insert(5, helper.make_node("Mul", ["size", "threshold"], ["unused"]))
    model.graph.output.append(helper.make_tensor_value_info("unused", onnx.TensorProto.INT64, [1]))
    tidy(model)
    assert "threshold" in {tensor.name for tensor in model.graph.initializer}
