"""Thresholds, curves and kinds of errors on cases computed by hand, and against hotcoco's own counts."""

from dataclasses import replace

import numpy as np
import pytest
from rectangles import BOX, FAR, data_of, mixed, predictions_of, results_of, rle_of

from fashionseg.evaluation.coco_metrics import CocoProblem
from fashionseg.evaluation.matching import GRID, best_common_score, best_point, curves, match
from fashionseg.evaluation.metrics import measure
from fashionseg.evaluation.outcomes import Kind, count_kinds, outcomes
from fashionseg.evaluation.predictions import from_results

TIDE_KEYS = {
    "Cls": Kind.CLASS,
    "Loc": Kind.PLACE,
    "Both": Kind.BOTH,
    "Dupe": Kind.DUPLICATE,
    "Bkg": Kind.BACKGROUND,
    "Miss": Kind.MISSED,
}


def matched(truth, found):
    data = data_of(truth)
    predictions = predictions_of(found, data)
    return data, predictions, match(CocoProblem(data, predictions), "segm")


def test_best_point_by_hand():
    _, _, matches = matched([[(1, BOX)], [(1, BOX)], []], [(1, 1, BOX, 0.9), (3, 1, BOX, 0.8), (2, 1, BOX, 0.7)])
    assert matches.correct.tolist() == [True, False, True]
    assert matches.garments.tolist() == [2, 0, 0]
    point = best_point(matches, 0)
    assert (point.score, point.precision, point.recall) == (0.7, pytest.approx(2 / 3), 1.0)
    assert point.f1 == pytest.approx(0.8)
    assert best_point(matches, 1).f1 is None


def test_equal_scores_are_kept_or_dropped_together():
    """Dropping one of two equal scores is no threshold: precision 1 cannot be had here."""
    _, _, matches = matched([[(1, BOX)]], [(1, 1, BOX, 0.5), (1, 1, FAR, 0.5)])
    point = best_point(matches, 0)
    assert (point.score, point.precision, point.recall) == (0.5, 0.5, 1.0)


def test_curves_by_hand():
    _, _, matches = matched([[(1, BOX)], [(1, BOX)], []], [(1, 1, BOX, 0.9), (3, 1, BOX, 0.8), (2, 1, BOX, 0.7)])
    found = curves(matches)
    at = {score: int(np.flatnonzero(score == GRID)[0]) for score in (0.0, 0.7, 0.75, 0.85, 0.95)}
    assert found.precision[0, list(at.values())].tolist() == pytest.approx([2 / 3, 2 / 3, 0.5, 1.0, 1.0])
    assert found.recall[0, list(at.values())].tolist() == [1.0, 1.0, 0.5, 0.5, 0.0]
    assert found.f1[0, list(at.values())].tolist() == pytest.approx([0.8, 0.8, 0.5, 2 / 3, 0.0])
    assert np.isnan(found.f1[1:]).all(), "classes without garments have no curves"
    assert found.f1[0, best_common_score(found) == GRID] == pytest.approx(0.8)


def test_no_threshold_where_nothing_is_found():
    _, _, matches = matched([[(1, BOX)]], [(1, 1, FAR, 0.5)])
    point = best_point(matches, 0)
    assert (point.score, point.precision, point.recall, point.f1) == (None, None, 0.0, 0.0)


def test_crowds_count_neither_for_nor_against():
    _, _, matches = matched([[(1, BOX, {"iscrowd": 1}), (1, FAR)]], [(1, 1, BOX, 0.9), (1, 1, FAR, 0.8)])
    assert matches.garments.tolist() == [1, 0, 0]
    assert matches.ignored.tolist() == [True, False]
    assert best_point(matches, 0).precision == 1.0


