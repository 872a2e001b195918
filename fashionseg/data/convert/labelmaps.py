"""Label maps into COCO: one picture of class numbers for each photo, as in Clothing Co-Parsing.

A pixel of the map (8-bit PNG, grey or palette) is the number of its class; a text file names the numbers, a line each
("51 t-shirt", or the name alone). Such maps do not tell persons apart: all pixels of a category are one instance,
or each connected region is.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.coco import CocoData, write_coco
from fashionseg.data.convert.classes import ClassMap, named_class_map, read_mapping
from fashionseg.data.convert.report import Report, report_path
from fashionseg.data.label_map import label_map_path, read_label_map
from fashionseg.data.parallel import ordered_map
from fashionseg.data.photos import find_photos, labels_without_photo, read_size_hw
from fashionseg.data.records import Image, Instance, Problem
from fashionseg.data.segmentation import to_rle
from fashionseg.errors import DataError
from fashionseg.masks import PastedMask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

CCP_FIVE: dict[str, Sequence[str | int]] = {
    "short_sleeved_shirt": ["t-shirt"],
    "long_sleeved_shirt": ["blouse", "shirt", "sweater", "sweatshirt", "jumper", "hoodie"],
    "long_sleeved_outwear": ["blazer", "coat", "jacket", "cape", "cardigan"],
    "shorts": ["shorts"],
    "trousers": ["pants", "jeans", "leggings"],
}
"""The five classes out of Clothing Co-Parsing's labels (https://github.com/bearpaw/clothing-co-parsing)."""


@dataclass(frozen=True, slots=True)
class LabelMapOptions:
    """How to convert.

    Attributes:
        images: folder of photos.
        labels: folder of maps, .png files with the names of the photos.
        classes: which numbers are kept, as what.
        min_region: connected regions below this many pixels are specks, dropped and counted.
        min_area: instances below this many pixels are dropped and counted.
        per_region: each connected region is an instance.
    """

    images: Path
    labels: Path
    classes: ClassMap
    min_region: int = 64
    min_area: int = 400
    per_region: bool = False


@dataclass(frozen=True, slots=True)
class _Photo:
    name: str
    size_hw: tuple[int, int] | None
    found: tuple[tuple[int, PastedMask], ...]
    problems: tuple[Problem, ...]
    dropped: Counter[str]


def label_classes(labels_file: Path, choice: str) -> ClassMap:
    """The classes to keep of those a names file lists.

    Args:
        labels_file: "number name" or a name on each line.
        choice: "five" (Clothing Co-Parsing's), "all", or a TOML or JSON mapping file.

    Raises:
        DataError: a file is missing or wrong.
    """
    source = read_label_names(labels_file)
    if choice == "all":
        wanted: dict[str, Sequence[str | int]] = {name: [number] for number, name in source.items() if number}
        return named_class_map(wanted, source, str(labels_file))
    return named_class_map(CCP_FIVE if choice == "five" else read_mapping(Path(choice)), source, choice)


def read_label_names(path: Path) -> dict[int, str]:
    """Name of each number in a label map.

    Raises:
        DataError: no such file, or a line that is neither.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the names of the labels in {path}: {error}") from error
    names: dict[int, str] = {}
    for position, line in enumerate(lines):
        number, _, name = line.partition(" ")
        numbered = number.isascii() and number.isdigit() and bool(name)
        names[int(number) if numbered else position] = name.strip() if numbered else line
    if not names or max(names) > 255:
        raise DataError(f"{path} must name the numbers 0 to 255 of 8-bit label maps, a line each")
    return names


def convert_label_maps(
    out: str | Path,
    options: LabelMapOptions,
    *,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Convert label maps into the COCO file `out` (masks as run lengths) and a report beside it.

    Raises:
        DataError: a folder is missing, or nothing is left.
        OutputError: a file cannot be written.
    """
    out = Path(out)
    if not options.labels.is_dir():
        raise DataError(f"there is no folder of label maps at {options.labels}")
    report, images, instances = Report(), list[Image](), list[Instance]()
    photos = find_photos(options.images)
    report.add_problems(
        [
            Problem("missing photo", name, f"no photo in {options.images} has the name of this label map")
            for name in labels_without_photo(options.labels, ".png", photos)
        ]
    )
    jobs = ((name, options) for name in photos)
    for photo in ordered_map(_convert_photo, jobs, processes):
        report.photos_read += 1
        report.add_problems(list(photo.problems))
        report.instances_left_out.update(photo.dropped)
        if photo.size_hw is not None:
            _append(photo, photo.size_hw, images, instances)
        else:
            report.left_out["a fault, see problems"] += 1
        if progress is not None:
            progress(report.photos_read)
    info = {"info": {"description": f"Label maps of {options.labels}"}}
    data = CocoData(tuple(images), tuple(instances), options.classes.categories, info)
    report.photos_kept = len(images)
    report.instances.update(data.counts())
    report.write(report_path(out), images=str(options.images), labels=str(options.labels))
    if not images:
        raise DataError(f"nothing is left of {options.labels}: see {report_path(out)}")
    write_coco(data, out)
    return report


def _append(photo: _Photo, size_hw: tuple[int, int], images: list[Image], instances: list[Instance]) -> None:
    height, width = size_hw
    images.append(Image(len(images) + 1, photo.name, width, height))
    for category_id, mask in photo.found:
        box = (float(mask.x), float(mask.y), float(mask.width), float(mask.height))
        rle = to_rle(mask, size_hw)
        instances.append(Instance(len(instances) + 1, len(images), category_id, box, rle, mask.area))


def _convert_photo(job: tuple[str, LabelMapOptions]) -> _Photo:
    """Runs in a worker process."""
    name, options = job
    size = read_size_hw(options.images / name)
    if isinstance(size, str):
        return _Photo(name, None, (), (Problem("broken photo", name, size),), Counter())
    map_path = label_map_path(options.labels, name)
    labels = read_label_map(map_path, size)
    if isinstance(labels, str):
        return _Photo(name, None, (), (Problem("label map", map_path.name, labels),), Counter())
    found, dropped = _instances(labels, options)
    return _Photo(name, size, tuple(found), (), dropped)


def _instances(
    labels: NDArray[np.uint8], options: LabelMapOptions
) -> tuple[list[tuple[int, PastedMask]], Counter[str]]:
    """Category id and mask of each instance of a map, and what was too small, counted by reason."""
    table = np.zeros(256, np.uint8)
    for number, category_id in options.classes.id_of.items():
        table[number] = category_id
    categories = table[labels]
    found, dropped = [], Counter[str]()
    for category in options.classes.categories:
        regions, specks = _regions((categories == category.id).astype(np.uint8), options)
        dropped[f"specks below {options.min_region} pixels"] += specks
        for bits in regions:
            if np.count_nonzero(bits) >= max(options.min_area, 1):
                found.append((category.id, PastedMask.from_bits(bits)))
            else:
                dropped[f"garments below {options.min_area} pixels"] += 1
    return found, +dropped


def _regions(bits: NDArray[np.uint8], options: LabelMapOptions) -> tuple[list[NDArray[np.uint8]], int]:
    """Masks uint8 [H, W] of the instances of one category, together or one by one, and the number of specks."""
    import cv2

    count, regions, statistics, _ = cv2.connectedComponentsWithStats(bits, connectivity=8)
    large = [k for k in range(1, count) if statistics[k, cv2.CC_STAT_AREA] >= options.min_region]
    specks = count - 1 - len(large)
    if options.per_region:
        return [(regions == k).astype(np.uint8) for k in large], specks
    return [np.isin(regions, large).astype(np.uint8)] if large else [], specks
