"""Standard output and error that close, fill up or are rotated away; signals inside the reporter."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import stub_run
import stubs

from fashionseg.cli import progress
from fashionseg.cli.progress import JsonReporter, PlainReporter, stopping_on_signals
from fashionseg.errors import OutputError

pytestmark = pytest.mark.timeout(180)


def test_a_reader_that_leaves_ends_the_run_with_one_sentence_and_it_goes_on_after(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    gated = stub_run.Gated(tmp_path / "out", tmp_path / "in", json=True)
    assert json.loads(gated.process.stdout.readline())["event"] == "begin"
    gated.process.stdout.close()
    gated.open_gate()
    errors = gated.process.stderr.read()
    assert gated.process.wait(120) == 1
    assert errors.splitlines() == [
        "error: cannot write to standard output (Broken pipe): stopped; the same command goes on"
    ]
    assert run([tmp_path / "in"], tmp_path / "out").tally.photos == 10


def test_a_log_nobody_can_write_any_more_does_not_end_the_run(tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    gated = stub_run.Gated(tmp_path / "out", tmp_path / "in", tmp_path / "missing.png", log_seconds=0)
    gated.process.stderr.close()
    gated.open_gate()
    assert gated.process.wait(120) == 3
    assert (tmp_path / "out" / "predictions.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(("stream", "code"), [("stdout", 1), ("stderr", 0)])
def test_a_full_disk_under_a_stream(stream, code, tmp_path):
    stubs.write_photos(tmp_path / "in", 3)
    with Path("/dev/full").open("w") as full:
        process = stub_run.start(tmp_path / "out", tmp_path / "in", json=True, popen={stream: full})
        _, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    if stream == "stdout":
        assert "cannot write to standard output (No space left on device)" in errors
        assert "Traceback" not in errors


def test_progress_survives_log_rotation(tmp_path):
    stubs.write_photos(tmp_path / "in", 10)
    log, rotated = tmp_path / "log", tmp_path / "log.1"
    with log.open("w") as file:
        gated = stub_run.Gated(tmp_path / "out", tmp_path / "in", log_seconds=0, popen={"stderr": file})
        stub_run.wait_for(lambda: "4 pictures" in log.read_text(), gated.process)
        log.rename(rotated)
        gated.open_gate()
        assert gated.process.wait(120) == 0
    assert "10 pictures" in rotated.read_text()
    assert not log.exists()


def test_json_of_a_run_of_faults_has_every_event_and_a_heartbeat(tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 6)
    paths[2].write_bytes(b"")
    out = tmp_path / "out"
    gated = stub_run.Gated(out, tmp_path / "in", log_seconds=0.05, json=True, done=(out / "003.jpg").exists)
    lines = []
    while sum('"heartbeat"' in line for line in lines) < 3:  # they go on while nothing else happens
        lines.append(gated.process.stdout.readline())
    gated.open_gate()
    lines += gated.process.stdout
    assert gated.process.wait(120) == 3
    events = [json.loads(line) for line in lines]
    assert [event["path"] for event in events if event["event"] == "failed"] == [str(paths[2])]
    assert sum(event["event"] == "finished" for event in events) == 5
    assert max(event["pictures"] for event in events if event["event"] == "heartbeat") >= 3
    assert [event["seconds"] for event in events] == sorted(event["seconds"] for event in events)


@pytest.mark.parametrize("make", [JsonReporter, PlainReporter])
def test_a_signal_inside_the_reporter_does_not_wait_for_itself(make, capsys):
    with contextlib.ExitStack() as stack:
        reporter = make()
        if hasattr(reporter, "__exit__"):
            stack.enter_context(reporter)
        with stopping_on_signals(reporter) as stop, getattr(reporter, "_lock", contextlib.nullcontext()):
            signal.raise_signal(signal.SIGINT)
            assert stop.is_set()
    captured = capsys.readouterr()
    assert "the same command goes on" in captured.out + captured.err


def test_no_thread_of_signals_is_left(capsys):
    with stopping_on_signals(PlainReporter()):
        assert [t for t in threading.enumerate() if t.name == "fashionseg-signals"]
    assert not [t for t in threading.enumerate() if t.name == "fashionseg-signals"]
    assert capsys.readouterr().err == ""


def test_a_lost_standard_output_stays_lost(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr(progress, "silence", lambda stream: None)
    reporter = JsonReporter()
    for _ in range(2):
        with pytest.raises(OutputError, match="standard output"):
            reporter.note("hello")


BUSY_THREAD = """
import sys, threading, time, zlib
from fashionseg.cli import main

def run(arguments, debug=False):
    data = bytes(50_000_000)
    thread = threading.Thread(target=lambda: [zlib.compress(data) for _ in range(100)], daemon=True)
    thread.name = "fashionseg-infer"
    thread.start()
    time.sleep(0.2)
    print("out")
    return main.EXIT_INTERRUPTED

main.run = run
sys.stdout.reconfigure(write_through=False)
main.main([])
"""


def test_leaving_while_a_thread_is_busy_flushes_and_takes_no_time():
    done = subprocess.run(
        [sys.executable, "-c", BUSY_THREAD], capture_output=True, text=True, timeout=120, env=os.environ, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "out\n", "")
