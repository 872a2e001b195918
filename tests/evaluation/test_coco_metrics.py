"""COCO's numbers against pycocotools and against a case computed by hand."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from rectangles import BOX, FAR, data_of, mixed, predictions_of

from fashionseg.benchmarks.evaluate import generated_set
from fashionseg.data.coco import read_coco
from fashionseg.evaluation.coco_metrics import IOU_TYPES, SUMMARY, CocoProblem, coco_document, coco_scores
from fashionseg.evaluation.predictions import from_results

TOLERANCE = 1e-6


def pycocotools_evaluation(data, results, iou_type):
    """pycocotools as Detectron2 uses it: masks are measured without their boxes."""
    results = copy.deepcopy(results)
    for result in results:
        if iou_type == "segm":
            del result["bbox"]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(coco_document(data))
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def assert_equal_to_pycocotools(data, predictions):
    problem = CocoProblem(data, predictions)
    assert problem.iou_types == IOU_TYPES
    for iou_type in IOU_TYPES:
        ours = coco_scores(problem.evaluation(iou_type), iou_type)
        theirs = pycocotools_evaluation(data, predictions.to_results(), iou_type)
        numbers = np.array([-1 if ours.overall[line.name] is None else ours.overall[line.name] for line in SUMMARY])
        apart = np.abs(numbers - theirs.stats)
        assert apart.max() <= TOLERANCE, f"{iou_type}: largest {apart.max()}, mean {apart.mean()}: {numbers}"
        precision = theirs.eval["precision"][:, :, :, 0, -1]
        apart = np.abs(ours.precision - precision)
        assert apart.max() <= TOLERANCE, f"{iou_type} precision: largest {apart.max()}, mean {apart.mean()}"
        for label, values in enumerate(ours.per_class):
            part = theirs.eval["precision"][:, :, label, 0, -1]
            expected = part[part > -1].mean() if (part > -1).any() else None
            assert values["AP"] == pytest.approx(expected, abs=TOLERANCE)


def test_equal_to_pycocotools_on_generated_photos(tmp_path):
    import json

    truth, results = generated_set(40, seed=1)
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    data = read_coco(tmp_path / "truth.json")
    assert_equal_to_pycocotools(data, from_results(results, data, "generated"))


def test_equal_to_pycocotools_with_crowds_and_absent_classes():
    data = data_of([[(1, BOX), (2, FAR, {"iscrowd": 1})], [(1, FAR)], []])
    found = [(1, 1, BOX, 0.9), (1, 2, FAR, 0.8), (2, 1, BOX, 0.7), (3, 3, BOX, 0.6), (2, 1, FAR, 0.5)]
    assert_equal_to_pycocotools(data, predictions_of(found, data))


def test_equal_to_pycocotools_on_real_predictions(real_data):
    from fashionseg.backends.registry import open_backend
    from fashionseg.evaluation.photos import photo_paths
    from fashionseg.evaluation.runtime import run_model
    from fashionseg.model import read_model

    data = read_coco(real_data / "ccp" / "val.json")
    data = data.subset([image.id for image in data.images[:12]])
    with open_backend(read_model(), "cpu") as backend:
        run = run_model(backend, data, photo_paths(data), "default")
    assert len(run.predictions) > 12
    assert [one.stage for one in run.latencies] == ["read", "resize", "model", "masks", "total"]
    assert_equal_to_pycocotools(data, run.predictions)


def test_hand_computed_case():
    data = data_of([[(1, BOX)], [(1, BOX)], []])
    found = [(1, 1, BOX, 0.9), (3, 1, BOX, 0.8), (2, 1, BOX, 0.7)]
    scores = coco_scores(CocoProblem(data, predictions_of(found, data)).evaluation("segm"), "segm")
    # Precision 1 up to recall 0.5 (51 of 101 points), then two right of three.
    expected = (51 + 50 * 2 / 3) / 101
    assert scores.overall["AP"] == pytest.approx(expected)
    assert scores.overall["AP50"] == pytest.approx(expected)
    assert scores.overall["AR1"] == scores.overall["AR100"] == 1.0
    assert scores.overall["APs"] is None and scores.overall["APm"] == pytest.approx(expected)
    assert scores.per_class[0]["AP"] == pytest.approx(expected)
    assert scores.per_class[1]["AP"] is None, "a class without garments cannot be measured"


def test_mask_sizes_are_those_of_masks():
    """A wrong prediction with a small mask counts among small garments, however large its box.

    Given the box too, COCO's own code would take its area, call the prediction large, and ignore it here.
    """
    small, elsewhere = (10, 10, 20, 20), (80, 60, 20, 20)
    data = data_of([[(1, small)]])
    predictions = predictions_of([(1, 1, elsewhere, 0.95), (1, 1, small, 0.9)], data)
    predictions.boxes_xywh[0] = (0, 0, 110, 90)
    scores = coco_scores(CocoProblem(data, predictions).evaluation("segm"), "segm")
    assert scores.overall["APs"] == pytest.approx(0.5)
    assert scores.overall["APm"] is None


@pytest.mark.parametrize("iou_type", IOU_TYPES)
def test_without_predictions(iou_type):
    data, _ = mixed()
    scores = coco_scores(CocoProblem(data, predictions_of([], data)).evaluation(iou_type), iou_type)
    assert scores.overall["AP"] == 0.0
    assert all(values["AP"] == 0.0 for values in scores.per_class)


def test_without_masks_boxes_alone_are_measured():
    from dataclasses import replace

    data, predictions = mixed()
    assert CocoProblem(data, replace(predictions, rles=None)).iou_types == ("bbox",)
    bare = replace(data, instances=tuple(replace(one, segmentation=None) for one in data.instances))
    assert CocoProblem(bare, predictions).iou_types == ("bbox",)
