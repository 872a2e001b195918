"""What the `data` commands share: options, a progress display, saying what was done."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from fashionseg.data.coco import CocoData, Problem

F = TypeVar("F")

WIDTH_OF_LOGS = 160
"""Columns where there is no terminal: tables there are read later, and names must not be cut."""


class SizeType(click.ParamType[tuple[int, int]]):
    """A size as WIDTHxHEIGHT in pixels; becomes (height, width)."""

    name = "size"

    def __init__(self, least: int = 64, most: int = 4096) -> None:
        self.least, self.most = least, most

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
            self.fail(f"{value!r} is not WIDTHxHEIGHT, such as 480x640", param, ctx)
        width, height = (int(part) for part in parts)
        if not (self.least <= width <= self.most and self.least <= height <= self.most):
            self.fail(f"{value!r}: each side must be {self.least} to {self.most} pixels", param, ctx)
        return height, width


def processes_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--processes`; 0 means all processors."""
    return click.option(
        "--processes",
        type=click.IntRange(0, 256),
        default=0,
        metavar="N",
        help="Worker processes. Default: as many as there are processors.",
    )(function)


def number_of_processes(asked: int) -> int:
    """What `--processes` stands for."""
    from fashionseg.cores import usable_cores

    return asked or usable_cores()


def say(message: str, *, quiet: bool = False) -> None:
    """A line for people, on standard error."""
    if not quiet:
        click.echo(message, err=True)


def read_telling(file: Path, *, need_instances: bool = False, quiet: bool = False) -> CocoData:
    """`read_coco` for a command that writes the data again: tells of polygons that will not be in what it writes.

    Raises:
        DataError: as `read_coco`.
    """
    from fashionseg.data.coco import read_coco

    problems: list[Problem] = []
    data = read_coco(file, need_instances=need_instances, problems=problems)
    tell_lost_polygons(file, problems, quiet=quiet)
    return data


def tell_lost_polygons(file: Path, problems: Sequence[Problem], *, quiet: bool) -> None:
    """A line for the polygons that reading left out of masks which have others."""
    from fashionseg.data.coco import lost_polygons
    from fashionseg.wording import plural

    lost = lost_polygons(problems)
    if lost:
        text = f"{plural(lost, 'unusable polygon')} left out of masks of {file}"
        say(f"{text}: list them with: fashionseg data check {file} --all", quiet=quiet)


def print_json(document: Any) -> None:
    """Data, on standard output."""
    click.echo(json.dumps(document, ensure_ascii=False, indent=1))


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], *, stderr: bool = True) -> None:
    """A table whose columns but the first are numbers."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title or None, title_justify="left")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index else "left")
    for row in rows:
        table.add_row(*row)
    console = Console(stderr=stderr, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, width=WIDTH_OF_LOGS)
    console.print(table)


@contextmanager
def counting(description: str, total: int | None, *, quiet: bool) -> Iterator[Callable[[int], None] | None]:
    """A progress bar on standard error: a function to call with the number done, None where nothing is shown."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(description, total=total)
        told = 0.0

        def tell(done: int) -> None:
            nonlocal told
            now = time.monotonic()
            if now - told > 0.1:
                told = now
                progress.update(task, completed=done)

        yield tell
