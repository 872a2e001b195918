"""Numbers and names as people read them."""

import pytest

from fashionseg.evaluation.latency import latencies, timed
from fashionseg.evaluation.text import milliseconds, points, printable, score, shown_name, signed_points
from fashionseg.wording import plural


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (points(0.33640), "33.6"),
        (points(None), "–"),
        (points(1.0), "100.0"),
        (signed_points(0.0123), "+1.2"),
        (signed_points(-0.0123), "−1.2"),
        (signed_points(-0.0001), "0.0"),
        (signed_points(0.0), "0.0"),
        (score(0.415), "0.41"),
        (score(None), "–"),
        (milliseconds(9.876), "9.9"),
        (milliseconds(123.4), "123"),
        (plural(1, "photo"), "1 photo"),
        (plural(0, "photo"), "0 photos"),
        (plural(1234, "photo"), "1,234 photos"),
        (shown_name("long_sleeved_shirt"), "long sleeved shirt"),
        (printable("a\x1b[31m\n\ud800é中"), "a?[31m??é中"),
    ],
)
def test_text(shown, expected):
    assert shown == expected


def test_latencies_leave_out_the_warm_up():
    photos = [{"read": 1.0, "model": 2.0}] * 2 + [{"read": 0.001, "model": 0.003}] * 5
    found = {one.stage: one for one in latencies(photos)}
    assert list(found) == ["read", "model", "total"]
    assert found["total"].median_ms == pytest.approx(4.0)
    assert found["total"].p95_ms == pytest.approx(4.0)


def test_latencies_of_few_photos_and_of_none():
    assert latencies([]) == ()
    assert latencies([{"read": 0.002}])[0].median_ms == pytest.approx(2.0)


def test_time_of_a_block_that_raises_is_counted():
    seconds = {}
    with pytest.raises(ValueError, match="x"), timed(seconds, "stage"):
        raise ValueError("x")
    assert seconds["stage"] >= 0
