"""What a run remembers: nothing is done twice, nothing of anybody else's is touched, what is lost is done again."""

import json
import random

import clips
import cv2
import numpy as np
import pytest
import stub_run
import stubs

from fashionseg.errors import FashionsegError, OutputError
from fashionseg.writers.folder import RunFolder
from fashionseg.writers.journal import read_records
from fashionseg.writers.records import FrameRecord, PartDone, PhotoFailed


def journal(root):
    return [record for _, _, record in read_records(root / ".fashionseg" / "journal")]


def batches(made):
    return sum(shape[0] for backend in made for shape in backend.batches)


@pytest.mark.parametrize("batch", [1, 4])
def test_photos_that_fail_do_not_undo_their_batch(batch, run, tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 40)
    for number in (3, 17, 39):
        paths[number].write_bytes(paths[number].read_bytes()[:300])
    first = run([tmp_path / "in"], tmp_path / "out", batch=batch)
    before = (tmp_path / "out" / "predictions.json").read_bytes()
    made = []
    second = run([tmp_path / "in"], tmp_path / "out", batch=batch, made=made)
    assert batches(made) == 0, "finished photos were inferred again"
    assert [failure.path for failure in second.failures] == [failure.path for failure in first.failures]
    assert (tmp_path / "out" / "predictions.json").read_bytes() == before
    assert sum(record["t"] == "failed" for record in journal(tmp_path / "out")) == 3


def test_a_photo_that_heals_is_done_alone(run, tmp_path, monkeypatch):
    paths = stubs.write_photos(tmp_path / "in", 10)
    from fashionseg.media import images

    read = images.read_image

    def failing(path):
        if path == paths[4]:
            raise images.MediaError(f"cannot read {path}: Input/output error")
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(images, "read_image", failing)
        assert len(run([tmp_path / "in"], tmp_path / "out", batch=4).failures) == 1
    made = []
    assert run([tmp_path / "in"], tmp_path / "out", batch=4, made=made).failures == []
    assert batches(made) == 1
    run([tmp_path / "in"], tmp_path / "whole", batch=4)
    assert len(stub_run.same_files(tmp_path / "out", tmp_path / "whole")) == 12
    assert not (tmp_path / "out" / "failures.json").exists()


def test_parts_begun_anew_replace_those_before(tmp_path):
    def part(number):
        return PartDone(0, number, (4, 4), (FrameRecord(number, None, ()),))

    with RunFolder(tmp_path / "out", {}) as folder:
        for number in (0, 1, 2):
            folder.add(part(number))
        folder.forget_video(0)
        folder.add(part(0))
    with RunFolder(tmp_path / "out", {}) as folder:
        assert folder.parts_done(0) == 1
        folder.add(part(1))
        assert [done.part for done in folder.finished(0)] == [0, 1]


def test_a_videos_record_is_durable_before_its_parts_are_dropped(run, small_parts, tmp_path, monkeypatch):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=7))
    calls = []
    from fashionseg.writers import folder as folder_module
    from fashionseg.writers.journal import Journal

    append, sync, rmtree = Journal.append, Journal.sync, folder_module.shutil.rmtree
    monkeypatch.setattr(Journal, "append", lambda self, r, f=None: (calls.append(r["t"]), append(self, r, f))[1])
    monkeypatch.setattr(Journal, "sync", lambda self: (calls.append("sync"), sync(self))[1])
    monkeypatch.setattr(
        folder_module.shutil,
        "rmtree",
        lambda path, **o: (calls.append(f"remove {path.parent.name}"), rmtree(path, **o))[1],
    )
    run([clip], tmp_path / "out")
    end = calls.index("video")
    assert calls[end : end + 3] == ["video", "sync", "remove parts"], calls


def test_frames_are_durable_before_their_part_is_noted(run, small_parts, tmp_path, monkeypatch):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=4))
    flushed = []
    from fashionseg.writers import journal as journal_module

    monkeypatch.setattr(journal_module, "SYNC_SECONDS", 0.0)
    flush = journal_module.flush_folder
    monkeypatch.setattr(journal_module, "flush_folder", lambda folder: (flushed.append(folder), flush(folder))[1])
    run([clip], tmp_path / "out", save=frozenset({"frames", "predictions"}))
    assert flushed.count(tmp_path / "out" / "clip") == 2


def test_restart_removes_frames_of_the_run_before(run, tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=6))
    save = frozenset({"frames", "predictions"})
    run([clip], tmp_path / "out", save=save)
    (tmp_path / "out" / "clip" / "mine.jpg").write_bytes(b"mine")
    run([clip], tmp_path / "out", save=save, vid_stride=4, restart=True)
    names = sorted(path.name for path in (tmp_path / "out" / "clip").iterdir())
    assert names == ["000000.jpg", "000004.jpg", "mine.jpg"]


