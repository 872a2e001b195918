"""`fashionseg info`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import PATH, json_option

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Show what a model file says about itself.")
@click.argument("model", type=PATH, required=False)
@json_option
def info(model: Path | None, as_json: bool) -> None:
    """Show the metadata, inputs, outputs and size of a model file (default: the embedded model)."""
    from fashionseg.model import describe, read_model

    description = describe(read_model(model))
    if as_json:
        click.echo(json.dumps(description, indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    Console(highlight=False).print(_table(description))


def _table(description: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in description.items():
        if key == "config":
            table.add_row(key, Text(f"{len(value.splitlines())} lines (see --json)", style="dim"))
        elif value not in ("", [], {}):
            table.add_row(key.replace("_", " "), Text(_words(value)))
    return table


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key}  {_words(entry)}" for key, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_words(entry) for entry in value)
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
