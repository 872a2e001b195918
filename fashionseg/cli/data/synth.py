"""`fashionseg data synth`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import (
    SizeType,
    counting,
    number_of_processes,
    print_json,
    print_table,
    processes_option,
    say,
)
from fashionseg.cli.options import PATH, NumberRange, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path


BACKDROPS = ("street", "park", "wall", "room", "shop", "studio", "clutter")


@click.command(short_help="Draw labelled pictures of dressed figures.")
@click.argument("out", type=PATH)
@click.option("--count", type=click.IntRange(1, 1_000_000), default=200, show_default=True, help="Number of pictures.")
@click.option("--size", "size_hw", type=SizeType(), default="480x640", show_default=True, help="Pixels.")
@click.option(
    "--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Same seed, same pictures."
)
@click.option(
    "--empty-share",
    type=NumberRange(0, 1),
    default=0.1,
    show_default=True,
    help="Share of pictures without people.",
)
@click.option("--people", type=click.IntRange(1, 4), default=4, show_default=True, help="Most people in a picture.")
@click.option("--backdrop", type=click.Choice(BACKDROPS), help="Only this kind of background. Default: all.")
@click.option(
    "--plain",
    is_flag=True,
    help="One whole figure seen from the front, no garment hidden by another: easy to learn, to try a training set-up.",
)
@click.option("--video", is_flag=True, help="Draw a clip of walking people with sound instead; OUT is the .mp4 file.")
@click.option("--labels", type=PATH, metavar="FILE", help="With --video: write the garments of every frame as COCO.")
@processes_option
@quiet_option
@json_option
def synth(
    out: Path,
    count: int,
    size_hw: tuple[int, int],
    seed: int,
    empty_share: float,
    people: int,
    backdrop: str | None,
    plain: bool,
    video: bool,
    labels: Path | None,
    processes: int,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw pictures of dressed figures with exact masks of five kinds of garment into the folder OUT.

    \b
    fashionseg data synth drawn --count 200
    fashionseg data synth clip.mp4 --video

    OUT receives images/ and annotations.json (COCO): short_sleeved_shirt, long_sleeved_shirt, long_sleeved_outwear,
    shorts, trousers. Dresses, skirts, bags and pictures without people are in it too, unlabelled.
    """
    if labels is not None and not video:
        raise click.BadParameter("--labels goes with --video; pictures always get their annotations.json")
    if plain and video:
        raise click.BadParameter("--plain is for pictures, not for --video")
    if video:
        _video(out, seed, labels, number_of_processes(processes), quiet)
        return
    from fashionseg.data.synth import SynthOptions, write_synth

    options = SynthOptions(count, size_hw, seed, empty_share, backdrop, people, plain)
    with counting("drawing", count, quiet=quiet) as progress:
        data = write_synth(out, options, processes=number_of_processes(processes), progress=progress)
    counts = data.counts()
    if as_json:
        print_json({"annotations": str(out / "annotations.json"), "images": len(data.images), "instances": counts})
    elif not quiet:
        print_table("", ("category", "instances"), [(name, f"{number:,}") for name, number in counts.items()])
    say(f"{plural(len(data.images), 'picture')} with {plural(len(data.instances), 'garment')} in {out}", quiet=quiet)


def _video(out: Path, seed: int, labels: Path | None, processes: int, quiet: bool) -> None:
    from fashionseg.data.synth.film import FPS, SECONDS
    from fashionseg.data.synth.video import write_clip

    if out.suffix.lower() != ".mp4":
        raise click.BadParameter("with --video OUT is the name of an .mp4 file")
    with counting("drawing", FPS * SECONDS, quiet=quiet) as progress:
        frames = write_clip(out, seed=seed, labels=labels, processes=processes, progress=progress)
    say(f"{frames} frames in {out}; find the clothes in it with: fashionseg segment {out}", quiet=quiet)
