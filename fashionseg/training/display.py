"""What is seen while a model is trained: a live panel on a terminal, a line now and then elsewhere.

Knows Detectron2's hook protocol and rich. Knows nothing about how the figures come about.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from detectron2.engine import HookBase
from rich.console import Console
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import (
    Progress as Bar,
)
from rich.table import Table

if TYPE_CHECKING:
    from fashionseg.training.checkpoints import SafeCheckpointer
    from fashionseg.training.hooks import Validate

_LINE_PERIOD_S = 30.0
_REFRESH_S = 0.5
_MEDIAN_WINDOW = 20


def say(text: str) -> None:
    """A line on stderr."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)


class Progress(HookBase):
    """Step, ETA, photos a second, losses, learning rate, best figure, GPU memory, newest checkpoint; on stderr."""

    def __init__(self, title: str, photos_per_step: int, checkpointer: SafeCheckpointer, judge: list[Validate]) -> None:
        self._title, self._photos, self._judge, self._checkpointer = title, photos_per_step, judge, checkpointer
        self._console = Console(stderr=True)
        self._live: Live | None = None
        self._validation: TaskID | None = None
        self._shown_at = 0.0

    def before_train(self) -> None:
        """Show the panel."""
        self._bar = Bar(
            TextColumn("[bold]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task(self._title, total=self.trainer.max_iter, completed=self.trainer.start_iter)
        for judge in self._judge:
            judge.watch = self._measuring
        if self._console.is_terminal:
            self._live = Live(self._bar, console=self._console, refresh_per_second=2)
            self._live.start()

    def after_step(self) -> None:
        """Bring it up to date, at most twice a second (a line every half minute without a terminal)."""
        done = self.trainer.iter + 1
        period = _REFRESH_S if self._live else _LINE_PERIOD_S
        if time.monotonic() - self._shown_at < period and done != self.trainer.max_iter:
            return
        self._shown_at = time.monotonic()
        facts = self._facts()
        if self._live is None:
            text = "  ".join(f"{name} {value}" for name, value in facts.items())
            self._console.print(
                f"{self._title} {done}/{self.trainer.max_iter}  {text}", highlight=False, soft_wrap=True
            )
            return
        self._bar.update(self._task, completed=done)
        table = Table.grid(padding=(0, 2))
        for name, value in facts.items():
            table.add_row(f"[dim]{name}", value)
        panel = Table.grid()
        panel.add_row(self._bar)
        panel.add_row(table)
        self._live.update(panel)

    def _measuring(self, done: int, total: int) -> None:
        """Show how far a measurement on the validation set is: the second bar, there only while it runs."""
        if self._validation is None:
            self._validation = self._bar.add_task("validation")
        if done == 1:
            self._bar.reset(self._validation)
        self._bar.update(self._validation, completed=done, total=total, visible=done < total)
        if self._live is None and done == 1:
            self._console.print(f"{self._title}: measuring on the validation set", highlight=False)

    def after_train(self) -> None:
        """Take the panel down."""
        if self._live is not None:
            self._live.stop()

    def _facts(self) -> dict[str, str]:
        histories = self.trainer.storage.histories()
        losses = {name: h.median(_MEDIAN_WINDOW) for name, h in histories.items() if "loss" in name}
        facts = {name.removeprefix("loss_"): f"{value:.4f}" for name, value in losses.items()}
        if "time" in histories:
            seconds = histories["time"].median(_MEDIAN_WINDOW)
            left = int(seconds * (self.trainer.max_iter - self.trainer.iter - 1))
            facts["photos/s"] = f"{self._photos / seconds:.1f}"
            facts["ETA"] = f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        if "lr" in histories:
            facts["lr"] = f"{histories['lr'].latest():.2e}"
        return facts | self._state()

    def _state(self) -> dict[str, str]:
        state: dict[str, Any] = {}
        for judge in self._judge:
            if judge.best is not None:
                state["best"] = f"{judge.best:.1f} (step {judge.best_step})"
        if torch.cuda.is_available():
            state["GPU memory"] = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        if self._checkpointer.last_good:
            state["checkpoint"] = self._checkpointer.last_good.name
        return state
