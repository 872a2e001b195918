"""Values that are well-formed and impossible, in every file a stranger may give: refused in one sentence."""

import json
import zlib

import pytest
import stubs
from onnx import ModelProto, TensorProto, helper

from fashionseg.cli.main import run
from fashionseg.data.coco import read_coco, scan_coco, write_coco
from fashionseg.data.convert.classes import deepfashion2_classes
from fashionseg.data.convert.deepfashion2 import Filters, Job, convert_file
from fashionseg.errors import DataError, ModelError, OutputError, TrainingError
from fashionseg.evaluation.predictions import read_predictions
from fashionseg.model import INPUTS, OUTPUTS, describe, read_model
from fashionseg.training.recipe import read_recipe, with_overrides
from fashionseg.writers.coco import write_coco as write_results
from fashionseg.writers.folder import RunFolder
from fashionseg.writers.journal import encode_record

HUGE = 10**400
"""JSON's whole numbers have no end; a float holds 308 digits, an array's number 19."""

IMAGE = {"id": 1, "file_name": "a.png", "width": 8, "height": 8}
ANNOTATION = {"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4], "area": 16,
              "segmentation": [[1, 1, 5, 1, 5, 5]]}  # fmt: skip


def coco(**changes):
    document = {"images": [IMAGE], "categories": [{"id": 3, "name": "shirt"}], "annotations": [ANNOTATION]}
    return json.dumps({**document, **changes})


@pytest.mark.parametrize(
    "document",
    [
        coco(annotations=[{**ANNOTATION, "bbox": [HUGE, 1, 4, 4]}]),
        coco(annotations=[{**ANNOTATION, "area": HUGE}]),
        coco(annotations=[{**ANNOTATION, "id": HUGE}]),
        coco(annotations=[{**ANNOTATION, "segmentation": {"size": [8, 8], "counts": [HUGE]}}]),
        coco(images=[{**IMAGE, "id": HUGE}]),
        coco(categories=[{"id": HUGE, "name": "shirt"}]),
    ],
)
def test_numbers_without_end_in_coco_files(document, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(document)
    with pytest.raises(DataError, match=r"a\.json"):
        read_coco(path)


def test_names_that_are_no_unicode_are_written_and_read_again(tmp_path):
    (tmp_path / "a.json").write_text(coco(images=[{**IMAGE, "file_name": "\ud800.png", "note": "ü\udcff"}]))
    data, _ = scan_coco(tmp_path / "a.json")
    write_coco(data, tmp_path / "b.json")
    assert read_coco(tmp_path / "b.json").images == data.images


@pytest.mark.parametrize("wrong", [{"bbox": [HUGE, 1, 4, 4]}, {"score": HUGE}, {"image_id": HUGE}])
def test_numbers_without_end_in_results(wrong, tmp_path):
    (tmp_path / "truth.json").write_text(coco())
    result = {"image_id": 1, "category_id": 3, "bbox": [1, 1, 4, 4], "score": 0.5, **wrong}
    (tmp_path / "results.json").write_text(json.dumps([result]))
    with pytest.raises(DataError, match=r"results\.json"):
        read_predictions(tmp_path / "results.json", read_coco(tmp_path / "truth.json"))


def test_numbers_without_end_in_deepfashion2_files(tmp_path):
    item = {"segmentation": [[1, 1, 9, 1, 9, 9]], "bounding_box": [1, 1, HUGE, 9], "category_id": 1,
            "scale": 1, "viewpoint": 1, "zoom_in": 1, "occlusion": 1}  # fmt: skip
    (tmp_path / "000001.json").write_text(json.dumps({"source": "user", "pair_id": 1, "item1": item}))
    found = convert_file(tmp_path / "000001.json", Job(tmp_path, deepfashion2_classes("thirteen"), Filters()))
    assert ["bounding_box" in problem.text for problem in found.problems] == [True]


TOML_FAULTS = {
    "digits without end": "conf = " + "9" * 5000,
    "hexadecimal digits without end": "conf = 0x" + "f" * 4000,
    "nesting without end": "conf = " + "[" * 2000 + "]" * 2000,
    "not UTF-8": b"conf = '\xff'",
}


@pytest.mark.parametrize("fault", TOML_FAULTS)
def test_toml_that_is_parsed_for_ever_or_not_at_all(fault, tmp_path, capsys):
    text = TOML_FAULTS[fault]
    path = tmp_path / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    (photo,) = stubs.write_photos(tmp_path / "in", 1)
    assert run(["segment", str(photo), "-o", str(tmp_path / "out"), "--defaults", str(path)]) == 2
    assert "a.toml" in capsys.readouterr().err
    with pytest.raises(TrainingError, match=r"a\.toml"):
        read_recipe(path)
    with pytest.raises(DataError, match=r"a\.toml"):
        deepfashion2_classes(str(path))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("restart = []", "restart is true or false"),
        ("quiet = 'yes'", "quiet is true or false"),
        ("conf = {a = 1}", "conf takes text or a number"),
        ("conf = true", "conf takes text or a number"),
        ("batch = [1]", "batch takes text or a number"),
        ("batch = 1.5", "not a valid integer"),
        ("save = [1979-05-27]", "a list of them"),
        ("conf = nan", "not a number"),
        ("conf = inf", "not in the range"),
    ],
)
def test_defaults_of_the_wrong_kind(line, words, tmp_path, capsys):
    (tmp_path / "a.toml").write_text(line)
    (photo,) = stubs.write_photos(tmp_path / "in", 1)
    assert run(["segment", str(photo), "-o", str(tmp_path / "out"), "--defaults", str(tmp_path / "a.toml")]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_score_that_is_not_a_number_is_refused(tmp_path, capsys):
    (photo,) = stubs.write_photos(tmp_path / "in", 1)
    assert run(["segment", str(photo), "-o", str(tmp_path / "out"), "--conf", "nan"]) == 2
    assert "is not a number" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["9" * 400, "[" * 100_000, "0x" + "f" * 4000])
