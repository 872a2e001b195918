"""DeepFashion2's annotation files into records: one file at a time, checked, filtered.

The format is that of https://github.com/switchablenorms/DeepFashion2 (README, "Data Organization"): one JSON file a
photo with `source`, `pair_id` and `item1`, `item2` ..., each with `category_id` 1..13, `bounding_box` [x1, y1, x2, y2],
`segmentation` (polygons), and the levels 1..3 of `scale`, `occlusion`, `zoom_in` and `viewpoint`. As in the official
converter (evaluation/deepfashion2_to_coco.py there) the image id is the number in the file's name and annotations are
numbered through all items of all files from 1; unlike it, `area` is that of the mask, not of the box.

Knows nothing about folders of files, processes or output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.data.photos import read_size_hw
from fashionseg.data.records import Problem, is_number, polygon_problem
from fashionseg.data.segmentation import polygon_area
from fashionseg.json_text import json_bytes, parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.convert.classes import ClassMap

BOX_TOLERANCE = 1.0
"""Pixels that a box may reach beyond its photo; beyond that it is a fault."""

MAX_FILE_BYTES = 64 * 1024**2

LEVELS: dict[str, dict[str, int]] = {
    "occlusion": {"slight": 1, "medium": 2, "heavy": 3},
    "scale": {"small": 1, "modest": 2, "large": 3},
    "zoom_in": {"no": 1, "medium": 2, "large": 3},
    "viewpoint": {"no-wear": 1, "frontal": 2, "side-or-back": 3},
}
"""Names of the levels of each attribute of an item."""

ALL_LEVELS = frozenset((1, 2, 3))


@dataclass(frozen=True, slots=True)
class Filters:
    """Levels that a garment may have to count as good."""

    occlusion: frozenset[int] = ALL_LEVELS
    scale: frozenset[int] = ALL_LEVELS
    zoom_in: frozenset[int] = ALL_LEVELS
    viewpoint: frozenset[int] = ALL_LEVELS

    def admit(self, levels: dict[str, int]) -> bool:
        """Whether an item of these levels is good."""
        return all(levels[name] in getattr(self, name) for name in LEVELS)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker needs to convert files: where photos lie, what is kept."""

    image_folder: Path
    classes: ClassMap
    filters: Filters


@dataclass(frozen=True, slots=True)
class Converted:
    """One annotation file.

    Attributes:
        items: how many the file holds, whether kept or not: they are numbered through.
        image: the COCO image as JSON; "" where the photo is left out.
        annotations: (position of the item in its file, category id, COCO annotation as JSON without its id).
        left_out: why the photo is left out, where that is no fault.
        problems: faults.
    """

    items: int
    image: str
    annotations: tuple[tuple[int, int, str], ...]
    left_out: str
    problems: tuple[Problem, ...]


def convert_file(path: Path, job: Job) -> Converted:
    """Convert one annotation file.

    A photo is kept where every item of a kept category is good: admitted by the filters and without a fault. A photo
    that shows a garment which is not annotated would teach a detector that there is none.
    """
    problems: list[Problem] = []
    document = _load(path, problems)
    if document is None:
        return Converted(0, "", (), "", tuple(problems))
    items = [(name, item) for name, item in document.items() if name not in ("source", "pair_id")]

    def dropped(reason: str = "") -> Converted:
        return Converted(len(items), "", (), reason, tuple(problems))

    kept: list[tuple[int, dict[str, Any]]] = []
    for position, (name, item) in enumerate(items):
        text = _item_problem(item)
        if text:
            problems.append(Problem("item", f"{path.name} {name}", text))
        elif item["category_id"] in job.classes.id_of:
            kept.append((position, item))
    if problems:
        return dropped()
    if not kept:
        return dropped("no garment of a kept category")
    if not all(job.filters.admit(item) for _, item in kept):
        return dropped("a garment does not pass the filters")
    image_path = job.image_folder / f"{path.stem}.jpg"
    size_hw = _size_hw(image_path, problems)
    if size_hw is None:
        return dropped()
    annotations = [
        (position, job.classes.id_of[item["category_id"]], text)
        for position, item in kept
        if (text := _annotation(item, f"{path.name} {items[position][0]}", size_hw, document, path, job, problems))
    ]
    if len(annotations) < len(kept):
        return dropped()
    image = {
        "id": int(path.stem),
        "file_name": image_path.name,
        "width": size_hw[1],
        "height": size_hw[0],
        "pair_id": document["pair_id"],
        "source": document.get("source"),
    }
    return Converted(len(items), json_bytes(image).decode(), tuple(annotations), "", tuple(problems))


