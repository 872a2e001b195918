"""`fashionseg data filter`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import print_json, print_table, read_telling, say, tell_lost_polygons
from fashionseg.cli.options import PATH, NamesType, NumberRange, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.coco import CocoData


@click.command(short_help="Keep some categories, garments or photos.")
@click.argument("file", type=PATH)
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="OUT.json", help="COCO file to write.")
@click.option(
    "--classes", type=NamesType(), default=(), metavar="NAME,...", help="Only these categories (names or ids)."
)
@click.option(
    "--map",
    "mapping",
    type=PATH,
    metavar="FILE",
    help="TOML or JSON table that renames and joins categories, such as: top = ['vest', 'sling']",
)
@click.option(
    "--where",
    multiple=True,
    metavar="KEY=VALUE,...",
    help="Only garments whose KEY has one of these values, such as occlusion=1,2; may be repeated.",
)
@click.option("--min-area", type=NumberRange(0), default=0, help="Only garments of at least so many pixels.")
@click.option("--need-masks", is_flag=True, help="Only garments with a mask and a box that are not empty, for `train`.")
@click.option(
    "--whole-photos", is_flag=True, help="Leave out photos with a garment of a kept category that is not kept."
)
@click.option("--keep-empty", is_flag=True, help="Keep photos without garments.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N photos, drawn at random.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of --limit.")
@click.option("--drop-broken", is_flag=True, help="Leave out records with errors instead of refusing the file.")
@quiet_option
@json_option
def filter(
    file: Path,
    out: Path,
    classes: tuple[str, ...],
    mapping: Path | None,
    where: tuple[str, ...],
    min_area: float,
    need_masks: bool,
    whole_photos: bool,
    keep_empty: bool,
    limit: int | None,
    seed: int,
    drop_broken: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Write the part of the COCO file FILE that the options keep.

    \b
    fashionseg data filter df2.json -o easy.json --where occlusion=1 --where zoom_in=1,2 --whole-photos
    fashionseg data filter all.json -o shorts.json --classes shorts,trousers
    fashionseg data filter broken.json -o clean.json --drop-broken --need-masks
    """
    from fashionseg.data.coco import write_coco
    from fashionseg.data.convert.classes import read_mapping
    from fashionseg.data.select import Choice, rename, select

    data = _read(file, drop_broken, quiet)
    choice = Choice(classes, _conditions(where), min_area, whole_photos, keep_empty, limit, seed, need_masks)
    kept = select(data, choice)
    if mapping is not None:
        kept = rename(kept, read_mapping(mapping), str(mapping))
        kept = select(kept, Choice(keep_empty=keep_empty))
    write_coco(kept, out)
    if as_json:
        print_json({"output": str(out), "photos": len(kept.images), "instances": kept.counts()})
    elif not quiet:
        print_table("", ("category", "instances"), [(n, f"{k:,}") for n, k in kept.counts().items()])
    photos = f"{len(kept.images):,} of {plural(len(data.images), 'photo')}"
    garments = f"{len(kept.instances):,} of {plural(len(data.instances), 'garment')}"
    say(f"{photos} with {garments} in {out}", quiet=quiet)


def _read(file: Path, drop_broken: bool, quiet: bool) -> CocoData:
    from fashionseg.data.coco import scan_coco

    if not drop_broken:
        return read_telling(file, quiet=quiet)
    data, problems = scan_coco(file)
    tell_lost_polygons(file, problems, quiet=quiet)
    errors = [problem for problem in problems if problem.is_error]
    for problem in errors[:5]:
        say(f"left out {problem.place}: {problem.text}", quiet=quiet)
    if len(errors) > 5:
        say(f"left out {len(errors) - 5:,} more: list them with: fashionseg data check {file}", quiet=quiet)
    return data


def _conditions(where: tuple[str, ...]) -> dict[str, frozenset[str]]:
    conditions = {}
    for text in where:
        key, sign, values = text.partition("=")
        chosen = frozenset(value.strip() for value in values.split(",")) - {""}
        if not key or not sign or not chosen:
            raise click.BadParameter(f"--where {text!r}: write KEY=VALUE,... such as occlusion=1,2")
        conditions[key] = chosen
    return conditions
