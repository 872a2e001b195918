"""`fashionseg export --precision`: its options, and the comparison with float32 as a table and as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.export.result import Result
from fashionseg.cli.export.sections import option, section
from fashionseg.cli.options import PATH, NumberRange

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from fashionseg.export.precision import LowerOptions
    from fashionseg.export.precision_check import Comparison
    from fashionseg.export.steps import Steps

precision_options = section(
    "Lower precision",
    "lowering",
    option(
        "--precision",
        type=click.Choice(["fp32", "fp16", "int8"]),
        default="fp32",
        show_default=True,
        help="What the network computes in. Boxes, non-maximum suppression and softmax stay in fp32.",
    ),
    option(
        "--calibrate",
        type=PATH,
        multiple=True,
        metavar="PHOTOS",
        help="Photos that int8 learns its ranges from, best those of training: folder, glob or COCO file; repeatable.",
    ),
    option(
        "--check-data",
        type=PATH,
        metavar="COCO.json",
        help="Labelled photos to measure with what AP the precision costs.",
    ),
    option("--images", type=PATH, metavar="DIR", help="Folder of the photos of COCO files. Default: beside them."),
    option(
        "--max-drop",
        type=NumberRange(0, 100),
        metavar="POINTS",
        help="Most AP it may cost; beyond, no file is left and the exit code is 4. Default: 0.5 for fp16, 1 for int8.",
    ),
)
"""Options of lower precision: argument `lowering`."""


def lower_options(
    ctx: click.Context, chosen: dict[str, Any], check: tuple[Path, ...], *, for_engine: bool
) -> LowerOptions | None:
    """What was asked for, or None for fp32. `for_engine`: an engine will be built from it."""
    from fashionseg.cli.export.sections import given
    from fashionseg.export.precision import LowerOptions

    values = {**chosen, "check": check, "for_engine": for_engine}
    if values["precision"] == "fp32":
        useless = [name for name in given(ctx, chosen) if name != "--precision"]
        if useless:
            raise click.UsageError(f"{', '.join(useless)}: only for --precision fp16 and int8", ctx)
        return None
    if values["precision"] == "int8" and not values["calibrate"]:
        raise click.UsageError("--precision int8 needs --calibrate PHOTOS, some of those it was trained on", ctx)
    if values["precision"] == "fp16" and values["calibrate"]:
        raise click.UsageError("--calibrate is for --precision int8", ctx)
    return LowerOptions(**values)


def lowered_result(source: Result, output: Path, options: LowerOptions, steps: Steps, *, quiet: bool) -> Result:
    """The model file in lower precision, in memory, proven against float32.

    Raises:
        PrecisionError: it costs too much; unless `quiet`, the table tells what.
    """
    from rich.console import Console

    from fashionseg.export.precision import lowered_model
    from fashionseg.export.precision_check import PrecisionError

    try:
        lowered = lowered_model(source.model, output, options, steps)
    except PrecisionError as error:
        if not quiet:
            table = _table(error.comparison, options)
            Console(stderr=True, highlight=False).print(table)
        raise
    return Result(
        lowered.model,
        source.seconds + lowered.seconds,
        (*source.tables, _table(lowered.comparison, options)),
        source.notes,
        {**source.values, "comparison": _values(lowered.comparison, options.allowed_drop)},
    )


def _values(comparison: Comparison, max_drop: float) -> dict[str, Any]:
    """The comparison for programs; AP in points."""
    points = {kind: [round(100 * value, 3) for value in pair] for kind, pair in comparison.ap.items()}
    drop = None if comparison.drop is None else round(comparison.drop, 3)
    return {**asdict(comparison), "share": comparison.share, "ap": points, "drop": drop, "max_drop": max_drop}


def _table(comparison: Comparison, options: LowerOptions) -> Table:
    from rich import box
    from rich.table import Table

    from fashionseg.export.precision_check import MIN_IOU, MIN_MATCHED, MIN_SCORE

    precision = options.precision
    title = f"{precision} against fp32, {comparison.photos} photos"
    caption = f"found again: detections of fp32 above {MIN_SCORE}, the class the same and mask IoU at least {MIN_IOU}"
    table = Table(box=box.SIMPLE, title=title, title_justify="left", caption=caption, caption_justify="left")
    for column in ("", "fp32", precision, "change", "allowed"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for kind, (before, after) in sorted(comparison.ap.items(), reverse=True):
        name, change = {"bbox": "AP, boxes", "segm": "AP, masks"}[kind], after - before
        allowed = f"-{options.allowed_drop:g}"
        table.add_row(name, f"{100 * before:.2f}", f"{100 * after:.2f}", f"{100 * change:+.2f}", allowed)
    wanted, matched = comparison.wanted, comparison.matched
    allowed = "" if comparison.ap else f"{MIN_MATCHED[precision]:.0%}"
    table.add_row("found again", str(wanted), str(matched), f"{comparison.share:.1%}", allowed)
    table.add_row("their scores, mean", "", "", f"±{comparison.mean_score:.4f}")
    table.add_row("their scores, largest", "", "", f"±{comparison.score:.4f}")
    return table
