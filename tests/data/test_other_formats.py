"""YOLO labels and label maps into COCO."""

import json
from collections import Counter

import cv2
import numpy as np
import pytest

from fashionseg.data.coco import read_coco
from fashionseg.data.convert.labelmaps import LabelMapOptions, convert_label_maps, label_classes, read_label_names
from fashionseg.data.convert.yolo import convert_yolo
from fashionseg.errors import DataError


def yolo_set(root, labels, names="shirt\ntrousers\n"):
    """`labels` maps photo names to the text of their label file, None for none."""
    for name, text in labels.items():
        photo = root / "images" / name
        photo.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(photo), np.full((50, 100, 3), 90, np.uint8))
        path = (root / "labels" / name).with_suffix(".txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            path.write_text(text)
    if names:
        (root / "classes.txt").write_text(names)
    return root


@pytest.mark.parametrize("processes", [1, 2])
def test_yolo_hand_computed(tmp_path, processes):
    box = "1 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n"
    root = yolo_set(tmp_path / "y", {"train/b10.jpg": box + "\n" + "0 0 0 1 0 1.004 1\n", "train/b9.png": None})
    report = convert_yolo(root, tmp_path / "out.json", processes=processes)
    data = read_coco(tmp_path / "out.json")
    assert [i.file_name for i in data.images] == ["train/b9.png", "train/b10.jpg"]  # natural order; one shows nothing
    assert data.images[0].size_hw == (50, 100) and not report.has_problems
    first, second = data.instances
    assert (first.category_id, first.bbox, first.area) == (2, (10, 10, 40, 20), 800)
    assert first.segmentation == [[10, 10, 50, 10, 50, 30, 10, 30]]
    assert (second.category_id, second.bbox) == (1, (0, 0, 100, 50))  # a share just above 1 is clipped
    assert data.counts() == {"shirt": 1, "trousers": 1}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("1 0.5 0.5 0.2 0.2", "a box, not a polygon"),
        ("1 0.5 0.5", "1 points are no polygon"),
        ("1 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "are no polygon"),
        ("2 0 0 1 0 1 1", "class 2 is not among the 2 classes"),
        ("1.5 0 0 1 0 1 1", "not a class index"),
        ("1 0 0 1 x 1 1", "not a class index and numbers"),
        ("1 0 0 3 0 3 1", "not a share of the photo"),
        ("1 0 0 nan 0 1 1", "not a share of the photo"),
        ("1 0 0 0 0 0 0", "covers no pixel"),
    ],
)
def test_yolo_faults_leave_their_photo_out_and_are_listed(tmp_path, line, text):
    root = yolo_set(tmp_path / "y", {"a.jpg": line, "b.jpg": "0 0 0 1 0 1 1"})
    report = convert_yolo(root, tmp_path / "out.json")
    listed = json.loads((tmp_path / "out.report.json").read_text())["problems"]
    assert report.photos_kept == 1 and len(listed) == 1
    assert text in listed[0]["text"] and listed[0]["place"] == "a.txt line 1"


