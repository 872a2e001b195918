"""The records of a COCO annotation file, and what makes one valid.

Every check of a single record stands here once; `coco.py` reads whole files with it. A problem is an error where the
record cannot be used, and a warning where tools commonly cope (a polygon too short, a box that sticks out a little).
Knows nothing about files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from fashionseg.errors import DataError
from fashionseg.rle import text_to_counts

MAX_SIDE = 65_500
"""Longest side of a photo in pixels: what JPEG can hold."""

MAX_POINTS = 1_000_000
"""Most numbers in the segmentation of one instance."""

MAX_BEYOND = 1.0
"""How far a polygon may reach beyond its photo, in sides of the photo; farther is damage, and costs memory to draw."""

OUTSIDE_TOLERANCE = 1.0
"""Pixels that a box or polygon may reach beyond its photo before it is worth a warning."""

Polygons = list[list[float]]
Rle = dict[str, Any]
"""`{"size": [height, width], "counts": str or list of int}`; a string is COCO's compressed form."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a data set.

    Attributes:
        kind: short name to count by, such as "duplicate id".
        place: where, such as "annotations[12]" or a file name.
        text: what is wrong, for people.
        is_error: False where the record is usable all the same.
    """

    kind: str
    place: str
    text: str
    is_error: bool = True


@dataclass(frozen=True, slots=True)
class Category:
    """A class of garment: `id` and `name` are unique in a file."""

    id: int
    name: str
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As in a COCO file."""
        return {"id": self.id, "name": self.name, **self.extra}


@dataclass(frozen=True, slots=True)
class Image:
    """A photo.

    Attributes:
        id: unique in a file.
        file_name: relative to the folder of photos, with "/" between parts.
        width: in pixels, as annotated.
        height: in pixels, as annotated.
        extra: keys this module does not know, such as `pair_id`.
    """

    id: int
    file_name: str
    width: int
    height: int
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.height, self.width

    def to_json(self) -> dict[str, Any]:
        """As in a COCO file."""
        return {
            "id": self.id,
            "file_name": self.file_name,
            "width": self.width,
            "height": self.height,
            **self.extra,
        }


