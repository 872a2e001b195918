"""Reading COCO files: round trips, every kind of damage, masks against pycocotools."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as pycocotools

from fashionseg.data.coco import read_coco, scan_coco, write_coco
from fashionseg.data.records import parse_instance, polygon_problem
from fashionseg.data.segmentation import instance_mask, polygon_area, rle_counts, to_rle
from fashionseg.errors import DataError

from .coco_files import document, square, write


def test_round_trip_keeps_every_key(tmp_path):
    content = document(licenses=[{"id": 7}], mine={"a": [1, 2]})
    content["categories"][0] = {"id": 1, "name": "shirt", "supercategory": "clothes"}
    data = read_coco(write(tmp_path / "a.json", content))
    write_coco(data, tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == content
    assert data.class_names == ("shirt", "trousers") and data.label_of == {1: 0, 2: 1}
    assert data.counts() == {"shirt": 2, "trousers": 2}
    assert [i.category_id for i in data.instances_of[1]] == [1, 2]
    assert data.images[0].extra == {"pair_id": 1} and data.instances[0].extra == {"occlusion": 1}


def test_categories_are_ordered_by_id_whatever_the_file_says(tmp_path):
    content = document(categories=[{"id": 9, "name": "z"}, {"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    data = read_coco(write(tmp_path / "a.json", content))
    assert data.class_names == ("a", "b", "z") and data.category_ids == (1, 2, 9)


def test_no_photos_and_no_annotations(tmp_path):
    path = write(tmp_path / "a.json", {"images": [], "annotations": [], "categories": []})
    data = read_coco(path)
    assert (data.images, data.instances, data.counts()) == ((), (), {})
    with pytest.raises(DataError, match=r"a\.json holds no annotations"):
        read_coco(path, need_instances=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "a list is a results file"),
        ("3", "its top level is not an object"),
        ("{}", "no list named images, annotations, categories"),
        ('{"images": [], "annotations": {}, "categories": []}', "no list named annotations"),
        ("[" * 100_000, "is not JSON"),
        ("\xff\xfe", "is not JSON"),
    ],
)
def test_files_that_are_not_coco_are_refused_in_one_sentence(tmp_path, text, message):
    (tmp_path / "a.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=message) as error:
        read_coco(tmp_path / "a.json")
    assert "a.json" in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(DataError, match="annotation file not found"):
        read_coco(tmp_path / "none.json")
    with pytest.raises(DataError, match="is a folder"):
        read_coco(tmp_path)


DAMAGE = {
    "image id twice": (("images", 1, "id"), 1, "used twice"),
    "image id text": (("images", 0, "id"), "1", "integer id"),
    "image id true": (("images", 0, "id"), True, "integer id"),
    "no file name": (("images", 0, "file_name"), "", "file_name"),
    "no width": (("images", 0, "width"), None, "is no size"),
    "huge": (("images", 0, "height"), 10**9, "is no size"),
    "category id": (("annotations", 0, "category_id"), 77, "category_id 77 is not among"),
    "image": (("annotations", 0, "image_id"), 77, "image_id 77 is not among"),
    "annotation id twice": (("annotations", 1, "id"), 3, "used twice"),
    "box of three": (("annotations", 0, "bbox"), [1, 2, 3], r"is not \[x, y, width, height\]"),
    "box of text": (("annotations", 0, "bbox"), ["a", 2, 3, 4], "is not"),
    "box not a number": (("annotations", 0, "bbox"), [1, 2, float("nan"), 4], "is not"),
    "box outside": (("annotations", 0, "bbox"), [100, 5, 3, 3], "lies outside its photo of 40x30 pixels"),
    "area": (("annotations", 0, "area"), -5, "is no area"),
    "mask a number": (("annotations", 0, "segmentation"), 3, "neither polygons nor"),
    "mask too short": (("annotations", 0, "segmentation"), [[1, 2, 3, 4]], "no usable polygon"),
    "mask outside": (("annotations", 0, "segmentation"), [square(300, 5, 9)], "no usable polygon"),
    "mask endless": (("annotations", 0, "segmentation"), [square(5, 5, 1e12)], "no usable polygon"),
    "rle size": (("annotations", 0, "segmentation"), {"size": [3, 3], "counts": "9"}, "the mask is 3x3"),
    "rle short": (("annotations", 0, "segmentation"), {"size": [30, 40], "counts": [5]}, "cover 5 pixels"),
    "rle text": (("annotations", 0, "segmentation"), {"size": [30, 40], "counts": "\x01"}, "damaged"),
    "rle negative": (("annotations", 0, "segmentation"), {"size": [30, 40], "counts": [-1, 1201]}, "integers from 0"),
    "name twice": (("categories", 1, "name"), "shirt", "two categories are named 'shirt'"),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_refused_with_its_place_and_listed_by_scan(tmp_path, case):
    (key, index, name), value, message = DAMAGE[case]
    content = document()
    content["categories"] = [dict(c) for c in content["categories"]]
    content[key][index][name] = value
    path = write(tmp_path / "a.json", content)
    with pytest.raises(DataError, match=message) as error:
        read_coco(path)
    assert "a.json" in str(error.value) and "data check" in str(error.value)
    data, problems = scan_coco(path)
    assert any(p.is_error for p in problems)
    assert len(data.images) + len(data.instances) + len(data.categories) <= 8


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"bbox": [5, 5, 0, 3]}, "empty box"),
        ({"bbox": [5, 5, 60, 3]}, "box beyond"),
        ({"segmentation": [square(5, 5, 10), [1, 2, 3]]}, "polygon"),
        ({"segmentation": [square(35, 5, 10)]}, "mask beyond"),
        ({"segmentation": []}, "no mask"),
    ],
)
def test_what_tools_cope_with_is_a_warning_and_stays(changes, kind):
    problems = []
    raw = document()["annotations"][0] | changes
    instance = parse_instance(raw, "here", problems, {1: (30, 40)}, {1, 2})
    assert instance is not None and [(p.kind, p.is_error) for p in problems] == [(kind, False)]
    if kind == "polygon":
        assert instance.segmentation == [square(5, 5, 10)]


def test_hand_computed_masks():
    assert polygon_area([square(5, 5, 10)], (30, 40)) == 100
    assert polygon_area([square(5, 5, 10), square(10, 10, 10)], (30, 40)) == 175  # the overlap counts once
    assert polygon_problem([0, 0, 1, 1], (30, 40)) == "2 points are no polygon: it takes three"


@pytest.mark.parametrize("form", ["polygons", "list", "text"])
def test_masks_agree_with_pycocotools(form):
    rng = np.random.default_rng(0)
    for _ in range(20):
        size = int(rng.integers(20, 90)), int(rng.integers(20, 90))
        polygons = [rng.uniform(-3, 60, 2 * int(rng.integers(3, 12))).tolist() for _ in range(2)]
        reference = pycocotools.merge(pycocotools.frPyObjects(polygons, *size))
        expected = pycocotools.decode(reference)
        segmentation = polygons
        if form == "text":
            segmentation = {"size": list(size), "counts": reference["counts"].decode()}
        if form == "list":
            flat = expected.T.ravel()
            edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
            segmentation = {"size": list(size), "counts": np.diff(np.concatenate([[0], edges])).tolist()}
        problems = []
        raw = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 5, 5], "segmentation": segmentation}
        instance = parse_instance(raw, "", problems, {1: size}, {1})
        mask = instance_mask(instance, size)
        got = np.zeros(size, np.uint8)
        got[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width] = mask.bits
        assert np.array_equal(got, expected), f"{(got != expected).sum()} of {got.size} pixels differ"
        assert rle_counts(segmentation, size) == reference["counts"].decode() == to_rle(mask, size)["counts"]


def test_a_mask_without_segmentation_is_its_box():
    raw = document()["annotations"][0] | {"segmentation": [], "bbox": [35.2, -2, 20, 7]}
    instance = parse_instance(raw, "", [], {1: (30, 40)}, {1})
    mask = instance_mask(instance, (30, 40))
    assert (mask.x, mask.y, mask.width, mask.height, mask.area) == (35, 0, 5, 5, 25)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["size", "counts", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)  # fmt: skip


@given(st.sampled_from(["id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd"]), json_values)
def test_no_value_of_an_annotation_breaks_the_reader(key, value):
    problems = []
    raw = document()["annotations"][0] | {key: value}
    instance = parse_instance(raw, "here", problems, {1: (30, 40)}, {1, 2})
    if instance is None:
        assert any(p.is_error for p in problems)
    else:
        instance_mask(instance, (30, 40))
