"""`fashionseg bench`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import PATH, DeviceType, defaults_option, json_option, quiet_option, threads_option

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fashionseg.benchmarks.bench.plan import Reporter
    from fashionseg.benchmarks.bench.result import BenchResult
    from fashionseg.evaluation.gate import Requirement

MOST_PICTURES = 256


class BatchesType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments yet
    """Comma-separated batch sizes."""

    name = "batches"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        words = value if isinstance(value, list) else str(value).split(",")
        try:
            batches = tuple(int(word) for word in words)
        except ValueError:
            batches = ()
        if not batches or not all(0 < batch <= MOST_PICTURES for batch in batches):
            self.fail(f"{value!r}: give numbers from 1 to {MOST_PICTURES}, such as 1,4,8", param, ctx)
        return tuple(dict.fromkeys(batches))


class BoundType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments yet
    """A bound on a figure, such as `fps>=20`."""

    name = "bound"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Requirement:
        from fashionseg.benchmarks.bench.gate import parse
        from fashionseg.evaluation.gate import Requirement

        if isinstance(value, Requirement):
            return value
        try:
            return parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Measure how fast models and the whole pipeline are on this machine.")
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    default=("default",),
    metavar="FILE",
    help="Model file; may be given several times. Default: the embedded one, `default`.",
)
@click.option(
    "--device",
    "devices",
    type=DeviceType(),
    multiple=True,
    default=("auto",),
    help="Where models run; may be given several times. Default: auto.",
)
@click.option(
    "--batch",
    "batches",
    type=BatchesType(),
    metavar="N,...",
    help="Pictures a run: one or more sizes. Default: as `segment`, 8 on a GPU, 1 on a CPU.",
)
@click.option(
    "--source", type=PATH, metavar="VIDEO", help="The video to run, decode to encode. Default: a drawn clip of 720p."
)
@click.option("--data", type=PATH, metavar="COCO.json", help="Measure AP on these annotated photos, too.")
@click.option("--images", type=PATH, metavar="DIR", help="Folder of these photos. Default: images/ beside, or there.")
@click.option(
    "--repeat", type=click.IntRange(1, 100), default=3, show_default=True, help="Rounds; medians are taken over them."
)
@click.option("-o", "--output", type=PATH, metavar="OUT", help="Folder for bench.json and bench.png.")
@click.option(
    "--require",
    "bounds",
    type=BoundType(),
    multiple=True,
    metavar="METRIC>=X",
    help='Bound that every row has to keep, such as "fps>=20" or "latency/p99<=50"; exit code 4 where one does not. '
    "May be given several times.",
)
@click.option(
    "--compare",
    type=PATH,
    nargs=2,
    metavar="A.json B.json",
    help="Measure nothing: show what changed from one bench.json to another.",
)
@threads_option
@defaults_option
@quiet_option
@json_option
def bench(
    output: Path | None,
    bounds: tuple[Requirement, ...],
    compare: tuple[Path, Path] | None,
    quiet: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Measure models and the whole pipeline on this machine, and how far they are from what it can do at most.

    \b
    fashionseg bench                                     the embedded model, a drawn clip
    fashionseg bench -m mine.onnx --source video.mp4 --batch 1,4,8 -o speed
    fashionseg bench --device cpu --device cuda --require "fps>=20"
    fashionseg bench --compare before/bench.json after/bench.json

    For each model, device and batch: latency, photos a second, memory, start-up, the least time the model's arithmetic
    could take here (the floor); then frames a second of a video from file to file, and which stage is the limit. Each
    is measured in a process of its own, in turns.

    Exit codes: 0 done; 1 could not be done; 2 wrong usage; 4 done, and a --require was broken.
    """
    from fashionseg.benchmarks.bench.gate import check
    from fashionseg.benchmarks.bench.plan import BenchOptions
    from fashionseg.benchmarks.bench.plan import bench as run_bench

    if compare:
        if bounds or output is not None:
            raise click.UsageError("--compare measures nothing: it goes with neither --require nor -o")
        _compare(*compare, quiet=quiet, as_json=as_json)
        return
    with _reporter(quiet=quiet) as reporter:
        result = run_bench(BenchOptions(**chosen), reporter)
        if output is not None:
            _write(result, output, reporter)
    if as_json:
        click.echo(json.dumps(result.to_json()))
    elif not quiet:
        _print(result)
    check(bounds, result)


def _write(result: BenchResult, output: Path, reporter: Reporter) -> None:
    """bench.json always, the plot where matplotlib is installed."""
    from fashionseg.benchmarks.bench.plot import write_plot
    from fashionseg.benchmarks.bench.result import write_result
    from fashionseg.errors import MissingExtraError

    reporter.note(f"written: {write_result(result, output)}")
    try:
        reporter.note(f"written: {write_plot(result, output)}")
    except MissingExtraError as error:
        reporter.note(f"no plot: {error}")


def _print(result: BenchResult) -> None:
    from rich.console import Console

    from fashionseg.benchmarks.bench.tables import closing_lines, tables

    console = Console(highlight=False)
    for table in tables(result):
        console.print(table)
    for line in closing_lines(result):
        console.print(line, markup=False, soft_wrap=not console.is_terminal)


def _compare(old: Path, new: Path, *, quiet: bool, as_json: bool) -> None:
    from rich.console import Console

    from fashionseg.benchmarks.bench.compare import compare
    from fashionseg.benchmarks.bench.result import read_result
    from fashionseg.benchmarks.bench.tables import change_table

    changes = compare(read_result(old), read_result(new))
    if as_json:
        click.echo(json.dumps([change.to_json() for change in changes]))
    elif not quiet:
        Console(highlight=False).print(change_table(changes))


@contextmanager
def _reporter(*, quiet: bool) -> Iterator[Reporter]:
    """A progress bar and notes on standard error; nothing with `quiet`."""
    from fashionseg.benchmarks.bench.plan import SilentReporter

    if quiet:
        yield SilentReporter()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None)

        class RichReporter(SilentReporter):
            done = -1

            def note(self, message: str) -> None:
                console.print(Text(message, style="dim"), soft_wrap=True)

            def begin(self, steps: int) -> None:
                progress.update(task, total=steps)

            def step(self, what: str) -> None:
                self.done += 1
                progress.update(task, completed=self.done, description=what.replace("[", r"\["))

        yield RichReporter()
