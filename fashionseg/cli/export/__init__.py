"""`fashionseg export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from fashionseg.cli.export.checkpoint import checkpoint_options, checkpoint_result
from fashionseg.cli.export.engine import chosen_engine, engine_options, engine_result
from fashionseg.cli.export.precision import lower_options, lowered_result, precision_options
from fashionseg.cli.export.progress import choose_steps
from fashionseg.cli.export.result import Result, show
from fashionseg.cli.export.sections import SectionCommand, given
from fashionseg.cli.options import PATH, json_option, quiet_option
from fashionseg.model import ENGINE_SUFFIXES

if TYPE_CHECKING:
    from fashionseg.export.precision import LowerOptions
    from fashionseg.export.steps import Steps

EMBEDDED = "default"
"""What stands for the embedded model, as for `evaluate` and `bench`."""

MODEL_SUFFIXES = frozenset({".onnx", *ENGINE_SUFFIXES})
"""Names of model files; any other name is a checkpoint's."""


@click.command(cls=SectionCommand, short_help="Turn a checkpoint into ONNX; lower its precision; build an engine.")
@click.argument("model", type=PATH, required=False)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="File to write, .onnx or, with --trt, .engine. Default: MODEL's name in this folder, with the precision where "
    "it is lowered.",
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
@engine_options
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
    """Turn a Detectron2 checkpoint into an ONNX model file, lower the precision of one, build a TensorRT engine.

    MODEL is a checkpoint (.pth, .pkl), an ONNX model file (.onnx), or `default` or nothing for the embedded model. The
    file that is written runs on ONNX Runtime and TensorRT at any batch size and holds everything needed to use it.

    A checkpoint's file is compared with Detectron2 on real pixels, one of lower precision with fp32, before it appears
    under its name: where they differ too much, no file is left and the exit code is 4.

    \b
    fashionseg export runs/shirts/model_final.pth -o shirts.onnx
    fashionseg export model.pth -o small.onnx --weights fp16 --max-detections 20 --check photos/
    fashionseg export shirts.onnx --precision int8 --calibrate train.json --check-data val.json
    fashionseg export shirts.onnx --trt --precision fp16 --batch 1:8:16 --size 800x1344 -o shirts.engine
    """
    from fashionseg.files import write_bytes

    lower = lower_options(ctx, chosen["lowering"], check, for_engine=chosen["engine"]["trt"])
    _check_usage(ctx, model, lower, chosen["checkpoint"], chosen["engine"]["trt"])
    engine = chosen_engine(ctx, chosen["engine"])
    target = output or _default_output(model, lower, ".engine" if engine else ".onnx")
    _check_target(ctx, target, engine is not None)
    if lower is not None:
        from fashionseg.export.precision import check_photos

        check_photos(lower)  # before minutes of tracing
    with choose_steps(quiet=quiet) as steps:
        result = _source(model, target, check, chosen["checkpoint"], steps)
        if lower is not None:
            result = lowered_result(result, target, lower, steps, quiet=quiet)
        if engine is not None:
            result = engine_result(result, target, engine, steps)
        else:
            write_bytes(target, result.model.data)
    show(result, quiet=quiet, as_json=as_json)


def _source(
    model: Path | None, target: Path, check: tuple[Path, ...], checkpoint: dict[str, Any], steps: Steps
) -> Result:
    """The model file to begin with, in memory: made of a checkpoint, or read."""
    from fashionseg.errors import ExportError
    from fashionseg.model import read_model

    if _is_checkpoint(model):
        return checkpoint_result(model, target, checkpoint, check, steps)
    found = read_model(None if _is_embedded(model) else model)
    if found.engine is not None:
        raise ExportError(f"{model} is an engine already; name the ONNX file it was made from")
    return Result(found)


def _is_embedded(model: Path | None) -> bool:
    return model is None or str(model) == EMBEDDED


def _is_checkpoint(model: Path | None) -> TypeGuard[Path]:
    return model is not None and not _is_embedded(model) and model.suffix.lower() not in MODEL_SUFFIXES


def _check_usage(
    ctx: click.Context, model: Path | None, lower: LowerOptions | None, checkpoint: dict[str, Any], trt: bool
) -> None:
    """Refuse options that would do nothing."""
    if _is_checkpoint(model):
        return
    name = "the embedded model" if _is_embedded(model) else str(model)
    useless = given(ctx, checkpoint)
    if useless:
        raise click.UsageError(f"{', '.join(useless)}: only for a checkpoint, {name} is an ONNX file already", ctx)
    if lower is None and not trt:
        raise click.UsageError(
            f"{name} is an ONNX file already: say what to make of it, such as --precision fp16 or --trt", ctx
        )


def _check_target(ctx: click.Context, target: Path, is_engine: bool) -> None:
    """The name tells what a file is, when it is opened again."""
    if (target.suffix.lower() in ENGINE_SUFFIXES) != is_engine:
        wanted = "an engine is a file NAME.engine" if is_engine else "an ONNX file cannot be named like an engine"
        raise click.UsageError(f"-o {target}: {wanted}", ctx)


def _default_output(model: Path | None, lower: LowerOptions | None, suffix: str) -> Path:
    stem = EMBEDDED if model is None else model.stem
    return Path(f"{stem}-{lower.precision}{suffix}" if lower else f"{stem}{suffix}")
