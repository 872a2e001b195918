"""The resize rule and batches."""

import numpy as np
import pytest
import stubs
from PIL import Image

from fashionseg.preprocess import make_batch, padded_size, prepare, resize, resized_size


@pytest.mark.parametrize(
    ("size", "expected"),
    [((480, 640), (800, 1067)), ((640, 480), (1067, 800)), ((100, 1000), (133, 1333)), ((800, 800), (800, 800))],
)
def test_resized_size_by_hand(size, expected):
    assert resized_size(size, 800, 1333) == expected


def test_no_side_becomes_zero():
    assert resized_size((1, 60_000), 224, 400) == (1, 400)
    assert resized_size((1, 1), 224, 400) == (224, 224)


@pytest.mark.detectron2
def test_resized_size_and_pixels_equal_detectron2():
    transforms = pytest.importorskip("detectron2.data.transforms")
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = (int(side) for side in rng.integers(1, 3000, 2))
        minimum, maximum = int(rng.integers(32, 900)), int(rng.integers(900, 1400))
        theirs = transforms.ResizeShortestEdge.get_output_shape(height, width, minimum, maximum)
        assert resized_size((height, width), minimum, maximum) == tuple(max(1, side) for side in theirs)
    image = stubs.picture((333, 211), seed=3)
    augmentation = transforms.ResizeShortestEdge([64, 64], 96)
    theirs = augmentation.get_transform(image).apply_image(image)
    ours = prepare(image, stubs.spec())
    assert np.array_equal(ours, theirs), f"largest difference {np.abs(ours.astype(int) - theirs).max()}"


def test_resize_is_pillows_bilinear():
    image = stubs.picture((97, 131), seed=1)
    expected = np.asarray(Image.fromarray(image).resize((40, 30), Image.Resampling.BILINEAR))
    assert np.array_equal(resize(image, (30, 40)), expected)
    assert resize(image, (97, 131)) is image


def test_make_batch_pads_right_and_below():
    images = [np.full((30, 33, 3), 7, np.uint8), np.full((64, 20, 3), 9, np.uint8)]
    batch, sizes = make_batch(images, 32)
    assert batch.shape == (2, 64, 64, 3)
    assert sizes.tolist() == [[30, 33], [64, 20]]
    assert (batch[0, :30, :33] == 7).all()
    assert batch[0].sum() == 30 * 33 * 3 * 7
    assert batch[1].sum() == 64 * 20 * 3 * 9


def test_padded_size():
    assert padded_size((1, 32), 32) == (32, 32)
    assert padded_size((33, 64), 32) == (64, 64)
