"""AP by attribute: what counts, what is ignored; bootstrap intervals."""

import pytest
from rectangles import BOX, FAR, data_of, mixed, predictions_of

from fashionseg.evaluation.bootstrap import intervals, paired_difference
from fashionseg.evaluation.coco_metrics import CocoProblem
from fashionseg.evaluation.metrics import measure


def occlusion_of(metrics):
    return {one.value: one for one in metrics.slices if one.attribute == "occlusion"}


def test_by_attribute_by_hand():
    slight, heavy = {"occlusion": 1}, {"occlusion": 3}
    data = data_of([[(1, BOX, slight), (1, FAR, heavy)], [(1, BOX, heavy)], [(1, BOX, slight)]])
    # The slightly occluded are found; of the heavily occluded one is not.
    found = [(1, 1, BOX, 0.9), (1, 1, FAR, 0.8), (3, 1, BOX, 0.7)]
    slices = occlusion_of(measure(data, predictions_of(found, data))[0])
    assert list(slices) == ["slight", "heavy"]
    assert slices["slight"].ap["segm"] == pytest.approx(1.0)
    # Recall ends at 0.5: 51 of 101 points at precision 1.
    assert slices["heavy"].ap["segm"] == pytest.approx(51 / 101)
    assert slices["heavy"].ap50["bbox"] == pytest.approx(51 / 101)
    assert [(one.garments, one.photos) for one in slices.values()] == [(2, 2), (2, 2)]


def test_other_garments_are_ignored_but_background_is_not():
    slight, heavy = {"occlusion": 1}, {"occlusion": 3}
    data = data_of([[(1, BOX, slight), (1, FAR, heavy)], [(1, BOX, slight)]])
    nowhere = (0, 80, 10, 10)
    found = [(1, 1, FAR, 0.99), (1, 1, nowhere, 0.95), (1, 1, BOX, 0.9), (2, 1, BOX, 0.8)]
    slices = occlusion_of(measure(data, predictions_of(found, data))[0])
    assert slices["heavy"].ap["segm"] == pytest.approx(1.0)
    # The prediction at `nowhere` comes first: precision 1/2, then 2/3 for all recalls.
    assert slices["slight"].ap["segm"] == pytest.approx(2 / 3)


def test_no_attributes_no_slices_but_sizes():
    data = data_of([[(1, BOX)]])
    metrics, _ = measure(data, predictions_of([], data))
    assert [(one.attribute, one.value) for one in metrics.slices] == [("size", "medium")]


def test_odd_attributes_do_no_harm():
    odd = [(1, BOX, {"viewpoint": value}) for value in (2, "side", None, [1], {"a": 1}, 7.5)]
    data = data_of([[one] for one in odd])
    found = {one.value for one in measure(data, predictions_of([], data))[0].slices if one.attribute == "viewpoint"}
    assert found == {"frontal", "side"}


def test_intervals_hold_the_value_and_are_repeatable():
    data, predictions = mixed(photos=40)
    problem = CocoProblem(data, predictions)
    found = intervals(problem, "segm")
    assert found["AP"].value == pytest.approx(problem_ap(problem))
    assert found["AP"].low < found["AP"].value < found["AP"].high
    assert intervals(problem, "segm") == found


def test_paired_difference():
    data, predictions = mixed(photos=40)
    problem = CocoProblem(data, predictions)
    same = paired_difference(problem, "segm", predictions)
    assert (same["AP"].value, same["AP"].low, same["AP"].high) == (0.0, 0.0, 0.0)
    worse = predictions.select(predictions.scores > 0.7)
    better = paired_difference(problem, "segm", worse)["AP"]
    assert better.low > 0, "many right predictions less cannot be chance"


def test_one_photo_has_no_interval():
    data = data_of([[(1, BOX)]])
    assert intervals(CocoProblem(data, predictions_of([], data)), "segm") == {}


def problem_ap(problem):
    from fashionseg.evaluation.coco_metrics import coco_scores

    return coco_scores(problem.evaluation("segm"), "segm").overall["AP"]
