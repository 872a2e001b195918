"""`fashionseg data merge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import print_json, print_table, read_telling, say
from fashionseg.cli.options import PATH, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Merge COCO files into one.")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option("-o", "--output", "out", type=PATH, required=True, metavar="OUT.json", help="COCO file to write.")
@click.option(
    "--prefix",
    "prefixes",
    multiple=True,
    metavar="NAME",
    help="Folder put before the file names of a FILE; once for each FILE.",
)
@click.option(
    "--images",
    "folders",
    type=PATH,
    multiple=True,
    help="Folder of a FILE's photos, once for each FILE: links them into images/ beside OUT.json.",
)
@quiet_option
@json_option
def merge(
    files: tuple[Path, ...], out: Path, prefixes: tuple[str, ...], folders: tuple[Path, ...], quiet: bool, as_json: bool
) -> None:
    """Merge COCO files; categories of one name become one.

    \b
    fashionseg data merge ccp/train.json drawn/annotations.json -o mix/train.json \\
        --images ccp/images --images drawn/images --prefix photo --prefix drawn
    """
    from fashionseg.data.coco import write_coco
    from fashionseg.data.merge import link_photos
    from fashionseg.data.merge import merge as merge_data

    for name, given in (("--prefix", prefixes), ("--images", folders)):
        if given and len(given) != len(files):
            raise click.BadParameter(f"give {name} once for each of the {len(files)} files, or not at all")
    if any(not prefix.replace("-", "_").isidentifier() for prefix in prefixes):
        raise click.BadParameter("--prefix is a plain folder name")
    sets = [read_telling(file, quiet=quiet) for file in files]
    merged = merge_data(sets, prefixes)
    for number, folder in enumerate(folders):
        link_photos(sets[number], folder, out.parent / "images", prefixes[number] if prefixes else "")
    write_coco(merged, out)
    if as_json:
        print_json({"output": str(out), "photos": len(merged.images), "instances": merged.counts()})
    elif not quiet:
        print_table("", ("category", "instances"), [(n, f"{k:,}") for n, k in merged.counts().items()])
    say(f"{plural(len(merged.images), 'photo')} with {plural(len(merged.instances), 'garment')} in {out}", quiet=quiet)
