"""`fashionseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from fashionseg.cli.export.checkpoint import checkpoint_options, checkpoint_result
from fashionseg.cli.export.precision import lower_options, lowered_result, precision_options
from fashionseg.cli.export.progress import choose_steps
from fashionseg.cli.export.result import Result, show
from fashionseg.cli.export.sections import SectionCommand, given
from fashionseg.cli.options import PATH, json_option, quiet_option

if TYPE_CHECKING:
    from fashionseg.export.precision import LowerOptions
    from fashionseg.export.steps import Steps

EMBEDDED = "default"
"""What stands for the embedded model, as for `evaluate` and `bench`."""


@click.command(cls=SectionCommand, short_help="Turn a checkpoint into an ONNX model file; lower its precision.")
@click.argument("model", type=PATH, required=False)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="File to write. Default: MODEL's name in this folder, with the precision where it is lowered.",
)
@click.option(
    "--check",
    type=PATH,
    multiple=True,
    metavar="PHOTOS",
    help="Photo, folder or glob to compare on; repeatable. Default: those of --calibrate, or drawn pictures.",
)
@json_option
@quiet_option
@checkpoint_options
@precision_options
@click.pass_context
def export(
    ctx: click.Context,
    /,
    model: Path | None,
    output: Path | None,
    check: tuple[Path, ...],
    quiet: bool,
    as_json: bool,
    **chosen: dict[str, Any],
) -> None:
    """Turn a Detectron2 checkpoint into an ONNX model file, or lower the precision of one.

    MODEL is a checkpoint (.pth, .pkl), an ONNX model file (.onnx), or `default` or nothing for the embedded model. The
    file that is written runs on ONNX Runtime and TensorRT at any batch size and holds everything needed to use it.

    A checkpoint's file is compared with Detectron2 on real pixels, one of lower precision with fp32, before it appears
    under its name: where they differ too much, no file is left and the exit code is 4.

    \b
    fashionseg export runs/shirts/model_final.pth -o shirts.onnx
    fashionseg export model.pth -o small.onnx --weights fp16 --max-detections 20 --check photos/
    fashionseg export shirts.onnx --precision int8 --calibrate train/ --check-data val.json
    """
    from fashionseg.files import write_bytes

    lower = lower_options(ctx, chosen["lowering"], check)
    _check_usage(ctx, model, lower, chosen["checkpoint"])
    target = output or _default_output(model, lower)
    if lower is not None:
        from fashionseg.export.precision import check_photos

        check_photos(lower)  # before minutes of tracing
    with choose_steps(quiet=quiet) as steps:
        result = _source(model, target, check, chosen["checkpoint"], steps)
        if lower is not None:
            result = lowered_result(result, target, lower, steps, quiet=quiet)
        write_bytes(target, result.model.data)
    show(result, quiet=quiet, as_json=as_json)


def _source(
    model: Path | None, target: Path, check: tuple[Path, ...], checkpoint: dict[str, Any], steps: Steps
) -> Result:
    """The model file to begin with, in memory: made of a checkpoint, or read."""
    from fashionseg.model import read_model

    if _is_checkpoint(model):
        return checkpoint_result(model, target, checkpoint, check, steps)
    return Result(read_model(None if _is_embedded(model) else model))


def _is_embedded(model: Path | None) -> bool:
    return model is None or str(model) == EMBEDDED


def _is_checkpoint(model: Path | None) -> TypeGuard[Path]:
    return model is not None and not _is_embedded(model) and model.suffix.lower() != ".onnx"


def _check_usage(
    ctx: click.Context, model: Path | None, lower: LowerOptions | None, checkpoint: dict[str, Any]
) -> None:
    """Refuse options that would do nothing."""
    if _is_checkpoint(model):
        return
    name = "the embedded model" if _is_embedded(model) else str(model)
    useless = given(ctx, checkpoint)
    if useless:
        raise click.UsageError(f"{', '.join(useless)}: only for a checkpoint, {name} is an ONNX file already", ctx)
    if lower is None:
        raise click.UsageError(f"{name} is an ONNX file already: say what to make of it, such as --precision fp16", ctx)


def _default_output(model: Path | None, lower: LowerOptions | None) -> Path:
    stem = EMBEDDED if model is None else model.stem
    return Path(f"{stem}-{lower.precision}.onnx" if lower else f"{stem}.onnx")