def test_overrides_of_a_recipe_without_end(text):
    with pytest.raises(TrainingError, match="decay"):
        with_overrides(read_recipe("small"), [f"ema.decay={text}"])


def test_metadata_that_is_no_text(tmp_path):
    inputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n"]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in OUTPUTS]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, outputs)
    model = helper.make_model(graph)
    helper.set_model_props(model, stubs.spec(name="MARK").to_properties())
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    assert describe(read_model(path))["name"] == "MARK"
    for mark in (b"MARK", b"fashionseg.min_size"):
        data = model.SerializeToString().replace(mark, b"\xff" + mark[1:])
        assert isinstance(ModelProto.FromString(data), ModelProto)
        path.write_bytes(data)
        with pytest.raises(ModelError, match="not UTF-8"):
            read_model(path)


def test_tensors_of_a_type_that_is_none(tmp_path):
    inputs = [helper.make_tensor_value_info(name, TensorProto.UINT8, ["n"]) for name in INPUTS]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in OUTPUTS]
    model = helper.make_model(helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", inputs, outputs))
    helper.set_model_props(model, stubs.spec().to_properties())
    model.graph.input[0].type.tensor_type.elem_type = 127
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert describe(read_model(tmp_path / "model.onnx"))["inputs"][INPUTS[0]] == "unknown type [n]"


def photo_record(**changes):
    record = {"t": "photo", "s": 0, "size": [8, 8], "out": None, "frame": [0, None, [[0, 0.5, 1, 1, 4, 4, "0P2"]]]}
    return {**record, **changes}


@pytest.mark.parametrize(
    "record",
    [
        photo_record(out="a\0.jpg"),
        photo_record(out="\ud800.jpg"),
        photo_record(out="x" * 256),
        photo_record(out="x/" * 2001),
        photo_record(frame=[0, None, [[2, 0.5, 1, 1, 4, 4, "0P2"]]]),
        photo_record(frame=[0, None, [[-1, 0.5, 1, 1, 4, 4, "0P2"]]]),
        {"t": "part", "s": 0, "part": 0, "size": [8, 8], "folder": "x\0", "frames": []},
        photo_record(frame=[0, "1" + "0" * 400, []]),
    ],
)
def test_records_that_nobody_wrote(record, tmp_path):
    from fashionseg.media.frame import Source

    (tmp_path / "out" / ".fashionseg").mkdir(parents=True)
    header = {"t": "run", "format": 1, "fingerprint": {}}
    journal = tmp_path / "out" / ".fashionseg" / "journal"
    journal.write_bytes(encode_record(header) + encode_record(record))
    source = Source(0, tmp_path / "a.png", "a.png", "photo")
    with pytest.raises(OutputError, match="--restart"), RunFolder(tmp_path / "out", {}) as folder:
        write_results(folder, [source], ["a.jpg"], stubs.spec())
    with RunFolder(tmp_path / "out", {}, restart=True) as folder:
        assert not folder.resumed


def test_a_photos_record_of_a_video_is_left_out(tmp_path):
    from fashionseg.media.frame import Source

    with RunFolder(tmp_path / "out", {}) as folder:
        folder.journal.append(photo_record())
    source = Source(0, tmp_path / "a.mp4", "a.mp4", "video")
    with RunFolder(tmp_path / "out", {}) as folder:
        assert write_results(folder, [source], ["a.mp4"], stubs.spec()).frames == 0


@pytest.mark.parametrize("fingerprint", [7, ["conf"], None])
def test_a_journal_without_the_settings_of_its_run(fingerprint, tmp_path):
    (tmp_path / "out" / ".fashionseg").mkdir(parents=True)
    text = json.dumps({"t": "run", "format": 1, "fingerprint": fingerprint}).encode()
    (tmp_path / "out" / ".fashionseg" / "journal").write_bytes(b"%08x %s\n" % (zlib.crc32(text), text))
    with pytest.raises(OutputError, match="another version of fashionseg"), RunFolder(tmp_path / "out", {"conf": 0.5}):
        pass
