"""`fashionseg segment`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import (
    PATH,
    ChoicesType,
    NamesType,
    NumberRange,
    SecondsType,
    defaults_option,
    device_option,
    json_option,
    model_option,
    quiet_option,
    threads_option,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.segment.types import Plan, Summary

EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130


@click.command(short_help="Segment clothing in photos and video.")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE...")
@click.option(
    "-o", "--output", type=PATH, default="fashionseg-out", show_default=True, metavar="OUT", help="Output folder."
)
@model_option
@click.option(
    "--conf", type=NumberRange(0, 1), default=0.5, show_default=True, help="Least score of a detection, 0..1."
)
@click.option("--classes", type=NamesType(), default=(), metavar="NAME,...", help="Only these classes (names or ids).")
@click.option("--batch", type=click.IntRange(1, 256), help="Pictures a run. Default: 1 on a CPU, 8 on a GPU.")
@device_option
@threads_option
@click.option(
    "--save",
    type=ChoicesType(("video", "frames", "images", "predictions")),
    default="video,images,predictions",
    show_default=True,
    help="What to write; `frames` are a video's annotated frames as files.",
)
@click.option("--hide", type=ChoicesType(("boxes", "labels", "masks")), default="", help="What not to draw.")
@click.option(
    "--vid-stride", type=click.IntRange(1), default=1, show_default=True, help="Take every K-th frame of a video."
)
@click.option("--start", type=SecondsType(), metavar="TIME", help="Begin a video here: seconds or h:mm:ss.")
@click.option("--end", type=SecondsType(), metavar="TIME", help="End a video here: seconds or h:mm:ss.")
@click.option(
    "--encoder",
    type=click.Choice(["auto", "x264", "nvenc"]),
    default="auto",
    show_default=True,
    help="H.264 encoder; `auto` takes the GPU's where the model runs on a GPU that has one.",
)
@click.option(
    "--gt", type=PATH, metavar="COCO.json", help="Take image and category ids from this ground truth, by name."
)
@click.option("--restart", is_flag=True, help="Begin anew in a folder that holds another run.")
@click.option("--dry-run", is_flag=True, help="List what would be done, and do nothing.")
@defaults_option
@quiet_option
@json_option
def segment(sources: tuple[str, ...], output: Path, dry_run: bool, quiet: bool, as_json: bool, **chosen: Any) -> int:
    """Outline every garment in photos, folders, globs and videos.

    \b
    fashionseg segment video.mp4
    fashionseg segment photos/ 'more/*.jpg' clip.mov -o out --conf 0.6
    fashionseg segment night/ -o out          stopped or killed? the same command goes on

    OUT receives the annotated photos and videos (H.264, with the source's sound and times), predictions.json (COCO
    results with masks), images.json (their photos and frames) and, where inputs failed, failures.json.

    Exit codes: 0 all done; 1 nothing could be done; 2 wrong usage; 3 done, but some inputs failed; 130 interrupted.
    """
    from fashionseg.cli.progress import choose_reporter, stopping_on_signals
    from fashionseg.cli.summary import print_plan, print_summary
    from fashionseg.segment import SegmentOptions, make_plan
    from fashionseg.segment import segment as run_segment

    options = SegmentOptions(**chosen)
    if options.start is not None and options.end is not None and options.start >= options.end:
        raise click.BadParameter("--end must lie after --start")
    if dry_run:
        plan = make_plan(sources, output, frames="frames" in options.save)
        print_plan(plan, as_json=as_json)
        return exit_code_of_plan(plan)
    with choose_reporter(quiet=quiet, as_json=as_json) as reporter:
        if options.model is None:
            reporter.note("no --model given: using the embedded default model (see `fashionseg info`)")
        with stopping_on_signals(reporter) as stop:
            summary = run_segment(sources, output, options, reporter, stop)
    print_summary(summary, quiet=quiet, as_json=as_json)
    return exit_code(summary)


def exit_code_of_plan(plan: Plan) -> int:
    """The exit code of a run that was only looked at."""
    if not plan.sources:
        return 1
    return EXIT_SOME_FAILED if plan.failures else 0


def exit_code(summary: Summary) -> int:
    """The exit code of a finished run."""
    if summary.interrupted:
        return EXIT_INTERRUPTED
    if not summary.failures:
        return 0
    return EXIT_SOME_FAILED if summary.tally.photos or summary.tally.videos else 1
