"""Splitting, merging, choosing, checking, counting and showing data sets."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image as Picture

from fashionseg.data.check import check
from fashionseg.data.coco import Category, CocoData, Image, Instance, read_coco, write_coco
from fashionseg.data.merge import link_photos, merge
from fashionseg.data.preview import SheetOptions, contact_sheet, write_sheet
from fashionseg.data.select import Choice, rename, select
from fashionseg.data.split import DEFAULT_PARTS, split
from fashionseg.data.stats import instance_rows, stats
from fashionseg.errors import DataError, OutputError

from .coco_files import document, square, write, write_photos


def random_set(groups=300, seed=0):
    """Photos in groups of 1 to 6 with a common, a frequent and a rare class."""
    rng = np.random.default_rng(seed)
    images, instances = [], []
    for group in range(groups):
        for _ in range(int(rng.integers(1, 7))):
            images.append(Image(len(images) + 1, f"{len(images) + 1}.jpg", 10, 10, {"pair_id": group}))
            for category, share in ((1, 0.8), (2, 0.4), (3, 0.05)):
                if rng.random() < share:
                    instances.append(Instance(len(instances) + 1, len(images), category, (0, 0, 5, 5), None, 25))
    categories = tuple(Category(k, name) for k, name in enumerate(("common", "frequent", "rare"), 1))
    return CocoData(tuple(images), tuple(instances), categories)


# split


def test_split_keeps_groups_together_and_classes_in_proportion():
    data = random_set()
    result = split(data, DEFAULT_PARTS)
    assert result.key == "pair_id" and result.groups == 300 and result.ungrouped == 0
    homes = {}
    for name, part in result.parts.items():
        for image in part.images:
            assert homes.setdefault(image.extra["pair_id"], name) == name
    assert sum(len(part.images) for part in result.parts.values()) == len(data.images)
    assert sum(len(part.instances) for part in result.parts.values()) == len(data.instances)
    for row, total in {"photos": len(data.images), **data.counts()}.items():
        for name, percent in DEFAULT_PARTS.items():
            part = result.parts[name]
            number = len(part.images) if row == "photos" else part.counts()[row]
            assert abs(number - total * percent / 100) <= max(0.015 * total, 2), (row, name, number, total)


def test_split_depends_on_the_seed_and_not_on_the_order_of_photos():
    data = random_set(60)
    turned = CocoData(data.images[::-1], data.instances[::-1], data.categories)

    def names(of, seed):
        return {k: sorted(i.file_name for i in p.images) for k, p in split(of, DEFAULT_PARTS, seed=seed).parts.items()}

    assert names(data, 3) == names(data, 3) == names(turned, 3)
    assert names(data, 3) != names(data, 4)


def test_split_by_a_key_of_annotations_and_without_any():
    data = random_set(20)
    bare = CocoData(
        tuple(Image(i.id, i.file_name, 10, 10) for i in data.images),
        tuple(replace(i, extra={"model": i.image_id // 3}) for i in data.instances),
        data.categories,
    )  # fmt: skip
    assert split(bare, DEFAULT_PARTS).groups == len(bare.images)
    grouped = split(bare, {"a": 1, "b": 1}, "model")
    assert grouped.groups < len(bare.images) and grouped.ungrouped == sum(not v for v in bare.instances_of.values())
    with pytest.raises(DataError, match=r"no photo of .* has the key 'shop'; its photos have: pair_id"):
        split(data, DEFAULT_PARTS, "shop")


def test_a_photo_belongs_to_every_group_of_its_annotations(tmp_path):
    """Photos 1 and 2 share model b, 2 and 3 model c: one group, whichever annotation comes first."""
    models = {1: "ab", 2: "bc", 3: "c", 4: "d", 5: "e"}
    images = tuple(Image(i, f"{i}.jpg", 10, 10) for i in models)
    owners = [(i, model) for i, of in models.items() for model in of]
    for order in (owners, owners[::-1]):
        instances = tuple(
            Instance(n, i, 1, (0, 0, 5, 5), [square(1, 1, 4)], 16, extra={"model": m})
            for n, (i, m) in enumerate(order, 1)
        )
        data = CocoData(images, instances, (Category(1, "shirt"),))
        assert split(data, {"a": 1, "b": 1}, "model").groups == 3
        for seed in range(4):
            parts = split(data, {"a": 1, "b": 1}, "model", seed=seed).parts
            assert any({1, 2, 3} <= {image.id for image in part.images} for part in parts.values())
        files = [tmp_path / "one.json", tmp_path / "two.json"]
        for file, ids in zip(files, ((1, 4), (2, 3, 5)), strict=True):
            write_coco(data.subset(ids), file)
        _, problems = check(files, [None, None], key="model")
        assert [p.text for p in problems if p.is_error] == [f"model b is in {files[0]} too"]


def test_split_of_too_few_groups():
    with pytest.raises(DataError, match="1 groups, too few for 3 parts"):
        split(random_set(1), DEFAULT_PARTS)


# merge


def loaded(tmp_path, name, content):
    return read_coco(write(tmp_path / name, content))


def test_merge_matches_categories_by_name_and_numbers_anew(tmp_path):
    first = loaded(tmp_path, "a.json", document())
    other = document(categories=[{"id": 1, "name": "coat"}, {"id": 2, "name": "shirt"}])
    second = loaded(tmp_path, "b.json", other)
    with pytest.raises(DataError, match=r"a\.json and .*b\.json both have a photo 1\.jpg"):
        merge([first, second])
    merged = merge([first, second], ["one", "two"])
    assert merged.class_names == ("shirt", "trousers", "coat") and merged.category_ids == (1, 2, 3)
    assert [i.file_name for i in merged.images] == ["one/1.jpg", "one/2.jpg", "two/1.jpg", "two/2.jpg"]
    assert [i.id for i in merged.images] == [1, 2, 3, 4] and [i.id for i in merged.instances] == list(range(1, 9))
    assert merged.counts() == {"shirt": 4, "trousers": 2, "coat": 2}
    assert merged.instances[4].extra == {"occlusion": 1} and merged.images[3].extra == {"pair_id": 1}
    assert merge([first]).instances == first.instances


def test_merge_keeps_ids_where_they_do_not_collide(tmp_path):
    data = loaded(tmp_path, "a.json", document(4))
    parts = split(data, {"x": 1, "y": 1}).parts
    together = merge(list(parts.values()))
    assert sorted(together.images, key=lambda i: i.id) == list(data.images)
    assert sorted(together.instances, key=lambda i: i.id) == list(data.instances)


def test_linked_photos_lie_where_the_names_say(tmp_path):
    content = document()
    data = loaded(tmp_path, "a.json", content)
    photos = write_photos(tmp_path / "photos", content)
    assert link_photos(data, photos, tmp_path / "mix" / "images", "one") == 2
    assert (tmp_path / "mix/images/one/2.jpg").read_bytes() == (photos / "2.jpg").read_bytes()
    (photos / "2.jpg").unlink()
    with pytest.raises(DataError, match=r"the photo .*2\.jpg is missing"):
        link_photos(data, photos, tmp_path / "mix" / "images", "two")
    content["images"][0]["file_name"] = "../1.jpg"
    with pytest.raises(DataError, match="outside its folder"):
        link_photos(loaded(tmp_path, "b.json", content), photos, tmp_path / "mix", "")


def test_photos_that_lie_there_already_stay(tmp_path):
    """Where the merged set lies beside one of its parts, that part's photos are both source and target."""
    content = document()
    data = loaded(tmp_path, "a.json", content)
    photos = write_photos(tmp_path / "images", content)
    before = {path.name: (path.stat().st_ino, path.read_bytes()) for path in photos.iterdir()}
    for source in (photos, tmp_path / "link"):
        if source != photos:
            source.symlink_to(photos)
        assert link_photos(data, source, photos, "") == 2
        assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in photos.iterdir()} == before
    copies = tmp_path / "copies"
    copies.mkdir()
    for name, (_, pixels) in before.items():
        (copies / name).write_bytes(pixels)
    assert link_photos(data, copies, photos, "") == 2
    (copies / "2.jpg").write_bytes(b"another")
    with pytest.raises(OutputError, match=r"images/2\.jpg exists and is another photo than .*--prefix"):
        link_photos(data, copies, photos, "")
    assert {path.name: (path.stat().st_ino, path.read_bytes()) for path in photos.iterdir()} == before


def test_photos_are_copied_where_they_cannot_be_linked(tmp_path, monkeypatch):
    content = document()
    data = loaded(tmp_path, "a.json", content)
    photos = write_photos(tmp_path / "photos", content)

    def link(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("fashionseg.data.merge.os.link", link)
    assert link_photos(data, photos, tmp_path / "images", "") == 2
    assert sorted(p.name for p in (tmp_path / "images").iterdir()) == ["1.jpg", "2.jpg"]
    assert (tmp_path / "images/1.jpg").read_bytes() == (photos / "1.jpg").read_bytes()


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