@dataclass(frozen=True, slots=True)
class Instance:
    """One annotated garment.

    Attributes:
        id: unique in a file.
        image_id: of the photo.
        category_id: of the class.
        bbox: x, y, width, height in pixels of the photo, pixel edges.
        segmentation: polygons (each x0 y0 x1 y1 ... in pixels of the photo), or a run-length encoding of the whole
            photo; None where the file has none.
        area: pixels of the mask; of the box where the file does not say.
        is_crowd: the mask covers a group; metrics ignore what falls into it.
        extra: keys this module does not know, such as `occlusion`.
    """

    id: int
    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    segmentation: Polygons | Rle | None
    area: float
    is_crowd: bool = False
    extra: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As in a COCO file."""
        document: dict[str, Any] = {
            "id": self.id,
            "image_id": self.image_id,
            "category_id": self.category_id,
            "bbox": list(self.bbox),
            "area": self.area,
            "iscrowd": int(self.is_crowd),
        }
        if self.segmentation is not None:
            document["segmentation"] = self.segmentation
        return document | self.extra


def parse_category(raw: Any, place: str, problems: list[Problem]) -> Category | None:
    """A category, or None with the reason among `problems`."""
    number, name = _get(raw, "id"), _get(raw, "name")
    if not _is_int(number) or not isinstance(name, str) or not name:
        problems.append(Problem("category", place, "a category needs an integer id and a name"))
        return None
    return Category(number, name, _rest(raw, "id", "name"))


def parse_image(raw: Any, place: str, problems: list[Problem]) -> Image | None:
    """An image, or None with the reason among `problems`."""
    number, name, width, height = (_get(raw, key) for key in ("id", "file_name", "width", "height"))
    if not _is_int(number) or not isinstance(name, str) or not name:
        problems.append(Problem("image", place, "an image needs an integer id and a file_name"))
        return None
    if not (_is_int(width) and _is_int(height) and 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        problems.append(Problem("image size", place, f"{name}: width {width!r}, height {height!r} is no size"))
        return None
    return Image(number, name, width, height, _rest(raw, "id", "file_name", "width", "height"))


_INSTANCE_KEYS = ("id", "image_id", "category_id", "bbox", "segmentation", "area", "iscrowd")


def parse_instance(
    raw: Any, place: str, problems: list[Problem], sizes_hw: dict[int, tuple[int, int]], category_ids: set[int]
) -> Instance | None:
    """An instance, or None with the reason among `problems`.

    Args:
        raw: the JSON object.
        place: named in problems.
        problems: appended to.
        sizes_hw: height and width of each known image id.
        category_ids: the known ones.
    """
    number, image_id, category_id = (_get(raw, key) for key in ("id", "image_id", "category_id"))
    if not _is_int(number):
        problems.append(Problem("annotation", place, "an annotation needs an integer id"))
        return None
    if not _is_int(image_id) or image_id not in sizes_hw:
        problems.append(Problem("unknown image", place, f"image_id {image_id!r} is not among the images"))
        return None
    if not _is_int(category_id) or category_id not in category_ids:
        problems.append(Problem("unknown category", place, f"category_id {category_id!r} is not among the categories"))
        return None
    bbox = _parse_bbox(raw, place, problems, sizes_hw[image_id])
    if bbox is None:
        return None
    usable, segmentation = _parse_segmentation(raw.get("segmentation"), place, problems, sizes_hw[image_id])
    if not usable:
        return None
    area = raw.get("area", bbox[2] * bbox[3])
    if not is_number(area) or area < 0:
        problems.append(Problem("area", place, f"area {area!r} is no area"))
        return None
    crowd = bool(raw.get("iscrowd", 0))
    return Instance(number, image_id, category_id, bbox, segmentation, area, crowd, _rest(raw, *_INSTANCE_KEYS))


def _parse_bbox(
    raw: dict[str, Any], place: str, problems: list[Problem], size_hw: tuple[int, int]
) -> tuple[float, float, float, float] | None:
    bbox = raw.get("bbox")
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(is_number, bbox)):
        problems.append(Problem("box", place, f"bbox {_short(bbox)} is not [x, y, width, height]"))
        return None
    x, y, width, height = bbox
    if width <= 0 or height <= 0:
        problems.append(Problem("empty box", place, f"bbox {bbox} has no area", is_error=False))
    elif x >= size_hw[1] or y >= size_hw[0] or x + width <= 0 or y + height <= 0:
        problems.append(Problem("box outside", place, f"bbox {bbox} lies outside its photo of {_wh(size_hw)}"))
        return None
    elif _sticks_out(x, y, x + width, y + height, size_hw):
        text = f"bbox {bbox} reaches beyond its photo of {_wh(size_hw)}"
        problems.append(Problem("box beyond", place, text, is_error=False))
    return x, y, width, height


def _parse_segmentation(
    raw: Any, place: str, problems: list[Problem], size_hw: tuple[int, int]
) -> tuple[bool, Polygons | Rle | None]:
    """Whether a segmentation is usable, and the usable part of it."""
    if raw is None or raw == []:
        problems.append(Problem("no mask", place, "the annotation has no segmentation", is_error=False))
        return True, None
    if isinstance(raw, dict):
        text = rle_problem(raw, size_hw)
        if text:
            problems.append(Problem("mask", place, text))
        return text is None, raw
    if not isinstance(raw, list):
        problems.append(Problem("mask", place, "the segmentation is neither polygons nor run-length encoded"))
        return False, None
    polygons = [p for i, p in enumerate(raw) if _polygon_usable(p, f"{place} polygon {i}", problems, size_hw)]
    if not polygons:
        reason = polygon_problem(raw[0], size_hw)
        problems.append(Problem("mask", place, f"the segmentation has no usable polygon: {reason}"))
    return bool(polygons), polygons


def _polygon_usable(polygon: Any, place: str, problems: list[Problem], size_hw: tuple[int, int]) -> bool:
    text = polygon_problem(polygon, size_hw)
    if text:
        problems.append(Problem("polygon", place, text, is_error=False))
        return False
    x, y = polygon[::2], polygon[1::2]
    if _sticks_out(min(x), min(y), max(x), max(y), size_hw):
        text = f"reaches beyond its photo of {_wh(size_hw)}"
        problems.append(Problem("mask beyond", place, text, is_error=False))
    return True


def polygon_problem(polygon: Any, size_hw: tuple[int, int]) -> str | None:
    """Why a polygon (x0 y0 x1 y1 ...) of a photo of `size_hw` cannot be used; None where it can."""
    if not isinstance(polygon, list) or len(polygon) % 2 or len(polygon) > MAX_POINTS:
        return "a polygon is a list of x and y in turn"
    if len(polygon) < 6:
        return f"{len(polygon) // 2} points are no polygon: it takes three"
    try:
        finite = all(map(isfinite, polygon))
    except (TypeError, OverflowError):
        finite = False
    if not finite:
        return "a polygon's coordinates are finite numbers"
    for low, high, side in (
        (min(polygon[::2]), max(polygon[::2]), size_hw[1]),
        (min(polygon[1::2]), max(polygon[1::2]), size_hw[0]),
    ):
        if high <= 0 or low >= side or low < -MAX_BEYOND * side or high > (1 + MAX_BEYOND) * side:
            return f"a polygon lies outside its photo of {_wh(size_hw)}"
    return None


def rle_problem(rle: dict[str, Any], size_hw: tuple[int, int]) -> str | None:
    """Why a run-length encoding is no mask of a photo of `size_hw`; None where it is one."""
    size, counts = rle.get("size"), rle.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_int, size)):
        return "a run-length encoding needs a size [height, width]"
    if tuple(size) != tuple(size_hw):
        return f"the mask is {size[1]}x{size[0]} pixels but its photo is {_wh(size_hw)}"
    try:
        lengths = text_to_counts(counts).tolist() if isinstance(counts, str) else counts
    except DataError as error:
        return str(error)
    if not isinstance(lengths, list) or not all(map(_is_int, lengths)) or any(length < 0 for length in lengths):
        return "the counts of a run-length encoding are integers from 0"
    if sum(lengths) != size[0] * size[1]:
        return f"the runs cover {sum(lengths)} pixels, the photo has {size[0] * size[1]}"
    return None


def _sticks_out(x0: float, y0: float, x1: float, y1: float, size_hw: tuple[int, int]) -> bool:
    most = OUTSIDE_TOLERANCE
    return x0 < -most or y0 < -most or x1 > size_hw[1] + most or y1 > size_hw[0] + most


def _wh(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]} pixels"


def _get(raw: Any, key: str) -> Any:
    return raw.get(key) if isinstance(raw, dict) else None


def _rest(raw: dict[str, Any], *known: str) -> dict[str, Any]:
    return {key: value for key, value in raw.items() if key not in known}


def _is_int(value: Any) -> bool:
    """Whether a JSON value is a whole number that arrays can hold."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_number(value: Any) -> bool:
    """Whether a JSON value is a finite number that a float can hold; whole numbers in JSON have any length."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