def _load(path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        if not (path.stem.isascii() and path.stem.isdigit()):
            raise ValueError("its name is not a number, from which the image id comes")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ValueError("it is too large for the annotations of one photo")
        document = parse_json(path.read_bytes())
        if not isinstance(document, dict):
            raise ValueError("its top level is not an object")
        if not _is_int(document.get("pair_id")):
            raise ValueError("it has no pair_id")
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        problems.append(Problem("broken file", path.name, f"cannot be read: {reason}"))
        return None
    return document


def _item_problem(item: Any) -> str:
    """What is wrong with an item, "" where it is well-formed."""
    if not isinstance(item, dict):
        return "is not an object"
    category = item.get("category_id")
    if not isinstance(category, int) or isinstance(category, bool) or not 1 <= category <= 13:
        return f"category_id {category!r} is not 1 to 13"
    for name in LEVELS:
        if not _is_int(item.get(name)) or item[name] not in ALL_LEVELS:
            return f"{name} {item.get(name)!r} is not 1, 2 or 3"
    box = item.get("bounding_box")
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(value) for value in box):
        return "bounding_box is not [x1, y1, x2, y2]"
    if box[2] <= box[0] or box[3] <= box[1]:
        return f"bounding_box {box} has no area"
    if not isinstance(item.get("segmentation"), list):
        return "segmentation is not a list of polygons"
    return ""


def _size_hw(path: Path, problems: list[Problem]) -> tuple[int, int] | None:
    """Height and width of a photo, upright, from its header alone."""
    size = read_size_hw(path)
    if not isinstance(size, str):
        return size
    if path.exists():
        problems.append(Problem("broken photo", path.name, size))
    else:
        problems.append(Problem("missing photo", path.name, "there is no such photo"))
    return None


def _annotation(
    item: dict[str, Any],
    place: str,
    size_hw: tuple[int, int],
    document: dict[str, Any],
    path: Path,
    job: Job,
    problems: list[Problem],
) -> str:
    """The COCO annotation as JSON but for its id, beginning with a comma; "" where the item has a fault."""
    x1, y1, x2, y2 = item["bounding_box"]
    height, width = size_hw
    if x1 < -BOX_TOLERANCE or y1 < -BOX_TOLERANCE or x2 > width + BOX_TOLERANCE or y2 > height + BOX_TOLERANCE:
        text = f"bounding_box {item['bounding_box']} reaches beyond the photo of {width}x{height} pixels"
        problems.append(Problem("box outside", place, text))
        return ""
    polygons = _polygons(item["segmentation"], place, size_hw, problems)
    area = polygon_area(polygons, size_hw) if polygons else 0
    if not area:
        problems.append(Problem("no mask", place, "no polygon of the item covers a pixel of the photo"))
        return ""
    annotation = {
        "image_id": int(path.stem),
        "category_id": job.classes.id_of[item["category_id"]],
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": area,
        "iscrowd": 0,
        "pair_id": document["pair_id"],
        "style": item.get("style"),
        **{name: item[name] for name in LEVELS},
        "segmentation": polygons,
    }
    return "," + json_bytes(annotation)[1:].decode()


def _polygons(
    segmentation: list[Any], place: str, size_hw: tuple[int, int], problems: list[Problem]
) -> list[list[float]]:
    """The usable polygons; the others are faults."""
    usable = []
    for index, polygon in enumerate(segmentation):
        text = polygon_problem(polygon, size_hw)
        if text:
            problems.append(Problem("polygon", f"{place} polygon {index}", text))
        else:
            usable.append(polygon)
    return usable


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
