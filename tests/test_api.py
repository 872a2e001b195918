"""The Python API, with the embedded model and with a stub."""

import os

import clips
import cv2
import numpy as np
import pytest
import stubs

import fashionseg
from fashionseg.api import Model
from fashionseg.errors import MediaError, ModelError


@pytest.fixture
def model():
    with Model(stubs.StubBackend(stubs.spec())) as loaded:
        yield loaded


def test_the_packages_front_door():
    assert fashionseg.load_model is not None
    assert {"load_model", "Detections", "FashionsegError"} <= set(fashionseg.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        _ = fashionseg.nonsense


def test_load_model_and_predict_with_the_embedded_model():
    with fashionseg.load_model(device="cpu", threads=1) as loaded:
        found = loaded.predict(np.full((300, 200, 3), 127, np.uint8))
        assert isinstance(found, fashionseg.Detections)
        assert found.size_hw == (300, 200)


def test_predict_takes_a_path_an_array_or_a_list(model, tmp_path):
    image = stubs.picture((160, 128))
    cv2.imwrite(str(tmp_path / "a.png"), image)
    from_array = model.predict(image)
    from_path = model.predict(str(tmp_path / "a.png"))
    assert np.array_equal(from_array.boxes, from_path.boxes)
    assert len(from_array) == 2
    several = model.predict([image, tmp_path / "a.png", image], batch=2)
    assert [len(found) for found in several] == [2, 2, 2]
    assert model.predict([]) == []


def test_predict_filters_by_score_and_class(model):
    image = stubs.picture()
    assert len(model.predict(image, conf=0.85)) == 1
    assert model.predict(image, classes=["trousers"]).labels.tolist() == [1]
    with pytest.raises(ModelError, match="no class"):
        model.predict(image, classes=["hat"])


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)],
)
def test_arrays_that_are_no_picture(model, wrong):
    with pytest.raises(MediaError, match="must be uint8"):
        model.predict(wrong)


def test_a_missing_file_is_named(model, tmp_path):
    with pytest.raises(MediaError, match=r"none\.jpg"):
        model.predict(tmp_path / "none.jpg")
    with pytest.raises(MediaError, match=r"none\.mp4"):
        list(model.stream(tmp_path / "none.mp4"))


def test_stream_over_photos_keeps_order(model, tmp_path):
    stubs.write_photos(tmp_path, 7)
    found = list(model.stream(tmp_path, batch=2))
    assert [os.path.basename(frame.source.path) for frame, _ in found] == [f"{n:03d}.png" for n in range(7)]  # noqa: PTH119
    assert all(len(detections) == 2 for _, detections in found)


@pytest.mark.parametrize("batch", [1, 8])
def test_stream_gives_the_frames_before_a_break_and_then_says_so(batch, model, tmp_path):
    data = clips.make(
        tmp_path / "whole.mkv", clips.Clip(frames=30, size_hw=(96, 96), options={"crf": "1"})
    ).read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 2 // 3])
    indices = []
    with pytest.raises(MediaError, match=r"its first (\d+) frames are kept") as caught:
        for frame, _ in model.stream(tmp_path / "cut.mkv", batch=batch):
            indices.append(frame.index)
    assert f"its first {len(indices)} frames" in str(caught.value)
    assert indices == list(range(len(indices)))


def test_stream_can_be_left_early(model, tmp_path):
    stubs.write_photos(tmp_path, 30)
    for frame, _ in model.stream(tmp_path):
        assert frame.index == 0
        break
