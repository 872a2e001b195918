"""Reading predictions: what is refused, in one sentence that names the file, and what is warned about."""

import json

import numpy as np
import pytest
from rectangles import BOX, FAR, SIZE_HW, data_of, predictions_of, results_of, rle_of

from fashionseg.errors import DataError
from fashionseg.evaluation.classes import categories_of
from fashionseg.evaluation.predictions import from_results, read_predictions

DATA = data_of([[(1, BOX)], [(2, FAR)]])
GOOD = results_of([(1, 1, BOX, 0.9), (2, 2, FAR, 0.04)])


def test_reads_what_it_writes(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(GOOD))
    predictions = read_predictions(path, DATA)
    assert len(predictions) == 2
    assert predictions.to_results() == GOOD
    assert predictions.to_results(boxes=False)[0].keys() == {"image_id", "category_id", "score", "segmentation"}
    assert predictions.cut_warning() is None


def test_empty_list_is_no_predictions(tmp_path):
    path = tmp_path / "predictions.json"
    path.write_text("[]")
    predictions = read_predictions(path, DATA)
    assert len(predictions) == 0
    assert predictions.rles == ()
    assert predictions.cut_warning() is None


def test_boxes_from_masks_and_plain_counts():
    uncompressed = {"size": list(SIZE_HW), "counts": [5, 3, SIZE_HW[0] * SIZE_HW[1] - 8]}
    results = [
        {"image_id": 1, "category_id": 1, "score": 1, "segmentation": rle_of(BOX)},
        {"image_id": 1, "category_id": 1, "score": 0, "segmentation": uncompressed},
    ]
    predictions = from_results(results, DATA, "x")
    assert predictions.boxes_xywh.tolist() == [list(BOX), [0, 5, 1, 3]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_id": 77}, "image_id 77 is not in"),
        ({"image_id": "1"}, "image_id '1' is not in"),
        ({"image_id": None}, "image_id None"),
        ({"image_id": [1]}, "image_id [1]"),
        ({"category_id": 9}, "category_id 9 is not in the data set, which has 1 shirt, 2 trousers, 3 shorts"),
        ({"category_id": {}}, "category_id {}"),
        ({"score": float("nan")}, "score nan"),
        ({"score": 87}, "score 87 is not a number from 0 to 1"),
        ({"score": "0.5"}, "score '0.5'"),
        ({"score": True}, "score True"),
        ({"bbox": [1, 2, 3]}, "bbox"),
        ({"bbox": [1, 2, -3, 4]}, "bbox"),
        ({"bbox": [1, 2, float("inf"), 4]}, "bbox"),
        ({"bbox": "1 2 3 4"}, "bbox"),
        ({"segmentation": rle_of(BOX, (200, 220))}, "the mask is 220x200 pixels but its photo is 120x100 pixels"),
        ({"segmentation": {"size": list(SIZE_HW), "counts": "!!"}}, "run-length encoding"),
        ({"segmentation": {"size": list(SIZE_HW), "counts": rle_of(BOX, (200, 220))["counts"]}}, "the runs cover"),
        ({"segmentation": {"size": list(SIZE_HW), "counts": [1, 2]}}, "the runs cover 3 pixels, the photo has 12000"),
        ({"segmentation": {"counts": "x"}}, "size"),
        ({"segmentation": [[0, 0, 1, 1, 2, 2]]}, "not a run-length encoding"),
        ({"segmentation": None}, "not a run-length encoding"),
    ],
)
def test_damaged_results_are_refused(change, words):
    results = [GOOD[0], {**GOOD[1], **change}]
    with pytest.raises(DataError) as caught:
        from_results(results, DATA, "p.json")
    message = str(caught.value)
    assert message.startswith("p.json: prediction 1: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("result", [None, 3, [], "x", {}, {"image_id": 1}])
def test_what_is_no_result_is_refused(result):
    with pytest.raises(DataError, match="prediction 0"):
        from_results([result], DATA, "p.json")


def test_neither_box_nor_mask():
    with pytest.raises(DataError, match="neither a bbox nor a segmentation"):
        from_results([{"image_id": 1, "category_id": 1, "score": 0.5}], DATA, "p.json")


def test_masks_of_some_are_refused():
    results = [GOOD[0], {key: value for key, value in GOOD[1].items() if key != "segmentation"}]
    with pytest.raises(DataError, match="1 of 2 predictions have a mask"):
        from_results(results, DATA, "p.json")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "not found"),
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("{}", "is not a COCO results list"),
        ('{"annotations": [], "images": []}', "an annotation file, which belongs to --data"),
        ("3", "is not a COCO results list"),
    ],
)
def test_files_that_are_no_results(tmp_path, text, words):
    path = tmp_path / "p.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=words) as caught:
        read_predictions(path, DATA)
    assert str(path) in str(caught.value)


def test_a_folder_is_no_results_file(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        read_predictions(tmp_path, DATA)


@pytest.mark.parametrize("cut", [0.07, 0.3, 0.5, 0.7])
def test_warns_where_low_scores_were_cut(cut):
    scores = np.linspace(cut, 1, 200)
    warning = predictions_of([(1, 1, BOX, float(score)) for score in scores], DATA).cut_warning()
    assert f"no score below {cut:.2f}" in warning
    assert "--conf 0.05" in warning


@pytest.mark.parametrize("lowest", [0.0, 0.05, 0.052])
def test_does_not_warn_where_they_are_there(lowest):
    scores = np.linspace(lowest, 1, 200)
    assert predictions_of([(1, 1, BOX, float(score)) for score in scores], DATA).cut_warning() is None


def test_classes_match_by_name():
    assert categories_of(["Shorts", "T-Shirt", "trousers"], data_of([[]], names=("t_shirt", "shorts")), "m") == [
        2,
        1,
        None,
    ]


def test_category_mismatch_names_both_sides():
    with pytest.raises(DataError) as caught:
        categories_of(["shirt"], DATA, "model.onnx")
    assert str(caught.value) == ("model.onnx does not know 'trousers', 'shorts' of the data set; its classes are shirt")
