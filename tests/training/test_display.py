"""What is seen while a model is trained, on a terminal and elsewhere."""

import io
import re
import types
from pathlib import Path

import pytest
from rich.console import Console

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


@pytest.fixture
def shown(monkeypatch):
    """Makes a display at step 40 of 100 and the stream it writes to; half a second a step, 16 photos each."""
    from detectron2.utils.events import EventStorage

    from fashionseg.training import display

    def make(terminal):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=terminal, width=100, color_system=None)
        monkeypatch.setattr(display, "Console", lambda **rest: console)
        judge = types.SimpleNamespace(best=41.53, best_step=20, watch=None)
        checkpointer = types.SimpleNamespace(last_good=Path("run/model_0000029.pth"))
        progress = display.Progress("detector", 16, checkpointer, [judge])
        storage = EventStorage(39)
        storage.put_scalars(time=0.5, lr=0.0002, loss_mask=0.25, total_loss=1.5)
        progress.trainer = types.SimpleNamespace(max_iter=100, start_iter=30, iter=39, storage=storage)
        progress.before_train()
        return progress, judge, stream

    return make


def facts(text):
    """Names and values of a text whose lines or double spaces part them."""
    return {name: re.search(rf"\b{name} +(\S+(?: \(step \d+\))?)", text)[1] for name in NAMES}


NAMES = ("mask", "total_loss", "photos/s", "ETA", "lr", "best", "checkpoint")
EXPECTED = dict(
    zip(
        NAMES,
        ("0.2500", "1.5000", "32.0", "0:00:30", "2.00e-04", "41.5 (step 20)", "model_0000029.pth"),
        strict=True,
    )
)


def test_the_panel_on_a_terminal(shown):
    progress, judge, stream = shown(terminal=True)
    progress.after_step()
    stream.truncate(stream.seek(0))
    progress._live.refresh()
    panel = stream.getvalue()
    assert re.search(r"detector .*\b40/100\b", panel)
    assert facts(panel) == EXPECTED
    judge.watch(1, 8)
    judge.watch(3, 8)
    progress._live.refresh()
    assert re.search(r"validation .*\b3/8\b", stream.getvalue())
    judge.watch(8, 8)
    stream.truncate(stream.seek(0))
    progress.after_train()
    last = stream.getvalue()
    assert "validation" not in last, "only while it runs"
    assert facts(last) == EXPECTED, "the last state stays on the screen"


def test_lines_without_a_terminal(shown):
    progress, judge, stream = shown(terminal=False)
    progress.after_step()
    progress.after_step()
    judge.watch(1, 8)
    judge.watch(2, 8)
    progress.after_train()
    first, second = stream.getvalue().splitlines()
    assert first.startswith("detector 40/100  ")
    assert facts(first) == EXPECTED
    assert second == "detector: measuring on the validation set"
