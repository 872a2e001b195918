"""`fashionseg data preview`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import counting, say
from fashionseg.cli.options import PATH, NamesType, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path


@click.command(short_help="Draw a contact sheet of the ground truth.")
@click.argument("file", type=PATH)
@click.option("-o", "--output", "out", type=PATH, default="preview.jpg", show_default=True, help="A .jpg or .png file.")
@click.option("--images", type=PATH, help="Folder of the photos. Default: images/ beside FILE.")
@click.option("--count", type=click.IntRange(1, 400), default=12, show_default=True, help="Photos.")
@click.option("--columns", type=click.IntRange(1, 40), default=4, show_default=True, help="Photos in a row.")
@click.option(
    "--tile", type=click.IntRange(64, 2000), default=420, show_default=True, help="Height of a photo, pixels."
)
@click.option("--seed", type=click.IntRange(0), help="Draw photos at random. Default: the first ones.")
@click.option("--classes", type=NamesType(), default=(), metavar="NAME,...", help="Only photos with these categories.")
@click.option("--no-captions", is_flag=True, help="No file names below the photos.")
@quiet_option
def preview(
    file: Path,
    out: Path,
    images: Path | None,
    count: int,
    columns: int,
    tile: int,
    seed: int | None,
    classes: tuple[str, ...],
    no_captions: bool,
    quiet: bool,
) -> None:
    """Draw photos of the COCO file FILE with their ground truth into one picture.

    \b
    fashionseg data preview train.json --images photos -o sheet.jpg
    fashionseg data preview train.json --images photos --classes shorts --seed 3 --count 24
    """
    from fashionseg.data.coco import read_coco
    from fashionseg.data.photos import photo_folder
    from fashionseg.data.preview import SheetOptions, contact_sheet, write_sheet
    from fashionseg.data.select import Choice, select

    if out.suffix.lower() not in (".jpg", ".jpeg", ".png"):
        raise click.BadParameter("the contact sheet is a .jpg or .png file")
    data = read_coco(file)
    if classes:
        data = select(data, Choice(classes))
    options = SheetOptions(count, columns, tile, seed, not no_captions)
    with counting("drawing", min(count, len(data.images)), quiet=quiet) as progress:
        sheet, failures = contact_sheet(data, photo_folder(data, images), options, progress)
    write_sheet(sheet, out)
    for reason in failures:
        say(f"left out: {reason}")
    drawn = min(count, len(data.images)) - len(failures)
    say(f"contact sheet of {plural(drawn, 'photo')} in {out}", quiet=quiet)
