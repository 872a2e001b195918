"""How long work tells what it is doing: `Steps`, and one that says nothing.

Knows nothing about terminals.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Steps(Protocol):
    """Hears of work under way. Steps nest; each is known by its name while it lasts. Called from any thread."""

    def note(self, message: str) -> None:
        """One line the user should read."""

    def begin(self, name: str, total: int) -> None:
        """Work of `total` parts begins."""

    def reach(self, name: str, done: int) -> None:
        """So many parts of it are done."""

    def end(self, name: str) -> None:
        """It is finished or given up."""


class SilentSteps:
    """`Steps` that says nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def begin(self, name: str, total: int) -> None:
        """Nothing."""

    def reach(self, name: str, done: int) -> None:
        """Nothing."""

    def end(self, name: str) -> None:
        """Nothing."""


class NotedSteps(SilentSteps):
    """`Steps` whose notes alone are told."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def note(self, message: str) -> None:
        """See `Steps`."""
        self._tell(message)


@contextmanager
def counted(steps: Steps, name: str, total: int) -> Iterator[Callable[[], None]]:
    """A step whose parts are counted: call what this yields after each of them."""
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        steps.reach(name, done)

    steps.begin(name, total)
    try:
        yield advance
    finally:
        steps.end(name)
