"""Pasted masks against Detectron2, against a plain dense reference, and by hand."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg.detections import Detections
from fashionseg.masks import PastedMask, paste_mask, paste_masks

TIE = 1e-5
"""Where the interpolated value is nearer than this to the threshold, rounding decides and either answer is right."""


def full_frame(pasted, size_hw):
    frame = np.zeros(size_hw, np.uint8)
    frame[pasted.y : pasted.y + pasted.height, pasted.x : pasted.x + pasted.width] = pasted.bits
    return frame


def dense(mask, box, size_hw):
    """float64 [H, W]: the mask sampled bilinearly at every pixel centre, zero outside its grid."""
    side = len(mask)
    padded = np.pad(mask.astype(np.float64), 1)

    def samples(low, high, count):
        grid = np.clip((np.arange(count) + 0.5 - low) / (high - low) * side - 0.5, -1, side)
        return np.maximum(0, 1 - np.abs(grid[:, None] - np.arange(-1, side + 1)))

    x0, y0, x1, y1 = box.astype(np.float64)
    return samples(y0, y1, size_hw[0]) @ padded @ samples(x0, x1, size_hw[1]).T


def assert_same(pasted, soft, size_hw, threshold=0.5, margin_of=None):
    ours = full_frame(pasted, size_hw).astype(bool)
    theirs = soft >= threshold
    if margin_of is not None:  # Detectron2 looks at the box and one pixel around it, no further
        x0, y0, x1, y1 = margin_of
        y, x = np.mgrid[: size_hw[0], : size_hw[1]]
        theirs &= (x >= np.floor(x0) - 1) & (x < np.ceil(x1) + 1) & (y >= np.floor(y0) - 1) & (y < np.ceil(y1) + 1)
    wrong = (ours != theirs) & (np.abs(soft - threshold) > TIE)
    assert not wrong.any(), (
        f"{wrong.sum()} pixels differ, values there {soft[wrong][:5]}, first at y, x = {np.argwhere(wrong)[0]}"
    )


@st.composite
def cases(draw):
    """A mask, a box that meets the picture, the picture's size, a threshold."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size_hw = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    side = draw(st.sampled_from([1, 2, 7, 14, 28]))
    mask = rng.random((side, side), np.float32)
    if draw(st.booleans()):
        mask = (mask >= 0.5).astype(np.float32)
    extent = np.exp(rng.uniform(np.log(0.02), np.log(150), 2))
    middle = rng.uniform(-extent / 2, np.array(size_hw[::-1]) + extent / 2)
    box = np.concatenate([middle - extent / 2, middle + extent / 2])
    if draw(st.booleans()):
        box = np.concatenate([np.floor(box[:2]), np.ceil(box[2:])])
    return mask, box.astype(np.float32), size_hw, draw(st.sampled_from([0.5, 0.5, 0.25, 0.9, 1.0]))


@settings(max_examples=300, deadline=None)
@given(cases())
def test_equals_dense_sampling(case):
    mask, box, size_hw, threshold = case
    pasted = paste_mask(mask, box, size_hw, threshold)
    # float32 positions, as Detectron2 has them, move samples of boxes far larger than the picture a little
    soft = dense(mask, box, size_hw)
    soft[np.abs(soft - threshold) < 1e-3] = threshold
    assert_same(pasted, soft, size_hw, threshold, margin_of=box)


@pytest.mark.detectron2
@settings(max_examples=150, deadline=None)
@given(cases())
def test_equals_detectron2(case):
    torch = pytest.importorskip("torch")
    mask_ops = pytest.importorskip("detectron2.layers.mask_ops")
    mask, box, size_hw, threshold = case
    if box[0] >= size_hw[1] or box[1] >= size_hw[0] or box[2] <= 0 or box[3] <= 0:
        return  # Detectron2 raises for a box outside the picture
    masks, boxes = torch.from_numpy(mask)[None], torch.from_numpy(box)[None]
    theirs = mask_ops.paste_masks_in_image(masks, boxes, size_hw, threshold)[0].numpy()
    soft = mask_ops._do_paste_mask(masks[None], boxes, *size_hw, skip_empty=False)[0][0].numpy()
    ours = full_frame(paste_mask(mask, box, size_hw, threshold), size_hw).astype(bool)
    wrong = (ours != theirs) & (np.abs(soft - threshold) > TIE)
    assert not wrong.any(), f"{wrong.sum()} of {theirs.sum()} pixels differ, values there {soft[wrong][:5]}"


@pytest.mark.detectron2
def test_pixels_of_photographic_masks_equal_detectron2():
    torch = pytest.importorskip("torch")
    mask_ops = pytest.importorskip("detectron2.layers.mask_ops")
    detections = garments(20, (720, 1280))
    theirs = mask_ops.paste_masks_in_image(
        torch.from_numpy(detections.masks), torch.from_numpy(detections.boxes), detections.size_hw
    ).numpy()
    ours = np.stack([full_frame(pasted, detections.size_hw) for pasted in paste_masks(detections)]).astype(bool)
    ious = (ours & theirs).sum((1, 2)) / (ours | theirs).sum((1, 2))
    assert ious.min() > 0.9999, f"IoU min {ious.min()}, mean {ious.mean()}; {(ours != theirs).sum()} pixels differ"


