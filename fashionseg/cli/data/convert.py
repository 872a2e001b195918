"""`fashionseg data convert deepfashion2|yolo|labelmaps`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.data.common import (
    counting,
    number_of_processes,
    print_json,
    print_table,
    processes_option,
    say,
)
from fashionseg.cli.options import PATH, NamesType, NumberRange, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.convert.report import Report

EXIT_SOME_FAILED = 3

OUT_OPTION = click.option(
    "-o",
    "--output",
    "out",
    type=PATH,
    required=True,
    metavar="OUT.json",
    help="COCO file to write; a report goes beside it.",
)


class LevelsType(click.ParamType[frozenset[int]]):
    """Levels of one attribute, by name or number, separated by commas."""

    name = "levels"

    def __init__(self, attribute: str) -> None:
        self.attribute = attribute

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        return "LEVEL,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> frozenset[int]:
        from fashionseg.data.convert.deepfashion2 import LEVELS

        if isinstance(value, frozenset):
            return value
        known = LEVELS[self.attribute]
        known = known | {str(number): number for number in known.values()}
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        unknown = [word for word in words if word not in known]
        if unknown or not words:
            names = ", ".join(f"{name} ({number})" for name, number in LEVELS[self.attribute].items())
            self.fail(f"{value!r}: choose among {names}", param, ctx)
        return frozenset(known[word] for word in words)


@click.group(short_help="Convert DeepFashion2, YOLO-seg or label maps to COCO.")
def convert() -> None:
    """Convert annotations of another format into a COCO file.

    What cannot be used is counted and listed in OUT.report.json, and the exit code is then 3.
    """


@convert.command(short_help="DeepFashion2's annos/ and image/ folders.")
@click.argument("root", type=PATH)
@OUT_OPTION
@click.option(
    "--classes",
    default="five",
    show_default=True,
    metavar="five|thirteen|FILE",
    help="Which classes; FILE is a TOML or JSON table such as: top = ['vest', 'sling']",
)
@click.option(
    "--occlusion", type=LevelsType("occlusion"), default="1,2,3", help="slight, medium, heavy (1, 2, 3). Default: all."
)
@click.option(
    "--scale", type=LevelsType("scale"), default="1,2,3", help="small, modest, large (1, 2, 3). Default: all."
)
@click.option(
    "--zoom-in", type=LevelsType("zoom_in"), default="1,2,3", help="no, medium, large (1, 2, 3). Default: all."
)
@click.option(
    "--viewpoint",
    type=LevelsType("viewpoint"),
    default="1,2,3",
    help="no-wear, frontal, side-or-back (1, 2, 3). Default: all.",
)
@click.option(
    "--balance",
    type=NumberRange(1),
    metavar="RATIO",
    help="Leave out photos until no class has over RATIO times the rarest one's garments.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most the first N photos that are kept.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of --balance.")
@processes_option
@quiet_option
@json_option
def deepfashion2(
    root: Path,
    out: Path,
    classes: str,
    balance: float | None,
    limit: int | None,
    seed: int,
    processes: int,
    quiet: bool,
    as_json: bool,
    **levels: frozenset[int],
) -> int:
    """Convert the DeepFashion2 folder ROOT, which holds annos/ and image/.

    \b
    fashionseg data convert deepfashion2 DeepFashion2/train -o df2.json
    fashionseg data convert deepfashion2 DeepFashion2/train -o easy.json \\
        --occlusion slight --scale modest --zoom-in no,medium --balance 2

    A photo is kept where every garment of a kept class passes the filters and has no fault. Image and annotation ids
    are those of the official converter; areas are those of the masks.
    """
    from fashionseg.data.convert.classes import deepfashion2_classes
    from fashionseg.data.convert.deepfashion2 import Filters
    from fashionseg.data.convert.deepfashion2_set import Options, annotation_names, convert_deepfashion2

    options = Options(deepfashion2_classes(classes), Filters(**levels), balance, limit, seed)
    total = len(annotation_names(root))
    with counting("converting", total, quiet=quiet) as progress:
        report = convert_deepfashion2(root, out, options, processes=number_of_processes(processes), progress=progress)
    return _finish(report, out, quiet=quiet, as_json=as_json)


@convert.command(short_help="YOLO segmentation labels.")
@click.argument("root", type=PATH)
@OUT_OPTION
@click.option(
    "--names",
    type=NamesType(),
    default=(),
    metavar="NAME,...",
    help="Class names by index. Default: from data.yaml, classes.txt or obj.names in ROOT.",
)
@processes_option
@quiet_option
@json_option
def yolo(root: Path, out: Path, names: tuple[str, ...], processes: int, quiet: bool, as_json: bool) -> int:
    """Convert the YOLO segmentation data set ROOT, which holds images/ and labels/.

    \b
    fashionseg data convert yolo my-set -o my-set.json
    """
    from fashionseg.data.convert.yolo import convert_yolo

    with counting("converting", None, quiet=quiet) as progress:
        report = convert_yolo(root, out, names, processes=number_of_processes(processes), progress=progress)
    return _finish(report, out, quiet=quiet, as_json=as_json)


@convert.command(short_help="A picture of class numbers for each photo.")
@click.option("--images", type=PATH, required=True, help="Folder of photos.")
@click.option("--labels", type=PATH, required=True, help="Folder of label maps: 8-bit PNG files named as the photos.")
@click.option(
    "--names", type=PATH, required=True, metavar="FILE", help="Text file with a line '51 t-shirt' for each number."
)
@OUT_OPTION
@click.option(
    "--classes",
    default="five",
    show_default=True,
    metavar="five|all|FILE",
    help="Which classes; `five` is for Clothing Co-Parsing, FILE is a TOML or JSON table.",
)
@click.option(
    "--min-region", type=click.IntRange(0), default=64, show_default=True, help="Pixels; smaller specks are dropped."
)
@click.option(
    "--min-area", type=click.IntRange(0), default=400, show_default=True, help="Pixels; smaller garments are dropped."
)
@click.option("--per-region", is_flag=True, help="Each connected region is a garment of its own.")
@processes_option
@quiet_option
@json_option
def labelmaps(
    images: Path,
    labels: Path,
    names: Path,
    out: Path,
    classes: str,
    processes: int,
    quiet: bool,
    as_json: bool,
    **least: Any,
) -> int:
    """Convert label maps, such as those of Clothing Co-Parsing.

    \b
    fashionseg data convert labelmaps --images ccp/images --labels ccp/labels --names ccp/labels.txt -o ccp.json

    Label maps do not tell persons apart: all pixels of a class in a photo are one garment, unless --per-region is
    given.
    """
    from fashionseg.data.convert.labelmaps import LabelMapOptions, convert_label_maps, label_classes

    options = LabelMapOptions(images, labels, label_classes(names, classes), **least)
    with counting("converting", None, quiet=quiet) as progress:
        report = convert_label_maps(out, options, processes=number_of_processes(processes), progress=progress)
    return _finish(report, out, quiet=quiet, as_json=as_json)


def _finish(report: Report, out: Path, *, quiet: bool, as_json: bool) -> int:
    """Print what was done; the exit code."""
    from fashionseg.data.convert.report import report_path

    if as_json:
        document = report.to_json()
        del document["problems"]
        print_json(document | {"output": str(out), "report": str(report_path(out))})
    elif not quiet:
        print_table("", ("category", "instances"), [(n, f"{k:,}") for n, k in report.instances.items()])
    for reason, number in report.left_out.items():
        say(f"{plural(number, 'photo')} left out: {reason}", quiet=quiet)
    for reason, number in report.instances_left_out.items():
        say(f"{number:,} left out of photos: {reason}", quiet=quiet)
    for kind, number in report.problem_counts.most_common():
        first = next((p for p in report.problems if p.kind == kind), None)
        example = f", such as {first.place}: {first.text}" if first else ""
        say(f"{kind}, {plural(number, 'time')}{example}", quiet=quiet and as_json)
    say(f"{report.photos_kept:,} of {report.photos_read:,} photos in {out}; report in {report_path(out)}", quiet=quiet)
    return EXIT_SOME_FAILED if report.has_problems else 0
