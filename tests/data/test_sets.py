"""Choosing, checking, counting and showing data sets."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image as Picture

from fashionseg.data.check import check
from fashionseg.data.coco import Category, CocoData, Image, Instance, read_coco, write_coco
from fashionseg.data.preview import SheetOptions, contact_sheet, write_sheet
from fashionseg.data.select import Choice, rename, select
from fashionseg.data.stats import instance_rows, stats
from fashionseg.errors import DataError

from .coco_files import document, loaded, square, write, write_photos

# select


def test_select(tmp_path):
    data = loaded(tmp_path, "a.json", document(4))
    assert select(data, Choice()) == data
    shirts = select(data, Choice(classes=("shirt",)))
    assert shirts.class_names == ("shirt",) and len(shirts.instances) == 4
    assert select(data, Choice(classes=("2",))).class_names == ("trousers",)
    slight = select(data, Choice(where={"occlusion": frozenset({"1"})}))
    assert slight.counts() == {"shirt": 4, "trousers": 0} and len(slight.images) == 4
    assert not select(data, Choice(where={"occlusion": frozenset({"1"})}, whole_photos=True)).images
    large = select(data, Choice(min_area=50, keep_empty=True))
    assert large.counts() == {"shirt": 4, "trousers": 0}
    assert len(select(data, Choice(min_area=500)).images) == 0
    assert len(select(data, Choice(min_area=500, keep_empty=True)).images) == 4
    drawn = select(data, Choice(limit=2, seed=1))
    assert len(drawn.images) == 2 and drawn == select(data, Choice(limit=2, seed=1))
    with pytest.raises(DataError, match="no category 'coat'; it has: shirt, trousers"):
        select(data, Choice(classes=("coat",)))
    with pytest.raises(DataError, match=r"no annotation of .* has the key 'mood'; they have: occlusion"):
        select(data, Choice(where={"mood": frozenset({"1"})}))


def test_select_what_can_be_learnt_from(tmp_path):
    content = document(4)
    content["annotations"][0]["bbox"] = [5, 5, 0, 10]
    content["annotations"][2]["segmentation"] = []
    content["annotations"][4]["segmentation"] = [[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]
    content["annotations"][5]["segmentation"] = {"size": [30, 40], "counts": [1200]}
    data = loaded(tmp_path, "a.json", content)
    kept = select(data, Choice(need_masks=True))
    assert [i.id for i in kept.instances] == [4, 6, 9, 10] and [i.id for i in kept.images] == [1, 2, 4]
    assert len(select(data, Choice(need_masks=True, keep_empty=True)).images) == 4
    assert [i.id for i in select(data, Choice(need_masks=True, whole_photos=True)).images] == [4]


def test_rename_joins_and_leaves_out(tmp_path):
    data = loaded(tmp_path, "a.json", document())
    joined = rename(data, {"clothes": ["trousers", "shirt"]}, "map")
    assert joined.class_names == ("clothes",) and joined.counts() == {"clothes": 4}
    assert rename(data, {"legs": [2]}, "map").counts() == {"legs": 2}
    with pytest.raises(DataError, match="shirt is used twice"):
        rename(data, {"a": ["shirt"], "b": ["shirt"]}, "map")


# check


@pytest.fixture
def sound(tmp_path):
    content = document()
    write_photos(tmp_path / "images", content)
    return tmp_path, content


def kinds(problems, errors=True):
    return sorted(p.kind for p in problems if p.is_error == errors)


def test_a_sound_set_has_no_problems(sound):
    folder, content = sound
    for processes in (1, 2):
        _, problems = check([write(folder / "a.json", content)], [folder / "images"], processes=processes)
        assert problems == []


def change_name(content):
    content["images"][1]["file_name"] = "1.jpg"


def change_size(content):
    content["images"][1]["width"] = 44


def change_turned(content):
    content["images"][1].update(width=30, height=40)


def change_missing(content):
    content["images"][1]["file_name"] = "none.jpg"


def change_climbing(content):
    content["images"][1]["file_name"] = "../images/2.jpg"


def change_empty(content):
    content["annotations"] = []


def change_tiny(content):
    content["annotations"][0]["segmentation"] = [[5.1, 5.1, 5.2, 5.1, 5.2, 5.2]]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (change_name, "duplicate photo"),
        (change_size, "photo size"),
        (change_turned, "photo turned"),
        (change_missing, "missing photo"),
        (change_climbing, "file name"),
        (change_empty, "no annotations"),
        (change_tiny, "empty mask"),
    ],
)
def test_errors_are_found(sound, change, kind):
    folder, content = sound
    change(content)
    _, problems = check([write(folder / "a.json", content)], [folder / "images"])
    assert kind in kinds(problems), problems
    assert all(p.place.startswith(str(folder / "a.json")) for p in problems)


def test_warnings_are_found(sound):
    folder, content = sound
    content["annotations"][0]["area"] = 300
    content["annotations"][1]["bbox"] = [15, 5, 6, 6]
    content["categories"] = [*content["categories"], {"id": 3, "name": "coat"}]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] == 1]
    (folder / "images" / "2.jpg").write_bytes((folder / "images" / "1.jpg").read_bytes())
    _, problems = check([write(folder / "a.json", content)], [folder / "images"])
    assert kinds(problems) == []
    assert kinds(problems, errors=False) == [
        "area",
        "box and mask",
        "copy",
        "empty category",
        "photo without annotation",
    ]


def test_broken_photo(sound):
    folder, content = sound
    (folder / "images" / "1.jpg").write_bytes(b"\xff\xd8\xff nothing")
    _, problems = check([write(folder / "a.json", content)], [folder / "images"])
    assert kinds(problems) == ["broken photo"]


def test_exif_is_applied_before_sizes_are_compared(sound):
    folder, content = sound
    exif = Picture.Exif()
    exif[0x0112] = 6
    Picture.new("RGB", (40, 30)).save(folder / "images" / "1.jpg", exif=exif)  # upright: 30 wide, 40 high
    _, problems = check([write(folder / "a.json", content)], [folder / "images"])
    assert kinds(problems) == ["photo turned"]


def test_leaks_between_splits(sound):
    folder, content = sound
    other = document(3)
    other["images"] = [dict(other["images"][2], file_name="3.jpg", pair_id=1)]
    other["annotations"] = [a for a in other["annotations"] if a["image_id"] == 3]
    (folder / "images" / "3.jpg").write_bytes((folder / "images" / "1.jpg").read_bytes())
    files = [write(folder / "a.json", content), write(folder / "b.json", other)]
    _, problems = check(files, [folder / "images"] * 2)
    assert kinds(problems) == ["leak: same group", "leak: same photo"]
    assert "is a copy of 1.jpg" in problems[-2].text and "pair_id 1 is in" in problems[-1].text
    _, problems = check(files, [None, None])
    assert kinds(problems) == ["leak: same group"]
    other["categories"] = other["categories"][::-1][:1]
    write(folder / "b.json", other)
    _, problems = check(files, [None, None], with_masks=False)
    assert "categories differ" in kinds(problems)
    with pytest.raises(DataError, match="has the key 'shop'"):
        check(files, [None, None], key="shop")


def test_names_tell_of_leaks_where_bytes_are_not_compared(sound):
    folder, content = sound
    for image in content["images"]:
        del image["pair_id"]
    other = document(1, categories=content["categories"])
    other["images"][0].pop("pair_id")
    files = [write(folder / "a.json", content), write(folder / "b.json", other), write(folder / "c.json", other)]
    photos, elsewhere = folder / "images", write_photos(folder / "elsewhere", other, seed=1)
    _, problems = check(files, [None] * 3)
    assert [(p.kind, p.is_error) for p in problems] == [("same file name", False)] * 2
    assert problems[0].place == f"{folder / 'b.json'}: 1.jpg" and f"in {folder / 'a.json'} too" in problems[0].text
    _, problems = check(files[:2], [photos, folder / "elsewhere" / ".." / "images"], with_hash=False)
    assert kinds(problems) == ["leak: same photo"]
    _, problems = check(files[:2], [photos, None])
    assert [(p.kind, p.is_error) for p in problems] == [("same file name", False)]
    _, problems = check(files[:2], [photos, photos])
    assert kinds(problems) == ["leak: same photo"] and "is a copy of" in problems[0].text  # told once
    for with_hash in (True, False):
        _, problems = check(files[:2], [photos, elsewhere], with_hash=with_hash)
        assert problems == []
    _, problems = check(files, [photos, elsewhere, elsewhere], with_hash=False)
    assert [p.place for p in problems] == [f"{folder / 'c.json'}: 1.jpg"] and "b.json too" in problems[0].text


# stats


def test_stats_hand_computed(tmp_path):
    content = document(3)
    content["annotations"] = content["annotations"][:3]
    content["annotations"][0].update(area=32**2, iscrowd=1)
    figures = stats(loaded(tmp_path, "a.json", content))
    shirt, trousers = figures.categories
    assert (shirt.instances, shirt.photos, shirt.small, shirt.medium, shirt.large) == (2, 2, 1, 1, 0)
    assert shirt.median_share == pytest.approx((1024 + 100) / 2 / 1200)
    assert (trousers.instances, figures.empty_photos, figures.crowds) == (1, 1, 1)
    assert figures.levels == {"occlusion": {"1": 2, "2": 1}} and figures.sizes == (((40, 30), 3),)
    assert instance_rows(figures) == [["shirt", "2", "trousers", "1", "", ""], ["total", "3", "", "", "", ""]]
    empty = stats(CocoData((), (), ()))
    assert empty.photos == 0 and instance_rows(empty) == [["total", "0", "", "", "", ""]]


def test_the_table_is_the_source_projects():
    counts = (18034, 14072, 9559, 11752, 17430)
    categories = tuple(Category(k, f"c{k}") for k in range(1, 6))
    images = (Image(1, "1.jpg", 10, 10),)
    ids = [k for k, number in enumerate(counts, 1) for _ in range(number)]
    instances = tuple(Instance(n, 1, k, (0, 0, 1, 1), None, 1) for n, k in enumerate(ids, 1))
    assert instance_rows(stats(CocoData(images, instances, categories))) == [
        ["c1", "18034", "c2", "14072", "c3", "9559"],
        ["c4", "11752", "c5", "17430", "", ""],
        ["total", "70847", "", "", "", ""],
    ]


# preview


def test_the_contact_sheet_shows_garments_where_they_are(tmp_path):
    content = document(3)
    for image in content["images"]:
        image.update(width=200, height=300)
        path = tmp_path / "images" / image["file_name"]
        path.parent.mkdir(exist_ok=True)
        cv2.imwrite(str(path.with_suffix(".png")), np.full((300, 200, 3), 128, np.uint8))
        image["file_name"] = f"{image['id']}.png"
    for annotation in content["annotations"]:
        annotation.update(bbox=[40, 60, 80, 80], segmentation=[square(40, 60, 80)])
    content["annotations"] = content["annotations"][:1]
    data = loaded(tmp_path, "a.json", content)
    sheet, failures = contact_sheet(data, tmp_path / "images", SheetOptions(columns=2, tile=300, captions=False))
    assert failures == [] and sheet.shape == (630, 430, 3)
    grey = sheet[10:310, 10:210].astype(int)
    assert np.abs(grey[150:, 150:] - 128).max() <= 1
    assert np.abs(grey[75:125, 55:105] - 128).max(2).min() > 20, "the mask is not where it should be"


def test_sheets_with_broken_photos_captions_and_nothing(tmp_path):
    content = document(3)
    folder = write_photos(tmp_path / "images", content)
    (folder / "1.jpg").unlink()
    content["images"][1]["width"] = 41
    content["annotations"] = []
    data = loaded(tmp_path, "a.json", content)
    sheet, failures = contact_sheet(data, folder, SheetOptions(seed=0, tile=64))
    assert len(failures) == 2 and sheet.shape[0] == 64 + 26 + 20
    for name in ("sheet.jpg", "deep/sheet.png"):
        write_sheet(sheet, tmp_path / name)
        assert cv2.imread(str(tmp_path / name)).shape == sheet.shape
    (folder / "3.jpg").unlink()
    with pytest.raises(DataError, match=r"no photo of .*a\.json can be shown"):
        contact_sheet(data, folder, SheetOptions())
    with pytest.raises(DataError, match="it has none"):
        contact_sheet(CocoData((), (), ()), folder, SheetOptions())


def test_json_of_real_annotations_survives(real_data, tmp_path):
    source = real_data / "ccp" / "val.json"
    write_coco(read_coco(source), tmp_path / "b.json")
    assert json.loads((tmp_path / "b.json").read_text()) == json.loads(source.read_text())
