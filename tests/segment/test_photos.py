"""`segment` over photos, with a stub backend: outputs, resume, isolation, refusals."""

import json
import threading
import time

import cv2
import numpy as np
import pytest
import stubs

from fashionseg import model as model_module
from fashionseg.errors import FashionsegError, ModelError, OutputError
from fashionseg.segment import SegmentOptions, SilentReporter, segment


@pytest.fixture(autouse=True)
def stub_model(monkeypatch):
    """`segment` reads the stub's model file, whatever path is given."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())


def test_photos_become_annotated_photos_and_coco_files(tmp_path):
    stubs.write_photos(tmp_path / "in" / "deep", 5)
    summary, made = stubs.run([tmp_path / "in"], tmp_path / "out")
    assert summary.tally.photos == 5
    assert summary.tally.detections == {0: 5, 1: 5}
    assert sorted(path.name for path in (tmp_path / "out" / "deep").iterdir()) == [f"{n:03d}.jpg" for n in range(5)]
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    images = json.loads((tmp_path / "out" / "images.json").read_text())
    assert [image["file_name"] for image in images["images"]] == [f"deep/{n:03d}.png" for n in range(5)]
    assert {p["category_id"] for p in predictions} == {1, 7}
    assert [p["image_id"] for p in predictions] == [n for n in range(1, 6) for _ in range(2)]
    assert made[0].closed


def test_the_coco_files_load_in_pycocotools(tmp_path):
    coco_module = pytest.importorskip("pycocotools.coco")
    mask_module = pytest.importorskip("pycocotools.mask")
    stubs.write_photos(tmp_path / "in", 3, size_hw=(120, 90))
    stubs.run([tmp_path / "in"], tmp_path / "out")
    truth = coco_module.COCO(str(tmp_path / "out" / "images.json"))
    results = truth.loadRes(str(tmp_path / "out" / "predictions.json"))
    assert len(results.getAnnIds()) == 6
    annotation = results.loadAnns(results.getAnnIds(imgIds=1, catIds=1))[0]
    mask = mask_module.decode(annotation["segmentation"])
    assert mask.shape == (120, 90)
    blue = (cv2.imread(str(tmp_path / "in" / "000.png"))[..., 0] > 150) & (
        cv2.imread(str(tmp_path / "in" / "000.png"))[..., 2] < 100
    )
    overlap = (mask & blue).sum() / (mask | blue).sum()
    assert overlap > 0.9, overlap


def test_the_drawn_photo_differs_under_the_masks_alone(tmp_path):
    stubs.write_photos(tmp_path / "in", 1, size_hw=(160, 128))
    stubs.run([tmp_path / "in"], tmp_path / "out", hide=frozenset({"boxes", "labels"}))
    before = cv2.imread(str(tmp_path / "in" / "000.png")).astype(int)
    after = cv2.imread(str(tmp_path / "out" / "000.jpg")).astype(int)
    changed = np.abs(after - before).max(2)
    assert changed[30:70, 40:90].mean() > 30, "the shirt is painted"
    assert changed[:10, :20].mean() < 25, "the background is not, but for JPEG"


def test_a_run_without_detections_writes_an_empty_list(tmp_path):
    stubs.write_photos(tmp_path / "in", 2, shirt=False, trousers=False)
    stubs.run([tmp_path / "in"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "predictions.json").read_text()) == []


def test_confidence_and_classes_filter(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "a", classes=("trousers",))
    assert set(summary.tally.detections) == {1}
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "b", conf=0.99)
    assert not summary.tally.detections
    with pytest.raises(ModelError, match="no class 'hat'"):
        stubs.run([tmp_path / "in"], tmp_path / "c", classes=("hat",))


def test_save_chooses_what_is_written(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    stubs.run([tmp_path / "in"], tmp_path / "a", save=frozenset({"predictions"}))
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == [".fashionseg", "images.json", "predictions.json"]
    stubs.run([tmp_path / "in"], tmp_path / "b", save=frozenset({"images"}))
    assert sorted(p.name for p in (tmp_path / "b").iterdir()) == [".fashionseg", "000.jpg", "001.jpg"]


def test_bad_photos_cost_themselves_only(tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 6)
    paths[1].write_bytes(b"")
    paths[3].write_bytes(paths[3].read_bytes()[:500])
    paths[4].write_bytes(b"hello, I am a text file")
    summary, _ = stubs.run([tmp_path / "in", tmp_path / "missing.jpg"], tmp_path / "out")
    assert summary.tally.photos == 3
    failures = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [entry["path"].rsplit("/", 1)[1] for entry in failures] == ["missing.jpg", "001.png", "003.png", "004.png"]
    assert all(str(entry["path"]) in entry["reason"] for entry in failures)
    ids = [image["id"] for image in json.loads((tmp_path / "out" / "images.json").read_text())["images"]]
    assert ids == [1, 3, 6], "a bad photo keeps its number"


def test_nothing_to_do_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FashionsegError, match="empty"):
        stubs.run([tmp_path / "empty"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batch", [1, 3])
def test_an_interrupted_run_goes_on_and_ends_the_same(tmp_path, batch):
    for number in range(15):
        stubs.write_photos(tmp_path / "in" / str(number), 2, size_hw=(80, 64) if number % 2 else (64, 90))
    stubs.run([tmp_path / "in"], tmp_path / "whole", batch=batch)

    class StopAfter(SilentReporter):
        def __init__(self, count):
            self.left, self.stop = count, threading.Event()

        def advance(self, source, detections):
            self.left -= 1
            if not self.left:
                self.stop.set()

    rounds = 0
    while rounds < 20:
        rounds += 1
        reporter = StopAfter(2)
        summary, _ = stubs.run(
            [tmp_path / "in"], tmp_path / "parts", batch=batch, reporter=reporter, stop=reporter.stop
        )
        if not summary.interrupted:
            break
        assert not (tmp_path / "parts" / "predictions.json").exists()
    assert rounds >= 2
    for name in ("predictions.json", "images.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    photos = sorted(path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.jpg"))
    assert len(photos) == 30
    assert all((tmp_path / "whole" / p).read_bytes() == (tmp_path / "parts" / p).read_bytes() for p in photos)


def test_the_same_command_again_does_nothing(tmp_path):
    stubs.write_photos(tmp_path / "in", 4)
    stubs.run([tmp_path / "in"], tmp_path / "out")
    before = (tmp_path / "out" / "predictions.json").read_bytes()
    summary, made = stubs.run([tmp_path / "in"], tmp_path / "out")
    assert summary.frames == 0
    assert not made or not made[0].batches, "no model run"
    assert (tmp_path / "out" / "predictions.json").read_bytes() == before


def test_a_removed_output_is_done_again(tmp_path):
    stubs.write_photos(tmp_path / "in", 4)
    stubs.run([tmp_path / "in"], tmp_path / "out")
    (tmp_path / "out" / "002.jpg").unlink()
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "out")
    assert summary.frames == 1
    assert (tmp_path / "out" / "002.jpg").exists()


def test_other_options_or_sources_are_refused_and_restart_begins_anew(tmp_path):
    stubs.write_photos(tmp_path / "in", 3)
    stubs.run([tmp_path / "in"], tmp_path / "out")
    with pytest.raises(OutputError, match=r"conf was 0\.5, now 0\.6"):
        stubs.run([tmp_path / "in"], tmp_path / "out", conf=0.6)
    stubs.write_photos(tmp_path / "in", 2)
    with pytest.raises(OutputError, match="the sources changed"):
        stubs.run([tmp_path / "in"], tmp_path / "out")
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "out", conf=0.6, restart=True)
    assert summary.frames == 3


def test_the_model_belongs_to_the_run(tmp_path, monkeypatch):
    stubs.write_photos(tmp_path / "in", 1)
    stubs.run([tmp_path / "in"], tmp_path / "out")
    other = model_module.ModelFile(stubs.model_file().path, b"other", stubs.spec(), "another hash")
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: other)
    with pytest.raises(OutputError, match="the model changed"):
        stubs.run([tmp_path / "in"], tmp_path / "out")


def test_files_of_others_are_not_overwritten(tmp_path):
    stubs.write_photos(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "000.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match="did not write it"):
        stubs.run([tmp_path / "in"], tmp_path / "out")
    assert (tmp_path / "out" / "000.jpg").read_bytes() == b"precious"


def test_a_run_that_is_stopped_tells_what_failed_so_far(tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 12)
    paths[0].write_bytes(b"")
    stop = threading.Event()
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "out", stubs.at_picture(2, stop.set), stop=stop)
    assert summary.interrupted
    assert [entry["path"] for entry in json.loads((tmp_path / "out" / "failures.json").read_text())] == [str(paths[0])]
    stubs.write_photos(tmp_path / "in", 1)
    assert not stubs.run([tmp_path / "in"], tmp_path / "out", restart=True)[0].failures
    assert not (tmp_path / "out" / "failures.json").exists()


def test_a_source_is_never_overwritten(tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), stubs.picture())
    with pytest.raises(FashionsegError, match=r"lies in the output folder|would overwrite"):
        stubs.run([tmp_path / "a.jpg"], tmp_path, restart=True)


def test_two_runs_into_one_folder_are_refused(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    errors = []

    def begin_another():
        try:
            stubs.run([tmp_path / "in"], tmp_path / "out")
        except OutputError as error:
            errors.append(str(error))

    stubs.run([tmp_path / "in"], tmp_path / "out", fail=stubs.at_picture(1, begin_another))
    assert len(errors) == 1 and "another fashionseg is writing" in errors[0]


def test_a_failing_model_ends_the_run_with_its_error(tmp_path):
    stubs.write_photos(tmp_path / "in", 12)

    def fail():
        raise FashionsegError("the model broke")

    with pytest.raises(FashionsegError, match="the model broke"):
        stubs.run([tmp_path / "in"], tmp_path / "out", fail=stubs.at_picture(5, fail))
    summary, _ = stubs.run([tmp_path / "in"], tmp_path / "out")
    assert summary.resumed
    assert summary.frames == 7, "the five photos before it are kept"
    assert summary.tally.photos == 12


def test_ground_truth_gives_the_ids(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    truth = {
        "images": [
            {"id": 40, "file_name": "001.png", "width": 64, "height": 80},
            {"id": 50, "file_name": "000.png", "width": 64, "height": 80},
        ],
        "annotations": [],
        "categories": [{"id": 3, "name": "trousers"}, {"id": 9, "name": "shirt"}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    stubs.run([tmp_path / "in"], tmp_path / "out", gt=tmp_path / "gt.json")
    predictions = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [(p["image_id"], p["category_id"]) for p in predictions] == [(50, 9), (50, 3), (40, 9), (40, 3)]


def test_output_inside_the_source_is_not_read(tmp_path):
    stubs.write_photos(tmp_path, 2)
    out = tmp_path / "out"
    first, _ = stubs.run([tmp_path], out)
    second, _ = stubs.run([tmp_path], out)
    assert len(first.plan.sources) == len(second.plan.sources) == 2


def test_waiting_for_the_model_is_no_work(tmp_path):
    """Neither waiting for its loading, nor one thread's waiting for the other's run where one runs at a time."""
    stubs.write_photos(tmp_path / "in", 10)

    def open_slowly(model):
        time.sleep(0.15)
        return stubs.StubBackend(model.spec, lambda number, images: time.sleep(0.02))

    options = SegmentOptions(device="cpu", save=frozenset({"predictions"}))
    summary = segment([tmp_path / "in"], tmp_path / "out", options, open_backend=open_slowly)
    (infer,) = (clock for clock in summary.clocks if clock.name == "infer")
    assert 0.2 < infer.busy < 0.4, "ten runs of 20 ms"
    assert infer.starved > 0.3, "two threads, 150 ms of loading"
