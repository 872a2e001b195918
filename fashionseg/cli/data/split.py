"""`fashionseg data split`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.data.common import print_json, print_table, read_telling, say
from fashionseg.cli.options import PATH, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path


class PartsType(click.ParamType[dict[str, float]]):
    """Names and weights: train=80,val=10,test=10."""

    name = "parts"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "NAME=WEIGHT,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, float]:
        if isinstance(value, dict):
            return value
        parts: dict[str, float] = {}
        for word in str(value).split(","):
            name, _, weight = word.strip().partition("=")
            try:
                parts[name] = float(weight)
            except ValueError:
                parts[name] = -1.0
            if not name.isidentifier() or not 0 < parts[name] < 1e9:
                self.fail(f"{word!r}: write NAME=WEIGHT,... such as train=80,val=10,test=10", param, ctx)
        if len(parts) < 2 or len(parts) != len(str(value).split(",")):
            self.fail("name at least two different parts", param, ctx)
        return parts


@click.command(short_help="Split a COCO file, keeping groups together and classes in proportion.")
@click.argument("file", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="FOLDER", help="Receives train.json ...")
@click.option(
    "--parts", type=PartsType(), default="train=80,val=10,test=10", show_default=True, help="Names and weights."
)
@click.option(
    "--group",
    metavar="KEY",
    help="Photos that share a value of this key stay together. Default: pair_id, if any.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Same seed, same split.")
@quiet_option
@json_option
def split(
    file: Path, out: Path, parts: dict[str, float], group: str | None, seed: int, quiet: bool, as_json: bool
) -> None:
    """Split the COCO file FILE into parts with every class in proportion.

    \b
    fashionseg data split df2.json -o splits
    fashionseg data split df2.json -o splits --parts train=90,val=10 --group pair_id --seed 7

    In DeepFashion2 the photos of one pair_id show the same garment; they go into one part.
    """
    from fashionseg.data.coco import write_coco
    from fashionseg.data.split import split as split_data

    data = read_telling(file, need_instances=True, quiet=quiet)
    result = split_data(data, parts, group, seed)
    for name, part in result.parts.items():
        write_coco(part, out / f"{name}.json")
    counts = {name: {"photos": len(part.images), **part.counts()} for name, part in result.parts.items()}
    if as_json:
        print_json({"group": result.key, "groups": result.groups, "ungrouped": result.ungrouped, "parts": counts})
    elif not quiet:
        rows = [[row, *(_share(counts, name, row) for name in parts)] for row in ("photos", *data.class_names)]
        print_table("", ("", *parts), rows)
    kept = f"{plural(result.groups, 'group')} by {result.key}" if result.key else "every photo on its own"
    say(f"{kept}; wrote {', '.join(f'{name}.json' for name in parts)} into {out}", quiet=quiet)
    if result.ungrouped:
        say(f"without a {result.key}, each on its own: {plural(result.ungrouped, 'photo')}", quiet=quiet)


def _share(counts: dict[str, dict[str, int]], part: str, row: str) -> str:
    total = sum(numbers[row] for numbers in counts.values())
    number = counts[part][row]
    return f"{number:,} ({number / total:.1%})" if total else "0"
