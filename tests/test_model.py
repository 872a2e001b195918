"""Model files: metadata there and back, and files of strangers."""

import json

import numpy as np
import onnx
import pytest
import stubs
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from fashionseg.errors import ModelError
from fashionseg.model import (
    FORMAT_VERSION,
    INPUTS,
    OUTPUTS,
    ModelSpec,
    default_model_path,
    describe,
    parse_onnx,
    read_model,
)


def tiny_proto(properties=None, names=(*INPUTS, *OUTPUTS)):
    """An ONNX file with the right tensor names and nothing sensible inside."""
    inputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in names if n in INPUTS]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in names if n in OUTPUTS]
    nodes = [helper.make_node("Identity", ["images"], [output.name]) for output in outputs]
    proto = helper.make_model(helper.make_graph(nodes, "tiny", inputs, outputs))
    helper.set_model_props(proto, stubs.spec().to_properties() if properties is None else properties)
    return proto


def write(tmp_path, proto):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_metadata_survives_the_file(tmp_path):
    spec = stubs.spec(metrics={"segm/AP": 33.8}, config="a: 1\n", dataset="Straßenfotos")
    model = read_model(write(tmp_path, tiny_proto(spec.to_properties())))
    assert model.spec == spec
    assert describe(model)["metrics"] == {"segm/AP": 33.8}


def test_the_embedded_model_is_usable():
    model = read_model()
    assert model.path == default_model_path()
    assert model.spec.class_names == (
        "short_sleeved_shirt",
        "long_sleeved_shirt",
        "long_sleeved_outwear",
        "shorts",
        "trousers",
    )
    assert model.spec.metrics["segm/AP50"] > 50
    assert len(model.data) <= 20 * 2**20


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no graph"),
        (b"\x00" * 1000, "not an ONNX file"),
        (b"PK\x03\x04 a zip file", "not an ONNX file"),
        (b'{"not": "onnx"}', "not an ONNX file"),
    ],
)
def test_files_that_are_no_model(tmp_path, content, words):
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=words) as caught:
        read_model(path)
    assert "x.onnx" in str(caught.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(ModelError, match="model file not found"):
        read_model(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is a folder"):
        read_model(tmp_path)


def test_an_onnx_file_of_somebody_else(tmp_path):
    with pytest.raises(ModelError, match="not a fashionseg model"):
        read_model(write(tmp_path, tiny_proto({})))


def test_a_model_of_a_newer_format(tmp_path):
    properties = stubs.spec().to_properties() | {"fashionseg.format_version": str(FORMAT_VERSION + 1)}
    with pytest.raises(ModelError, match="install a newer fashionseg"):
        read_model(write(tmp_path, tiny_proto(properties)))


def test_missing_tensors_are_named(tmp_path):
    names = [name for name in (*INPUTS, *OUTPUTS) if name != "masks"]
    with pytest.raises(ModelError, match="lacks the tensors masks"):
        read_model(write(tmp_path, tiny_proto(names=names)))


def test_weights_in_other_files_are_refused(tmp_path):
    proto = tiny_proto()
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], np.zeros(1, np.float32).tobytes(), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    proto.graph.initializer.append(tensor)
    with pytest.raises(ModelError, match="in another file"):
        read_model(write(tmp_path, proto))


def test_weights_in_other_files_are_refused_in_a_nodes_attribute_too(tmp_path):
    proto = tiny_proto()
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], np.zeros(1, np.float32).tobytes(), raw=True)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    proto.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))
    with pytest.raises(ModelError, match="in another file"):
        read_model(write(tmp_path, proto))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("class_names", "[]"),
        ("class_names", '"shirt"'),
        ("category_ids", "[1, 1]"),
        ("category_ids", "[1]"),
        ("min_size", "0"),
        ("max_size", "1e99"),
        ("max_size", "99999999"),
        ("pixel_std", "[1]"),
        ("metrics", "3"),
        ("resize_filter", '"nearest"'),
        ("channel_order", '"RGB"'),
        ("class_names", "[" * 100_000),
        ("config", '"' + "x" * 2_000_000 + '"'),
    ],
)
def test_damaged_metadata_is_one_sentence(tmp_path, key, value):
    properties = stubs.spec().to_properties() | {f"fashionseg.{key}": value}
    with pytest.raises(ModelError) as caught:
        read_model(write(tmp_path, tiny_proto(properties)))
    assert len(str(caught.value)) < 600


@given(st.binary(max_size=300))
def test_any_bytes_are_a_model_or_a_model_error(data):
    try:
        parse_onnx(data, "fuzz")
    except ModelError:
        pass


@given(st.dictionaries(st.sampled_from(sorted(stubs.spec().to_properties())), st.text(max_size=40), max_size=5))
def test_any_properties_are_a_spec_or_a_model_error(changes):
    try:
        ModelSpec.from_properties(stubs.spec().to_properties() | changes, "fuzz")
    except ModelError:
        pass


def test_labels_of_names_and_ids():
    spec = stubs.spec()
    assert spec.labels_of(["trousers"]) == {1}
    assert spec.labels_of(["7", "shirt"]) == {0, 1}
    assert json.loads(spec.to_properties()["fashionseg.category_ids"]) == [1, 7]
