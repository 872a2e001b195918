"""Annotation files as training takes them, and every mistake that makes it impossible."""

import json

import pytest
from json_files import edited
from PIL import Image

from fashionseg.errors import DataError
from fashionseg.training.dataset import read_sets, require_readable, require_same_classes

from .conftest import CLASSES, make_set


def test_records_are_as_detectron2_defines_them(tiny_set):
    path, folder = tiny_set
    data = read_sets([path], [folder])
    assert data.class_names == CLASSES
    assert data.category_ids == (1, 2, 3, 4, 5)
    assert len(data.records) == 12
    assert sum(data.instances()) == len(json.loads(path.read_text())["annotations"]) == 12
    first = next(record for record in data.records if record["annotations"])
    assert first["annotations"][0]["bbox_mode"] == 1
    assert 0 <= first["annotations"][0]["category_id"] < 5
    assert data.has_rle()


def test_category_ids_need_not_be_contiguous(tiny_set):
    path, folder = tiny_set

    def spread(document):
        for entry in document["categories"]:
            entry["id"] *= 10
        for entry in document["annotations"]:
            entry["category_id"] *= 10

    before = read_sets([path], [folder])
    after = read_sets([edited(path, spread)], [folder])
    assert after.category_ids == (10, 20, 30, 40, 50)
    assert after.instances() == before.instances()


def test_two_files_are_joined(tmp_path):
    one, folder_one = make_set(tmp_path / "a", 4, seed=1)
    two, folder_two = make_set(tmp_path / "b", 5, seed=2)
    data = read_sets([one, two], [folder_one, folder_two])
    assert len(data.records) == 9
    assert str(one) in data.source
    assert str(two) in data.source
    with pytest.raises(DataError, match="need one photo folder or 2"):
        read_sets([one, two], [folder_one] * 3)


def test_different_categories_are_refused(tmp_path):
    one = make_set(tmp_path / "a", 4, seed=1)
    two = make_set(tmp_path / "b", 4, seed=2, names=("shirt", "hat"))
    with pytest.raises(DataError, match=r"categories differ: .*trousers \(5\).*hat \(2\)"):
        read_sets([one[0], two[0]], [one[1], two[1]])
    with pytest.raises(DataError, match="categories differ"):
        require_same_classes(read_sets([one[0]], [one[1]]), read_sets([two[0]], [two[1]]))


def test_label_maps_are_found_beside_the_photos(tmp_path):
    path, folder = make_set(tmp_path, 3, seed=1, label_maps=True)
    assert all("label_map" in record for record in read_sets([path], [folder], labels="labels").records)
    assert not any("label_map" in record for record in read_sets([path], [folder]).records)
    assert not any("label_map" in record for record in read_sets([path], [folder], labels="none").records)


def test_label_maps_lie_in_folders_like_those_of_the_photos(tmp_path):
    """Photos of one name in two folders have a map each."""
    path, folder = make_set(tmp_path, 3, seed=1, label_maps=True)
    for part in ("images", "labels"):
        for number, home in enumerate(("photo", "drawn")):
            (tmp_path / part / home).mkdir()
            (tmp_path / part / f"1_{number}.png").rename(tmp_path / part / home / "1.png")

    def nested(document):
        for image, home in zip(document["images"], ("photo", "drawn"), strict=False):
            image["file_name"] = f"{home}/1.png"

    found = [r["label_map"] for r in read_sets([edited(path, nested)], [folder], labels="labels").records]
    assert found == [str(tmp_path / "labels" / name) for name in ("photo/1.png", "drawn/1.png", "1_2.png")]


@pytest.mark.parametrize(
    ("mode", "size", "fragment"),
    [("L", (5, 5), r"1_0.png is 5x5 pixels, its photo 80x60"), ("RGB", (80, 60), "has mode RGB; a label map is")],
)
def test_label_maps_that_do_not_fit_are_found_from_their_headers(mode, size, fragment, tmp_path):
    path, folder = make_set(tmp_path, 3, seed=1, label_maps=True)
    Image.new(mode, size).save(tmp_path / "labels" / "1_0.png")
    with pytest.raises(DataError, match=f"the label map .*{fragment}"):
        require_readable(read_sets([path], [folder], labels="labels"))


