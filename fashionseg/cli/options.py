"""Options and value types that several commands share. Knows click alone."""

from __future__ import annotations

from fractions import Fraction
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fashionseg.export.classes import Classes

    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # older clicks have no type parameter

F = TypeVar("F")

PATH = click.Path(path_type=Path)


class DeviceType(_ParamType):
    """`auto`, `cpu`, `cuda`, `cuda:1`, `trt`, `trt:1`; a number means that GPU."""

    name = "device"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        from fashionseg.backends.registry import device_metavar

        return device_metavar()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from fashionseg.backends.registry import parse_device

        try:
            return str(parse_device(str(value)))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class NumberRange(click.FloatRange):
    """A number within bounds; "not a number" is within none, which comparisons alone do not tell."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


class ChoicesType(_ParamType):
    """A comma-separated selection among fixed words."""

    name = "list"

    def __init__(self, choices: Sequence[str]) -> None:
        self.choices = tuple(choices)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return ",".join(self.choices)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[str]:
        if isinstance(value, frozenset):
            return value
        words = value if isinstance(value, list | tuple) else str(value).split(",")
        chosen = frozenset(str(word).strip() for word in words) - {""}
        unknown = chosen - set(self.choices)
        if unknown:
            self.fail(f"{', '.join(sorted(unknown))}: choose among {', '.join(self.choices)}", param, ctx)
        return chosen


class NamesType(_ParamType):
    """Comma-separated names."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        words = value if isinstance(value, list) else str(value).split(",")
        return tuple(word for word in (str(word).strip() for word in words) if word)


class SecondsType(_ParamType):
    """A time as seconds (`12.5`) or a clock (`1:02:03.5`)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Fraction:
        if isinstance(value, Fraction):
            return value
        try:
            parts = [Fraction(part) for part in str(value).split(":")]
        except (ValueError, ZeroDivisionError):
            parts = []
        if not 1 <= len(parts) <= 3 or any(part < 0 for part in parts):
            self.fail(f"{value!r} is not a time: use seconds (12.5) or a clock (1:02:03.5)", param, ctx)
        seconds = Fraction(0)
        for part in parts:
            seconds = seconds * 60 + part
        return seconds


def model_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--model`."""
    return click.option(
        "-m", "--model", type=PATH, metavar="FILE", help="Model file, .onnx or .engine. Default: the embedded one."
    )(function)


def device_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--device`."""
    return click.option(
        "--device",
        type=DeviceType(),
        default="auto",
        show_default=True,
        help="Where the model runs. `auto` takes a GPU where one works; any other is used or is an error. `trt` builds "
        "an engine from an ONNX file, once, and keeps it.",
    )(function)


def threads_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--threads`."""
    return click.option(
        "--threads", type=click.IntRange(1), metavar="N", help="CPU threads of the model. Default: all cores."
    )(function)


def quiet_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--quiet`."""
    return click.option("-q", "--quiet", is_flag=True, help="Print errors only.")(function)


def json_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output.")(function)


def defaults_option(function: Callable[..., F]) -> Callable[..., F]:
    """`--defaults FILE`: a TOML file of option values; what the command line says wins."""
    return click.option(
        "--defaults",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_load_defaults,
        metavar="FILE",
        help="TOML file with values of these options, such as `conf = 0.4`; the command line wins.",
    )(function)


def _load_defaults(ctx: click.Context, param: click.Parameter, value: Path | None) -> None:
    if value is None:
        return
    from fashionseg.toml import parse_toml

    try:
        values = parse_toml(value.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise click.BadParameter(f"{value}: {error}", ctx, param) from error
    parameters = {option.lstrip("-").replace("_", "-"): known for known in ctx.command.params for option in known.opts}
    unknown = [key for key in values if key.replace("_", "-") not in parameters or key == "defaults"]
    if unknown:
        raise click.BadParameter(f"{value}: {', '.join(unknown)}: no such option", ctx, param)
    defaults = {}
    for key, entry in values.items():
        known = parameters[key.replace("_", "-")]
        try:
            defaults[str(known.name)] = _default_of(known, entry)
        except ValueError as error:
            raise click.BadParameter(f"{value}: {key} {error}", ctx, param) from error
    ctx.default_map = {**(ctx.default_map or {}), **defaults}


def _default_of(parameter: click.Parameter, entry: Any) -> Any:
    """A value of a TOML file as the command line would give it, so that the option's own type judges it.

    Raises:
        ValueError: no option of this kind can have such a value.
    """
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if not isinstance(entry, bool):
            raise ValueError("is true or false")
        return entry
    listed = parameter.multiple or parameter.nargs != 1 or isinstance(parameter.type, ChoicesType | NamesType)
    words = entry if listed and isinstance(entry, list) else [entry]
    if not all(isinstance(word, str | int | float) and not isinstance(word, bool) for word in words):
        raise ValueError(f"takes {'text, a number or a list of them' if listed else 'text or a number'}")
    texts = [str(word) for word in words]
    return texts if words is entry else texts[0]


def named_classes(ctx: click.Context, param: click.Parameter, value: tuple[str, ...] | None) -> Classes | None:
    """Callback of `--classes NAME[:ID],...`: names and category ids."""
    from fashionseg.export.classes import parse_classes

    if not value:
        return None
    try:
        return parse_classes(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error
