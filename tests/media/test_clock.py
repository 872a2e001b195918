"""Clocks of frames and of sound: missing times, slips, clocks that are set anew."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashionseg.media.clock import Clock, Reset, SoundClock


def stamps(pts, restarts=False):
    clock = Clock(Fraction(1, 100), 0, 4, restarts=restarts)
    return [clock.stamp(value) for value in pts]


def test_clock_passes_sound_times_through():
    assert stamps([0, 4, 9, 13]) == [0, 4, 9, 13]
    assert stamps([7, 8]) == [7, 8]


def test_clock_fills_in_missing_times():
    assert stamps([None, None, None]) == [0, 4, 8]
    assert stamps([10, None, 18]) == [10, 14, 18]


def test_clock_never_stands_still():
    assert stamps([0, 4, 4, 4, 8]) == [0, 4, 5, 6, 8]
    assert stamps([-3, 0, 4]) == [0, 1, 4]


def test_clock_goes_on_after_a_jump():
    assert stamps([500, 504, 0, 4]) == [500, 504, 508, 512]
    assert stamps([0, 4, 5000, 5004]) == [0, 4, 5000, 5004]
    assert stamps([0, 4, 5000, 5004], restarts=True) == [0, 4, 8, 12]


@given(st.lists(st.one_of(st.none(), st.integers(-(10**12), 10**12)), max_size=30), st.booleans())
def test_clock_always_moves_on(pts, restarts):
    result = stamps(pts, restarts)
    assert all(later > earlier for earlier, later in itertools.pairwise([-1, *result]))


def test_clock_tells_where_it_was_set_anew():
    clock = Clock(Fraction(1, 100), 20, 4, restarts=True)
    assert [clock.stamp(pts) for pts in (20, 24, 5020, 5024, 40)] == [0, 4, 8, 12, 16]
    ahead, back = clock.resets
    assert ahead == Reset(Fraction(24, 100), Fraction(5020, 100), Fraction(4992, 100))
    assert back == Reset(Fraction(5024, 100), Fraction(40, 100), Fraction(40 - 5028, 100))


LENGTH = Fraction(1, 50)


def follow(begins, resets, seconds=1):
    """Times, in seconds, that a track with runs of sound from each of `begins` gets, `seconds` long, one a run."""
    clock = SoundClock(resets)
    runs = []
    for begin in begins:
        times = [Fraction(begin) + number * LENGTH for number in range(int(seconds / LENGTH))]
        shifted = [time - clock.shift(time, LENGTH) for time in times]
        assert all(later - earlier == LENGTH for earlier, later in itertools.pairwise(shifted)), "one run, one shift"
        runs.append(float(shifted[0]))
    return runs


def pictures(begins, seconds=1):
    """The resets of pictures in the same runs, a quarter of a second behind their sound."""
    clock = Clock(Fraction(1, 100), int(begins[0] * 100) if begins else 0, 4, restarts=True)
    for begin in begins:
        for number in range(25 * seconds):
            clock.stamp(int(begin * 100) + 25 + 4 * number)
    return clock.resets


@pytest.mark.parametrize("begins", [(0, 60), (60, 0), (0, 0, 0, 0), (5, 100, 3, 200), (0, 95_443, 7)])
def test_sound_goes_on_where_the_pictures_do(begins):
    resets = pictures(begins)
    assert len(resets) == len(begins) - 1
    assert follow(begins, resets) == pytest.approx([begins[0] + number for number in range(len(begins))])


def test_sound_that_is_missing_over_a_reset_finds_its_place():
    resets = pictures((0, 100, 40))
    assert follow((0, 40), resets) == pytest.approx([0, 2])
    assert follow((100,), resets) == pytest.approx([1])


def test_a_gap_in_the_sound_alone_stays():
    assert follow((0, 30), ()) == [0, 30]
    assert follow((0, 30), pictures((0, 1, 60), seconds=60)) == [0, 30]


def test_sound_that_overlaps_stays_in_step_and_a_clock_of_its_own_goes_on():
    assert follow((0, Fraction(1, 2)), ()) == [0, 0.5]
    assert follow((100, 0), ()) == [100, 101]


@given(st.lists(st.integers(-1000, 1000), max_size=12), st.lists(st.integers(-1000, 1000), max_size=12))
def test_any_sound_beside_any_resets_gets_a_time(times, begins):
    clock = SoundClock(pictures(begins))
    for time in times:
        clock.shift(Fraction(time), LENGTH)
