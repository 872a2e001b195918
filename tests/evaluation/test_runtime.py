"""Running a model over a data set: ids, sizes, masks, refusals; and against Detectron2's own inference."""

import cv2
import numpy as np
import pytest
import stubs
from json_files import edited

from fashionseg import model as model_files
from fashionseg.backends import registry
from fashionseg.data.coco import read_coco
from fashionseg.errors import DataError, MediaError
from fashionseg.evaluation import EvaluateOptions, evaluate, reference
from fashionseg.evaluation.metrics import measure
from fashionseg.evaluation.photos import photo_paths
from fashionseg.evaluation.runtime import run_model


def run(path, backend=None, images=None):
    data = read_coco(path)
    return data, run_model(backend or stubs.StubBackend(stubs.spec()), data, photo_paths(data, images), "stub.onnx")


def test_finds_all_under_the_ids_of_the_data(photo_set):
    calls = []
    data = read_coco(photo_set)
    backend = stubs.StubBackend(stubs.spec())
    found = run_model(backend, data, photo_paths(data), "stub.onnx", lambda: calls.append(1))
    assert len(calls) == 5
    assert backend.batches == [(1, 96, 64, 3)] * 5, "one photo a run, as Detectron2 does"
    assert found.predictions.image_ids.tolist() == [1, 1, 2, 2, 3, 3, 4, 5]
    assert found.predictions.category_ids.tolist() == [20, 10, 20, 10, 20, 10, 20, 20]
    metrics, outcomes = measure(data, found.predictions, found.latencies)
    assert metrics.scores["segm"].overall["AP50"] == pytest.approx(1.0)
    assert metrics.scores["bbox"].overall["AP50"] == pytest.approx(1.0)
    assert all(outcome.loss == 0 for outcome in outcomes)
    assert list(metrics.flat())[-1] == "latency/total_ms"


def test_boxes_and_masks_are_in_pixels_of_the_photo(photo_set):
    folder = photo_set.parent / "images"
    big = cv2.resize(cv2.imread(str(folder / "000.png")), (160, 200), interpolation=cv2.INTER_NEAREST)
    cv2.imwrite(str(folder / "000.png"), big)

    def grow(document):
        document["images"][0] |= {"width": 160, "height": 200}

    _, found = run(edited(photo_set, grow))
    assert found.predictions.rles[0]["size"] == [200, 160]
    assert found.predictions.boxes_xywh[0] == pytest.approx([40, 25, 82.5, 72.5], abs=4)


def test_a_model_that_finds_nothing(photo_set):
    for path in (photo_set.parent / "images").iterdir():
        cv2.imwrite(str(path), np.full((80, 64, 3), 120, np.uint8))
    _, found = run(photo_set)
    assert len(found.predictions) == 0
    assert found.predictions.boxes_xywh.shape == (0, 4)


def test_classes_the_data_has_not_are_left_out(photo_set):
    def shirts_only(document):
        document["categories"] = [{"id": 20, "name": "shirt"}]
        document["annotations"] = [one for one in document["annotations"] if one["category_id"] == 20]

    _, found = run(edited(photo_set, shirts_only))
    assert set(found.predictions.category_ids.tolist()) == {20}


def test_category_the_model_does_not_know(photo_set):
    with pytest.raises(DataError, match=r"stub\.onnx does not know 'skirt'"):
        run(edited(photo_set, lambda document: document["categories"].append({"id": 30, "name": "skirt"})))


def test_photo_of_another_size(photo_set):
    cv2.imwrite(str(photo_set.parent / "images" / "001.png"), stubs.picture((64, 80)))
    with pytest.raises(DataError, match=r"001\.png is 80 x 64 pixels but .* says 64 x 80 \(turned by its EXIF"):
        run(photo_set)


def test_photo_that_is_none(photo_set):
    (photo_set.parent / "images" / "001.png").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"001\.png"):
        run(photo_set)


@pytest.mark.parametrize("name", ["stub.onnx", "stub.pth"])
@pytest.mark.parametrize(
    ("content", "words"),
    [(None, r"bare-001\.png is 80 x 64 pixels but .* says 64 x 80"), (b"no picture", r"bare-001\.png is not a JPEG")],
)
def test_photos_are_looked_at_before_a_model_is_loaded(photo_set, monkeypatch, name, content, words):
    def fail(*_args, **_rest):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(model_files, "read_model", lambda path: stubs.model_file())
    monkeypatch.setattr(registry, "open_backend", fail)
    monkeypatch.setattr(reference, "open_detector", fail)
    photo = photo_set.parent / "images" / "bare-001.png"
    cv2.imwrite(str(photo), stubs.picture((64, 80)))
    if content:
        photo.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        evaluate(EvaluateOptions(photo_set.with_name(name), photo_set))
    assert "more photo" not in str(caught.value)
    (photo_set.parent / "images" / "000.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"000\.png .* \(and 1 more photo like it\); see: fashionseg data check"):
        evaluate(EvaluateOptions(photo_set.with_name(name), photo_set))


def test_classes_are_compared_before_a_model_is_loaded(photo_set, monkeypatch):
    monkeypatch.setattr(model_files, "read_model", lambda path: stubs.model_file(class_names=("shirt", "skirt")))
    monkeypatch.setattr(registry, "open_backend", None)
    with pytest.raises(DataError, match="does not know 'Trousers'"):
        evaluate(EvaluateOptions(photo_set.with_name("stub.onnx"), photo_set))


def test_failing_backend_ends_the_run(photo_set):
    def fail(number, images):
        if number == 3:
            raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        run(photo_set, stubs.StubBackend(stubs.spec(), fail))


def test_missing_photos_are_counted(photo_set):
    for name in ("001.png", "bare-001.png"):
        (photo_set.parent / "images" / name).unlink()
    with pytest.raises(DataError, match=r"2 of the 5 photos .* missing, the first is .*001\.png; .* --images"):
        run(photo_set)


def test_folder_of_photos(photo_set, tmp_path):
    moved = tmp_path / "elsewhere"
    (photo_set.parent / "images").rename(moved)
    _, found = run(photo_set, images=moved)
    assert len(found.predictions) == 8


@pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "a/../../b.png", "C:x.png"])
def test_names_that_lead_out_of_the_folder(photo_set, name):
    with pytest.raises(DataError, match="leads out of the folder"):
        run(edited(photo_set, lambda document: document["images"][1].update(file_name=name)))


@pytest.mark.parametrize(
    ("threshold", "warned"), [(0.01, False), (0.05, False), (np.float32(0.05).item(), False), (0.7, True)]
)
def test_a_model_that_cuts_scores_itself_is_warned_about(threshold, warned, photo_set, monkeypatch):
    """AP of a model with a threshold of 0.7 inside is not AP: the remedy is another than for predictions."""
    monkeypatch.setattr(model_files, "read_model", lambda path: stubs.model_file(score_threshold=threshold))
    monkeypatch.setattr(registry, "open_backend", lambda model, *_args, **_rest: stubs.StubBackend(model.spec))
    found = evaluate(EvaluateOptions(photo_set.with_name("stub.onnx"), photo_set))
    cut = [text for text in found.warnings if "drops scores below" in text]
    assert bool(cut) is warned
    if warned:
        assert "below 0.7, which lowers AP" in cut[0] and cut[0].endswith("in its config and export it again")
