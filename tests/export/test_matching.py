"""Pairing detections off: by hand, at the cuts, and with nothing."""

import numpy as np
import pytest

from fashionseg.detections import Detections
from fashionseg.export.matching import Agreement, Tolerance, agreement

TOLERANCE = Tolerance()


def found(*rows, size_hw=(100, 100)):
    """Detections from (x, score, label) rows: a box of 10 x 10 pixels at x, a mask of 0.5."""
    if not rows:
        return Detections.empty(size_hw, 2)
    boxes = np.array([[x, 0, x + 10, 10] for x, _, _ in rows], np.float32)
    scores = np.array([score for _, score, _ in rows], np.float32)
    labels = np.array([label for _, _, label in rows], np.int32)
    return Detections(boxes, scores, labels, np.full((len(rows), 2, 2), 0.5, np.float32), size_hw)


def compare(one, other, threshold=0.05, most=100):
    return agreement([one], [other], TOLERANCE, score_threshold=threshold, max_detections=most)


def test_the_same_is_the_same():
    one = found((0, 0.9, 1), (30, 0.8, 0))
    assert compare(one, one) == Agreement(2, 2, 2, 0, 0.0, 0.0, 0.0)
    assert compare(one, one).within(TOLERANCE)


def test_differences_are_measured():
    one, other = found((0, 0.9, 1), (30, 0.8, 0)), found((0.05, 0.8995, 1), (30, 0.8, 0))
    result = compare(one, other)
    assert (result.matched, result.within(TOLERANCE)) == (2, True)
    assert result.box == pytest.approx(0.05, abs=1e-6) and result.score == pytest.approx(5e-4, abs=1e-6)


@pytest.mark.parametrize("other", [(0.2, 0.9, 1), (0, 0.89, 1), (0, 0.9, 2)], ids=["box", "score", "label"])
def test_beyond_tolerance_is_no_pair(other):
    result = compare(found((0, 0.9, 1)), found(other))
    assert (result.wanted, result.found, result.matched) == (1, 1, 0)
    assert result.mislabelled == (other[2] == 2)
    assert not result.within(TOLERANCE)


def test_a_partner_serves_once():
    twice = found((0, 0.9, 1), (0, 0.9, 1))
    assert compare(twice, found((0, 0.9, 1))).matched == 1
    assert not compare(twice, found((0, 0.9, 1))).within(TOLERANCE)


def test_what_stands_at_the_threshold_may_be_missing():
    one = found((0, 0.9, 1), (30, 0.0505, 0))
    assert compare(one, found((0, 0.9, 1))).within(TOLERANCE)
    assert not compare(found((0, 0.9, 1), (30, 0.06, 0)), found((0, 0.9, 1))).within(TOLERANCE)


def test_what_stands_at_the_last_row_may_be_another():
    one, other = found((0, 0.9, 1), (30, 0.5, 0)), found((0, 0.9, 1), (60, 0.5, 0))
    assert compare(one, other, most=2).within(TOLERANCE)
    assert not compare(one, other, most=3).within(TOLERANCE)


def test_a_mask_beyond_tolerance():
    one = found((0, 0.9, 1))
    other = Detections(one.boxes, one.scores, one.labels, one.masks + np.float32(0.02), one.size_hw)
    result = compare(one, other)
    assert result.matched == 1 and result.mask == pytest.approx(0.02) and not result.within(TOLERANCE)


def test_nothing_agrees_with_nothing_alone():
    nothing = found()
    assert compare(nothing, nothing) == Agreement()
    assert compare(nothing, nothing).within(TOLERANCE)
    assert not compare(nothing, found((0, 0.9, 1))).within(TOLERANCE)
    assert not compare(found((0, 0.9, 1)), nothing).within(TOLERANCE)


def test_sums_and_what_is_allowed():
    total = Agreement(5, 5, 5, 0, 0.1, 0.2, 0.3) + Agreement(6, 7, 6, 1, 0.2, 0.1, 0.1)
    assert total == Agreement(11, 12, 11, 1, 0.2, 0.2, 0.3)
    assert [Agreement(n, n, n).allowed(TOLERANCE) for n in (0, 99, 100, 1999, 2000, 5000)] == [0, 0, 1, 1, 2, 5]


def test_pictures_must_be_as_many():
    with pytest.raises(ValueError, match="argument 2"):
        agreement([found()], [], TOLERANCE, score_threshold=0.05, max_detections=100)