NAN = float("nan")
CHANGES = {
    "has no annotation to learn from": lambda d: d["annotations"].clear(),
    "lists no categories": lambda d: (d["categories"].clear(), d["annotations"].clear()),
    "two categories are named": lambda d: d["categories"][0].update(name=d["categories"][1]["name"]),
    "category_id 77 is not among the categories": lambda d: d["annotations"][0].update(category_id=77),
    "image_id 99 is not among the images": lambda d: d["annotations"][0].update(image_id=99),
    "outside its photo": lambda d: d["annotations"][0].update(bbox=[500, 5, 10, 10]),
    "bbox [nan, 5, 10, 10] is not": lambda d: d["annotations"][0].update(bbox=[NAN, 5, 10, 10]),
    "the box [4, 5, 10, 0], which has no area": lambda d: d["annotations"][0].update(bbox=[4, 5, 10, 0]),
    "no usable polygon: 2 points are no polygon": lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4]]),
    "no usable polygon: a polygon lies outside its photo": lambda d: d["annotations"][0].update(
        segmentation=[[900, 2, 930, 4, 900, 90]]
    ),
    "no mask to learn from": lambda d: d["annotations"][0].pop("segmentation"),
    "the mask is 5x5 pixels": lambda d: d["annotations"][0].update(segmentation={"size": [5, 5], "counts": [25]}),
    "1 of 12 photos": lambda d: d["images"][0].update(file_name="gone.png"),
    "leads out of the folder": lambda d: d["images"][0].update(file_name="../gone.png"),
    "bbox None is not": lambda d: d["annotations"][0].pop("bbox"),
    "no list named images": lambda d: d.pop("images"),
}


@pytest.mark.parametrize("fragment", CHANGES)
def test_a_mistake_is_one_sentence_that_names_the_file(fragment, tiny_set):
    path, folder = tiny_set
    with pytest.raises(DataError) as caught:
        read_sets([edited(path, CHANGES[fragment])], [folder])
    assert fragment in str(caught.value)
    assert "set1.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_are_no_annotations(tmp_path):
    with pytest.raises(DataError, match="annotation file not found"):
        read_sets([tmp_path / "none.json"], [tmp_path])
    (tmp_path / "broken.json").write_text('{"images": [')
    with pytest.raises(DataError, match="is not JSON"):
        read_sets([tmp_path / "broken.json"], [tmp_path])
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(DataError, match="is not a COCO annotation file"):
        read_sets([tmp_path / "list.json"], [tmp_path])


def test_run_lengths_are_compressed_and_mean_the_same(tiny_set):
    from pycocotools import mask as coco_mask

    path, folder = tiny_set
    raw = [a["segmentation"] for a in json.loads(path.read_text())["annotations"]]
    found = [a["segmentation"] for record in read_sets([path], [folder]).records for a in record["annotations"]]
    pairs = [(one, other) for one, other in zip(raw, found, strict=True) if isinstance(one, dict)]
    assert pairs
    for before, after in pairs:
        expected = coco_mask.frPyObjects(before, *before["size"])
        assert (coco_mask.decode(after) == coco_mask.decode(expected)).all()


def test_photos_are_looked_for_beside_the_annotations(tiny_set):
    path, folder = tiny_set
    assert read_sets([path], []).records == read_sets([path], [folder]).records
    path.rename(path.parent.parent / "elsewhere.json")
    with pytest.raises(DataError, match="name their folder with --images"):
        read_sets([path.parent.parent / "elsewhere.json"], [])


def test_photos_that_cannot_be_measured_on_are_found_from_their_headers(tiny_set):
    path, folder = tiny_set
    require_readable(read_sets([path], [folder]))
    data = read_sets([edited(path, lambda d: d["images"][0].update(width=81, height=61))], [folder])
    with pytest.raises(DataError, match=r"1_0.png is 80x60 pixels, its annotations say 81x61; see"):
        require_readable(data)
    (folder / "1_1.png").write_bytes(b"no photo")
    with pytest.raises(DataError, match="and 1 more"):
        require_readable(data)
