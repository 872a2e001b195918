"""`fashionseg data check`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from fashionseg.cli.data.common import (
    counting,
    number_of_processes,
    print_json,
    print_table,
    processes_option,
    say,
)
from fashionseg.cli.options import PATH, json_option, quiet_option
from fashionseg.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fashionseg.data.records import Problem

EXIT_QUALITY = 4
SHOWN = 3


@click.command(short_help="Find what is wrong in a data set.")
@click.argument("files", type=PATH, nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--images",
    "folders",
    type=PATH,
    multiple=True,
    help="Folder of the photos: once for all FILEs, or once for each. Default: images/ beside FILE.",
)
@click.option("--no-images", is_flag=True, help="Look at the annotations alone.")
@click.option(
    "--no-hash", is_flag=True, help="Do not read whole photos to find copies; FILEs are compared by file names."
)
@click.option("--no-masks", is_flag=True, help="Do not draw masks to compare them with boxes and areas.")
@click.option("--group", metavar="KEY", help="Groups that may not be in two FILEs. Default: pair_id, if there is one.")
@click.option("--all", "show_all", is_flag=True, help="List every problem.")
@processes_option
@quiet_option
@json_option
def check(
    files: tuple[Path, ...],
    folders: tuple[Path, ...],
    no_images: bool,
    no_hash: bool,
    no_masks: bool,
    group: str | None,
    show_all: bool,
    processes: int,
    quiet: bool,
    as_json: bool,
) -> int:
    """Check COCO files: ids, categories, polygons, masks, photos, copies, and leaks between splits.

    \b
    fashionseg data check train.json --images photos
    fashionseg data check splits/train.json splits/val.json splits/test.json --images photos

    Several FILEs are taken for splits of one data set. Exit codes: 0 no errors (there may be warnings), 4 errors.
    """
    from fashionseg.data.check import check as check_data

    where = _folders(files, folders, no_images)
    with counting("checking", None, quiet=quiet) as progress:
        sets, problems = check_data(
            files,
            where,
            key=group,
            with_hash=not no_hash,
            with_masks=not no_masks,
            processes=number_of_processes(processes),
            progress=progress,
        )
    errors = sum(problem.is_error for problem in problems)
    if as_json:
        print_json(_document(problems))
    elif not quiet:
        _print(problems, show_all=show_all)
    photos = sum(len(data.images) for data in sets)
    garments = sum(len(data.instances) for data in sets)
    say(
        f"{plural(photos, 'photo')}, {plural(garments, 'garment')}: {plural(errors, 'error')}, "
        f"{plural(len(problems) - errors, 'warning')}",
        quiet=quiet and not errors,
    )
    return EXIT_QUALITY if errors else 0


def _folders(files: Sequence[Path], given: Sequence[Path], no_images: bool) -> list[Path | None]:
    if no_images:
        return [None] * len(files)
    if given and len(given) not in (1, len(files)):
        raise click.BadParameter(f"give --images once, or once for each of the {len(files)} files")
    if given:
        return [*given] * len(files) if len(given) == 1 else [*given]
    found: list[Path | None] = []
    for file in files:
        folder = file.parent / "images"
        if not folder.is_dir():
            raise click.BadParameter(f"there is no folder {folder}: name it with --images, or give --no-images")
        found.append(folder)
    return found


def _document(problems: list[Problem]) -> dict[str, object]:
    return {
        "errors": sum(p.is_error for p in problems),
        "warnings": sum(not p.is_error for p in problems),
        "problems": [
            {"place": p.place, "kind": p.kind, "text": p.text, "level": "error" if p.is_error else "warning"}
            for p in problems
        ],
    }


def _print(problems: list[Problem], *, show_all: bool) -> None:
    kinds = Counter((not p.is_error, p.kind) for p in problems)
    rows = []
    for (is_warning, kind), number in sorted(kinds.items()):
        rows.append(["warning" if is_warning else "error", kind, f"{number:,}"])
    if rows:
        print_table("", ("level", "problem", "times"), rows)
    shown: Counter[tuple[bool, str]] = Counter()
    for problem in sorted(problems, key=lambda p: not p.is_error):
        shown[(problem.is_error, problem.kind)] += 1
        if show_all or shown[(problem.is_error, problem.kind)] <= SHOWN:
            level = "error" if problem.is_error else "warning"
            click.echo(f"{level}: {problem.place}: {problem.text}".encode("utf-8", "replace").decode(), err=True)
