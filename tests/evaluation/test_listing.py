"""`images.json` beside `predictions.json`: ids that mean something else are refused, and nothing that is right is."""

import json

import pytest
import stubs
from json_files import edited

from fashionseg.data.coco import read_coco
from fashionseg.errors import DataError
from fashionseg.evaluation import EvaluateOptions, evaluate
from fashionseg.evaluation.predictions import read_predictions


@pytest.fixture
def truth(photo_set, monkeypatch):
    """Five photos numbered backwards, under `sub/`, categories 10 trousers and 20 shirt."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file(category_ids=(20, 10)))
    document = json.loads(photo_set.read_text())
    for image in document["images"]:
        image["id"] = 6 - image["id"]
        image["file_name"] = f"sub/{image['file_name']}"
    for annotation in document["annotations"]:
        annotation["image_id"] = 6 - annotation["image_id"]
    document["categories"][0]["name"] = "trousers"
    photo_set.write_text(json.dumps(document))
    return photo_set


def segmented(truth, out="out", **options):
    """The predictions.json of `segment` over the photos."""
    stubs.run([truth.parent / "images"], truth.parent / out, save=frozenset({"predictions"}), **options)
    return truth.parent / out / "predictions.json"


def test_photos_counted_from_one_are_refused(truth):
    path = segmented(truth)
    with pytest.raises(DataError) as caught:
        read_predictions(path, read_coco(truth))
    message = str(caught.value)
    assert f"{path} was made with other ids than those of {truth}, where photo 1 is bare-001.png" in message
    assert "images.json beside the predictions says 000.png" in message
    assert message.endswith(f"make them again with: fashionseg segment --gt {truth}") and "\n" not in message


def test_classes_of_other_numbers_are_refused(truth, monkeypatch):
    path = segmented(truth, gt=truth)
    edited(truth, lambda document: [one.update(id=30 - one["id"]) for one in document["categories"]])
    with pytest.raises(DataError, match=r"where category 10 is shirt: images\.json .* says trousers; .* --gt"):
        read_predictions(path, read_coco(truth))


def test_with_gt_they_pass(truth):
    found = evaluate(EvaluateOptions(segmented(truth, gt=truth), truth))
    assert found.metrics.scores["segm"].overall["AP50"] == pytest.approx(1.0)


def test_counted_as_the_data_are_they_pass(truth):
    """Without `--gt`, where the ids happen to be the same; names of classes differ as models' may."""

    def as_counted(document):
        for image in document["images"]:
            image["id"] = 6 - image["id"]
        document["categories"][0]["name"] = "Trousers"

    path = segmented(truth)
    assert len(read_predictions(path, read_coco(edited(truth, as_counted)))) == 8


def test_subsets_pass(truth):
    """Of the photos when they were made, and of the results since."""
    (truth.parent / "images" / "001.png").rename(truth.parent / "001.png")
    path = segmented(truth, gt=truth)
    assert len(read_predictions(path, read_coco(truth))) == 6
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]))
    assert len(read_predictions(path, read_coco(truth))) == 5


def test_ids_that_no_result_uses_do_no_harm(truth):
    path = segmented(truth)
    path.write_text("[\n]\n")
    assert len(read_predictions(path, read_coco(truth))) == 0


def test_frames_of_videos_are_not_compared(truth):
    path = segmented(truth)
    edited(path.with_name("images.json"), lambda document: [one.update(video_id=1) for one in document["images"]])
    assert len(read_predictions(path, read_coco(truth))) == 8


def test_predictions_that_evaluate_wrote_over_them_pass(truth):
    """`segment -o out` and later `evaluate -o out`: images.json is of the former."""
    good = evaluate(EvaluateOptions(segmented(truth, gt=truth), truth))
    path = segmented(truth, "other")
    from fashionseg.evaluation.files import write_files

    write_files(good, path.parent)
    assert len(read_predictions(path, read_coco(truth))) == 8


@pytest.mark.parametrize("text", [None, "", "[]", "{", "{}", '{"info": {"description": "made by hand"}}', "\xff"])
def test_a_listing_that_is_none_of_ours_is_let_pass(truth, text):
    path = segmented(truth)
    listing = path.with_name("images.json")
    listing.unlink() if text is None else listing.write_text(text)
    assert len(read_predictions(path, read_coco(truth))) == 8


@pytest.mark.parametrize("records", [None, 3, [3], [{}], [{"id": "1"}], [{"id": [1]}], [{"id": 99, "file_name": 4}]])
def test_damaged_records_are_let_pass(truth, records):
    path = segmented(truth)
    edited(path.with_name("images.json"), lambda document: document.update(images=records, categories=records))
    assert len(read_predictions(path, read_coco(truth))) == 8


def test_damaged_results_are_told_as_ever(truth):
    path = segmented(truth)
    path.write_text('[\n{"image_id": [1]},\n3,\n{"category_id": "x"}\n]\n')
    with pytest.raises(DataError, match="prediction 0"):
        read_predictions(path, read_coco(truth))
