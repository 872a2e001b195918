"""DeepFashion2 into COCO: the official converter's boxes, polygons, categories and ids; areas; filters; damage."""

import json

import pytest
from PIL import Image as Picture
from pycocotools import mask as pycocotools
from pycocotools.coco import COCO

from fashionseg.benchmarks.convert import annotation, generate
from fashionseg.data.coco import read_coco
from fashionseg.data.convert.balance import balanced
from fashionseg.data.convert.classes import DEEPFASHION2_NAMES, FIVE_NAMES, deepfashion2_classes
from fashionseg.data.convert.deepfashion2 import Filters
from fashionseg.data.convert.deepfashion2_set import Options, convert_deepfashion2
from fashionseg.errors import DataError

from .coco_files import deepfashion2, item


def convert(root, out, classes="thirteen", filters=None, processes=1, **options):
    chosen = Options(deepfashion2_classes(classes), filters or Filters(), **options)
    return convert_deepfashion2(root, out, chosen, processes=processes)


def official(root):
    """Images and annotations as evaluation/deepfashion2_to_coco.py of switchablenorms/DeepFashion2 defines them."""
    images, annotations = [], []
    for path in sorted((root / "annos").iterdir()):
        content = json.loads(path.read_text())
        images.append(int(path.stem))
        for key, one in content.items():
            if key in ("source", "pair_id"):
                continue
            x1, y1, x2, y2 = one["bounding_box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": int(path.stem),
                    "category_id": one["category_id"],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "segmentation": one["segmentation"],
                    "pair_id": content["pair_id"],
                    "style": one["style"],
                    "iscrowd": 0,
                }
            )
    return images, annotations


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    root = tmp_path_factory.mktemp("df2") / "train"
    generate(root, 60, 1)
    return root


@pytest.mark.parametrize("processes", [1, 2])
def test_without_filters_everything_equals_the_official_converter_but_the_area(generated, tmp_path, processes):
    report = convert(generated, tmp_path / "out.json", processes=processes)
    got = json.loads((tmp_path / "out.json").read_text())
    images, annotations = official(generated)
    assert [image["id"] for image in got["images"]] == images
    keys = ("id", "image_id", "category_id", "bbox", "segmentation", "pair_id", "style", "iscrowd")
    assert [{key: a[key] for key in keys} for a in got["annotations"]] == annotations
    assert [c["name"] for c in got["categories"]] == list(DEEPFASHION2_NAMES)
    assert report.photos_kept == 60 and report.instances.total() == len(annotations) and not report.has_problems
    COCO(str(tmp_path / "out.json"))  # pycocotools reads it


def test_areas_are_those_of_the_masks(generated, tmp_path):
    convert(generated, tmp_path / "out.json")
    data = read_coco(tmp_path / "out.json", need_instances=True)
    for instance in data.instances:
        size = data.image_of[instance.image_id].size_hw
        expected = int(pycocotools.area(pycocotools.merge(pycocotools.frPyObjects(instance.segmentation, *size))))
        assert instance.area == expected, f"annotation {instance.id}: {instance.area}, pycocotools {expected}"


def test_hand_computed(tmp_path):
    root = deepfashion2(tmp_path / "df2", {7: [item(8, (10, 10, 50, 60)), item(1, (20, 5, 60, 25))]})
    convert(root, tmp_path / "out.json", "five")
    got = json.loads((tmp_path / "out.json").read_text())
    assert got["images"] == [
        {"id": 7, "file_name": "000007.jpg", "width": 90, "height": 120, "pair_id": 3, "source": "user"}
    ]
    first, second = got["annotations"]
    assert (first["id"], first["category_id"], first["bbox"]) == (1, 5, [10, 10, 40, 50])
    assert (second["id"], second["category_id"], second["bbox"]) == (2, 1, [20, 5, 40, 20])
    assert second["area"] == 38 * 17  # columns 21 to 58, rows 6 to 22
    assert {k: first[k] for k in ("occlusion", "scale", "zoom_in", "viewpoint")} == {
        "occlusion": 1,
        "scale": 2,
        "zoom_in": 1,
        "viewpoint": 2,
    }
    assert [c["name"] for c in got["categories"]] == list(FIVE_NAMES)


def test_ids_do_not_move_when_something_is_filtered(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(9), item(1)], 2: [item(1, occlusion=3)], 3: [item(8)]})
    convert(root, tmp_path / "out.json", "five", Filters(occlusion=frozenset({1})))
    got = json.loads((tmp_path / "out.json").read_text())
    assert [a["id"] for a in got["annotations"]] == [2, 4]
    assert [i["id"] for i in got["images"]] == [1, 3]


