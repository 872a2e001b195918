"""A click group that imports a command when it is called, so that `--help` stays quick. Knows click alone."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group of commands by name and short help: command NAME is the function NAME of the module `HOME.NAME`."""

    def __init__(self, *args: Any, home: str, table: dict[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.home = home
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command; None where there is none of that name."""
        if cmd_name not in self.table:
            return None
        command: click.Command = getattr(import_module(f"{self.home}.{cmd_name}"), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))
