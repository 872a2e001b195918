"""`fashionseg data ...` as a user meets it."""

import json

import cv2
import numpy as np
import pytest

from fashionseg.cli.data import COMMANDS, data
from fashionseg.cli.main import run
from fashionseg.errors import DataError

from .coco_files import deepfashion2, document, item, write, write_photos


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    content = document(6)
    write_photos(tmp_path / "images", content)
    write(tmp_path / "a.json", content)
    return tmp_path


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        assert run(["data", name, "--help"]) == 0
        assert f"fashionseg data {name}" in capsys.readouterr().out
    assert run(["data", "nonsense"]) == 2
    assert set(data.list_commands(None)) == set(COMMANDS)


def test_convert(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    deepfashion2(tmp_path / "df2", {1: [item(1)], 2: [item(8, zoom_in=3)], 3: "{"})
    arguments = ["data", "convert", "deepfashion2", "df2", "-o", "o/c.json", "--zoom-in", "no,2", "--processes", "1"]
    assert run(arguments) == 3
    shown = capsys.readouterr().err
    assert "1 of 3 photos in o/c.json" in shown and "broken file, 1 time, such as 000003.json" in shown
    assert "1 photo left out: " in shown
    assert run([*arguments, "--json", "-q"]) == 3
    assert json.loads(capsys.readouterr().out)["instances"]["short_sleeved_shirt"] == 1
    assert run([*arguments[:-4], "--occlusion", "huge"]) == 2
    assert "choose among slight (1), medium (2), heavy (3)" in capsys.readouterr().err
    assert run(["data", "convert", "deepfashion2", "nothing", "-o", "x.json"]) == 1
    assert run(["data", "convert", "yolo", "nothing", "-o", "x.json"]) == 1
    (tmp_path / "l.txt").write_text("0 null\n1 coat\n")
    labelmaps = ["data", "convert", "labelmaps", "--images", "i", "--labels", "l", "--names", "l.txt", "-o", "x.json"]
    assert run([*labelmaps, "--classes", "all"]) == 1
    assert "there is no folder of label maps at l" in capsys.readouterr().err


def test_convert_tells_what_is_too_small(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.txt").write_text("0 null\n1 coat\n")
    labels = np.zeros((40, 40), np.uint8)
    labels[:4, :4], labels[20:, 20:] = 1, 1
    for folder in ("i", "l"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), labels)
    command = ["data", "convert", "labelmaps", "--images", "i", "--labels", "l", "--names", "l.txt", "-o", "x.json"]
    assert run([*command, "--classes", "all", "--processes", "1"]) == 0
    assert "1 left out of photos: specks below 64 pixels" in capsys.readouterr().err


def test_split_check_merge_filter(files, capsys):
    assert run(["data", "split", "a.json", "-o", "s", "--parts", "train=2,val=1", "--seed", "3"]) == 0
    assert "3 groups by pair_id; wrote train.json, val.json into s" in capsys.readouterr().err
    assert run(["data", "check", "s/train.json", "s/val.json", "--images", "images"]) == 0
    assert "6 photos, 12 garments: 0 errors, 0 warnings" in capsys.readouterr().err
    for wrong in ("train", "train=1", "train=1,train=2", "train=0,val=1", "a b=1,c=2"):
        assert run(["data", "split", "a.json", "-o", "s", "--parts", wrong]) == 2
    capsys.readouterr()
    assert run(["data", "split", "a.json", "-o", "s", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parts"]["train"]["photos"] == 2
    (files / "b.json").write_text((files / "a.json").read_text().replace("trousers", "coat"))
    assert run(["data", "check", "a.json", "b.json", "--no-images", "--json"]) == 4
    found = json.loads(capsys.readouterr().out)
    assert {p["kind"] for p in found["problems"]} == {"categories differ", "leak: same group", "same file name"}
    assert found["warnings"] == 6, "a photo of that name in both"
    assert found["errors"] == len(found["problems"]) - 6
    assert run(["data", "check", "s/val.json"]) == 2
    assert "name it with --images" in capsys.readouterr().err

    assert run(["data", "merge", "a.json", "b.json", "-o", "m/all.json"]) == 1
    assert "tell them apart with --prefix" in capsys.readouterr().err
    merge = ["data", "merge", "a.json", "b.json", "-o", "m/all.json", "--prefix", "x", "--prefix", "y"]
    assert run([*merge, "--images", "images"]) == 2
    assert run([*merge, "--images", "images", "--images", "images", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"] == {"shirt": 12, "trousers": 6, "coat": 6}
    assert run(["data", "check", "m/all.json", "--no-hash"]) == 0

    assert run(["data", "filter", "a.json", "-o", "f.json", "--where", "occlusion=2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"] == {"shirt": 0, "trousers": 6}
    (files / "map.toml").write_text("clothes = ['shirt', 'trousers']\n")
    assert run(["data", "filter", "a.json", "-o", "f.json", "--map", "map.toml", "--limit", "2"]) == 0
    assert "2 of 6 photos with 4 of 12 garments" in capsys.readouterr().err
    assert run(["data", "filter", "a.json", "-o", "f.json", "--where", "occlusion"]) == 2


def test_broken_records_are_refused_then_dropped_when_asked(files, capsys):
    content = json.loads((files / "a.json").read_text())
    content["annotations"][0]["category_id"] = 9
    write(files / "broken.json", content)
    assert run(["data", "stats", "broken.json"]) == 1
    assert "list them all with: fashionseg data check" in capsys.readouterr().err
    assert run(["data", "filter", "broken.json", "-o", "clean.json"]) == 1
    assert run(["data", "filter", "broken.json", "-o", "clean.json", "--drop-broken"]) == 0
    assert "left out annotations[0]: category_id 9" in capsys.readouterr().err
    assert run(["data", "check", "clean.json", "--images", "images", "--no-masks"]) == 0


def test_what_train_cannot_use_can_be_filtered(files, capsys):
    from fashionseg.training.dataset import read_sets

    content = json.loads((files / "a.json").read_text())
    del content["annotations"][0]["segmentation"]
    content["annotations"][3]["bbox"] = [5, 5, 6, 0]
    write(files / "part.json", content)
    assert run(["data", "check", "part.json"]) == 0
    with pytest.raises(DataError) as refusal:
        read_sets([files / "part.json"], [])
    command = str(refusal.value).partition("fashionseg ")[2].replace("OUT.json", "full.json").split()
    assert command[-1] == "--need-masks" and run(command) == 0
    assert "6 of 6 photos with 10 of 12 garments" in capsys.readouterr().err
    assert sum(read_sets([files / "full.json"], []).instances()) == 10


@pytest.mark.parametrize(
    "command",
    [
        ["split", "a.json", "-o", "s"],
        ["merge", "a.json", "-o", "b.json"],
        ["filter", "a.json", "-o", "b.json"],
        ["filter", "a.json", "-o", "b.json", "--drop-broken"],
    ],
)
def test_polygons_that_are_lost_in_writing_are_told(files, capsys, command):
    content = json.loads((files / "a.json").read_text())
    for annotation in content["annotations"][:2]:
        annotation["segmentation"].append([1, 2, 3])
    if "--drop-broken" in command:
        content["annotations"][2]["segmentation"] = [[1, 2, 3]]  # left out whole, which is told anyway
    write(files / "a.json", content)
    assert run(["data", *command]) == 0
    assert capsys.readouterr().err.count("2 unusable polygons left out of masks of a.json: list them") == 1
    assert run(["data", *command, "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    content = document(6)
    write(files / "a.json", content)
    assert run(["data", *command]) == 0
    assert "polygon" not in capsys.readouterr().err


def test_stats_and_preview(files, capsys):
    pytest.importorskip("matplotlib")
    assert run(["data", "stats", "a.json", "--details", "--png", "p/s.png"]) == 0
    out = capsys.readouterr().out
    assert "#instances" in out and "trousers" in out and "occlusion" in out
    assert (files / "p" / "s.png").read_bytes().startswith(b"\x89PNG")
    assert run(["data", "stats", "a.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["instances"] == 12
    assert (
        run(["data", "preview", "a.json", "-o", "sheet.jpg", "--count", "3", "--classes", "shirt", "--seed", "1"]) == 0
    )
    assert (files / "sheet.jpg").read_bytes().startswith(b"\xff\xd8")
    assert run(["data", "preview", "a.json", "-o", "sheet.gif"]) == 2
    assert run(["data", "preview", "a.json", "--images", "nowhere"]) == 1


def test_synth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(["data", "synth", "d", "--count", "2", "--size", "64x96", "--processes", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert run(["data", "check", "d/annotations.json"]) == 0
    assert run(["data", "synth", "d", "--count", "1"]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert run(["data", "synth", "x", "--size", "12"]) == 2
    assert run(["data", "synth", "x.avi", "--video"]) == 2
    assert run(["data", "synth", "x", "--labels", "y.json"]) == 2


def test_a_missing_plot_library_is_one_sentence(files, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["data", "stats", "a.json", "--png", "s.png"]) == 1
    assert "pip install 'fashionseg[plots]'" in capsys.readouterr().err
