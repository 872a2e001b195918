"""`fashionseg export` of a checkpoint: its options, and the comparison with Detectron2 as a table and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.export.result import Result
from fashionseg.cli.export.sections import option, section
from fashionseg.cli.options import NamesType, named_classes

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rich.table import Table

    from fashionseg.export.parity import Proof
    from fashionseg.export.steps import Steps


def _metrics(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for word in value:
        name, _, number = word.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"{word!r}: write NAME=POINTS, such as segm/AP=33.8", ctx, param) from None
    return found


checkpoint_options = section(
    "From a checkpoint",
    "checkpoint",
    option(
        "--config-file",
        metavar="FILE|NAME",
        help="Detectron2 config, a file or a name of its model zoo. Default: config.yaml beside MODEL.",
    ),
    option(
        "--classes",
        type=NamesType(),
        callback=named_classes,
        metavar="NAME[:ID],...",
        help="Names and category ids of the classes. Default: what the checkpoint says, or COCO's for 80 classes and "
        "DeepFashion2's for 5 and 13.",
    ),
    option(
        "--weights",
        type=click.Choice(["fp32", "fp16"]),
        default="fp32",
        show_default=True,
        help="How weights are stored. fp16 halves the file; computed is in float32 all the same.",
    ),
    option(
        "--max-detections",
        type=click.IntRange(1, 1000),
        metavar="K",
        help="Most detections a picture; fewer run faster. Default: the config's.",
    ),
    option("--name", default="", help="Name of the model, for people."),
    option("--dataset", default="", metavar="TEXT", help="What it was trained on."),
    option("--licence", default="", metavar="TEXT", help="Licence of the weights, such as Apache-2.0."),
    option(
        "--metric",
        "metrics",
        multiple=True,
        callback=_metrics,
        metavar="NAME=POINTS",
        help="A measured figure, such as segm/AP=33.8; repeatable.",
    ),
    option("--trust", is_flag=True, help="Read a checkpoint or config that may run code when it is opened."),
)
"""Options that only a checkpoint has a use for: argument `checkpoint`."""


def checkpoint_result(
    path: Path, output: Path, chosen: dict[str, Any], check: tuple[Path, ...], steps: Steps
) -> Result:
    """The checkpoint as a float32 model file in memory, proven against Detectron2."""
    from fashionseg.export.exporter import ExportOptions, exported_model

    options = {("config" if name == "config_file" else name): value for name, value in chosen.items()}
    exported = exported_model(path, output, ExportOptions(**options), _pictures(check), steps.note)
    proof = exported.proof
    return Result(exported.model, exported.seconds, (_table(proof),), _notes(proof), _values(proof))


def _pictures(paths: tuple[Path, ...]) -> list[NDArray[np.uint8]]:
    from fashionseg.export.precision_photos import photo_files
    from fashionseg.media.images import read_image

    return [read_image(path) for path in photo_files(paths)] if paths else []


def _values(proof: Proof) -> dict[str, Any]:
    from dataclasses import asdict

    return {"checks": [asdict(check) for check in proof.checks], "tolerance": asdict(proof.tolerance)}


def _table(proof: Proof) -> Table:
    from rich import box
    from rich.table import Table

    tolerance = proof.tolerance
    table = Table(box=box.SIMPLE, title="ONNX Runtime against Detectron2: largest differences", title_justify="left")
    for column in ("", "pictures", "objects", "matched", "box, px", "score", "mask"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for check in proof.checks:
        pair = check.agreement
        table.add_row(
            check.name,
            str(check.pictures),
            str(pair.wanted),
            str(pair.matched),
            *(f"{value:.1e}" for value in (pair.box, pair.score, pair.mask)),
        )
    table.add_row(
        "tolerance",
        "",
        "",
        f"{tolerance.matched:.1%}",
        *(f"{v:g}" for v in (tolerance.box, tolerance.score, tolerance.mask)),
        style="dim",
    )
    return table


def _notes(proof: Proof) -> tuple[str, ...]:
    inexact = sum(check.inexact for check in proof.checks)
    if not inexact:
        return ()
    return (f"non-maximum suppression did not settle in {inexact} pictures (see `nms_exact`)",)
