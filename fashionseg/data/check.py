"""What is wrong in one or several data sets: records, masks, photos, duplicates, leaks between splits.

Collects problems and never stops at the first one. Knows nothing about repairing: `select.py` leaves out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.data.coco import CocoData, Image, Instance, Problem, scan_coco
from fashionseg.data.parallel import ordered_map
from fashionseg.data.photos import hash_file, read_size_hw, safe_path
from fashionseg.data.segmentation import instance_mask
from fashionseg.data.split import AUTOMATIC_KEYS, groups_of
from fashionseg.errors import DataError
from fashionseg.wording import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

AREA_TOLERANCE = 0.05
"""Share by which an annotation's area may differ from its mask's before it is worth a warning."""

BOX_TOLERANCE = 3.0
"""Pixels by which an annotation's box may differ from its mask's before it is worth a warning."""

CHUNK = 64
"""Photos that a process looks at a time."""


@dataclass(frozen=True, slots=True)
class CheckedSet:
    """One data set and where its photos lie; `folder` is None where photos are not to be looked at."""

    data: CocoData
    folder: Path | None


@dataclass(frozen=True, slots=True)
class _PhotoJob:
    image: Image
    instances: tuple[Instance, ...]
    folder: Path | None
    with_hash: bool
    with_masks: bool


@dataclass(frozen=True, slots=True)
class _PhotoResult:
    problems: tuple[Problem, ...]
    digest: str


def check(
    files: Sequence[str | Path],
    folders: Sequence[Path | None],
    *,
    key: str | None = None,
    with_hash: bool = True,
    with_masks: bool = True,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[CocoData], list[Problem]]:
    """Check data sets, each on its own and against each other.

    Args:
        files: COCO files; several are taken for splits of one data set.
        folders: where the photos of each lie; None does not look at photos. Without bytes to compare, a file name in
            two sets is one photo where they share a folder, and worth a warning where that is not known.
        key: groups that may not be in two splits; None takes `pair_id` where there is one.
        with_hash: read every photo to find copies.
        with_masks: draw every mask to compare it with box and area.
        processes: how many look at photos at a time.
        progress: called with the number of photos looked at so far.

    Returns:
        The data sets, and problems whose places begin with the file they are in.

    Raises:
        DataError: a file is no COCO file at all.
    """
    sets: list[CheckedSet] = []
    problems: list[Problem] = []
    for path, folder in zip(files, folders, strict=True):
        data, found = scan_coco(path)
        sets.append(CheckedSet(data, folder))
        problems += _placed(found, data)
        problems += _placed(_check_lists(data), data)
    done, digests = 0, list[dict[str, str]]()
    for checked in sets:
        digests.append({})
        for image, result in _look(checked, with_hash, with_masks, processes):
            problems += _placed(result.problems, checked.data)
            if result.digest:
                digests[-1][image.file_name] = result.digest
            done += 1
            if progress is not None:
                progress(done)
    problems += _copies(sets, digests)
    problems += _shared_names(sets, with_hash=with_hash)
    problems += _check_between([checked.data for checked in sets], key)
    return [checked.data for checked in sets], problems


def _placed(found: Iterable[Problem], data: CocoData) -> Iterator[Problem]:
    for problem in found:
        yield Problem(problem.kind, f"{data.where()}: {problem.place}", problem.text, problem.is_error)


def _check_lists(data: CocoData) -> Iterator[Problem]:
    """What can be said without photos."""
    seen: Counter[str] = Counter(image.file_name for image in data.images)
    for name, number in seen.items():
        if number > 1:
            yield Problem("duplicate photo", name, f"is listed {number} times")
        if safe_path(Path(), name) is None:
            yield Problem("file name", name, "leads out of the folder of photos")
    if not data.instances:
        yield Problem("no annotations", "annotations", "the data set holds no annotation")
    for name, number in data.counts().items():
        if not number and data.instances:
            yield Problem("empty category", name, "no annotation has this category", is_error=False)
    empty = sum(not found for found in data.instances_of.values())
    if empty:
        yield Problem(
            "photo without annotation", "images", f"{plural(empty, 'photo')} with nothing in sight", is_error=False
        )


def _look(
    checked: CheckedSet, with_hash: bool, with_masks: bool, processes: int
) -> Iterator[tuple[Image, _PhotoResult]]:
    data = checked.data
    jobs = [
        _PhotoJob(image, tuple(data.instances_of[image.id]), checked.folder, with_hash, with_masks)
        for image in data.images
    ]
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    results = ordered_map(_look_at_chunk, chunks, min(processes, max(len(chunks) // 2, 1)))
    for chunk, found in zip(chunks, results, strict=True):
        yield from zip((job.image for job in chunk), found, strict=True)


def _look_at_chunk(jobs: list[_PhotoJob]) -> list[_PhotoResult]:
    """Runs in a worker process."""
    return [_look_at(job) for job in jobs]


def _look_at(job: _PhotoJob) -> _PhotoResult:
    problems: list[Problem] = []
    digest = ""
    if job.with_masks:
        for instance in job.instances:
            problems += _check_mask(instance, job.image)
    if job.folder is not None:
        path = safe_path(job.folder, job.image.file_name)
        if path is not None and not path.is_file():
            problems.append(Problem("missing photo", job.image.file_name, f"there is no file {path}"))
        elif path is not None:
            problems += _check_photo(path, job.image)
            digest = _digest(path, problems) if job.with_hash else ""
    return _PhotoResult(tuple(problems), digest)


def _check_photo(path: Path, image: Image) -> Iterator[Problem]:
    size = read_size_hw(path)
    if isinstance(size, str):
        yield Problem("broken photo", image.file_name, size)
    elif size == image.size_hw[::-1] and size[0] != size[1]:
        text = f"is {size[1]}x{size[0]} pixels upright, annotated lying: its EXIF orientation was not applied"
        yield Problem("photo turned", image.file_name, text)
    elif size != image.size_hw:
        text = f"is {size[1]}x{size[0]} pixels, annotated as {image.width}x{image.height}"
        yield Problem("photo size", image.file_name, text)


def _digest(path: Path, problems: list[Problem]) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        problems.append(Problem("broken photo", path.name, f"cannot be read: {error.strerror}"))
        return ""


def _check_mask(instance: Instance, image: Image) -> Iterator[Problem]:
    if instance.segmentation is None:
        return
    place = f"annotation id {instance.id}"
    mask = instance_mask(instance, image.size_hw)
    if not mask.area:
        yield Problem("empty mask", place, "the mask covers no pixel")
        return
    if abs(mask.area - instance.area) > max(AREA_TOLERANCE * mask.area, 16):
        text = f"area {instance.area:g} is not that of the mask, {mask.area}"
        yield Problem("area", place, text, is_error=False)
    x, y, width, height = instance.bbox
    off = max(
        abs(x - mask.x), abs(y - mask.y), abs(x + width - mask.x - mask.width), abs(y + height - mask.y - mask.height)
    )
    if off > BOX_TOLERANCE:
        text = f"the box differs from the mask's by {off:.0f} pixels"
        yield Problem("box and mask", place, text, is_error=False)


def _copies(sets: list[CheckedSet], digests: list[dict[str, str]]) -> Iterator[Problem]:
    """Photos of the same bytes: a warning within a set, a leak between sets."""
    where: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for number, found in enumerate(digests):
        for name, digest in found.items():
            where[digest].append((number, name))
    for places in where.values():
        for number, name in places[1:]:
            first_number, first = places[0]
            leak = number != first_number
            text = f"is a copy of {first}" + (f" of {sets[first_number].data.where()}" if leak else "")
            place = f"{sets[number].data.where()}: {name}"
            yield Problem("leak: same photo" if leak else "copy", place, text, is_error=leak)


def _shared_names(sets: list[CheckedSet], *, with_hash: bool) -> Iterator[Problem]:
    """Leaks told by file names, between sets whose photos were not compared byte by byte."""
    homes: dict[str, list[int]] = defaultdict(list)
    folders = [checked.folder.resolve() if checked.folder else None for checked in sets]
    for number, checked in enumerate(sets):
        rivals = [k for k in range(number) if _names_tell(folders[k], folders[number], with_hash=with_hash)]
        for name in dict.fromkeys(image.file_name for image in checked.data.images):
            first = next((k for k in rivals if k in homes[name]), None)
            if first is not None:
                known, text = folders[number] is not None and folders[first] is not None, "is in {} too"
                if not known:
                    text = "there is one of that name in {} too: with the folders of both, the photos are compared"
                kind, place = "leak: same photo" if known else "same file name", f"{checked.data.where()}: {name}"
                yield Problem(kind, place, text.format(sets[first].data.where()), is_error=known)
            homes[name].append(number)


def _names_tell(one: Path | None, other: Path | None, *, with_hash: bool) -> bool:
    if one is None or other is None:
        return True
    return one == other and not with_hash


def _check_between(sets: Sequence[CocoData], key: str | None) -> Iterator[Problem]:
    """Categories and groups of several data sets."""
    for data in sets[1:]:
        if [(c.id, c.name) for c in data.categories] != [(c.id, c.name) for c in sets[0].categories]:
            text = f"has the categories {', '.join(data.class_names)}, not {', '.join(sets[0].class_names)}"
            yield Problem("categories differ", data.where(), text)
    for name in AUTOMATIC_KEYS if key is None else (key,):
        yield from _shared_groups(sets, name, asked=key is not None)


def _shared_groups(sets: Sequence[CocoData], key: str, *, asked: bool) -> Iterator[Problem]:
    home: dict[Hashable, int] = {}
    found = False
    for number, data in enumerate(sets):
        for image in data.images:
            for value in sorted(groups_of(data, image, key), key=str):
                found = True
                first = home.setdefault(value, number)
                if first != number:
                    text = f"{key} {value} is in {sets[first].where()} too"
                    yield Problem("leak: same group", f"{data.where()}: {image.file_name}", text)
    if asked and not found:
        raise DataError(f"no photo of {sets[0].where()} has the key {key!r}")
