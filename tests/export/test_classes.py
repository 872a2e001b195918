"""Who names the classes of a checkpoint."""

import json

import pytest

from fashionseg.errors import ExportError
from fashionseg.export.classes import Classes, find_classes, parse_classes, read_metadata


def test_classes_from_words():
    assert parse_classes(["shirt", "long coat"]) == Classes(("shirt", "long coat"), (1, 2))
    assert parse_classes(["shirt:5", "a:b:7"]) == Classes(("shirt", "a:b"), (5, 7))
    for words in ([""], ["shirt:x"], [":4"], ["shirt:-1"]):
        with pytest.raises(ValueError, match="is not a class"):
            parse_classes(words)


def test_the_first_who_says_so_counts(tmp_path):
    told = [
        ("checkpoint", {}),
        ("metadata", {"class_names": ["a", "b"], "category_ids": [4, 2]}),
        ("last", {"class_names": ["c", "d"]}),
    ]
    assert find_classes(2, told, tmp_path) == Classes(("a", "b"), (4, 2))
    assert find_classes(2, told[2:], tmp_path) == Classes(("c", "d"), (1, 2))


def test_well_known_numbers(tmp_path):
    assert find_classes(5, [], tmp_path).names[-1] == "trousers"
    assert find_classes(13, [], tmp_path).category_ids == tuple(range(1, 14))
    with pytest.raises(ExportError, match=r"nothing names the 7 classes of model\.pth; name them with --classes"):
        find_classes(7, [], "model.pth")


def test_another_number_is_refused(tmp_path):
    with pytest.raises(ExportError, match=r"--classes names 2 classes \(a, b\), but the config of model\.pth has 3"):
        find_classes(3, [("--classes", {"class_names": ("a", "b")})], "model.pth")
    with pytest.raises(ExportError, match="damaged class names"):
        find_classes(2, [("x", {"class_names": ["a", 3]})], "model.pth")


def test_metadata_beside_a_checkpoint(tmp_path):
    checkpoint = tmp_path / "model_final.pth"
    assert read_metadata(checkpoint) == {}
    (tmp_path / "metadata.json").write_text(json.dumps({"class_names": ["a"]}))
    assert read_metadata(checkpoint) == {"class_names": ["a"]}
    for damaged in ("[1]", "{", '{"a": "\ud800"'.encode("utf-8", "surrogatepass")):
        data = damaged if isinstance(damaged, bytes) else damaged.encode()
        (tmp_path / "metadata.json").write_bytes(data)
        with pytest.raises(ExportError, match=r"metadata\.json beside the checkpoint is damaged"):
            read_metadata(checkpoint)
