"""How a run of `segment` shows on a terminal, in a log, and as JSON lines; and how signals stop it.

Messages and progress go to standard error; JSON events go to standard output.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, cast

from fashionseg.cli.streams import LastingStderr, say, silence
from fashionseg.errors import OutputError
from fashionseg.segment.types import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.progress import Progress, TaskID

    from fashionseg.media.frame import Source
    from fashionseg.segment.types import Failure, Plan, Reporter

LOG_SECONDS = 10.0
"""How often progress is told where there is no terminal."""


@contextmanager
def choose_reporter(*, quiet: bool, as_json: bool) -> Iterator[Reporter]:
    """The reporter that fits: JSON lines, nothing, a live display on a terminal, or plain lines."""
    if as_json:
        with JsonReporter() as reporter:
            yield reporter
    elif quiet:
        yield QuietReporter()
    elif sys.stderr.isatty():
        with RichReporter() as rich_reporter:
            yield rich_reporter
    else:
        yield PlainReporter()


@contextmanager
def stopping_on_signals(reporter: Reporter) -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets once; a second Ctrl-C stops at once.

    The handler takes no lock and writes nothing: it may interrupt the main thread inside the reporter, which would then
    wait for itself. Another thread tells the reporter.
    """
    stop, woken = threading.Event(), threading.Event()
    signals: list[int] = []

    def handle(number: int, frame: object) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        stop.set()
        woken.set()

    def tell() -> None:
        woken.wait()
        if signals:
            with suppress(OutputError):  # the run's own thread meets it too and ends the run
                reporter.note("stopping after what is under way; the same command goes on (again: stop now)")

    teller = threading.Thread(target=tell, name="fashionseg-signals", daemon=True)
    teller.start()
    previous = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        woken.set()
        teller.join()


class QuietReporter(SilentReporter):
    """Says which inputs failed, and nothing else."""

    def failed(self, failure: Failure) -> None:
        """See `Reporter`."""
        say(f"failed: {failure.reason}")


class PlainReporter(QuietReporter):
    """Plain lines for logs: what began, what failed, and how far it is now and then."""

    def __init__(self) -> None:
        self._told = time.monotonic()
        self._began = self._told
        self._total = 0
        self._done = 0
        self._frames = 0

    def note(self, message: str) -> None:
        """See `Reporter`."""
        say(message)

    def begin(self, plan: Plan, done: int) -> None:
        """See `Reporter`."""
        self._total, self._done = len(plan.sources), done
        say(_opening(plan, done))

    def source(self, source: Source, frames: int | None, first: int) -> None:
        """See `Reporter`."""
        if source.kind == "video":
            going_on = f", going on at frame {first}" if first else ""
            say(f"{source.path}: {'unknown number of' if frames is None else frames} frames{going_on}")

    def advance(self, source: Source, detections: int) -> None:
        """See `Reporter`."""
        self._frames += 1
        now = time.monotonic()
        if now - self._told >= LOG_SECONDS:
            self._told = now
            rate = self._frames / (now - self._began)
            say(f"{self._done} of {self._total} inputs, {self._frames} pictures, {rate:.1f}/s, at {source.path}")

    def failed(self, failure: Failure) -> None:
        """See `Reporter`."""
        super().failed(failure)
        self._done += not failure.frames  # of others, `finished` tells, or an earlier run did

    def finished(self, source: Source, output: Path | None) -> None:
        """See `Reporter`."""
        self._done += 1


