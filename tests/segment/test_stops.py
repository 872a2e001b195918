"""What a run holds and lets go: photos that fail, videos that are cut, stops; with a stub backend."""

import threading
from fractions import Fraction

import clips
import cv2
import numpy as np
import pytest
import stubs

from fashionseg.errors import MediaError
from fashionseg.inference import _Grouping
from fashionseg.media.decoding import Walk
from fashionseg.pipeline import Pipeline
from fashionseg.segment import SilentReporter
from fashionseg.segment.video import VideoSink
from fashionseg.writers.annotated import Artist

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def stub_model(monkeypatch):
    """`segment` reads the stub's model file, whatever path is given."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())


@pytest.fixture
def budgets(monkeypatch):
    """The budgets of the runs of a test."""
    made = []
    make = Pipeline.budget
    monkeypatch.setattr(Pipeline, "budget", lambda self, limit: made.append(make(self, limit)) or made[-1])
    return made


def run(arguments, root, *rest, **options):
    """The summary, and how many pictures each run of the model had."""
    summary, made = stubs.run(arguments, root, *rest, **options)
    return summary, [shape[0] for shape in made[0].batches]


def write_cut_photos(folder, count):
    """Photos whose headers can be read and whose pixels cannot."""
    data = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8))[1].tobytes()
    for number in range(count):
        (folder / f"cut-{number:02d}.jpg").write_bytes(data[: len(data) // 2])


def test_photos_that_fail_hold_no_memory_while_a_batch_waits(tmp_path, monkeypatch, budgets):
    monkeypatch.setattr("fashionseg.segment.run.MAX_BYTES_UNDER_WAY", 3 * 200 * 200 * 3)
    stubs.write_photos(tmp_path / "in", 1)
    write_cut_photos(tmp_path / "in", 10)
    summary, _ = run([tmp_path / "in"], tmp_path / "out", batch=8)
    assert (summary.tally.photos, len(summary.failures)) == (1, 10)
    assert budgets[0]._used == 0


def test_frames_that_are_not_wanted_any_more_hold_no_memory(tmp_path, monkeypatch, budgets):
    def refuse(self, time):
        if self._frames == 2:
            raise MediaError("the next frame cannot be held")

    monkeypatch.setattr(VideoSink, "_check_gap", refuse)
    videos = [clips.make(tmp_path / f"{number}.mp4", clips.Clip(frames=20)) for number in range(2)]
    summary, _ = run(videos, tmp_path / "out", batch=1)
    assert [failure.frames for failure in summary.failures] == [2, 2]
    assert budgets[0]._used == 0


def test_a_video_whose_frames_cannot_be_drawn_fails_once(tmp_path, monkeypatch):
    finish = Artist.finish

    def refuse(self, inferred, detections):
        if inferred.frame.index >= 3:
            raise MediaError("cannot be drawn")
        return finish(self, inferred, detections)

    monkeypatch.setattr(Artist, "finish", refuse)
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=20))
    summary, _ = run([clip], tmp_path / "out", batch=1)
    assert [failure.frames for failure in summary.failures] == [3]


def test_a_stop_is_heard_while_a_video_is_walked_to_its_start(tmp_path, monkeypatch):
    stop, walked = threading.Event(), []
    following = Walk.__next__

    def at_sixth(self):
        walked.append(self)
        if len(walked) == 6:
            stop.set()
        return following(self)

    monkeypatch.setattr(Walk, "__next__", at_sixth)
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=60))
    summary, _ = run([clip], tmp_path / "out", stop=stop, batch=1, start=Fraction(2))
    assert summary.interrupted
    assert len(walked) < 10
    assert run([clip], tmp_path / "out", batch=1, start=Fraction(2))[0].tally.frames == 12


def test_no_smaller_batch_is_run_because_of_a_stop(tmp_path, monkeypatch):
    stop, take = threading.Event(), _Grouping._take

    def stop_at_sixth(self, place, item):
        yield from take(self, place, item)
        if place.number == 5:
            stop.set()

    monkeypatch.setattr(_Grouping, "_take", stop_at_sixth)
    stubs.write_photos(tmp_path / "in", 20)
    summary, batches = run([tmp_path / "in"], tmp_path / "out", stop=stop, batch=4)
    assert summary.interrupted
    assert batches == [4]


def test_photos_beside_a_video_share_a_batch_no_more_when_the_video_is_done(tmp_path):
    (tmp_path / "in").mkdir()
    for name in "ac":
        cv2.imwrite(str(tmp_path / "in" / f"{name}.png"), stubs.picture(seed=ord(name)))
    clips.make(tmp_path / "in" / "b.mp4", clips.Clip(frames=3))
    assert sorted(run([tmp_path / "in"], tmp_path / "out", batch=8)[1]) == [1, 1, 3]
    (tmp_path / "out" / "c.jpg").unlink()
    assert run([tmp_path / "in"], tmp_path / "out", batch=8)[1] == [1]


def test_a_stop_in_the_middle_of_a_video_is_no_end_of_it(tmp_path):
    class AtOnce(SilentReporter):
        def advance(self, source, detections):
            stop.set()

    stop = threading.Event()
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=60))
    assert run([clip], tmp_path / "out", None, AtOnce(), stop, batch=1)[0].interrupted
    assert not (tmp_path / "out" / "clip.mp4").exists()
    assert run([clip], tmp_path / "out", batch=1)[0].tally.frames == 60