def test_yolo_broken_photo_and_folders(tmp_path):
    root = yolo_set(tmp_path / "y", {"a.jpg": "0 0 0 1 0 1 1", "b.jpg": "0 0 0 1 0 1 1"})
    (root / "images" / "a.jpg").write_bytes(b"")
    assert convert_yolo(root, tmp_path / "out.json").problem_counts == {"broken photo": 1}
    (root / "images" / "b.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="nothing is left"):
        convert_yolo(root, tmp_path / "out2.json")
    with pytest.raises(DataError, match="no folder labels/"):
        convert_yolo(tmp_path, tmp_path / "out.json")
    (tmp_path / "z" / "labels").mkdir(parents=True)
    with pytest.raises(DataError, match="--names"):
        convert_yolo(tmp_path / "z", tmp_path / "out.json")
    with pytest.raises(DataError, match="no folder of photos"):
        convert_yolo(tmp_path / "z", tmp_path / "out.json", ["a"])


def test_yolo_labels_without_a_photo_are_listed(tmp_path):
    root = yolo_set(tmp_path / "y", {"a.jpg": None, "in/b.jpg": "0 0 0 1 0 1 1", "c.jpg": ""})
    line = "0 0 0 1 0 1 1"
    for name in ("gone.txt", "a.jpg.txt", "in/b.TXT", "classes.txt", "in/notes.md"):
        (root / "labels" / name).write_text(line)
    report = convert_yolo(root, tmp_path / "out.json")
    assert report.photos_kept == 3 and report.problem_counts == {"missing photo": 3}
    listed = json.loads((tmp_path / "out.report.json").read_text())["problems"]
    assert [p["place"] for p in listed] == ["labels/a.jpg.txt", "labels/gone.txt", "labels/in/b.TXT"]


def test_yolo_where_no_photo_has_labels_is_refused(tmp_path):
    root = yolo_set(tmp_path / "y", {"in/a.jpg": None, "b.jpg": None})
    (root / "labels" / "b.jpg.txt").write_text("0 0 0 1 0 1 1")
    with pytest.raises(DataError, match=r"no photo below .*images has a label file.*b\.jpg takes .*labels.b\.txt"):
        convert_yolo(root, tmp_path / "out.json")
    assert not list(tmp_path.glob("out*"))
    (root / "labels" / "b.txt").write_text("")  # a photo that is said to show nothing
    assert convert_yolo(root, tmp_path / "out.json").photos_kept == 2


def test_yolo_names_from_data_yaml(tmp_path):
    pytest.importorskip("yaml")
    root = yolo_set(tmp_path / "y", {"a.jpg": "1 0 0 1 0 1 1"}, names=None)
    (root / "data.yaml").write_text("names:\n  0: coat\n  1: shorts\n")
    assert dict(convert_yolo(root, tmp_path / "out.json").instances) == {"coat": 0, "shorts": 1}
    (root / "data.yaml").write_text("nams: [a]\n")
    with pytest.raises(DataError, match="under `names`"):
        convert_yolo(root, tmp_path / "out.json")


@pytest.fixture
def maps(tmp_path):
    """Two photos with maps: a T-shirt in two regions and a speck; jeans."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels.txt").write_text("0 null\n25 jeans\n51 t-shirt\n40 shorts\n")
    shirt = np.zeros((60, 80), np.uint8)
    shirt[5:35, 5:35] = 51
    shirt[5:35, 45:75] = 51
    shirt[50:53, 5:9] = 51
    jeans = np.full((60, 80), 25, np.uint8)
    for name, labels in (("a", shirt), ("b", jeans)):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((60, 80, 3), 90, np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{name}.png"), labels)
    return tmp_path


def options(folder, **changes):
    wanted = {"top": ["t-shirt"], "legs": ["jeans", "shorts"]}
    path = folder / "map.json"
    path.write_text(json.dumps(wanted))
    return LabelMapOptions(
        folder / "images", folder / "labels", label_classes(folder / "labels.txt", str(path)), **changes
    )


def test_label_maps_hand_computed(maps):
    report = convert_label_maps(maps / "out.json", options(maps))
    data = read_coco(maps / "out.json")
    assert [(i.category_id, i.bbox, i.area) for i in data.instances] == [
        (1, (5, 5, 70, 30), 1800),
        (2, (0, 0, 80, 60), 4800),
    ]
    assert not report.has_problems and dict(report.instances) == {"top": 1, "legs": 1}


def test_each_region_can_be_a_garment(maps):
    convert_label_maps(maps / "out.json", options(maps, per_region=True))
    assert Counter(i.category_id for i in read_coco(maps / "out.json").instances) == {1: 2, 2: 1}
    convert_label_maps(maps / "out.json", options(maps, per_region=True, min_region=0, min_area=1))
    assert Counter(i.category_id for i in read_coco(maps / "out.json").instances) == {1: 3, 2: 1}


def test_what_is_too_small_is_counted(maps):
    report = convert_label_maps(maps / "out.json", options(maps))
    assert report.instances_left_out == {"specks below 64 pixels": 1}
    report = convert_label_maps(maps / "out.json", options(maps, per_region=True, min_region=0, min_area=1000))
    assert report.photos_kept == 2 and report.instances_left_out == {"garments below 1000 pixels": 3}
    written = json.loads((maps / "out.report.json").read_text())
    assert written["instances_left_out"] == {"garments below 1000 pixels": 3}
    assert not convert_label_maps(maps / "out.json", options(maps, min_region=0)).instances_left_out


def test_label_maps_without_a_photo_are_listed(maps):
    (maps / "labels" / "b.png").rename(maps / "labels" / "b.jpg.png")
    report = convert_label_maps(maps / "out.json", options(maps))
    assert report.photos_kept == 1 and report.problem_counts == {"label map": 1, "missing photo": 1}
    assert next(p.place for p in report.problems if p.kind == "missing photo") == "b.jpg.png"


def test_label_map_faults(maps):
    (maps / "labels" / "b.png").unlink()
    cv2.imwrite(str(maps / "images" / "c.jpg"), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(maps / "labels" / "c.png"), np.zeros((9, 8), np.uint8))
    cv2.imwrite(str(maps / "images" / "d.jpg"), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(maps / "labels" / "d.png"), np.zeros((9, 9, 3), np.uint8))
    cv2.imwrite(str(maps / "images" / "e.jpg"), np.zeros((9, 9, 3), np.uint8))
    (maps / "labels" / "e.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    report = convert_label_maps(maps / "out.json", options(maps))
    assert report.photos_kept == 1 and report.problem_counts == {"label map": 4}
    texts = " | ".join(p.text for p in report.problems)
    for part in ("is missing", "is 8x9 pixels, its photo 9x9", "has mode RGB", "cannot be read"):
        assert part in texts


def test_names_of_labels(tmp_path):
    (tmp_path / "plain.txt").write_text("null\ncoat\nshorts\n")
    assert read_label_names(tmp_path / "plain.txt") == {0: "null", 1: "coat", 2: "shorts"}
    (tmp_path / "none.txt").write_text("\n")
    for name in ("none.txt", "missing.txt"):
        with pytest.raises(DataError):
            read_label_names(tmp_path / name)
    assert label_classes(tmp_path / "plain.txt", "all").id_of == {1: 1, 2: 2}
    with pytest.raises(DataError, match="'t-shirt' is no class of the source"):
        label_classes(tmp_path / "plain.txt", "five")


def test_real_label_maps_give_the_real_annotations(real_data, tmp_path):
    """The annotations of Clothing Co-Parsing come out of its label maps to the last run."""
    source = real_data / "ccp"
    expected = read_coco(source / "val.json")
    for folder, suffix in (("images", ".jpg"), ("labels", ".png")):
        (tmp_path / folder).mkdir()
        for image in expected.images[:25]:
            name = image.file_name.replace(".jpg", suffix)
            (tmp_path / folder / name).symlink_to(source / folder / name)
    chosen = LabelMapOptions(tmp_path / "images", tmp_path / "labels", label_classes(source / "labels.txt", "five"))
    convert_label_maps(tmp_path / "out.json", chosen)
    data = read_coco(tmp_path / "out.json")

    def masks(of):
        names = {image.id: image.file_name for image in data.images}
        return sorted(
            (of.image_of[i.image_id].file_name, i.category_id, i.area, i.segmentation["counts"])
            for i in of.instances
            if of.image_of[i.image_id].file_name in names.values()
        )

    assert masks(data) == masks(expected) and len(data.instances) > 20
