"""COCO instance annotations as validated, frozen records: reading and writing.

`read_coco` is the one door through which a ground-truth file enters fashionseg (training, evaluation and every
`data` command use it): what comes out has unique ids, known categories, finite boxes and masks that fit their photo.
`scan_coco` reads the same way but lists what is wrong instead of refusing, which is what `data check` shows.
Keys this module does not know are kept and written back.

Knows nothing about pixels: drawing and decoding masks is `segmentation.py`; files of photos are `photos.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from fashionseg.data.records import (
    Category,
    Image,
    Instance,
    Problem,
    parse_category,
    parse_image,
    parse_instance,
)
from fashionseg.errors import DataError
from fashionseg.files import make_folder, write_bytes
from fashionseg.json_text import json_bytes, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = [
    "Category",
    "CocoData",
    "Image",
    "Instance",
    "Problem",
    "lost_polygons",
    "read_coco",
    "scan_coco",
    "write_coco",
]

MAX_FILE_BYTES = 4 * 1024**3
"""COCO's own training set has 0.5 GiB; a larger file than this is refused before it fills the memory."""

_LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class CocoData:
    """One annotation file.

    Attributes:
        images: in file order, unique ids.
        instances: the file's `annotations`, in file order, unique ids; each refers to a known image and category.
        categories: in order of id: the position is the contiguous class index that models use.
        extra: the other top-level keys (`info`, `licenses` ...), kept for writing.
        path: the file it was read from; None where it was made in memory.
    """

    images: tuple[Image, ...]
    instances: tuple[Instance, ...]
    categories: tuple[Category, ...]
    extra: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Category names by contiguous class index."""
        return tuple(category.name for category in self.categories)

    @property
    def category_ids(self) -> tuple[int, ...]:
        """Category ids by contiguous class index, ascending."""
        return tuple(category.id for category in self.categories)

    @cached_property
    def label_of(self) -> dict[int, int]:
        """Contiguous class index of a category id."""
        return {category.id: label for label, category in enumerate(self.categories)}

    @cached_property
    def image_of(self) -> dict[int, Image]:
        """Image of an image id."""
        return {image.id: image for image in self.images}

    @cached_property
    def instances_of(self) -> dict[int, list[Instance]]:
        """Instances of an image id, in file order; an empty list for a photo without any."""
        found: dict[int, list[Instance]] = {image.id: [] for image in self.images}
        for instance in self.instances:
            found[instance.image_id].append(instance)
        return found

    def counts(self) -> dict[str, int]:
        """Number of instances of each category name, in category order, crowds included."""
        number = dict.fromkeys(self.category_ids, 0)
        for instance in self.instances:
            number[instance.category_id] += 1
        return {category.name: number[category.id] for category in self.categories}

    def subset(self, image_ids: Collection[int]) -> CocoData:
        """The images of these ids, in file order, with their instances and all categories."""
        keep = frozenset(image_ids)
        images = tuple(image for image in self.images if image.id in keep)
        instances = tuple(instance for instance in self.instances if instance.image_id in keep)
        return replace(self, images=images, instances=instances)

    def where(self) -> str:
        """How errors name this data set."""
        return str(self.path) if self.path else "the data set"


def read_coco(path: str | Path, *, need_instances: bool = False, problems: list[Problem] | None = None) -> CocoData:
    """Read a COCO annotation file and refuse one with errors.

    Args:
        path: the JSON file.
        need_instances: also refuse a file without a single annotation.
        problems: receives the warnings.

    Raises:
        DataError: no such file, not COCO JSON, or an error in a record; the message has the first error's place and
            how many there are.
    """
    data, found = scan_coco(path)
    errors = [problem for problem in found if problem.is_error]
    if errors:
        more = f" and {len(errors) - 1} more errors" if len(errors) > 1 else ""
        raise DataError(
            f"{path}: {errors[0].place}: {errors[0].text}{more}; list them all with: fashionseg data check {path}"
        )
    if need_instances and not data.instances:
        raise DataError(f"{path} holds no annotations: there is nothing to learn from or to measure against")
    if problems is not None:
        problems += found
    return data


def scan_coco(path: str | Path) -> tuple[CocoData, list[Problem]]:
    """Read a COCO annotation file and list everything that is wrong with its records.

    Records with an error are left out of the result; those with a warning are kept.

    Raises:
        DataError: no such file, not JSON, or without the three lists of a COCO file.
    """
    path = Path(path)
    document = _load(path)
    problems: list[Problem] = []
    images = _parse_list(document, "images", parse_image, problems)
    categories = _parse_list(document, "categories", parse_category, problems)
    _check_names(categories, problems)
    sizes = {image.id: (image.height, image.width) for image in images}
    known = {category.id for category in categories}

    def parse(raw: Any, place: str, notes: list[Problem]) -> Instance | None:
        return parse_instance(raw, place, notes, sizes, known)

    instances = _parse_list(document, "annotations", parse, problems)
    extra = {key: value for key, value in document.items() if key not in _LISTS}
    ordered = tuple(sorted(categories, key=lambda category: category.id))
    return CocoData(tuple(images), tuple(instances), ordered, extra, path), problems


def lost_polygons(problems: Iterable[Problem]) -> int:
    """How many polygons reading left out of masks that it kept, by the problems of `scan_coco` or `read_coco`."""
    problems = list(problems)
    left_out = {problem.place for problem in problems if problem.is_error}
    return sum(p.kind == "polygon" and p.place.partition(" ")[0] not in left_out for p in problems)


def write_coco(data: CocoData, path: str | Path) -> None:
    """Write a COCO annotation file; it appears under its name whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    document = dict(data.extra)
    document["images"] = [image.to_json() for image in data.images]
    document["annotations"] = [instance.to_json() for instance in data.instances]
    document["categories"] = [category.to_json() for category in data.categories]
    path = Path(path)
    make_folder(path.parent)
    write_bytes(path, json_bytes(document))


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB: split it into smaller annotation files")
        document = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"annotation file not found: {path}") from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder; name the COCO JSON file inside it") from None
    except OSError as error:
        raise DataError(f"cannot read the annotation file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        hint = " (a list is a results file: predictions, not ground truth)" if isinstance(document, list) else ""
        raise DataError(f"{path} is not a COCO annotation file: its top level is not an object{hint}")
    missing = [key for key in _LISTS if not isinstance(document.get(key), list)]
    if missing:
        raise DataError(f"{path} is not a COCO annotation file: it has no list named {', '.join(missing)}")
    return document


_Record = TypeVar("_Record", Image, Category, Instance)


def _parse_list(
    document: dict[str, Any],
    key: str,
    parse: Callable[[Any, str, list[Problem]], _Record | None],
    problems: list[Problem],
) -> list[_Record]:
    """Records of one top-level list, those with a repeated id left out."""
    records: list[_Record] = []
    seen: set[int] = set()
    for index, raw in enumerate(document[key]):
        place = f"{key}[{index}]"
        record = parse(raw, place, problems)
        if record is None:
            continue
        if record.id in seen:
            problems.append(Problem("duplicate id", place, f"id {record.id} is used twice"))
            continue
        seen.add(record.id)
        records.append(record)
    return records


def _check_names(categories: Iterable[Category], problems: list[Problem]) -> None:
    seen: set[str] = set()
    for category in categories:
        if category.name in seen:
            problems.append(Problem("duplicate name", "categories", f"two categories are named {category.name!r}"))
        seen.add(category.name)