def test_every_kind_of_error_by_hand():
    half, third = (10, 10, 40, 24), (10, 42, 40, 24)  # IoU 0.4 with BOX each
    truth = [[(1, BOX)], [(1, BOX)], [(1, BOX)], [(1, BOX)], [(1, BOX)], [(1, BOX)]]
    found = [
        (1, 2, BOX, 0.9),  # wrong class
        (2, 1, half, 0.9),  # wrong place
        (3, 2, third, 0.9),  # both
        (4, 1, BOX, 0.9),
        (4, 1, BOX, 0.8),  # duplicate
        (5, 1, BOX, 0.9),
        (5, 1, FAR, 0.8),  # background
    ]  # photo 6: missed; 3 too, because nothing explains it
    data, predictions, matches = matched(truth, found)
    photos = outcomes(data, predictions, matches, "segm", 0.0)
    assert [[kind.value for kind in photo.kinds] for photo in photos] == [
        ["wrong class"],
        ["wrong place"],
        ["wrong class and place"],
        ["correct", "duplicate"],
        ["correct", "background"],
        [],
    ]
    assert [len(photo.missed) for photo in photos] == [1, 1, 1, 0, 0, 1]
    assert [len(photo.unexplained) for photo in photos] == [0, 0, 1, 0, 0, 1]
    assert photos[0].loss == pytest.approx(1.9)
    assert photos[4].loss == pytest.approx(0.8)


@pytest.mark.parametrize("first", [0, -1])
def test_ids_of_instances_may_be_zero_or_negative(first):
    data = data_of([[(1, BOX)], [(1, BOX)]])
    moved = tuple(replace(one, id=first + n) for n, one in enumerate(data.instances))
    data = replace(data, instances=moved)
    predictions = predictions_of([(1, 1, BOX, 0.9), (2, 1, BOX, 0.8), (2, 1, FAR, 0.7)], data)
    metrics, photos = measure(data, predictions, with_intervals=False)
    assert [photo.kinds for photo in photos] == [(Kind.CORRECT,), (Kind.CORRECT,)]
    assert not any(photo.missed for photo in photos)
    assert metrics.points[0].f1 == 1


def test_one_garment_without_a_mask_makes_boxes_count_everywhere():
    """A thin mask in a garment's box: by boxes a duplicate, by masks in the wrong place."""
    data = data_of([[(1, BOX)], [(1, FAR)]])
    found = results_of([(1, 1, BOX, 0.9), (1, 1, BOX, 0.8), (2, 1, FAR, 0.8)])
    found[1]["segmentation"] = rle_of((10, 10, 40, 20))
    for masks, kind in ((True, Kind.PLACE), (False, Kind.DUPLICATE)):
        last = data.instances[1] if masks else replace(data.instances[1], segmentation=None)
        whole = replace(data, instances=(data.instances[0], last))
        predictions = from_results(found, whole, "made up")
        problem = CocoProblem(whole, predictions)
        kept = problem.iou_types[-1]
        assert kept == ("segm" if masks else "bbox")
        photos = outcomes(whole, predictions, match(problem, kept), kept, 0.0)
        assert photos[0].kinds == (Kind.CORRECT, kind)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("min_score", [0.0, 0.4])
def test_counts_equal_those_of_hotcoco(seed, min_score):
    data, predictions = mixed(photos=20, seed=seed)
    problem = CocoProblem(data, predictions)
    counts = count_kinds(outcomes(data, predictions, match(problem, "segm"), "segm", min_score))
    kept = predictions.select(predictions.scores >= min_score)
    expected = problem.evaluation("segm", kept).tide_errors()["counts"]
    assert {key: counts[kind] for key, kind in TIDE_KEYS.items()} == expected
    assert sum(counts[kind] for kind in Kind if kind is not Kind.MISSED) == len(kept)


def test_confusion_by_hand():
    truth = [[(1, BOX)], [(1, BOX)], [(2, BOX)], []]
    found = [(1, 1, BOX, 0.9), (2, 2, BOX, 0.9), (4, 3, BOX, 0.9)]
    data = data_of(truth)
    metrics, _ = measure(data, predictions_of(found, data))
    assert metrics.conf < 0.9
    assert metrics.confusion.tolist() == [[1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 1, 0]]


def test_without_predictions():
    data, _ = mixed()
    metrics, photos = measure(data, predictions_of([], data))
    garments = len(data.instances)
    assert metrics.predictions == (0, 0, 0)
    assert [point.f1 for point in metrics.points] == [0.0, 0.0, 0.0]
    assert sum(len(photo.missed) for photo in photos) == garments
    assert {cost.kind: cost.count for cost in metrics.errors}[Kind.MISSED] == garments
    assert metrics.confusion[:, -1].sum() == garments