def garments(count, size_hw, seed=0):
    """Soft-edged blobs as a mask head gives, in boxes of 30 to 500 pixels, some over the edge of the picture."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    waves = rng.normal(0, 0.3, (count, 4, 4)).repeat(7, 1).repeat(7, 2)
    masks = 1 / (1 + np.exp(-10 * (0.7 - x**2 - y**4 + waves)))
    sides = rng.uniform(30, 500, (count, 2))
    corners = rng.uniform(-20, np.array(size_hw[::-1]) - 30, (count, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    scores = np.sort(rng.random(count).astype(np.float32))[::-1]
    labels = np.arange(count, dtype=np.int32) % 5
    return Detections(boxes, scores, labels, masks.astype(np.float32), size_hw).scaled_to(size_hw)


def test_by_hand():
    # pixel centres of the 4 x 4 box fall at -0.25, 0.25, 0.75, 1.25 of the 2 x 2 grid: along x the samples are
    # 0, 0.25, 0.75, 0.75, along y 0.75, 1, 1, 0.75 of that
    mask = np.array([[0, 1], [0, 1]], np.float32)
    pasted = paste_mask(mask, np.array([3, 2, 7, 6], np.float32), (10, 10), 0.6)
    assert (pasted.x, pasted.y, pasted.width, pasted.height) == (5, 3, 2, 2)
    assert pasted.runs.tolist() == [[5, 3, 5], [6, 3, 5]]
    pasted = paste_mask(mask, np.array([3, 2, 7, 6], np.float32), (10, 10), 0.5)
    assert pasted.runs.tolist() == [[5, 2, 6], [6, 2, 6]]


def test_full_mask_covers_the_whole_frame():
    pasted = paste_mask(np.ones((28, 28), np.float32), np.array([0, 0, 300, 200], np.float32), (200, 300))
    assert pasted.bits.shape == (200, 300)
    assert pasted.bits[6:-6].all()
    assert pasted.bits[:, 6:-6].all()
    assert pasted.bits[0, 0] == 0  # zeros around the grid round the corners: a quarter of 1 there


@pytest.mark.parametrize(
    "box",
    [[-50, -50, -1, -1], [20, 5, 30, 9], [5, 5, 5, 9], [9, 5, 5, 9], [np.nan, 0, 5, 5], [0, 0, np.inf, 5]],
    ids=["left of it", "right of it", "no width", "turned round", "nan", "endless"],
)
def test_boxes_without_pixels(box):
    pasted = paste_mask(np.ones((28, 28), np.float32), np.array(box, np.float32), (10, 10))
    assert pasted.area == 0
    assert pasted.bits.shape == (0, 0)
    assert pasted.center == (0, 0)


def test_one_pixel_picture():
    pasted = paste_mask(np.ones((28, 28), np.float32), np.array([0, 0, 1, 1], np.float32), (1, 1))
    assert pasted.bits.tolist() == [[1]]


def test_box_smaller_than_a_pixel():
    mask = np.ones((28, 28), np.float32)
    assert paste_mask(mask, np.array([4.4, 4.4, 4.6, 4.6], np.float32), (9, 9)).runs.tolist() == [[4, 4, 5]]
    assert paste_mask(mask, np.array([4.6, 4.6, 4.9, 4.9], np.float32), (9, 9)).area == 0  # no pixel centre inside


@pytest.mark.parametrize("threshold", [0, -1, 1.01, float("nan")])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        paste_mask(np.ones((2, 2), np.float32), np.array([0, 0, 4, 4], np.float32), (9, 9), threshold)


def test_no_detections():
    assert paste_masks(Detections.empty((40, 50))) == []


def test_memory_follows_the_box_not_the_picture():
    mask = np.ones((28, 28), np.float32)
    tracemalloc.start()
    pasted = paste_mask(mask, np.array([4000, 4000, 4050, 4060], np.float32), (20000, 20000))
    assert pasted.bits.sum() == 50 * 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200_000, f"{peak} bytes for a mask of 50 x 60 pixels"


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.1, 0.5, 0.9, 1]))
def test_bits_and_runs_are_the_same(height, width, seed, share):
    bits = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    pasted = PastedMask.from_bits(bits, x=7, y=3)
    assert pasted.area == bits.sum()
    if pasted.area:
        rows, columns = np.nonzero(bits)
        assert pasted.center == pytest.approx((columns.mean() + 7.5, rows.mean() + 3.5))
    frame = np.zeros((3 + height, 7 + width), np.uint8)
    frame[3:, 7:] = bits
    assert np.array_equal(full_frame(pasted, frame.shape), frame)
