"""The cache of engines: what is in a key, one build for many, damaged entries, folders of others, the command."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import stubs

from fashionseg.backends.cuda import Gpu
from fashionseg.cli.main import run
from fashionseg.engine_file import EngineInfo, write_engine
from fashionseg.errors import OutputError
from fashionseg.export import engine_cache, engine_timings
from fashionseg.export.engine import EngineOptions, Target
from fashionseg.export.engine_folder import cache_folder, own_folder
from fashionseg.model import ModelFile

TARGET = Target("tensorrt", "10.13.3.9", Gpu("NVIDIA L4", "8.9"))
OPTIONS = EngineOptions()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHIONSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def model(**changes):
    return ModelFile(Path("shirts v2.onnx"), b"onnx", stubs.spec(min_size=64, max_size=96), "12" * 32, **changes)


def key(model_file=None, target=TARGET, options=OPTIONS, style="plugin"):
    return engine_cache.cache_key(model_file or model(), target, options, style)


def test_a_key_holds_everything_an_engine_depends_on():
    other = replace(model(), sha256="34" * 32)
    lower = replace(model(), spec=replace(model().spec, precision="fp16"))
    keys = [
        key(),
        key(other),
        key(lower),
        key(target=replace(TARGET, version="10.13.3.10")),
        key(target=replace(TARGET, library="tensorrt_rtx")),
        key(target=replace(TARGET, gpu=Gpu("NVIDIA L40", "8.9"))),
        key(target=replace(TARGET, gpu=Gpu("NVIDIA L4", "9.0"))),
        key(target=replace(TARGET, gpu=None)),
        key(options=replace(OPTIONS, batch=(1, 8, 32))),
        key(options=replace(OPTIONS, sizes=((64, 96),))),
        key(options=replace(OPTIONS, workspace=2**30)),
        key(options=replace(OPTIONS, version_compatible=True)),
        key(style="grid"),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == key(options=replace(OPTIONS, device=1)), "the same GPU in another slot"
    assert key() == key(replace(model(), path=Path("elsewhere/renamed.onnx")))


@pytest.fixture
def builder(monkeypatch):
    """In place of TensorRT: writes files that describe themselves, and counts."""
    built = []

    def build(model_file, output, options, steps, stop):
        steps.note("building")
        plan = f"plan {len(built)}".encode()
        digest = hashlib.sha256(plan).hexdigest()
        profiles = options.profiles(model_file.spec)
        info = EngineInfo("tensorrt", "10.13.3.9", "NVIDIA L4", "8.9", "", digest, profiles, "plugin", False)
        built.append(output)
        return write_engine(output, plan, info, model_file.spec)

    monkeypatch.setattr(engine_cache, "find_target", lambda options: TARGET)
    monkeypatch.setattr(engine_cache, "load_library", lambda name: None)
    monkeypatch.setattr(engine_cache, "offered_roi_align", lambda trt: "plugin")
    monkeypatch.setattr(engine_cache, "build_engine", build)
    return built


def test_an_engine_is_built_once(builder, folder):
    notes = []
    first = engine_cache.cached_engine(model(), OPTIONS, notes.append)
    second = engine_cache.cached_engine(model(), OPTIONS, notes.append)
    assert first == second and len(builder) == 1
    assert "it is built once and kept in" in notes[0] and notes[1:] == ["building"]
    assert first.path.parent == folder / "engines"
    assert first.path.name.startswith("shirts_v2-fp32-")
    engine_cache.cached_engine(replace(model(), sha256="34" * 32), OPTIONS)
    assert len(builder) == 2


def test_a_damaged_entry_is_told_and_built_anew(builder):
    first = engine_cache.cached_engine(model(), OPTIONS)
    first.path.write_bytes(b"half a pl")
    notes = []
    again = engine_cache.cached_engine(model(), OPTIONS, notes.append)
    assert "the cached engine is damaged and built anew" in notes[0]
    assert again.data == b"plan 1" and len(builder) == 2


def test_threads_that_come_at_once_build_once(builder, monkeypatch):
    build, began, go_on = engine_cache.build_engine, threading.Event(), threading.Event()

    def slow(*arguments):
        began.set()
        assert go_on.wait(60)
        return build(*arguments)

    monkeypatch.setattr(engine_cache, "build_engine", slow)
    notes, found = [], []

    def note(message):
        notes.append(message)
        if "waiting" in message:
            go_on.set()

    def open_one():
        found.append(engine_cache.cached_engine(model(), OPTIONS, note))

    first, second = threading.Thread(target=open_one), threading.Thread(target=open_one)
    first.start()
    assert began.wait(60)
    second.start()
    first.join(60), second.join(60)
    assert len(builder) == 1 and len(found) == 2
    assert "another process is building this engine: waiting for it" in notes


HOLD = """
import sys, filelock
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_waited_for_until_a_stop(builder):
    path = engine_cache.cached_engine(model(), OPTIONS).path
    command = [sys.executable, "-c", HOLD, f"{path}.lock"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline().strip() == b"held"
        stop = threading.Event()
        with pytest.raises(KeyboardInterrupt):
            engine_cache.cached_engine(model(), OPTIONS, lambda message: stop.set(), stop)
        assert engine_cache.clear_engines() == engine_cache.Cleared(0, 0, 1), "one in use stays"
        assert path.exists()
        other.communicate(timeout=60)
    assert engine_cache.clear_engines().engines == 1 and not path.exists()


def test_a_folder_of_others_is_refused(folder):
    folder.mkdir()
    (folder / "engines").mkdir(mode=0o777)
    (folder / "engines").chmod(0o777)
    with pytest.raises(OutputError, match="can be written by others, and an engine is code"):
        own_folder()
    (folder / "engines").chmod(0o700)
    assert own_folder() == folder / "engines"


def test_a_new_folder_is_the_users_alone(folder):
    assert own_folder().stat().st_mode & 0o777 == 0o700


def test_where_the_cache_lies(monkeypatch):
    monkeypatch.delenv("FASHIONSEG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache_folder() == Path("/elsewhere/fashionseg")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == Path("/home/somebody/.cache/fashionseg")


def test_the_command(builder, capsys):
    assert run(["cache", "list"]) == 0
    assert "no engine in" in capsys.readouterr().out
    engine = engine_cache.cached_engine(model(), OPTIONS)
    damaged = engine.path.with_name("other.engine")
    damaged.write_bytes(b"x")
    os.utime(damaged, (0, 0))
    assert run(["cache", "list", "--json"]) == 0
    newest, oldest = json.loads(capsys.readouterr().out)
    assert newest["file"] == str(engine.path) and newest["gpu"] == "NVIDIA L4"
    assert newest["profiles"] == ["64x96, batch 1:8:16", "96x64, batch 1:8:16"]
    assert oldest == {"file": str(damaged), "bytes": 1, "modified": 0.0}
    assert run(["cache", "list"]) == 0
    text = capsys.readouterr().out
    assert "damaged" in text and "NVIDIA L4" in text
    engine_timings.write_timings(TARGET, b"timings", lambda message: None)
    assert run(["cache", "clear"]) == 0
    assert "removed 2 engines" in capsys.readouterr().out
    assert not [path for path in engine.path.parent.iterdir() if path.suffix not in (".lock",)]


def test_timings_are_kept_for_each_library_and_gpu():
    notes = []
    assert engine_timings.read_timings(TARGET, notes.append) == b""
    engine_timings.write_timings(TARGET, b"measured", notes.append)
    assert engine_timings.read_timings(TARGET, notes.append) == b"measured"
    for other in (replace(TARGET, version="11.0"), replace(TARGET, gpu=Gpu("NVIDIA L4", "8.6"))):
        assert engine_timings.read_timings(other, notes.append) == b""
    engine_timings.write_timings(TARGET, b"", notes.append)
    assert engine_timings.read_timings(TARGET, notes.append) == b"measured"
    assert notes == []


def test_timings_that_cannot_be_kept_are_told_and_cost_nothing(folder):
    folder.write_text("a file where the folder should be")
    notes = []
    assert engine_timings.read_timings(TARGET, notes.append) == b""
    engine_timings.write_timings(TARGET, b"measured", notes.append)
    assert ["without the timings" in notes[0], "are not kept" in notes[1]] == [True, True]