@pytest.mark.parametrize(
    ("items", "kept"),
    [
        ([item(1), item(8)], True),
        ([item(1), item(8, occlusion=2)], False),
        ([item(1), item(9, occlusion=3)], True),
        ([item(1, zoom_in=2)], True),
        ([item(1, zoom_in=3)], False),
        ([item(1, scale=1)], False),
        ([item(1, viewpoint=3)], True),
        ([item(9)], False),
        ([], False),
    ],
)
def test_a_photo_is_kept_where_every_garment_of_a_kept_category_is_good(tmp_path, items, kept):
    root = deepfashion2(tmp_path / "df2", {1: items, 2: [item(1)]})
    source = Filters(frozenset({1}), frozenset({2}), frozenset({1, 2}))
    report = convert(root, tmp_path / "out.json", "five", source)
    assert report.photos_kept == 1 + kept and not report.has_problems


FAULTS = {
    "broken json": ("{", "broken file"),
    "a list": ("[]", "broken file"),
    "no pair id": ('{"item1": {}}', "broken file"),
    "item a number": ('{"pair_id": 1, "item1": 3}', "item"),
    "category 14": ([item(14)], "item"),
    "scale 7": ([item(1, scale=7)], "item"),
    "scale missing": ([item(1, scale=None)], "item"),
    "box of three": ([item(1, bounding_box=[1, 2, 3])], "item"),
    "box turned": ([item(1, bounding_box=[50, 10, 10, 60])], "item"),
    "box of nan": ([item(1, bounding_box=[1, 1, float("nan"), 5])], "item"),
    "box outside": ([item(1, bounding_box=[10, 10, 95, 60])], "box outside"),
    "no polygons": ([item(1, segmentation=[])], "no mask"),
    "two points": ([item(1, segmentation=[[1, 1, 5, 5]])], "polygon"),
    "polygon of text": ([item(1, segmentation=[["a"] * 6])], "polygon"),
    "polygon outside": ([item(1, segmentation=[[200, 1, 250, 1, 250, 9]])], "polygon"),
    "polygon endless": ([item(1, segmentation=[[1, 1, 1e15, 1, 1e15, 9]])], "polygon"),
    "segmentation text": ([item(1, segmentation="no")], "item"),
    "fault of a class that is not kept": ([item(9, scale=9), item(1)], "item"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_are_counted_listed_and_never_kept(tmp_path, case):
    content, kind = FAULTS[case]
    root = deepfashion2(tmp_path / "df2", {1: content, 2: [item(1)]})
    report = convert(root, tmp_path / "out.json", "five")
    listed = json.loads((tmp_path / "out.report.json").read_text())
    assert report.photos_read == 2 and report.photos_kept == 1
    assert kind in report.problem_counts and "000001" in listed["problems"][0]["place"]
    assert [i["id"] for i in json.loads((tmp_path / "out.json").read_text())["images"]] == [2]


def test_a_short_polygon_beside_a_good_one_is_left_out_and_listed(tmp_path):
    good = item(1)["segmentation"][0]
    root = deepfashion2(tmp_path / "df2", {1: [item(1, segmentation=[good, [3, 3, 4, 4]])]})
    report = convert(root, tmp_path / "out.json")
    assert report.photos_kept == 1 and report.problem_counts == {"polygon": 1}
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["segmentation"] == [good]


def test_a_photo_is_as_large_as_it_is_shown(tmp_path):
    """Turned by its EXIF orientation, as every reader of photos here turns it."""
    root = deepfashion2(tmp_path / "df2", {1: [item(1)]})
    photo = root / "image" / "000001.jpg"
    with Picture.open(photo) as opened:
        size, exif = opened.size, opened.getexif()
    exif[0x0112] = 6
    Picture.new("RGB", size[::-1]).save(photo, exif=exif)
    assert convert(root, tmp_path / "out.json").photos_kept == 1
    image = json.loads((tmp_path / "out.json").read_text())["images"][0]
    assert (image["width"], image["height"]) == size


def test_missing_and_broken_photos(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(1)], 2: [item(1)], 3: [item(1)]})
    (root / "image" / "000001.jpg").unlink()
    (root / "image" / "000002.jpg").write_bytes(b"no photo")
    (root / "annos" / "notes.json").write_text("{}")
    report = convert(root, tmp_path / "out.json")
    assert report.photos_kept == 1
    assert report.problem_counts == {"missing photo": 1, "broken photo": 1, "broken file": 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_file_of_a_number_is_left_out_and_listed(tmp_path, processes):
    root = deepfashion2(tmp_path / "df2", {1: [item(1), item(8)], 2: [item(1)]})
    for folder, suffix in (("annos", ".json"), ("image", ".jpg")):
        (root / folder / f"1{suffix}").write_bytes((root / folder / f"000001{suffix}").read_bytes())
        (root / folder / f"3{suffix}").write_bytes((root / folder / f"000002{suffix}").read_bytes())
    report = convert(root, tmp_path / "out.json", processes=processes)
    assert report.photos_kept == 3 and report.problem_counts == {"duplicate id": 1}
    assert report.left_out == {"a fault, see problems": 1}
    assert (report.problems[0].place, "000001.json" in report.problems[0].text) == ("1.json", True)
    data = read_coco(tmp_path / "out.json")
    assert [i.file_name for i in data.images] == ["000001.jpg", "000002.jpg", "3.jpg"]
    assert [i.id for i in data.instances] == [1, 2, 3, 6]  # items are numbered through all files


def test_a_number_is_free_where_its_first_file_is_not_kept(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(9)], 2: [item(1)]})
    for folder, suffix in (("annos", ".json"), ("image", ".jpg")):
        (root / folder / f"000002{suffix}").rename(root / folder / f"1{suffix}")
    report = convert(root, tmp_path / "out.json", "five")
    assert not report.has_problems and [i.file_name for i in read_coco(tmp_path / "out.json").images] == ["1.jpg"]


