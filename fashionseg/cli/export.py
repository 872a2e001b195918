"""`fashionseg export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import PATH, NamesType, json_option, quiet_option

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.export.classes import Classes
    from fashionseg.export.exporter import Exported


def _classes(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> Classes | None:
    from fashionseg.export.classes import parse_classes

    if not value:
        return None
    try:
        return parse_classes(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _metrics(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> dict[str, float]:
    found = {}
    for word in value:
        name, _, number = word.partition("=")
        try:
            found[name.strip()] = float(number)
        except ValueError:
            raise click.BadParameter(f"{word!r}: write NAME=POINTS, such as segm/AP=33.8", ctx, param) from None
    return found


@click.command(short_help="Turn a Detectron2 checkpoint into an ONNX model file.")
@click.argument("checkpoint", type=PATH)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="Model file to write. Default: CHECKPOINT's name, .onnx."
)
@click.option(
    "--config-file",
    metavar="FILE|NAME",
    help="Detectron2 config, a file or a name of its model zoo. Default: config.yaml beside CHECKPOINT.",
)
@click.option(
    "--classes",
    type=NamesType(),
    callback=_classes,
    metavar="NAME[:ID],...",
    help="Names and category ids of the classes. Default: what the checkpoint says, or COCO's for 80 classes and "
    "DeepFashion2's for 5 and 13.",
)
@click.option(
    "--weights",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="How weights are stored. fp16 halves the file; computed is in float32 all the same.",
)
@click.option(
    "--max-detections",
    type=click.IntRange(1, 1000),
    metavar="K",
    help="Most detections a picture; fewer run faster. Default: the config's.",
)
@click.option(
    "--check",
    type=PATH,
    multiple=True,
    metavar="PHOTO",
    help="Photo, folder or glob to compare ONNX and Detectron2 on; repeatable. Default: drawn pictures.",
)
@click.option("--name", default="", help="Name of the model, for people.")
@click.option("--dataset", default="", metavar="TEXT", help="What it was trained on.")
@click.option("--licence", default="", metavar="TEXT", help="Licence of the weights, such as Apache-2.0.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    callback=_metrics,
    metavar="NAME=POINTS",
    help="A measured figure, such as segm/AP=33.8; repeatable.",
)
@click.option("--trust", is_flag=True, help="Read a checkpoint or config that may run code when it is opened.")
@json_option
@quiet_option
def export(
    checkpoint: Path,
    output: Path | None,
    check: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    config_file: str | None,
    **options: Any,
) -> None:
    """Turn a Detectron2 checkpoint (.pth, .pkl) into an ONNX model file.

    The file runs on ONNX Runtime and TensorRT at any batch size and holds everything needed to use it. It is compared
    with Detectron2 on real pixels before it appears under its name: where they differ, no file is left and the exit
    code is 4.

    \b
    fashionseg export runs/shirts/model_final.pth -o shirts.onnx
    fashionseg export model.pth -o small.onnx --weights fp16 --max-detections 20 --check photos/
    """
    from fashionseg.export.exporter import ExportOptions, export_checkpoint

    result = export_checkpoint(
        checkpoint,
        output or Path(f"{checkpoint.stem}.onnx"),
        ExportOptions(config=config_file, **options),
        _pictures(check),
        (lambda _: None) if quiet else _note,
    )
    if as_json:
        click.echo(json.dumps(_as_dict(result), ensure_ascii=False))
    elif not quiet:
        _print(result)


def _note(message: str) -> None:
    click.echo(message, err=True)


def _pictures(paths: tuple[Path, ...]) -> list[NDArray[np.uint8]]:
    from fashionseg.errors import MediaError
    from fashionseg.media.images import read_image
    from fashionseg.media.sources import find_sources

    found = find_sources(paths)
    if found.problems:
        raise MediaError(str(found.problems[0]))
    photos = [source.path for source in found.sources if source.kind == "photo"]
    if paths and not photos:
        raise MediaError(f"no photo among {', '.join(map(str, paths))} to check with")
    return [read_image(path) for path in photos]


def _as_dict(result: Exported) -> dict[str, Any]:
    from dataclasses import asdict

    checks = [asdict(check) for check in result.proof.checks]
    return {
        "file": str(result.path),
        "bytes": result.size,
        "nodes": result.nodes,
        "classes": list(result.spec.class_names),
        "checks": checks,
        "tolerance": asdict(result.proof.tolerance),
        "seconds": round(result.seconds, 2),
    }


def _print(result: Exported) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    tolerance = result.proof.tolerance
    table = Table(box=box.SIMPLE, title="ONNX Runtime against Detectron2: largest differences", title_justify="left")
    for column in ("", "pictures", "objects", "matched", "box, px", "score", "mask"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    for check in result.proof.checks:
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
    console = Console(stderr=True, highlight=False)
    console.print(table)
    inexact = sum(check.inexact for check in result.proof.checks)
    if inexact:
        console.print(f"non-maximum suppression did not settle in {inexact} pictures (see `nms_exact`)", style="yellow")
    spec = result.spec
    console.print(
        Text(
            f"{result.path}  {result.size / 1e6:.1f} MB, {len(spec.class_names)} classes, "
            f"{spec.max_detections} detections, {result.nodes} nodes, {result.seconds:.1f} s"
        ),
        soft_wrap=True,
    )
