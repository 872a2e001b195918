"""Options in sections: a title in the help, and one argument of the command for all of them. Knows click alone."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

if TYPE_CHECKING:
    from collections.abc import Callable


class SectionOption(click.Option):
    """An option that stands under a title of its own in the help."""

    title = "Options"


option = functools.partial(click.option, cls=SectionOption)
"""`click.option` for `section`."""


def section(title: str, argument: str, *options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Add options, made by `option`, under a title; the command gets their values as one dict named `argument`."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def command(*arguments: Any, **values: Any) -> Any:
            chosen = {name: values.pop(name) for name in names}
            return function(*arguments, **{argument: chosen}, **values)

        others = len(getattr(command, "__click_params__", []))
        for add in reversed(options):
            add(command)
        added: list[SectionOption] = command.__click_params__[others:]  # type: ignore[attr-defined]
        for one in added:
            one.title = title
        names = [one.name for one in reversed(added)]  # click collects them from the last to the first
        return command

    return decorate


def given(ctx: click.Context, chosen: dict[str, Any]) -> list[str]:
    """The options of a section that the user set, as they are written."""
    written = {parameter.name: parameter.opts[0] for parameter in ctx.command.params}
    default = (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)
    return [written[name] for name in chosen if ctx.get_parameter_source(name) not in default]


class SectionCommand(click.Command):
    """A command whose help shows its sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, title by title; those of no section last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        others: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            place = sections.setdefault(parameter.title, []) if isinstance(parameter, SectionOption) else others
            place.append(record)
        for title, records in [*sections.items(), ("Other options", others)]:
            with formatter.section(title):
                formatter.write_dl(records)
