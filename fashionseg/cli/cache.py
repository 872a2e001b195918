"""`fashionseg cache`."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import json_option

if TYPE_CHECKING:
    from fashionseg.export.engine_cache import CachedEngine


@click.group(short_help="Show or clear the engines that --device trt built.")
def cache() -> None:
    """Engines that `--device trt` built from ONNX files, kept in ~/.cache/fashionseg or FASHIONSEG_CACHE."""


@cache.command("list", short_help="Show the engines, newest first.")
@json_option
def list_(as_json: bool) -> None:
    """Show the engines in the cache, newest first."""
    from fashionseg.export.engine_cache import list_engines
    from fashionseg.export.engine_folder import cache_folder

    found = list_engines()
    if as_json:
        click.echo(json.dumps([_as_dict(one) for one in found], indent=1, ensure_ascii=False))
    elif not found:
        click.echo(f"no engine in {cache_folder()}")
    else:
        _print(found)


@cache.command("clear", short_help="Remove them.")
@json_option
def clear(as_json: bool) -> None:
    """Remove all engines and build timings; the next `--device trt` builds anew."""
    from dataclasses import asdict

    from fashionseg.export.engine_cache import clear_engines

    cleared = clear_engines()
    if as_json:
        click.echo(json.dumps(asdict(cleared)))
        return
    plural = "" if cleared.engines == 1 else "s"
    click.echo(f"removed {cleared.engines} engine{plural}, {cleared.nbytes / 1e6:.1f} MB")
    if cleared.busy:
        click.echo(f"{cleared.busy} are being built and stay", err=True)


def _as_dict(one: CachedEngine) -> dict[str, Any]:
    values: dict[str, Any] = {"file": str(one.path), "bytes": one.nbytes, "modified": one.modified}
    if one.engine is not None and one.engine.engine is not None:
        info = one.engine.engine
        values |= {
            "model": one.engine.spec.name,
            "precision": one.engine.spec.precision,
            "library": info.library,
            "library_version": info.library_version,
            "gpu": info.gpu,
            "profiles": [str(profile) for profile in info.profiles],
            "onnx_sha256": info.onnx_sha256,
        }
    return values


def _print(found: list[CachedEngine]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    for column in ("engine", "built", "MB", "with", "for"):
        table.add_column(column, justify="right" if column == "MB" else "left", overflow="fold")
    for one in found:
        values = _as_dict(one)
        built = time.strftime("%Y-%m-%d %H:%M", time.localtime(one.modified))
        words = f"{values['library']} {values['library_version']}" if "library" in values else "damaged"
        purpose = "\n".join(filter(None, [values.get("gpu", ""), *values.get("profiles", [])]))
        cells = (one.path.name, built, f"{one.nbytes / 1e6:.1f}", words, purpose)
        table.add_row(*map(Text, cells))
    console = Console(highlight=False)
    console.print(table)
    console.print(Text(str(found[0].path.parent), style="dim"), soft_wrap=True)
