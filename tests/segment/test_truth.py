"""`segment --gt`: which image of a ground truth each photo is; ids of frames beside them."""

import json
from pathlib import Path

import clips
import cv2
import pytest
import stubs

from fashionseg.errors import FashionsegError
from fashionseg.media.frame import Source
from fashionseg.segment import Plan, SegmentOptions, segment
from fashionseg.segment.truth import ids_of


@pytest.fixture
def truth(tmp_path):
    """Writes a ground truth of (id, file name) pairs; both classes of the stub."""

    def write(*images, categories=((0, "trousers"), (9, "shirt"))):
        document = {
            "images": [{"id": number, "file_name": name, "width": 64, "height": 80} for number, name in images],
            "annotations": [],
            "categories": [{"id": number, "name": name} for number, name in categories],
        }
        (tmp_path / "gt.json").write_text(json.dumps(document))
        return tmp_path / "gt.json"

    return write


def ids(path, *names):
    """What photos of these names below the folder that was given get, and what is noted."""
    sources = tuple(Source(index, Path("in", name), name, "photo") for index, name in enumerate(names))
    notes = []
    found = ids_of(path, Plan(sources, names, (), Path("out")), stubs.model_file(), notes.append)
    return found, notes


def test_names_below_the_folder_come_first_and_file_names_alone_after(truth):
    found, notes = ids(truth((40, "a/1.png"), (30, "b/1.png"), (20, "far/2.png")), "b/1.png", "a/1.png", "2.png")
    assert found.images == {0: 30, 1: 40, 2: 20}
    assert found.next_image == 41
    assert found.categories == (9, 0)
    assert notes == []


def test_photos_that_the_file_has_not_are_told(truth):
    found, notes = ids(truth((4, "1.png")), "1.png", "sub/1.png", "2.png")
    assert found.images == {0: 4}, "the other 1.png is another photo"
    assert notes == [f"2 of 3 photos are not in {truth((4, '1.png'))}: they are left out of predictions.json"]


@pytest.mark.parametrize(
    ("images", "names", "words"),
    [
        ([(10, "a/1.png"), (20, "b/1.png")], ["1.png"], r"holds a/1\.png \(id 10\) and b/1\.png \(id 20\)"),
        ([(10, "a/1.png"), (20, "b/1.png")], ["a/1.png", "c/1.png"], r"which of them in/c/1\.png is cannot be told"),
        ([(10, "1.png"), (20, "1.png")], ["1.png"], "cannot be told"),
        ([(10, "1.png")], ["a/1.png", "b/1.png"], r"2 photos are named 1\.png"),
        ([(10, "1.png")], ["1.png", "1.png"], r"are both 1\.png"),
        ([(10, "1.png")], ["2.png"], "none of the photos"),
    ],
)
def test_names_that_do_not_tell_are_refused(images, names, words, truth):
    with pytest.raises(FashionsegError, match=words):
        ids(truth(*images), *names)


def test_classes_that_the_file_has_not_get_fresh_ids(truth):
    found, _ = ids(truth((1, "1.png"), categories=((5, "trousers"), (8, "hat"))), "1.png")
    assert found.categories == (9, 5)
    with pytest.raises(FashionsegError, match="none of the model's classes"):
        ids(truth((1, "1.png"), categories=((5, "hat"),)), "1.png")


def test_frames_count_from_where_the_ground_truth_ends(truth, tmp_path, monkeypatch):
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())
    cv2.imwrite(str(tmp_path / "1.png"), stubs.picture())
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=2))
    segment(
        [tmp_path / "1.png", clip],
        tmp_path / "out",
        SegmentOptions(batch=1, gt=truth((3, "1.png"), (7, "2.png"))),
        open_backend=lambda model: stubs.StubBackend(model.spec),
    )
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [(image["id"], image["file_name"]) for image in images] == [
        (3, "1.png"),
        (8, "clip/000000.jpg"),
        (9, "clip/000001.jpg"),
    ]