@pytest.mark.parametrize("name", ["predictions.json", "images.json", "failures.json", "000.jpg", "deep/001.jpg"])
def test_files_of_others_are_refused_and_stay(name, run, tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    (tmp_path / "in" / "deep").mkdir()
    (tmp_path / "in" / "001.png").rename(tmp_path / "in" / "deep" / "001.png")
    target = tmp_path / "out" / name
    target.parent.mkdir(parents=True)
    target.write_bytes(b"precious")
    with pytest.raises(OutputError, match="--restart"):
        run([tmp_path / "in"], tmp_path / "out")
    assert target.read_bytes() == b"precious"
    assert [path for path in (tmp_path / "out").rglob("*.jpg") if path != target] == []


@pytest.mark.parametrize("name", ["journal", "lock", "tmp", "parts"])
def test_state_that_is_a_link_is_refused(name, run, tmp_path):
    stubs.write_photos(tmp_path / "in", 1)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "out" / ".fashionseg").mkdir(parents=True)
    if name in ("tmp", "parts"):
        elsewhere.mkdir()
    else:
        elsewhere.write_bytes(b"precious")
    (tmp_path / "out" / ".fashionseg" / name).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="is a link"):
        run([tmp_path / "in"], tmp_path / "out")
    if elsewhere.is_dir():
        assert not list(elsewhere.iterdir())
    else:
        assert elsewhere.read_bytes() == b"precious"


def test_the_state_folder_may_not_be_a_link_either(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 1)
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / ".fashionseg").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="leads out of the output folder"):
        run([tmp_path / "in"], tmp_path / "out")
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_torn_record_is_dropped_and_done_again(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 6)
    run([tmp_path / "in"], tmp_path / "whole")
    run([tmp_path / "in"], tmp_path / "out")
    path = tmp_path / "out" / ".fashionseg" / "journal"
    for cut in (1, 40, 700):
        path.write_bytes(path.read_bytes()[:-cut])
        (tmp_path / "out" / "predictions.json").unlink()
        assert run([tmp_path / "in"], tmp_path / "out").resumed
        stub_run.same_files(tmp_path / "out", tmp_path / "whole")


def test_two_processes_into_one_folder_are_refused(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 8)
    out = tmp_path / "out"
    gated = stub_run.Gated(out, tmp_path / "in")
    for options in ({}, {"restart": True}):
        with pytest.raises(OutputError, match="another fashionseg is writing"):
            run([tmp_path / "in"], out, **options)
    gated.end(expect=0)
    assert run([tmp_path / "in"], out).frames == 0


@pytest.mark.parametrize("seed", range(6))
def test_what_a_power_failure_took_is_done_again(seed, run, small_parts, tmp_path):
    """Of what was not flushed any part may be gone: the journal's end, torn anywhere, and files by their names."""
    rng = random.Random(seed)
    stubs.write_photos(tmp_path / "in", 8)
    clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=11, sounds=(clips.Sound(seconds=0.4),)))
    run([tmp_path / "in"], tmp_path / "whole")
    out = tmp_path / "out"

    def fail():
        raise FashionsegError("the lights went out")

    if seed % 2:
        with pytest.raises(FashionsegError, match="lights"):
            run([tmp_path / "in"], out, fail=stubs.at_picture(rng.randrange(8), fail))
    else:
        run([tmp_path / "in"], out)
    path = out / ".fashionseg" / "journal"
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(data.index(b"\n") + 1, len(data) + 1)])
    for file in sorted(out.rglob("*")):
        if file.is_file() and file.name not in ("journal", "lock") and rng.random() < 0.4:
            file.unlink()
    run([tmp_path / "in"], out)
    stub_run.same_files(out, tmp_path / "whole")


def test_the_journal_grows_with_the_input_alone(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 40)
    sizes = []

    class Watch:
        def __getattr__(self, name):
            return lambda *args: None

        def finished(self, source, output):
            sizes.append((tmp_path / "out" / ".fashionseg" / "journal").stat().st_size)

    run([tmp_path / "in"], tmp_path / "out", reporter=Watch())
    steps = np.diff(sizes)
    assert len(sizes) == 40
    assert steps.max() < 1.2 * steps.min(), steps


def test_failures_and_photos_of_every_kind_survive_the_journal(tmp_path):
    with RunFolder(tmp_path / "out", {}) as folder:
        folder.add(PhotoFailed(5, "it is \udcff broken\n"))
        assert folder.photo_failed(5) and not folder.photo_done(5)
    with RunFolder(tmp_path / "out", {}) as folder:
        assert folder.photo_failed(5)
        assert not folder.resumed, "nothing is finished"


def test_sources_that_changed_are_refused(run, tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 3)
    run([tmp_path / "in"], tmp_path / "out")
    before = json.loads((tmp_path / "out" / "images.json").read_text())
    cv2.imwrite(str(paths[1]), stubs.picture(seed=99))
    with pytest.raises(OutputError, match="the sources changed"):
        run([tmp_path / "in"], tmp_path / "out")
    assert json.loads((tmp_path / "out" / "images.json").read_text()) == before


def test_an_output_that_is_a_source_by_another_way_is_refused(run, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.jpg"), stubs.picture())
    before = (tmp_path / "in" / "a.jpg").read_bytes()
    (tmp_path / "out").symlink_to(tmp_path / "in")
    with pytest.raises(FashionsegError, match=r"output folder"):
        run([tmp_path / "in" / "a.jpg"], tmp_path / "out", restart=True)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "a.jpg").symlink_to(tmp_path / "in" / "a.jpg")
    with pytest.raises(OutputError, match="would overwrite the source"):
        run([tmp_path / "in" / "a.jpg"], tmp_path / "far", restart=True)
    assert (tmp_path / "in" / "a.jpg").read_bytes() == before
