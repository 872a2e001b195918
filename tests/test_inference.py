"""Batching: order, blocks, sizes, memory, scaling back."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
import stubs

from fashionseg.errors import OutOfMemoryError
from fashionseg.inference import Inferred, Prepared, Runner, detections_of, form_groups, in_order, infer, prepare_frame
from fashionseg.media.frame import Frame, Source
from fashionseg.pipeline import Pipeline


def prepared(images, blocks=None):
    spec = stubs.spec()
    for index, image in enumerate(images):
        frame = Frame(image, Source(index, Path(f"{index}.png"), f"{index}.png", "photo"), index)
        yield prepare_frame(frame, spec, blocks[index] if blocks else 0, tag=index)


def test_results_come_in_order_whatever_the_sizes():
    images = [stubs.picture((80, 64) if n % 3 else (64, 120), seed=n) for n in range(20)]
    backend = stubs.StubBackend(stubs.spec())
    found = list(infer(prepared(images), backend, batch=4))
    assert [item.tag for item in found] == list(range(20))
    alone = [next(infer(prepared([image]), backend, 1)) for image in images]
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(one.detections.boxes, other.detections.boxes)
        assert np.array_equal(one.detections.scores, other.detections.scores)


def test_only_pictures_of_one_padded_size_and_block_share_a_batch():
    images = [stubs.picture((80, 64)), stubs.picture((64, 120)), stubs.picture((80, 64)), stubs.picture((80, 64))]
    backend = stubs.StubBackend(stubs.spec())
    assert len(list(infer(prepared(images, blocks=[0, 0, 0, 1]), backend, batch=8))) == 4
    assert [shape[0] for shape in backend.batches] == [2, 1, 1]


def test_batches_do_not_exceed_the_limit():
    backend = stubs.StubBackend(stubs.spec())
    assert len(list(infer(prepared([stubs.picture(seed=n) for n in range(10)]), backend, batch=4))) == 10
    assert [shape[0] for shape in backend.batches] == [4, 4, 2]


def test_pictures_that_wait_for_a_batch_are_bounded_by_memory(monkeypatch):
    small, large = stubs.picture((80, 64)), stubs.picture((800, 640))
    monkeypatch.setattr("fashionseg.inference.MAX_HELD_BYTES", 2 * large.nbytes)
    backend = stubs.StubBackend(stubs.spec())
    made = []

    def watched():
        for item in prepared([small, large, large, large, small, small, small]):
            made.append(item.tag)
            yield item

    found = [(item.tag, len(made)) for item in infer(watched(), backend, batch=100)]
    assert [shape[0] for shape in backend.batches] == [3, 4]
    assert [tag for tag, _ in found] == list(range(7))
    assert found[0] == (0, 3), "the first batch left when two large pictures were held"


def test_other_items_pass_at_their_place():
    items = [*prepared([stubs.picture(seed=0)]), "mark", *prepared([stubs.picture(seed=1)])]
    kinds = [type(item).__name__ for item in infer(iter(items), stubs.StubBackend(stubs.spec()), batch=2)]
    assert kinds == ["Inferred", "str", "Inferred"]


def test_nothing_in_nothing_out():
    assert list(infer(iter(()), stubs.StubBackend(stubs.spec()), batch=4)) == []


def test_out_of_memory_halves_the_batch_and_says_so():
    def fail(number, images):
        if len(images) > 2:
            raise OutOfMemoryError("too large")

    notes = []
    backend = stubs.StubBackend(stubs.spec(), fail)
    found = list(infer(prepared([stubs.picture(seed=n) for n in range(9)]), backend, batch=8, note=notes.append))
    assert [item.tag for item in found] == list(range(9))
    assert notes == ["cpu is out of memory: going on with a batch of 2"], "8, then 4 did not fit: said once"
    assert max(shape[0] for shape in backend.batches[2:]) == 2


@pytest.mark.parametrize("streams", [1, 2])
def test_several_runs_at_a_time_give_the_same_in_the_same_order(streams):
    images = [stubs.picture((80, 64) if n % 3 else (64, 120), seed=n) for n in range(30)]
    inside, most = [0], [0]
    lock = threading.Lock()

    class Backend(stubs.StubBackend):
        def run(self, images, image_sizes):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.002 if images.shape[0] > 2 else 0)
            raw = super().run(images, image_sizes)
            with lock:
                inside[0] -= 1
            return raw

    backend = Backend(stubs.spec())
    backend.streams = streams
    with Pipeline() as pipeline:
        groups = form_groups(iter([*prepared(images), "mark"]), backend.spec.size_divisor, 4)
        found = list(in_order(pipeline.map("infer", Runner(backend), groups, workers=3)))
    *found, mark = found
    assert mark == "mark"
    assert most[0] == streams
    alone = list(infer(prepared(images), stubs.StubBackend(stubs.spec()), batch=4))
    assert [item.tag for item in found] == [item.tag for item in alone] == list(range(30))
    for one, other in zip(found, alone, strict=True):
        assert np.array_equal(one.detections.scores, other.detections.scores)


def test_out_of_memory_with_one_picture_is_an_error():
    def fail(number, images):
        raise OutOfMemoryError("none left")

    with pytest.raises(OutOfMemoryError):
        list(infer(prepared([stubs.picture()]), stubs.StubBackend(stubs.spec(), fail), batch=4))


def test_detections_are_scaled_to_the_original():
    image = stubs.picture((320, 256))  # 4 x what the model sees: 80 x 64
    item = next(infer(prepared([image]), stubs.StubBackend(stubs.spec()), 1))
    assert isinstance(item, Inferred)
    assert item.detections.size_hw == (320, 256)
    shirt = item.detections.boxes[item.detections.labels.tolist().index(0)]
    assert np.abs(shirt - [64, 40, 193, 159]).max() <= 5, shirt  # as drawn by stubs.picture


def test_a_picture_without_detections():
    item = next(infer(prepared([stubs.picture(shirt=False, trousers=False)]), stubs.StubBackend(stubs.spec()), 1))
    assert len(item.detections) == 0
    assert item.detections.masks.shape == (0, 28, 28)


def test_padding_rows_are_cut():
    raw = stubs.StubBackend(stubs.spec()).run(stubs.picture((96, 64))[None], np.array([[96, 64]], np.int32))
    found = detections_of(raw, 0, (96, 64))
    assert len(found) == 2
    assert found.scores.tolist() == sorted(found.scores.tolist(), reverse=True)


def test_prepared_keeps_the_frame():
    item = next(prepared([stubs.picture((160, 128))]))
    assert isinstance(item, Prepared)
    assert item.resized.shape == (80, 64, 3)
    assert item.frame.size_hw == (160, 128)
