"""The COCO files, written from a journal: whatever was noted and in whatever order, they load and hold just that."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import stubs
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg.media.frame import Source
from fashionseg.rle import counts_to_text
from fashionseg.writers.coco import Ids, write_coco
from fashionseg.writers.folder import RunFolder
from fashionseg.writers.records import FrameRecord, PartDone, PhotoDone, PhotoFailed, Prediction, VideoDone

SIZE_HW = (6, 7)
EMPTY = counts_to_text(np.array([SIZE_HW[0] * SIZE_HW[1]]))

coordinates = st.floats(0, 7, allow_nan=False).map(lambda value: round(value, 3))
predictions = st.builds(
    Prediction,
    st.integers(0, 1),
    st.floats(0, 1).map(lambda value: round(value, 6)),
    st.tuples(coordinates, coordinates, coordinates, coordinates),
    st.just(EMPTY),
)
found = st.lists(predictions, max_size=3).map(tuple)
photos = st.one_of(st.none(), st.just("failed"), found)
videos = st.lists(st.tuples(found, st.fractions(0, 100, max_denominator=1000)), max_size=7)
names = st.text(min_size=1, max_size=20)


@given(st.lists(st.tuples(names, st.one_of(photos, videos)), max_size=6), st.randoms(), st.integers(1, 3))
@settings(max_examples=30)
def test_any_journal_gives_files_that_load(tmp_path_factory, inputs, rng, part_frames):
    """Each input is a photo (done, failed, not tried) or a video in parts; they were finished in any order."""
    root = tmp_path_factory.mktemp("run") / "out"
    sources = [
        Source(index, Path(name), name, "video" if isinstance(what, list) else "photo")
        for index, (name, what) in enumerate(inputs)
    ]
    with RunFolder(root, {}) as folder:
        noted = [
            list(records_of(source.index, what, part_frames)) for source, (_, what) in zip(sources, inputs, strict=True)
        ]
        while any(noted):
            folder.add(rng.choice([queue for queue in noted if queue]).pop(0))
    with RunFolder(root, {}) as folder:  # as a later command finds it
        tally = write_coco(folder, sources, [f"{n}.x" for n in range(len(sources))], stubs.spec())
    images = json.loads((root / "images.json").read_text())
    results = json.loads((root / "predictions.json").read_text())
    expected = list(pictures_of(inputs))
    assert len(images["images"]) == len(expected) == tally.photos + tally.frames
    assert [image["id"] for image in images["images"]] == sorted({image["id"] for image in images["images"]})
    by_id = {image["id"]: [] for image in images["images"]}
    for result in results:
        by_id[result["image_id"]].append((result["category_id"], result["score"], tuple(result["bbox"])))
        assert result["segmentation"] == {"size": list(SIZE_HW), "counts": EMPTY}
    assert list(by_id.values()) == [[((1, 7)[p.label], p.score, p.bbox) for p in picture] for picture in expected]
    assert sum(tally.detections.values()) == len(results)
    assert [video["length"] for video in images["videos"]] == [len(what) for _, what in inputs if isinstance(what, list) and what]  # fmt: skip  # noqa: E501
    assert all(image["width"] == 7 and image["height"] == 6 for image in images["images"])


def records_of(index, what, part_frames):
    if isinstance(what, tuple):
        yield PhotoDone(index, SIZE_HW, None, FrameRecord(0, None, what))
    elif what == "failed":
        yield PhotoFailed(index, "it is broken")
    elif isinstance(what, list):
        frames = [FrameRecord(number, time, garments) for number, (garments, time) in enumerate(what)]
        for part, first in enumerate(range(0, len(frames), part_frames)):
            yield PartDone(index, part, SIZE_HW, tuple(frames[first : first + part_frames]))
        if frames:
            yield VideoDone(index, len(frames), None, None)


def pictures_of(inputs):
    for _, what in inputs:
        if isinstance(what, tuple):
            yield what
        elif isinstance(what, list):
            yield from (garments for garments, _ in what)


def test_ids_of_a_ground_truth_are_used_and_photos_that_it_has_not_are_left_out(tmp_path):
    sources = [Source(index, Path(f"{index}.png"), f"{index}.png", "photo") for index in range(3)]
    garment = Prediction(1, 0.5, (1.0, 1.0, 2.0, 2.0), EMPTY)
    with RunFolder(tmp_path / "out", {}) as folder:
        for source in sources:
            folder.add(PhotoDone(source.index, SIZE_HW, None, FrameRecord(0, None, (garment,))))
        write_coco(folder, sources, ["a", "b", "c"], stubs.spec(), ids=Ids({0: 50, 2: 7}, (30, 31), 51))
    results = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(result["image_id"], result["category_id"]) for result in results] == [(50, 31), (7, 31)]


def test_times_of_frames_are_in_seconds(tmp_path):
    source = Source(0, Path("a.mp4"), "a.mp4", "video")
    frames = (FrameRecord(0, Fraction(0), ()), FrameRecord(3, Fraction(1, 3), ()))
    with RunFolder(tmp_path / "out", {}) as folder:
        folder.add(PartDone(0, 0, SIZE_HW, frames))
        write_coco(folder, [source], ["a.mp4"], stubs.spec())
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert [(image["frame_index"], image["timestamp"]) for image in images] == [(0, 0.0), (3, pytest.approx(1 / 3))]
    assert [image["file_name"] for image in images] == ["a/000000.jpg", "a/000003.jpg"]
