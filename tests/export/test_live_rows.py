"""Masks for the rows that exist alone: the same tensors, less work, and hands off graphs of another shape."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from fashionseg.backends import onnxrt
from fashionseg.backends.live_rows import live_rows_only
from fashionseg.benchmarks.bench.floor import count_work
from fashionseg.export.parity import built_in_pictures
from fashionseg.model import OUTPUTS, read_model
from fashionseg.preprocess import make_batch, prepare


@pytest.fixture(scope="module")
def picture():
    spec = read_model().spec
    return prepare(built_in_pictures()[0], spec)


def outputs_of(data, images, sizes):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_mem_reuse = False
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [
        dict(zip(OUTPUTS, session.run(list(OUTPUTS), {"images": one, "image_sizes": size}), strict=True))
        for one, size in zip(images, sizes, strict=True)
    ]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_tensor_is_what_it_was(embedded, precision, picture):
    data = embedded[precision].data
    rewritten = live_rows_only(data)
    onnx.checker.check_model(onnx.load_from_string(rewritten), full_check=True)
    blank = np.zeros_like(picture)
    batches = [make_batch(batch, 32) for batch in ([picture], [blank], [blank, picture, picture[:, ::-1], blank])]
    wanted = outputs_of(data, *zip(*batches, strict=True))
    found = outputs_of(rewritten, *zip(*batches, strict=True))
    rows = wanted[0]["masks"].shape[1]
    assert 0 < wanted[0]["num_detections"][0] < rows, "some rows exist and some do not"
    assert len(set(wanted[2]["num_detections"].tolist())) > 1, "pictures of a batch differ in rows"
    for one, other in zip(wanted, found, strict=True):
        for name in OUTPUTS:
            assert one[name].dtype == other[name].dtype
            np.testing.assert_array_equal(one[name], other[name], err_msg=f"{precision}: {name}")


def test_rows_that_do_not_exist_cost_nothing(picture):
    model = read_model()
    batch = make_batch([picture], 32)
    with onnxrt.OnnxRuntimeBackend.on_cpu(model, threads=1) as backend:
        found = int(backend.run(*batch).num_detections[0])
    rewritten = live_rows_only(model.data)
    everyone, living = count_work(model.data, *batch).flops, count_work(rewritten, *batch).flops
    none = count_work(rewritten, *make_batch([np.zeros_like(picture)], 32)).flops
    missing = model.spec.max_detections - found
    assert missing > 0
    a_row = (everyone - living) / missing
    assert a_row > 0.02 * everyone / model.spec.max_detections
    assert none <= living


def test_masks_of_rows_below_a_score_are_left_out(picture):
    data, batch = read_model().data, make_batch([picture, picture[:, ::-1]], 32)
    (wanted,) = outputs_of(data, *zip(batch, strict=True))
    scores = wanted["scores"][wanted["scores"] > 0]
    least = float(np.median(scores))  # float32 scores: some rows lie exactly on it or next to it
    rewritten = live_rows_only(data, least)
    (found,) = outputs_of(rewritten, *zip(batch, strict=True))
    enough = wanted["scores"] >= np.float32(least)
    assert 0 < enough.sum() < len(scores)
    np.testing.assert_array_equal(found["masks"][enough], wanted["masks"][enough])
    for name in set(OUTPUTS) - {"masks"}:
        np.testing.assert_array_equal(found[name], wanted[name], err_msg=name)
    assert count_work(rewritten, *batch).flops < count_work(live_rows_only(data), *batch).flops


def test_a_backend_leaves_out_what_scores_too_low(picture):
    model, batch = read_model(), make_batch([picture, np.zeros_like(picture)], 32)
    with onnxrt.OnnxRuntimeBackend.on_cpu(model, threads=1) as backend:
        wanted = backend.run(*batch)
    least = 0.5
    with onnxrt.OnnxRuntimeBackend.on_cpu(model, threads=1, min_score=least) as backend:
        found = backend.run(*batch)
    counts = (wanted.scores >= least).sum(1)
    assert 0 < counts[0] < wanted.num_detections[0]
    np.testing.assert_array_equal(found.num_detections, counts)
    assert found.num_detections.dtype == np.int32
    for name in ("boxes", "scores", "labels", "masks"):
        one, other = getattr(wanted, name), getattr(found, name)
        np.testing.assert_array_equal(one[0, : counts[0]], other[0, : counts[0]], err_msg=name)


def test_the_backend_runs_it(monkeypatch):
    loaded = []
    create = onnxrt._create_session
    monkeypatch.setattr(onnxrt, "_create_session", lambda *args: loaded.append(args[2]) or create(*args))
    model = read_model()
    onnxrt.OnnxRuntimeBackend.on_cpu(model, threads=1).close()
    assert loaded == [live_rows_only(model.data)]
    assert loaded != [model.data]


def with_masks_from(nodes, constants=()):
    """A file whose output "masks" comes from `nodes`."""
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "test",
        [value("x", TensorProto.FLOAT, ["n", 3]), value("b", TensorProto.BOOL, ["n", 3])],
        [value("masks", TensorProto.FLOAT, None)],
        list(constants),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()


def test_graphs_of_another_shape_are_left_alone():
    shape = helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 3, 1, 1])
    inside = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])], "inside", [], [helper.make_tensor_value_info("y", 1, None)]
    )
    for nodes in (
        [helper.make_node("Relu", ["x"], ["masks"])],
        [helper.make_node("Where", ["b", "x", "x"], ["masks"])],
        [
            helper.make_node("Reshape", ["x", "shape"], ["r"]),
            helper.make_node("Sigmoid", ["r"], ["s"]),
            helper.make_node("Where", ["b", "s", "x"], ["masks"]),
        ],
        [helper.make_node("If", ["b"], ["masks"], then_branch=inside, else_branch=inside)],
    ):
        data = with_masks_from(nodes, [shape])
        assert live_rows_only(data) is data


def test_bytes_that_are_no_model_come_back():
    for data in (b"", read_model().data[:-1000]):
        assert live_rows_only(data) is data


def test_a_branch_that_somebody_else_reads_is_left_alone():
    model = onnx.load_from_string(read_model().data)
    masks = [node for node in model.graph.node if node.op_type == "RoiAlign"][-1]
    model.graph.node.append(helper.make_node("ReduceMax", [masks.output[0]], ["spy"], keepdims=0))
    model.graph.output.append(helper.make_tensor_value_info("spy", TensorProto.FLOAT, []))
    data = model.SerializeToString()
    assert live_rows_only(data) is data
