"""Which profile takes a batch, in which portions, what is copied: everything of a TensorRT run that needs no GPU."""

import numpy as np
import pytest
import stubs

from fashionseg.backends import trt_plan
from fashionseg.backends.trt_plan import COUNTS, ROWS
from fashionseg.engine_file import Profile
from fashionseg.errors import FashionsegError
from fashionseg.model import INPUTS, OUTPUTS

PROFILES = [Profile(size, (1, 4, 8)) for size in ((800, 1344), (1344, 800), (800, 1088), (480, 640))]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((480, 640), 3),
        ((32, 32), 3),
        ((512, 640), 2),
        ((800, 1088), 2),
        ((800, 1120), 0),
        ((1344, 32), 1),
        ((1088, 800), 1),
    ],
)
def test_the_tightest_profile_is_taken(size, expected):
    assert trt_plan.choose_profile(PROFILES, size, "m.engine") == expected


def test_a_picture_that_fits_nowhere_says_what_to_do():
    with pytest.raises(FashionsegError, match=r"1344x832 .* no size of m\.engine \(800x1344, .*--size 1344x832"):
        trt_plan.choose_profile(PROFILES, (1344, 832), "m.engine")


@pytest.mark.parametrize(
    ("count", "largest", "expected"), [(1, 8, [1]), (8, 8, [8]), (9, 8, [4, 5]), (17, 8, [5, 6, 6]), (3, 1, [1, 1, 1])]
)
def test_a_large_batch_is_run_in_even_portions(count, largest, expected):
    numbers = np.arange(count)
    parts = [numbers[part] for part in trt_plan.portions(count, largest)]
    assert [len(part) for part in parts] == expected
    assert np.concatenate(parts).tolist() == numbers.tolist()


def test_every_tensor_has_a_type_and_a_size():
    tensors = trt_plan.tensors_of(PROFILES[3], stubs.spec(max_detections=20))
    assert list(tensors) == [*INPUTS, *OUTPUTS]
    assert tensors["images"].shape(2) == (2, 480, 640, 3)
    assert tensors["images"].nbytes(2) == 2 * 480 * 640 * 3
    assert tensors["masks"].shape(3) == (3, 20, 28, 28) and tensors["masks"].row_nbytes == 28 * 28 * 4
    assert tensors["scores"].row_nbytes == tensors["labels"].row_nbytes == 4
    assert tensors["num_detections"].shape(5) == (5,) and tensors["num_detections"].nbytes(5) == 20
    assert {*COUNTS, *ROWS} == set(OUTPUTS)


def test_pictures_are_put_into_larger_buffers():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (2, 64, 96, 3), np.uint8)
    sizes = np.array([[60, 90], [64, 33]], np.int32)
    pinned, pinned_sizes = np.full((3, 96, 128, 3), 7, np.uint8), np.full((3, 2), -1, np.int32)
    trt_plan.fill_inputs(images, sizes, pinned, pinned_sizes)
    assert np.array_equal(pinned[:2, :64, :96], images)
    assert pinned_sizes.tolist() == [[60, 90], [64, 33], [60, 90]], "a surplus row has a size that is valid"


def test_only_the_rows_that_came_back_are_taken():
    spec = stubs.spec(max_detections=5)
    tensors = trt_plan.tensors_of(PROFILES[0], spec)
    counts = {"num_detections": np.array([1, 3], np.int32), "nms_exact": np.array([1, 0], np.int32)}
    rows = trt_plan.valid_rows(counts["num_detections"], 5)
    assert rows == 3
    rng = np.random.default_rng(0)
    fetched = {
        name: (rng.random((2, rows, *tensors[name].picture[1:])) * 9).astype(tensors[name].dtype) for name in ROWS
    }
    raw = trt_plan.assemble(counts, fetched, tensors)
    for name in ROWS:
        whole = getattr(raw, name)
        assert whole.shape == tensors[name].shape(2) and whole.dtype == tensors[name].dtype
        assert np.array_equal(whole[:, :rows], fetched[name]) and not whole[:, rows:].any()
    counts["nms_exact"][0] = 0
    assert raw.nms_exact.tolist() == [1, 0], "the result owns its memory"


def test_no_detection_at_all():
    tensors = trt_plan.tensors_of(PROFILES[0], stubs.spec())
    counts = {name: np.zeros(2, np.int32) for name in COUNTS}
    assert trt_plan.valid_rows(counts["num_detections"], 4) == 0
    raw = trt_plan.assemble(counts, {n: np.zeros((2, 0, *tensors[n].picture[1:])) for n in ROWS}, tensors)
    assert raw.masks.shape == (2, 4, 28, 28) and not raw.scores.any()


@pytest.mark.parametrize("count", [5, -1])
def test_nonsense_is_not_believed(count):
    with pytest.raises(FashionsegError, match="more than its 4 rows"):
        trt_plan.valid_rows(np.array([1, count], np.int32), 4)


def test_portions_are_joined_in_order():
    backend = stubs.StubBackend(stubs.spec())
    images = np.stack([stubs.picture((96, 64), seed=n) for n in range(3)])
    sizes = np.full((3, 2), (96, 64), np.int32)
    whole = backend.run(images, sizes)
    parts = [backend.run(images[part], sizes[part]) for part in trt_plan.portions(3, 2)]
    joined = trt_plan.joined(parts)
    for name in OUTPUTS:
        assert np.array_equal(getattr(joined, name), getattr(whole, name))