def test_folders_that_are_not_deepfashion2(tmp_path):
    deepfashion2(tmp_path / "DeepFashion2" / "train", {1: [item(1)]})
    with pytest.raises(DataError, match=r"did you mean .*train"):
        convert(tmp_path / "DeepFashion2", tmp_path / "out.json")
    with pytest.raises(DataError, match="no folder annos/"):
        convert(tmp_path / "nothing", tmp_path / "out.json")
    (tmp_path / "empty" / "annos").mkdir(parents=True)
    with pytest.raises(DataError, match=r"holds no \.json file"):
        convert(tmp_path / "empty", tmp_path / "out.json")
    (tmp_path / "empty" / "annos" / "1.json").write_text("{}")
    with pytest.raises(DataError, match="no folder image/"):
        convert(tmp_path / "empty", tmp_path / "out.json")


def test_nothing_left_says_where_to_look_and_leaves_no_coco_file(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(9)]})
    with pytest.raises(DataError, match=r"nothing is left .*out\.report\.json"):
        convert(root, tmp_path / "out.json", "five")
    assert not (tmp_path / "out.json").exists() and (tmp_path / "out.report.json").exists()


def test_limit_takes_the_first_kept_photos(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(9)], 2: [item(1)], 3: [item(1)], 4: [item(1)]})
    report = convert(root, tmp_path / "out.json", "five", limit=2)
    assert report.photos_kept == 2 and report.photos_read == 3
    assert [i["id"] for i in json.loads((tmp_path / "out.json").read_text())["images"]] == [2, 3]


def test_a_mapping_file_renames_and_joins_classes(tmp_path):
    root = deepfashion2(tmp_path / "df2", {1: [item(5)], 2: [item(6)], 3: [item(7)], 4: [item(8)]})
    (tmp_path / "map.toml").write_text('top = ["vest", "sling"]\nlegs = 8\n')
    report = convert(root, tmp_path / "out.json", str(tmp_path / "map.toml"))
    assert dict(report.instances) == {"top": 2, "legs": 1}
    (tmp_path / "map.json").write_text('{"top": "vests"}')
    with pytest.raises(DataError, match="'vests' is no class of the source; its classes: short_sleeved_shirt"):
        convert(root, tmp_path / "out.json", str(tmp_path / "map.json"))
    with pytest.raises(DataError, match="class mapping not found"):
        convert(root, tmp_path / "out.json", "six")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot read the class mapping"),
        ("[1]", "is not a table of classes"),
        ('{"top": [true]}', "must be a class name, an id, or a list"),
        ('{"top": []}', "top is made up of no class"),
        ("{}", "no class is kept"),
        ('{"a": ["vest"], "b": [5]}', "vest is used twice"),
        ('{"a": 14}', "14 is no class of the source"),
    ],
)
def test_wrong_mapping_files(tmp_path, text, message):
    (tmp_path / "map.json").write_text(text)
    with pytest.raises(DataError, match=message):
        deepfashion2_classes(str(tmp_path / "map.json"))


def test_balance_thins_common_classes_and_spares_the_rarest():
    photos = [[1]] * 80 + [[1, 2]] * 10 + [[2]] * 30 + [[]] * 3
    kept = balanced(photos, 1.5, seed=0)
    counts = {c: sum(photos[p].count(c) for p in kept) for c in (1, 2)}
    assert counts == {1: 60, 2: 40}  # the rarest, 2, has 40; 1.5 times that is left of the other
    assert set(range(120, 123)) <= kept and kept == balanced(photos, 1.5, seed=0) != balanced(photos, 1.5, seed=1)
    assert balanced([], 2, 0) == set() and balanced([[1]], 1, 0) == {0}


def test_balance_in_a_conversion(tmp_path):
    photos = {k: [item(1)] for k in range(1, 13)} | {k: [item(8)] for k in range(13, 16)}
    report = convert(deepfashion2(tmp_path / "df2", photos), tmp_path / "out.json", "five", balance=2.0)
    assert {k: v for k, v in report.instances.items() if v} == {"short_sleeved_shirt": 6, "trousers": 3}
    assert report.left_out == {"left out to balance the classes": 6}
    assert len(read_coco(tmp_path / "out.json").images) == report.photos_kept == 9


def test_the_generated_annotations_have_the_official_keys():
    import numpy as np

    content = annotation(np.random.default_rng(0), 0, (468, 624))
    assert {"source", "pair_id", "item1"} <= set(content)
    assert set(content["item1"]) == set(item())
