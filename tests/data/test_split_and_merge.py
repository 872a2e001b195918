"""Splitting and merging data sets."""

from dataclasses import replace

import numpy as np
import pytest

from fashionseg.data.check import check
from fashionseg.data.coco import Category, CocoData, Image, Instance, write_coco
from fashionseg.data.merge import link_photos, merge
from fashionseg.data.split import DEFAULT_PARTS, split
from fashionseg.errors import DataError, OutputError

from .coco_files import document, loaded, square, write_photos


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