class RichReporter(SilentReporter):
    """A live display: one bar for all inputs, one for the frames of the present video."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(file=cast("IO[str]", LastingStderr()), highlight=False)
        self._progress = _progress(self._console)
        self._inputs: TaskID | None = None
        self._video: TaskID | None = None

    def __enter__(self) -> RichReporter:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._progress.stop()

    def note(self, message: str) -> None:
        """See `Reporter`."""
        from rich.text import Text

        self._console.print(Text(f"• {message}", style="dim"))

    def begin(self, plan: Plan, done: int) -> None:
        """See `Reporter`."""
        self._console.print(_opening(plan, done), style="dim", markup=False)
        if len(plan.sources) > 1:
            self._inputs = self._progress.add_task("inputs", total=len(plan.sources), completed=done, unit="")
        self._progress.start()

    def source(self, source: Source, frames: int | None, first: int) -> None:
        """See `Reporter`."""
        if source.kind == "video":
            self._video = self._progress.add_task(_short(source.name), total=frames, completed=first, unit="frames")

    def advance(self, source: Source, detections: int) -> None:
        """See `Reporter`."""
        if source.kind == "video" and self._video is not None:
            self._progress.advance(self._video)

    def failed(self, failure: Failure) -> None:
        """See `Reporter`."""
        from rich.text import Text

        self._console.print(Text.assemble(("failed  ", "bold red"), failure.reason))
        if not failure.frames:  # of others, `finished` tells, or an earlier run did
            self._end_video()
            self._advance_inputs()

    def finished(self, source: Source, output: Path | None) -> None:
        """See `Reporter`."""
        self._end_video()
        self._advance_inputs()

    def _end_video(self) -> None:
        if self._video is not None:
            self._progress.remove_task(self._video)
            self._video = None

    def _advance_inputs(self) -> None:
        if self._inputs is not None:
            self._progress.advance(self._inputs)


class JsonReporter(SilentReporter):
    """One JSON object a line on standard output, and a heartbeat while nothing else happens."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._frames = 0
        self._lost = ""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._heart = threading.Thread(target=self._beat, name="fashionseg-heartbeat", daemon=True)

    def __enter__(self) -> JsonReporter:
        self._heart.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._heart.join()

    def note(self, message: str) -> None:
        """See `Reporter`."""
        self._event("note", message=message)

    def begin(self, plan: Plan, done: int) -> None:
        """See `Reporter`."""
        self._event("begin", inputs=len(plan.sources), done=done, output=str(plan.root))

    def source(self, source: Source, frames: int | None, first: int) -> None:
        """See `Reporter`."""
        self._event("source", path=str(source.path), kind=source.kind, frames=frames, first=first)

    def advance(self, source: Source, detections: int) -> None:
        """See `Reporter`."""
        self._frames += 1

    def failed(self, failure: Failure) -> None:
        """See `Reporter`."""
        self._event("failed", path=failure.path, reason=failure.reason, frames=failure.frames)

    def finished(self, source: Source, output: Path | None) -> None:
        """See `Reporter`."""
        self._event("finished", path=str(source.path), output=str(output) if output else None)

    def _beat(self) -> None:
        while not self._ended.wait(LOG_SECONDS):
            try:
                self._event("heartbeat", pictures=self._frames)
            except OutputError:
                return  # the run's own thread meets it too and ends the run

    def _event(self, event: str, **values: Any) -> None:
        with self._lock:
            line = json.dumps({"event": event, "seconds": round(time.monotonic() - self._began, 3), **values})
            if self._lost:
                raise OutputError(self._lost)
            try:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()
            except OSError as error:
                silence(sys.stdout)
                self._lost = f"cannot write to standard output ({error.strerror}): stopped; the same command goes on"
                raise OutputError(self._lost) from error


def _progress(console: Any) -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class SpeedColumn(ProgressColumn):
        """Items a second."""

        def render(self, task: Any) -> Text:
            speed = task.finished_speed or task.speed
            unit = "fps" if task.fields.get("unit") else "/s"
            return Text("" if speed is None else f"{speed:.1f} {unit}", style="cyan")

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}", style="dim"),
        SpeedColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=console,
        transient=True,
    )


def _opening(plan: Plan, done: int) -> str:
    photos = sum(source.kind == "photo" for source in plan.sources)
    videos = len(plan.sources) - photos
    counts = [f"{n} {word}{'s' if n != 1 else ''}" for n, word in ((photos, "photo"), (videos, "video")) if n]
    going_on = f", {done} done before" if done else ""
    return f"{' and '.join(counts)} → {plan.root}{going_on}"


def _short(name: str, width: int = 40) -> str:
    clean = name.encode("utf-8", "replace").decode().replace("\n", "␊")
    return clean if len(clean) <= width else "…" + clean[-width + 1 :]
