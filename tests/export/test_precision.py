"""`fashionseg export --precision` as a user meets it: files, tables, exit codes, and that nothing is left behind."""

import contextlib
import io
import json
import sys

import cv2
import numpy as np
import onnx
import pytest
from rich.console import Console

from fashionseg.cli.export.progress import PlainSteps
from fashionseg.cli.main import run
from fashionseg.data.synth import SynthOptions, write_synth
from fashionseg.errors import MediaError
from fashionseg.export.precision_photos import photo_files, plain_photos, spread
from fashionseg.export.steps import counted
from fashionseg.model import parse_onnx, read_model


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder with three drawn photos in `images/` and their labels in `annotations.json`."""
    folder = tmp_path_factory.mktemp("drawn") / "set"
    write_synth(folder, SynthOptions(3, (360, 280), seed=4, empty_share=0.0, people=2))
    return folder


@pytest.fixture(scope="module")
def int8(tmp_path_factory, drawn):
    """The embedded model in INT8, made by the command; the file, and what was printed for programs."""
    path = tmp_path_factory.mktemp("int8") / "small.onnx"
    options = [
        "--calibrate",
        str(drawn / "images"),
        "--check-data",
        str(drawn / "annotations.json"),
        "--max-drop",
        "100",
    ]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert run(["export", "--precision", "int8", "-o", str(path), *options, "--json", "-q"]) == 0
        printed = json.loads(shown.getvalue())
    return path, printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "the embedded model is an ONNX file already: say what to make of it"),
        (["default"], "the embedded model is an ONNX file already"),
        (["some.onnx"], "some.onnx is an ONNX file already"),
        (["--precision", "int8"], "needs --calibrate PHOTOS"),
        (["--precision", "fp16", "--calibrate", "a.jpg"], "--calibrate is for --precision int8"),
        (["--precision", "fp16", "--classes", "a,b", "--trust"], "--classes, --trust: only for a checkpoint"),
        (["model.pth", "--max-drop", "1"], "--max-drop: only for --precision fp16 and int8"),
        (["--precision", "fp16", "--max-drop", "-1"], "--max-drop"),
        (["--precision", "fp8"], "fp8"),
    ],
)
def test_wrong_usage_is_exit_code_2(arguments, complaint, capsys):
    assert run(["export", *arguments]) == 2
    assert complaint in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["none.onnx", "--precision", "fp16"], "model file not found: none.onnx"),
        (["none.pth", "--precision", "int8", "--calibrate", "none.jpg"], "none.jpg"),
        (["none.pth", "--precision", "fp16", "--check", "none.jpg"], "none.jpg"),
        (["none.pth", "--precision", "fp16", "--check-data", "none.json"], "none.json"),
    ],
)
def test_what_is_missing_is_told_before_the_work_begins(arguments, complaint, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["export", *arguments]) == 1
    assert complaint in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_fp16_of_the_embedded_model(tmp_path, drawn, capsys, monkeypatch):
    """With a name of its own, a table, and half the bytes of its weights; `info` and `segment` take it."""
    monkeypatch.chdir(tmp_path)
    assert run(["export", "--precision", "fp16", "--check", str(drawn / "images")]) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in ("fp16 against fp32, 3 photos", "found again", "99%", "default-fp16.onnx", "comparing with fp32: 6"):
        assert words in shown.err
    assert "AP" not in shown.err
    assert [path.name for path in tmp_path.iterdir()] == ["default-fp16.onnx"]
    assert run(["info", "default-fp16.onnx", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["precision"], found["weights"], found["metrics"]) == ("fp16", "fp16", {})
    assert found["bytes"] < 2.3 * found["parameters"]
    photo = str(drawn / "images" / "000001.jpg")
    assert run(["segment", photo, "-m", "default-fp16.onnx", "-o", "out", "-q"]) == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())


def test_int8_of_the_embedded_model(int8):
    path, printed = int8
    model = read_model(path)
    assert (model.spec.precision, model.spec.weights) == ("int8", "int8")
    assert printed["file"] == str(path) and printed["bytes"] == path.stat().st_size
    comparison = printed["comparison"]
    assert comparison["photos"] == 3 and comparison["wanted"] >= 3
    assert comparison["share"] == comparison["matched"] / comparison["wanted"]
    before, after = comparison["ap"]["segm"]
    assert before > 10 and comparison["drop"] == pytest.approx(before - after, abs=0.002)
    assert comparison["max_drop"] == 100
    assert model.spec.metrics["segm/AP"] == pytest.approx(after, abs=0.01)
    assert model.spec.checkpoint_sha256 == read_model().spec.checkpoint_sha256


def test_every_command_takes_an_int8_file(int8, drawn, tmp_path, capsys):
    """And the figures of `evaluate` are those of the proof."""
    path, printed = int8
    assert run(["segment", str(drawn / "images"), "-m", str(path), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())
    capsys.readouterr()
    assert run(["evaluate", str(path), "--data", str(drawn / "annotations.json"), "--json", "-q"]) == 0
    metrics = json.loads(capsys.readouterr().out)["metrics"]
    assert 100 * metrics["segm/AP"] == pytest.approx(printed["comparison"]["ap"]["segm"][1], abs=0.002)


def test_a_precision_that_costs_too_much_leaves_no_file(tmp_path, drawn, capsys):
    """Ranges learnt from a photo of the mean colour, zero to the network, are wrong for every other."""
    mean = np.rint(read_model().spec.pixel_mean).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "mean.png"), np.broadcast_to(mean, (64, 64, 3)))
    output = tmp_path / "made" / "small.onnx"
    output.parent.mkdir()
    output.write_bytes(b"an older file")
    options = ["--calibrate", str(tmp_path / "mean.png"), "--check-data", str(drawn / "annotations.json")]
    assert run(["export", "--precision", "int8", "-o", str(output), *options]) == 4
    shown = capsys.readouterr().err
    assert "AP, masks" in shown and "int8 against fp32" in shown
    assert "small.onnx was not written: int8 loses" in shown and "more than the 1 allowed (--max-drop)" in shown
    assert [path.name for path in output.parent.iterdir()] == ["small.onnx"]
    assert output.read_bytes() == b"an older file"


def test_interrupted_it_leaves_no_file(tmp_path, drawn, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("fashionseg.export.precision.prove", interrupt)
    options = ["--check", str(drawn / "images"), "-o", str(tmp_path / "half.onnx"), "-q"]
    assert run(["export", "--precision", "fp16", *options]) == 130
    assert list(tmp_path.iterdir()) == []


def test_a_lowered_file_is_not_lowered_again(int8, tmp_path, capsys):
    assert run(["export", str(int8[0]), "--precision", "fp16", "-o", str(tmp_path / "again.onnx"), "-q"]) == 1
    assert "is int8 already; lower the fp32 model file it was made from" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_graph_that_cannot_be_lowered(tmp_path, drawn, capsys):
    """A weight that float16 cannot hold: one sentence, and no file."""
    model = read_model()
    proto = parse_onnx(model.data, "")
    weight = next(t for t in proto.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16 and len(t.dims) == 4)
    array = onnx.numpy_helper.to_array(weight).copy()
    array.flat[0] = np.inf
    weight.CopyFrom(onnx.numpy_helper.from_array(array, weight.name))
    source, output = tmp_path / "source.onnx", tmp_path / "output.onnx"
    source.write_bytes(proto.SerializeToString())
    options = ["--check", str(drawn / "images"), "-o", str(output), "-q"]
    assert run(["export", str(source), "--precision", "fp16", *options]) == 1
    assert "which float16 cannot" in capsys.readouterr().err
    assert not output.exists()


def test_photos_come_from_files_folders_globs_and_coco_files(drawn, tmp_path):
    images = sorted((drawn / "images").iterdir())
    assert photo_files((drawn / "images",)) == images
    assert photo_files((drawn / "images" / "*2.jpg",)) == images[1:2]
    assert photo_files((drawn / "annotations.json", images[0])) == [*images, images[0]]
    moved = tmp_path / "labels.json"
    moved.write_bytes((drawn / "annotations.json").read_bytes())
    assert photo_files((moved,), drawn / "images") == images
    with pytest.raises(MediaError, match="no photo or video in this folder"):
        photo_files((tmp_path,))


def test_photos_are_taken_at_even_distances():
    files = list(range(10))
    assert spread(files, 20) == files
    assert spread(files, 5) == [0, 2, 4, 6, 8]
    assert spread(files, 3) == [0, 3, 6]


def test_plain_photos_are_a_set_of_the_models_classes(drawn):
    spec = read_model().spec
    photos = plain_photos(photo_files((drawn / "images",)), spec)
    assert not photos.labelled
    assert {image.size_hw for image in photos.data.images} == {(360, 280)}
    assert tuple(one.name for one in photos.data.categories) == spec.class_names
    assert tuple(one.id for one in photos.data.categories) == spec.category_ids


def test_steps_in_a_log_are_lines():
    text = io.StringIO()
    steps = PlainSteps(Console(file=text))
    with counted(steps, "calibrating", 64) as advance:
        advance()
    steps.note("[red]as it is[/red]")
    assert text.getvalue() == "calibrating: 64\n[red]as it is[/red]\n"


def test_the_benchmark(drawn, tmp_path, capsys, monkeypatch):
    from fashionseg.benchmarks import precision

    monkeypatch.setattr(precision, "ROUNDS", 1)
    monkeypatch.setitem(sys.modules, "detectron2", None)
    labels, out = str(drawn / "annotations.json"), tmp_path / "precision.json"
    code = precision.main(["--calibrate", labels, "--data", labels, "--json", str(out)])
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert code == (0 if found["passed"] else 1)
    for name in ("fp16", "int8"):
        row = found[name]
        assert row["passed"] == (row["drop"] <= row["bar"]["drop"] and row["share"] >= row["bar"]["share"])
        assert row["photos"] == 3 and row["wanted"] >= 3
        assert row["bytes"] < 13e6
    assert found["fp16"]["float_layers"] == 0 < found["int8"]["float_layers"] < 40
    speed = found["speed"]
    assert speed["model"]["speedup"] == pytest.approx(speed["model"]["ms"]["fp32"] / speed["model"]["ms"]["int8"], 0.05)
    assert "Detectron2 is not installed" in speed["random R50-FPN"]["skipped"]


@pytest.mark.detectron2
def test_a_checkpoint_is_proven_twice(tmp_path, drawn, capsys):
    """Against Detectron2 in fp32, then in fp16 against that."""
    pytest.importorskip("detectron2")
    import tiny_rcnn
    import torch

    cfg = tiny_rcnn.config()
    torch.save({"model": tiny_rcnn.model(cfg).state_dict(), "class_names": list("abcde")}, tmp_path / "tiny.pth")
    (tmp_path / "config.yaml").write_text(cfg.dump())
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, picture in enumerate(tiny_rcnn.pictures()):
        cv2.imwrite(str(pictures / f"{number}.png"), picture)
    options = ["--precision", "fp16", "-o", str(tmp_path / "tiny.onnx"), "--check", str(pictures), "--json", "-q"]
    code = run(["export", str(tmp_path / "tiny.pth"), *options])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    printed = json.loads(shown.out)
    assert printed["precision"] == "fp16"
    assert all(check["agreement"]["matched"] == check["agreement"]["wanted"] for check in printed["checks"])
    assert printed["comparison"]["share"] >= 0.99
    assert read_model(tmp_path / "tiny.onnx").spec.class_names == tuple("abcde")
