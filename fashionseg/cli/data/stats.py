"""`fashionseg data stats`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import print_json, print_table, say
from fashionseg.cli.options import PATH, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.stats import Stats


@click.command(short_help="Count instances by category.")
@click.argument("file", type=PATH)
@click.option("--png", type=PATH, metavar="FILE", help="Write a bar chart too.")
@click.option("--details", is_flag=True, help="Show photos, sizes and levels of each category too.")
@quiet_option
@json_option
def stats(file: Path, png: Path | None, details: bool, quiet: bool, as_json: bool) -> None:
    """Count the instances of each category of the COCO file FILE.

    \b
    fashionseg data stats train.json
    fashionseg data stats train.json --details --png instances.png
    """
    from fashionseg.data.coco import read_coco
    from fashionseg.data.stats import instance_rows
    from fashionseg.data.stats import stats as figures_of

    figures = figures_of(read_coco(file))
    if as_json:
        print_json(asdict(figures))
    elif not quiet:
        print_table("", ("category", "#instances") * 3, instance_rows(figures), stderr=False)
        if details:
            _print_details(figures)
        empty = f", {figures.empty_photos:,} of them without a garment" if figures.empty_photos else ""
        mean = figures.instances / max(figures.photos, 1)
        say(f"{plural(figures.photos, 'photo')}{empty}; {mean:.2f} garments a photo")
    if png is not None:
        from fashionseg.plotting import bar_chart, save_png

        names = [category.name for category in figures.categories]
        numbers = [category.instances for category in figures.categories]
        save_png(bar_chart(names, numbers, f"Instances by category: {file.name}", "instances"), png)
        say(f"chart in {png}", quiet=quiet)


def _print_details(figures: Stats) -> None:
    header = ("category", "instances", "photos", "small", "medium", "large", "median share of the photo")
    rows = [
        (c.name, *(f"{n:,}" for n in (c.instances, c.photos, c.small, c.medium, c.large)), f"{c.median_share:.1%}")
        for c in figures.categories
    ]
    print_table("", header, rows, stderr=False)
    for key, counts in figures.levels.items():
        print_table("", (key, "instances"), [(value, f"{number:,}") for value, number in counts.items()], stderr=False)
    common = ", ".join(f"{width}x{height} ({number:,})" for (width, height), number in figures.sizes[:5])
    say(f"{plural(len(figures.sizes), 'size')} of photos, most common: {common}")
