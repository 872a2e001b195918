"""How long exports show on a terminal and in a log: `Steps` (see `fashionseg.export.steps`) on standard error."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from fashionseg.export.steps import SilentSteps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console
    from rich.progress import Progress, TaskID

    from fashionseg.export.steps import Steps


@contextmanager
def choose_steps(*, quiet: bool) -> Iterator[Steps]:
    """The steps that fit: nothing, bars on a terminal, or plain lines."""
    if quiet:
        yield SilentSteps()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainSteps(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield BarSteps(progress)


class PlainSteps(SilentSteps):
    """A line for each note and for each step that begins, once for those of one name."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: set[str] = set()

    def note(self, message: str) -> None:
        """See `Steps`."""
        self._console.print(message, markup=False, soft_wrap=True)

    def begin(self, name: str, total: int) -> None:
        """See `Steps`."""
        if name not in self._told:
            self._told.add(name)
            self.note(f"{name}: {total}" if total > 1 else name)


class BarSteps:
    """A bar for each step under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def note(self, message: str) -> None:
        """See `Steps`."""
        self._progress.console.print(message, style="dim", markup=False, soft_wrap=True)

    def begin(self, name: str, total: int) -> None:
        """See `Steps`."""
        self._tasks[name] = self._progress.add_task(name, total=total or None)

    def reach(self, name: str, done: int) -> None:
        """See `Steps`."""
        if name in self._tasks:
            self._progress.update(self._tasks[name], completed=done)

    def end(self, name: str) -> None:
        """See `Steps`."""
        if name in self._tasks:
            self._progress.remove_task(self._tasks.pop(name))
