"""Run-length encodings against pycocotools, byte for byte, and by hand."""

import numpy as np
import pycocotools.mask as reference
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg.errors import DataError
from fashionseg.masks import PastedMask, paste_mask
from fashionseg.rle import counts_to_text, decode_rle, encode_rle, rle_area, rle_runs, text_to_counts


def expected(mask):
    return reference.encode(np.asfortranarray(mask))["counts"].decode()


def assert_all_agree(pasted, mask):
    text = encode_rle(pasted, mask.shape)
    assert text == expected(mask)
    assert np.array_equal(decode_rle(text, mask.shape), mask)
    assert rle_area(text) == mask.sum()
    runs = rle_runs(text, mask.shape)
    again = PastedMask.from_runs(runs)
    assert encode_rle(again, mask.shape) == text
    assert (runs[:, 2] > runs[:, 1]).all()


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.02, 0.5, 0.95, 1]))
def test_random_bits(height, width, seed, share):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    assert_all_agree(PastedMask.from_bits(mask), mask)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_pasted_masks(height, width, seed):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(-0.2, 1.2, (2, 2)), axis=0) * (width, height)
    pasted = paste_mask(rng.random((9, 9), np.float32), corners.reshape(4).astype(np.float32), (height, width))
    mask = np.zeros((height, width), np.uint8)
    mask[pasted.y : pasted.y + pasted.height, pasted.x : pasted.x + pasted.width] = pasted.bits
    assert_all_agree(pasted, mask)


@pytest.mark.parametrize(
    "name, mask",
    [
        ("empty", np.zeros((7, 5), np.uint8)),
        ("full", np.ones((7, 5), np.uint8)),
        ("first pixel", np.eye(1, 35, 0, dtype=np.uint8).reshape(7, 5)),
        ("last pixel", np.eye(1, 35, 34, dtype=np.uint8).reshape(7, 5)),
        ("whole columns", np.tile(np.array([0, 1, 1, 0, 1], np.uint8), (7, 1))),
        ("whole rows", np.tile(np.array([1, 0, 0, 1, 0, 0, 1], np.uint8)[:, None], (1, 5))),
        ("one pixel", np.ones((1, 1), np.uint8)),
        ("no pixel set in one", np.zeros((1, 1), np.uint8)),
    ],
)
def test_edges(name, mask):
    assert_all_agree(PastedMask.from_bits(mask), mask)


def test_by_hand():
    # columns of 3: 0 1 1, 1 0 0: lengths 1, 3, 2 are written as they are ("0" stands for 0)
    mask = np.array([[0, 1], [1, 0], [1, 0]], np.uint8)
    assert encode_rle(PastedMask.from_bits(mask), (3, 2)) == "132"
    # the fourth length on is written as the difference to the one two before: 3 - 40 = -37 = 0b...11011_11010...
    assert counts_to_text(np.array([1, 40, 2, 3])) == "1" + "X1" + "2" + "kN"
    assert text_to_counts("1X12kN").tolist() == [1, 40, 2, 3]


@pytest.mark.parametrize("number", [0, 15, 16, 511, 512, 2**20, 2**31, 2**33])
def test_long_runs(number):
    counts = np.array([number, 1, number + 3, 7, 0, number])
    assert text_to_counts(counts_to_text(counts)).tolist() == counts.tolist()


def test_large_picture():
    mask = np.zeros((4320, 7680), np.uint8)
    mask[1000:3000, 2000:2040] = 1
    mask[4000:, 7000:] = 1
    assert_all_agree(PastedMask.from_bits(mask), mask)


def test_bytes_are_read_too():
    assert decode_rle(b"132", (3, 2)).tolist() == [[0, 1], [1, 0], [1, 0]]


@pytest.mark.parametrize("text", ["", "\x00", "p", "é", "X", "P" * 40, "1O1", "oooooooo0"])
def test_damaged(text):
    with pytest.raises(DataError, match="damaged"):
        text_to_counts(text)


def test_of_another_picture():
    with pytest.raises(DataError, match=r"6 pixels.*4 x 5"):
        decode_rle("132", (4, 5))


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        counts = text_to_counts(text)
    except DataError:
        return
    assert (counts >= 0).all()
