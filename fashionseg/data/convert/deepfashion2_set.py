"""A whole DeepFashion2 folder into one COCO file: files in order, many processes, bounded memory.

Knows folders, numbering and balance. What is in an annotation file is `deepfashion2.py`.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.data.convert.balance import balanced
from fashionseg.data.convert.deepfashion2 import LEVELS, Converted, Filters, Job, convert_file
from fashionseg.data.convert.report import Report, report_path
from fashionseg.data.convert.stream import CocoStream
from fashionseg.data.parallel import ordered_map
from fashionseg.data.records import Problem
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fashionseg.data.convert.classes import ClassMap

CHUNK = 128
"""Annotation files that a process converts at a time."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to convert.

    Attributes:
        classes: which categories, and their names.
        filters: which levels make a good garment.
        balance: most instances of a class for one of the rarest; None keeps all.
        limit: photos at most, the first ones; None keeps all.
        seed: of the balance.
    """

    classes: ClassMap
    filters: Filters = field(default_factory=Filters)
    balance: float | None = None
    limit: int | None = None
    seed: int = 0

    def describe(self) -> dict[str, Any]:
        """For the report and the `info` of the COCO file."""
        levels = {name: sorted(values) for name, values in asdict(self.filters).items()}
        classes = {
            c.name: sorted(k for k, v in self.classes.id_of.items() if v == c.id) for c in self.classes.categories
        }
        return {"classes": classes, **levels, "balance": self.balance, "limit": self.limit, "seed": self.seed}


def convert_deepfashion2(
    root: str | Path,
    out: str | Path,
    options: Options,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Convert the folder `root` (with `annos/` and `image/`) into the COCO file `out` and a report beside it.

    Args:
        root: such as `DeepFashion2/train`.
        out: the .json file.
        options: what is kept.
        processes: how many convert at a time.
        progress: called with the number of annotation files read so far.

    Raises:
        DataError: `root` is no such folder, or nothing is left.
        OutputError: a file cannot be written.
    """
    root, out = Path(root), Path(out)
    names = annotation_names(root)
    job = Job(root / "image", options.classes, options.filters)
    report = Report()
    with CocoStream(out) as stream:
        items, taken = 0, dict[int, str]()
        for name, converted in zip(names, _converted(root / "annos", names, job, processes), strict=True):
            _take(name, converted, items, taken, stream, report)
            items += converted.items
            if progress is not None:
                progress(report.photos_read)
            if options.limit is not None and len(stream.photos) >= options.limit:
                break
        keep = None
        if options.balance is not None:
            keep = balanced([p.category_ids for p in stream.photos], options.balance, options.seed)
            report.left_out["left out to balance the classes"] += len(stream.photos) - len(keep)
        _count(stream, keep, options.classes, report)
        report.write(report_path(out), source=str(root), **options.describe())
        if not report.photos_kept:
            raise DataError(
                f"nothing is left of {root}: {report_path(out)} tells why {report.photos_read} files dropped"
            )
        info = {"description": "Converted from DeepFashion2 by fashionseg", "options": options.describe()}
        stream.write(options.classes.categories, info, keep)
    return report


def annotation_names(root: Path) -> list[str]:
    """Names of the annotation files below `root`, in order.

    Raises:
        DataError: not a folder of DeepFashion2.
    """
    folder = root / "annos"
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.name.endswith(".json"))
    except (FileNotFoundError, NotADirectoryError):
        inside = [child.name for child in root.iterdir() if (child / "annos").is_dir()] if root.is_dir() else []
        hint = f"; did you mean {root / sorted(inside)[0]}?" if inside else ""
        raise DataError(f"{root} has no folder annos/, which DeepFashion2's train and validation have{hint}") from None
    except OSError as error:
        raise DataError(f"cannot read {folder}: {error.strerror}") from error
    if not names:
        raise DataError(f"{folder} holds no .json file")
    if not (root / "image").is_dir():
        raise DataError(f"{root} has no folder image/ with the photos, whose sizes are needed")
    return names


def _converted(folder: Path, names: list[str], job: Job, processes: int) -> Iterator[Converted]:
    chunks = ((folder, names[i : i + CHUNK], job) for i in range(0, len(names), CHUNK))
    for results in ordered_map(_convert_chunk, chunks, processes):
        yield from results


def _convert_chunk(chunk: tuple[Path, list[str], Job]) -> list[Converted]:
    """Runs in a worker process."""
    folder, names, job = chunk
    return [convert_file(folder / name, job) for name in names]


def _take(
    name: str, converted: Converted, items_before: int, taken: dict[int, str], stream: CocoStream, report: Report
) -> None:
    """Stage a file and count it; `taken` has the name of the file that each kept image id comes from."""
    report.photos_read += 1
    report.add_problems(list(converted.problems))
    if converted.left_out:
        report.left_out[converted.left_out] += 1
    first = taken.setdefault(int(name.removesuffix(".json")), name) if converted.image else name
    if first != name:
        report.add_problems([Problem("duplicate id", name, f"has the number of {first}, which is the image id")])
        report.left_out["a fault, see problems"] += 1
    elif converted.image:
        numbered = [
            (category, f'{{"id":{items_before + position + 1}{text}')
            for position, category, text in converted.annotations
        ]
        stream.add(converted.image, numbered)
    elif converted.problems:
        report.left_out["a fault, see problems"] += 1


def _count(stream: CocoStream, keep: set[int] | None, classes: ClassMap, report: Report) -> None:
    for category in classes.categories:
        report.instances[category.name] = 0
    for position, photo in enumerate(stream.photos):
        if keep is None or position in keep:
            report.photos_kept += 1
            report.instances.update(classes.name_of(category) for category in photo.category_ids)


__all__ = ["LEVELS", "Filters", "Options", "annotation_names", "convert_deepfashion2"]
