"""`fashionseg export --trt`: its options, and the engine built from the model file that the other sections made."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.export.result import Result
from fashionseg.cli.export.sections import given, option, section

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.export.engine import EngineOptions
    from fashionseg.export.steps import Steps

GIBIBYTE = 2**30


class BatchType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments yet
    """`MIN:OPT:MAX`, or one number for all three."""

    name = "batch"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int, int]:
        if isinstance(value, tuple):
            least, best, largest = value
            return least, best, largest
        words = str(value).split(":")
        words = words * 3 if len(words) == 1 else words
        numbers = [int(word) for word in words if re.fullmatch(r"[0-9]{1,4}", word)]
        if len(numbers) != 3 or len(words) != 3 or not 0 < numbers[0] <= numbers[1] <= numbers[2]:
            self.fail(f"{value!r}: write MIN:OPT:MAX, such as 1:8:16, or one number", param, ctx)
        return numbers[0], numbers[1], numbers[2]


class SizeType(click.ParamType):  # type: ignore[type-arg]  # click 8.1 has no arguments yet
    """`HxW` in pixels."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            height, width = value
            return height, width
        found = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", str(value))
        if not found:
            self.fail(f"{value!r}: write HEIGHTxWIDTH, such as 800x1344", param, ctx)
        return int(found[1]), int(found[2])


engine_options = section(
    "TensorRT engine",
    "engine",
    option("--trt", is_flag=True, help="Build a TensorRT engine, for the GPU of this machine alone."),
    option(
        "--batch",
        type=BatchType(),
        default="1:8:16",
        show_default=True,
        metavar="MIN:OPT:MAX",
        help="Pictures a run: least, best, most. Larger batches are run in portions.",
    ),
    option(
        "--size",
        "sizes",
        type=SizeType(),
        multiple=True,
        metavar="HxW",
        help="Pixels that the model sees; smaller pictures are padded to the tightest of several. Default: what the "
        "model's resize rule gives at most, landscape and portrait.",
    ),
    option(
        "--workspace",
        type=click.FloatRange(0, min_open=True),
        metavar="GIB",
        help="Most memory of the GPU that a layer may use for itself. Default: all.",
    ),
    option(
        "--version-compatible",
        is_flag=True,
        help="Let it run on other versions of the same major version of TensorRT too.",
    ),
    option("--gpu", type=click.IntRange(0, 255), default=0, show_default=True, metavar="I", help="GPU to build on."),
    option(
        "--library",
        type=click.Choice(["tensorrt", "tensorrt_rtx"]),
        default="tensorrt",
        show_default=True,
        help="TensorRT-RTX needs no GPU to build, and its engines run on any RTX GPU.",
    ),
)
"""Options of an engine: argument `engine`."""


def chosen_engine(ctx: click.Context, chosen: dict[str, Any]) -> EngineOptions | None:
    """What was asked for, or None without `--trt`.

    Raises:
        DeviceError, MissingExtraError: it cannot be built here.
    """
    if not chosen["trt"]:
        useless = given(ctx, chosen)
        if useless:
            raise click.UsageError(f"{', '.join(useless)}: only with --trt", ctx)
        return None
    from fashionseg.export.engine import EngineOptions, find_target

    workspace = chosen["workspace"]
    options = EngineOptions(
        batch=chosen["batch"],
        sizes=chosen["sizes"],
        workspace=None if workspace is None else int(workspace * GIBIBYTE),
        version_compatible=chosen["version_compatible"],
        library=chosen["library"],
        device=chosen["gpu"],
    )
    find_target(options)  # what is missing is told before minutes of tracing
    return options


def engine_result(source: Result, output: Path, options: EngineOptions, steps: Steps) -> Result:
    """The engine of a model file, written."""
    import time

    from fashionseg.export.engine import build_engine

    began = time.perf_counter()
    engine = build_engine(source.model, output, options, steps)
    seconds = source.seconds + time.perf_counter() - began
    return Result(engine, seconds, source.tables, source.notes, source.values)
