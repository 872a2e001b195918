"""`fashionseg evaluate`."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import (
    PATH,
    NamesType,
    defaults_option,
    device_option,
    json_option,
    named_classes,
    quiet_option,
    threads_option,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fashionseg.evaluation.gate import Requirement
    from fashionseg.evaluation.result import Evaluation
    from fashionseg.evaluation.run import Reporter


class RequirementType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments yet
    """A bound of a metric, such as `segm/AP>=0.30`."""

    name = "requirement"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Requirement:
        from fashionseg.evaluation.gate import Requirement, parse_requirement

        if isinstance(value, Requirement):
            return value
        try:
            return parse_requirement(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Measure a model or predictions against a COCO data set.")
@click.argument("model", type=PATH)
@click.option("--data", type=PATH, required=True, metavar="COCO.json", help="Ground truth: COCO annotations.")
@click.option(
    "--images",
    type=PATH,
    metavar="DIR",
    help="Folder of the photos. Default: images/ beside COCO.json, or there.",
)
@click.option(
    "-o", "--output", type=PATH, metavar="OUT", help="Folder for report.html, plots, metrics.json, predictions.json."
)
@click.option(
    "--compare", type=PATH, metavar="OLD.json", help="An earlier metrics.json: show what changed, and if by chance."
)
@click.option(
    "--require",
    type=RequirementType(),
    multiple=True,
    metavar="METRIC>=X",
    help='Bound on a number of metrics.json (accuracy 0..1, latency in ms), such as "segm/AP>=0.30"; exit code 4 '
    "where it is broken. May be given several times.",
)
@click.option(
    "--config-file",
    "config",
    metavar="FILE|NAME",
    help="Detectron2 config of a checkpoint, a file or a name of its model zoo. Default: config.yaml beside it.",
)
@click.option(
    "--classes",
    type=NamesType(),
    callback=named_classes,
    metavar="NAME,...",
    help="Names of a checkpoint's classes. Default: what its files say.",
)
@click.option("--trust", is_flag=True, help="Load a checkpoint that holds more than weights: it may run code.")
@device_option
@threads_option
@defaults_option
@quiet_option
@json_option
def evaluate(model: Path, quiet: bool, as_json: bool, **chosen: Any) -> None:
    """Measure MODEL against annotated photos: COCO's numbers, thresholds, errors, and a report to look at.

    MODEL is an ONNX model file, a TensorRT engine (.engine, .plan), a Detectron2 checkpoint (.pth, .pkl), a
    predictions.json, or `default` for the embedded model. All go through the same metrics, and no score threshold but
    the model's own is applied.

    \b
    fashionseg evaluate model.onnx --data val.json --images photos/ -o report
    fashionseg evaluate model.engine --data val.json --images photos/
    fashionseg evaluate runs/mine/model_best.pth --data val.json
    fashionseg evaluate out/predictions.json --data val.json --compare old/metrics.json
    fashionseg evaluate model.onnx --data val.json --require "segm/AP>=0.30"

    Exit codes: 0 done; 1 could not be done; 2 wrong usage; 4 done, and a --require was broken.
    """
    from fashionseg.evaluation.gate import check
    from fashionseg.evaluation.run import EvaluateOptions
    from fashionseg.evaluation.run import evaluate as run_evaluate

    options = EvaluateOptions(model, **chosen)
    with _reporter(quiet=quiet) as reporter:
        evaluation = run_evaluate(options, reporter)
    if as_json:
        click.echo(json.dumps(evaluation.to_json()))
    elif not quiet:
        _print_tables(evaluation)
    _print_end(evaluation, options.output, quiet=quiet)
    check(options.require, evaluation.metrics.flat())


def _print_tables(evaluation: Evaluation) -> None:
    from rich.console import Console

    from fashionseg.evaluation.tables import tables

    console = Console(highlight=False)
    for table in tables(evaluation, console.width):
        console.print(table)


def _print_end(evaluation: Evaluation, output: Path | None, *, quiet: bool) -> None:
    from rich.console import Console
    from rich.text import Text

    from fashionseg.evaluation.text import printable

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    for warning in evaluation.warnings:
        console.print(Text.assemble(("warning  ", "bold yellow"), printable(warning)))
    if output is not None and not quiet:
        console.print(Text(f"report: {printable(str(output / 'report.html'))}"))


@contextmanager
def _reporter(*, quiet: bool) -> Iterator[Reporter]:
    """A progress bar and notes on standard error; nothing with `quiet`."""
    from fashionseg.evaluation.run import SilentReporter

    if quiet:
        yield SilentReporter()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:

        class RichReporter(SilentReporter):
            def note(self, message: str) -> None:
                console.print(Text(message, style="dim"), soft_wrap=True)

            def begin(self, photos: int) -> None:
                self._task = progress.add_task("photos", total=photos)

            def advance(self) -> None:
                progress.advance(self._task)

        yield RichReporter()
