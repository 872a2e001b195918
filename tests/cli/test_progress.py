"""What a run shows: on a terminal, in a log, as JSON; before, during and after."""

import io
import json
import signal
import threading
from pathlib import Path

import pytest
from rich.console import Console

from fashionseg.cli import progress
from fashionseg.cli.progress import JsonReporter, PlainReporter, QuietReporter, RichReporter, stopping_on_signals
from fashionseg.cli.segment import exit_code
from fashionseg.cli.summary import print_plan, print_summary
from fashionseg.media.frame import Source
from fashionseg.segment.types import Failure, Plan, Summary
from fashionseg.writers.coco import Tally

PHOTO = Source(0, Path("in/a.png"), "a.png", "photo")
VIDEO = Source(1, Path("in/b\nc.mov"), "b\nc.mov", "video")


def plan(root=Path("out")):
    return Plan((PHOTO, VIDEO), ("a.jpg", "b\nc.mp4"), (), root)


def tell_everything(reporter):
    """A whole run, as `segment` tells it."""
    reporter.note("a note")
    reporter.begin(plan(), 1)
    reporter.source(PHOTO, 1, 0)
    reporter.advance(PHOTO, 2)
    reporter.finished(PHOTO, Path("out/a.jpg"))
    reporter.source(VIDEO, 10, 4)
    for _ in range(6):
        reporter.advance(VIDEO, 1)
    reporter.failed(Failure("in/b\nc.mov", "in/b\nc.mov breaks after frame 10", 10))


def test_a_quiet_run_says_only_what_failed(capsys):
    tell_everything(QuietReporter())
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "failed: in/b␊c.mov breaks after frame 10\n")


def test_a_log_gets_plain_lines_and_progress_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    tell_everything(PlainReporter())
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a note"
    assert lines[1] == "1 photo and 1 video → out, 1 done before"
    assert "in/b␊c.mov: 10 frames, going on at frame 4" in lines
    assert any("7 pictures" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_shows_inputs_and_frames(monkeypatch):
    screen = io.StringIO()
    with RichReporter() as reporter:
        reporter._console = Console(file=screen, force_terminal=True, width=100, highlight=False)
        reporter._progress = progress._progress(reporter._console)
        tell_everything(reporter)
        reporter.source(VIDEO, None, 0)
        reporter.advance(VIDEO, 0)
        reporter._progress.refresh()
        text = screen.getvalue()
    assert "a note" in text
    assert "inputs" in text
    assert "b␊c.mov" in text
    assert "breaks after frame 10" in text


BROKEN = Failure("in/b", "in/b breaks off", 3)


@pytest.mark.parametrize("failure", [Failure("in/b", "in/b is no video"), BROKEN])
def test_an_input_counts_once_however_it_ends(failure, capsys):
    plain = PlainReporter()
    with RichReporter() as rich:
        rich._console = Console(file=io.StringIO(), force_terminal=True)
        for reporter in (plain, rich):
            reporter.begin(plan(), 0)
            reporter.failed(failure)
            if failure.frames:
                reporter.finished(VIDEO, Path("out/b.mp4"))
        assert rich._progress.tasks[0].completed == plain._done == 1


def test_a_video_that_broke_before_was_counted_then(capsys):
    reporter = PlainReporter()
    reporter.begin(plan(), 2)
    reporter.failed(BROKEN)
    assert reporter._done == 2


def test_json_lines_and_a_heartbeat(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 3600)
    beaten = threading.Event()
    reporter = JsonReporter()
    tell_event = reporter._event

    def event(event, /, **values):
        tell_event(event, **values)
        if event == "heartbeat":
            beaten.set()

    monkeypatch.setattr(reporter, "_event", event)
    tell_everything(reporter)
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.01)
    with reporter:
        assert beaten.wait(60)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events]
    assert kinds[:6] == ["note", "begin", "source", "finished", "source", "failed"]
    assert set(kinds[6:]) == {"heartbeat"}
    assert events[-1]["pictures"] == 7
    assert not [thread for thread in threading.enumerate() if thread.name == "fashionseg-heartbeat"]


def test_the_first_signal_asks_and_the_second_stops(capsys):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), stopping_on_signals(PlainReporter()) as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop.is_set()
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
    assert "the same command goes on" in capsys.readouterr().err


def summary_of(tmp_path, **changes):
    tally = Tally(photos=1, videos=1, frames=10)
    tally.detections.update({0: 1234, 1: 2})
    tally.pictures.update({0: 11, 1: 2})
    values = {
        "tally": tally,
        "frames": 11,
        "seconds": 2.0,
        "timings": {"decode": 0.1, "infer": 1.5},
        "class_names": ("short_shirt", "trousers", "hat"),
        "backend": "stub",
    }
    return Summary(plan(tmp_path), **{**values, **changes})


def test_the_summary_for_people(tmp_path, capsys):
    (tmp_path / "b\nc.mp4").touch()
    (tmp_path / "predictions.json").touch()
    print_summary(summary_of(tmp_path, inexact=1, failures=[Failure("x", "x is bad")]), quiet=False, as_json=False)
    text = capsys.readouterr().err
    for words in (
        "short shirt",
        "1,234",
        "11 pictures in 2.0 s (5.5/s)",
        "b␊c.mp4",
        "predictions.json",
        "1 of the inputs failed",
    ):
        assert words in text, words
    print_summary(summary_of(tmp_path), quiet=True, as_json=False)
    assert capsys.readouterr().err == ""


def test_the_summary_of_an_interrupted_run_and_of_one_with_nothing_to_do(tmp_path, capsys):
    print_summary(summary_of(tmp_path, interrupted=True, tally=Tally()), quiet=False, as_json=False)
    assert "the same command goes on" in capsys.readouterr().err
    print_summary(summary_of(tmp_path, frames=0), quiet=False, as_json=False)
    assert "finished before" in capsys.readouterr().err
    failing = summary_of(tmp_path, frames=0, tally=Tally(), failures=[Failure("x", "x is bad")])
    print_summary(failing, quiet=False, as_json=False)
    assert "finished before" not in capsys.readouterr().err


def test_the_summary_as_json(tmp_path, capsys):
    print_summary(summary_of(tmp_path), quiet=False, as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["detections"] == {"short_shirt": 1234, "trousers": 2, "hat": 0}
    assert told["seconds_by_work"]["infer"] == 1.5


def test_the_plan_for_people_and_programs(tmp_path, capsys):
    failing = Plan((PHOTO,), ("a.jpg",), (Failure("y", "y is missing"),), tmp_path)
    print_plan(failing, as_json=False)
    captured = capsys.readouterr()
    assert captured.out == f"photo  in/a.png → {tmp_path / 'a.jpg'}\n"
    assert "y is missing" in captured.err
    print_plan(failing, as_json=True)
    assert json.loads(capsys.readouterr().out)["failures"] == [{"path": "y", "reason": "y is missing"}]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"failures": [Failure("x", "bad")]}, 3),
        ({"failures": [Failure("x", "bad")], "tally": Tally()}, 1),
        ({"interrupted": True, "failures": [Failure("x", "bad")]}, 130),
    ],
)
def test_exit_codes(changes, code, tmp_path):
    assert exit_code(summary_of(tmp_path, **changes)) == code
