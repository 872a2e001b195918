"""Faults in every stage and of the machine: one clear sentence, no hang, nothing half-written, and it can go on."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import stub_run
import stubs

from fashionseg.errors import FashionsegError
from fashionseg.segment import SegmentOptions, segment

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(autouse=True)
def stub_model(monkeypatch):
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())


def run(source, root, **options):
    return segment([source], root, SegmentOptions(**options), open_backend=lambda model: stubs.StubBackend(model.spec))


def threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fashionseg-")]


def whole_files_only(root):
    """No temporary file is left, and every photo under its final name is complete."""
    assert not list(root.rglob("*.tmp")), list(root.rglob("*.tmp"))
    for path in root.rglob("*.jpg"):
        data = path.read_bytes()
        assert data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9"), path


STAGES = {
    "decode": "fashionseg.segment.run.Run._photo_blocks",
    "read": "fashionseg.media.images.read_image",
    "preprocess": "fashionseg.segment.run.prepare_frame",
    "infer": "stubs.StubBackend.run",
    "masks": "fashionseg.writers.annotated.paste_masks",
    "draw": "fashionseg.drawing.Annotator.draw",
    "encode": "fashionseg.media.images.encode_jpeg",
    "write": "fashionseg.writers.annotated.write_bytes",
    "journal": "fashionseg.writers.journal.Journal.append",
    "coco": "fashionseg.segment.write_coco",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError("boom"), OSError(28, "No space left on device")])
def test_a_fault_in_any_stage_ends_the_run_and_nothing_hangs(stage, error, tmp_path, monkeypatch):
    stubs.write_photos(tmp_path / "in", 12)
    place = STAGES[stage]
    calls = [0]
    owner, name = place.rsplit(".", 1)
    real = _find(owner)
    original = getattr(real, name)

    def faulty(*args, **kwargs):
        calls[0] += 1
        if calls[0] == (1 if stage in ("decode", "coco") else 6):
            raise error
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(place, faulty)
        try:
            summary = run(tmp_path / "in", tmp_path / "out")
        except (FashionsegError, RuntimeError, MemoryError, OSError) as caught:
            assert "boom" in str(caught) or "pace left" in str(caught)
        else:
            assert stage == "read", "only a photo that cannot be read costs itself alone"
            assert len(summary.failures) == 1
    assert not threads()
    whole_files_only(tmp_path / "out")
    summary = run(tmp_path / "in", tmp_path / "out")
    assert summary.tally.photos == 12
    undisturbed = run(tmp_path / "in", tmp_path / "undisturbed")
    assert undisturbed.tally.photos == 12
    for name in ("predictions.json", "images.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


def _find(owner):
    import importlib

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


def start(output, *sources, slow=0.02, **popen):
    command = [sys.executable, stub_run.__file__, str(output), *map(str, sources), "--slow", str(slow)]
    environment = {**os.environ, "PYTHONPATH": str(Path(stub_run.__file__).parent)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **popen
    )


def wait_until_something_is_done(output, process):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(output.glob("*.jpg"))) >= 3:
            return
        time.sleep(0.01)
    raise AssertionError(f"nothing was done: {process.communicate()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_soon_and_the_run_goes_on_after(number, tmp_path):
    stubs.write_photos(tmp_path / "in", 100)
    process = start(tmp_path / "out", tmp_path / "in")
    wait_until_something_is_done(tmp_path / "out", process)
    process.send_signal(number)
    began = time.monotonic()
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert time.monotonic() - began < 5
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    whole_files_only(tmp_path / "out")
    assert not (tmp_path / "out" / "predictions.json").exists()
    done = len(list((tmp_path / "out").glob("*.jpg")))
    assert 3 <= done < 100
    process = start(tmp_path / "out", tmp_path / "in")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert f"{done} done before" in errors
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 100


def test_two_signals_stop_at_once(tmp_path):
    stubs.write_photos(tmp_path / "in", 100)
    process = start(tmp_path / "out", tmp_path / "in", slow=0.5)
    wait_until_something_is_done(tmp_path / "out", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    whole_files_only(tmp_path / "out")


def test_an_output_folder_that_vanishes_is_one_sentence(tmp_path):
    stubs.write_photos(tmp_path / "in", 100)
    process = start(tmp_path / "out", tmp_path / "in")
    wait_until_something_is_done(tmp_path / "out", process)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 1, errors
    assert "error: cannot write" in errors
    assert "Traceback" not in errors


def test_a_disk_that_fills_up_is_one_sentence_and_the_run_goes_on_after(tmp_path):
    resource = pytest.importorskip("resource")
    stubs.write_photos(tmp_path / "in", 30, size_hw=(400, 300))

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    process = start(tmp_path / "out", tmp_path / "in", preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1, errors
    assert "error: cannot write" in errors
    whole_files_only(tmp_path / "out")
    process = start(tmp_path / "out", tmp_path / "in")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to become somebody else")
def test_an_output_folder_without_permission_is_one_sentence(tmp_path):
    stubs.write_photos(tmp_path / "in", 2)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/") and folder.owner() == "root" and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from pathlib import Path\n"
        "from fashionseg.errors import OutputError\n"
        "from fashionseg.writers.folder import RunFolder\n"
        f"try: RunFolder(Path({str(locked / 'out')!r}), {{}}).__enter__()\n"
        "except OutputError as error: print(error); sys.exit(1)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    if "Permission" in done.stderr and "import" in done.stderr:
        pytest.skip("another user cannot read this Python")
    assert done.returncode == 1, done.stderr
    assert "permission denied" in done.stdout
