"""Faults in every stage and of the machine: one clear sentence, no hang, nothing half-written, and it can go on."""

import importlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import clips
import pytest
import stub_run
import stubs

from fashionseg.errors import FashionsegError, OutOfMemoryError, OutputError

pytestmark = pytest.mark.timeout(180)

needs_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become nobody")


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fashionseg-")]


def whole_files_only(root):
    """No temporary file is left, and every photo under its final name is complete."""
    assert not list(root.rglob("*.tmp")), list(root.rglob("*.tmp"))
    for path in root.rglob("*.jpg"):
        data = path.read_bytes()
        assert data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"), path
    for path in root.rglob("*.mp4"):
        assert path.parent == root or path.parent.parent.name == "parts", path
        assert len(clips.av_frames(path)) > 0, path


STAGES = {
    # stage: (what fails, at which of its calls)
    "decode": ("fashionseg.segment.decode.Decoder._photo_blocks", 1),
    "read": ("fashionseg.media.images.read_image", 4),
    "frame": ("fashionseg.media.video_reader.VideoReader._upright_bgr", 4),
    "preprocess": ("fashionseg.segment.decode.prepare_frame", 6),
    "open backend": ("stubs.StubBackend.__enter__", 1),
    "infer": ("stubs.StubBackend.run", 6),
    "masks": ("fashionseg.writers.annotated.paste_masks", 6),
    "draw": ("fashionseg.drawing.Annotator.draw", 6),
    "draw a frame": ("fashionseg.drawing.Annotator.draw", 11),
    "encode": ("fashionseg.media.images.encode_jpeg", 6),
    "write": ("fashionseg.writers.annotated.write_bytes", 6),
    "encode a frame": ("fashionseg.media.video_writer.PartWriter.write", 5),
    "close a part": ("fashionseg.media.video_writer.PartWriter.close", 2),
    "join": ("fashionseg.media.joining.join_parts", 1),
    "journal": ("fashionseg.writers.journal.Journal.append", 6),
    "journal of a part": ("fashionseg.writers.journal.Journal.append", 10),
    "report": ("fashionseg.segment.types.SilentReporter.advance", 6),
    "coco": ("fashionseg.segment.write_coco", 1),
}
ALONE = [(stage, "MemoryError") for stage in ("read", "preprocess", "masks", "draw", "encode", "write")]
"""Photos that do not fit into memory cost themselves only."""


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Eight photos and a clip of seven frames."""
    folder = tmp_path_factory.mktemp("sources") / "in"
    stubs.write_photos(folder, 8)
    clips.make(folder / "clip.mp4", clips.Clip(frames=7, sounds=(clips.Sound(seconds=0.3),)))
    return folder


@pytest.fixture(scope="module")
def undisturbed(sources, tmp_path_factory):
    """The folder of an undisturbed run over them."""
    with pytest.MonkeyPatch.context() as patch:
        from fashionseg.segment import SegmentOptions, segment

        patch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())
        patch.setattr("fashionseg.segment.video.PART_FRAMES", 3)
        root = tmp_path_factory.mktemp("undisturbed") / "out"
        segment([sources], root, SegmentOptions(batch=1), open_backend=lambda model: stubs.StubBackend(model.spec))
    return root


FAULTS = [
    *((stage, error) for stage in STAGES for error in (RuntimeError("boom"), OSError(28, "No space left on device"))),
    *((stage, MemoryError("boom")) for stage in ("infer", "frame", "encode a frame", *(stage for stage, _ in ALONE))),
    *((stage, SystemExit("boom")) for stage in ("infer", "draw")),
]


@pytest.mark.parametrize(
    ("stage", "error"), FAULTS, ids=lambda value: value if isinstance(value, str) else type(value).__name__
)
def test_a_fault_in_any_stage_ends_the_run_and_nothing_hangs(
    stage, error, sources, undisturbed, run, small_parts, tmp_path, monkeypatch
):
    root = tmp_path / "out"
    place, at = STAGES[stage]
    with monkeypatch.context() as patch:
        _fail_once(patch, place, at, error)
        try:
            summary = run([sources], root)
        except (FashionsegError, RuntimeError, MemoryError, OSError, SystemExit) as caught:
            assert "boom" in str(caught) or "pace left" in str(caught)
            assert not (root / "predictions.json").exists()
        else:
            assert (stage, type(error).__name__) in ALONE
            assert len(summary.failures) == 1 and "memory" in summary.failures[0].reason
    assert not threads()
    whole_files_only(root)
    summary = run([sources], root)
    assert (summary.tally.photos, summary.tally.frames, summary.failures) == (8, 7, [])
    assert len(stub_run.same_files(root, undisturbed)) == 11


def test_a_device_without_memory_is_one_sentence_and_the_run_goes_on_after(
    sources, undisturbed, run, small_parts, tmp_path
):
    def fail():
        raise OutOfMemoryError("cuda:0 is out of memory for a batch of 1")

    with pytest.raises(OutOfMemoryError, match="cuda:0 is out of memory"):
        run([sources], tmp_path / "out", fail=stubs.at_picture(5, fail))
    assert not threads()
    whole_files_only(tmp_path / "out")
    assert run([sources], tmp_path / "out").resumed
    stub_run.same_files(tmp_path / "out", undisturbed)


def _fail_once(patch, place, at, error):
    owner, name = place.rsplit(".", 1)
    original = getattr(_find(owner), name)
    lock, calls = threading.Lock(), [0]

    def faulty(*args, **kwargs):
        with lock:
            calls[0] += 1
            now = calls[0]
        if now == at:
            raise error
        return original(*args, **kwargs)

    patch.setattr(_find(owner), name, faulty)


def _find(owner):
    parts = owner.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ImportError:
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise AssertionError(owner)


def told(process, words):
    """Standard error up to the line that holds `words`."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if words in line:
            break
    return "".join(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_soon_and_the_run_goes_on_after(number, run, tmp_path):
    stubs.write_photos(tmp_path / "in", 60)
    out = tmp_path / "out"
    gated = stub_run.Gated(out, tmp_path / "in")
    gated.process.send_signal(number)
    assert "the same command goes on" in told(gated.process, "the same command")
    assert "Traceback" not in gated.end(expect=130)
    whole_files_only(out)
    assert not (out / "predictions.json").exists()
    done = len(list(out.glob("*.jpg")))
    assert 5 <= done < 40, "what is under way is finished, and no more"
    summary = run([tmp_path / "in"], out)
    assert summary.resumed
    assert summary.frames == 60 - done
    assert len(list(out.glob("*.jpg"))) == 60


def test_two_signals_stop_at_once(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    out = tmp_path / "out"
    gated = stub_run.Gated(out, tmp_path / "in")
    gated.process.send_signal(signal.SIGINT)
    told(gated.process, "again: stop now")
    gated.process.send_signal(signal.SIGINT)
    errors = gated.process.stderr.read()  # the model's run never ends
    assert gated.process.wait(120) == 130, errors
    assert "Traceback" not in errors
    whole_files_only(out)
    assert run([tmp_path / "in"], out).frames == 6


def test_an_output_folder_that_vanishes_is_one_sentence(tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    out = tmp_path / "out"
    gated = stub_run.Gated(out, tmp_path / "in")
    shutil.rmtree(out)
    errors = gated.end(expect=1)
    assert "error: cannot write" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("limit", [6_000, 12_000])
def test_files_that_may_not_grow_are_one_sentence_and_the_run_goes_on_after(limit, run, tmp_path):
    resource = pytest.importorskip("resource")
    stubs.write_photos(tmp_path / "in", 30, size_hw=(400, 300) if limit > 10_000 else (80, 64))
    out = tmp_path / "out"

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    errors = stub_run.finish(out, tmp_path / "in", expect=1, popen={"preexec_fn": limited})
    assert "error: cannot write" in errors
    assert "Traceback" not in errors
    whole_files_only(out)
    assert run([tmp_path / "in"], out).tally.photos == 30


@needs_root
@pytest.mark.parametrize("room", (8, 24, 40, 50))
def test_a_full_disk_is_one_sentence_and_the_run_goes_on_after(room, run, small_parts, sources, undisturbed, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small disk cannot be mounted here")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes((1024 - room) * 1024))
        with pytest.raises(OutputError, match="no space left on device"):
            run([sources], disk / "out")
        whole_files_only(disk / "out")
        filler.unlink()
        run([sources], disk / "out")
        stub_run.same_files(disk / "out", undisturbed)
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def open_to_all(*folders):
    """Let every user reach these folders below the temporary one of this user's tests."""
    for folder in folders:
        for parent in (folder, *folder.parents):
            if parent.is_relative_to("/tmp") and parent != Path("/tmp"):
                parent.chmod(0o777 if parent == folder else parent.stat().st_mode | 0o055)


@needs_root
def test_an_output_folder_without_permission_is_one_sentence(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    locked = tmp_path / "locked"
    locked.mkdir()
    open_to_all(tmp_path / "in", locked)
    locked.chmod(0o555)
    errors = stub_run.finish(locked / "out", tmp_path / "in", expect=1, as_nobody=True)
    assert "locked/out: permission denied" in errors
    assert "Traceback" not in errors


@needs_root
@pytest.mark.parametrize("place", [".", ".fashionseg/tmp"])
def test_an_output_folder_that_becomes_read_only_is_one_sentence_and_the_run_goes_on_after(place, run, tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    out = tmp_path / "out"
    out.mkdir()
    open_to_all(tmp_path / "in", out)
    gated = stub_run.Gated(out, tmp_path / "in", as_nobody=True)
    (out / place).chmod(0o555)
    errors = gated.end(expect=1)
    assert "error: cannot write" in errors and "permission denied" in errors
    assert "Traceback" not in errors
    if (out / place).exists():
        (out / place).chmod(0o777)
    assert run([tmp_path / "in"], out).tally.photos == 10
    whole_files_only(out)


@needs_root
def test_an_unreadable_file_costs_itself_only(tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 4)
    clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=3))
    (tmp_path / "in" / "deep").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    open_to_all(tmp_path / "in", out)
    paths[1].chmod(0)
    (tmp_path / "in" / "clip.mp4").chmod(0)
    (tmp_path / "in" / "deep").chmod(0)
    errors = stub_run.finish(out, tmp_path / "in", expect=3, as_nobody=True)
    assert len(list(out.glob("*.jpg"))) == 3
    for name in ("001.png", "clip.mp4", "deep"):
        assert any(line.startswith("failed:") and name in line and "ermission" in line for line in errors.splitlines())
