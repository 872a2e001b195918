"""`images.json` beside `predictions.json`: whether the ids that `segment` numbered with are those of a data set.

Without `--gt`, `segment` counts photos from 1 and takes the model's own category ids, which may exist in a data set
and mean something else there. Knows the two files as `fashionseg.writers.coco` writes them; any others are let pass.
Knows nothing about metrics.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from fashionseg.errors import DataError
from fashionseg.evaluation.classes import plain_name
from fashionseg.evaluation.text import printable
from fashionseg.json_text import parse_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.coco import CocoData

MAX_FILE_BYTES = 2 * 1024**3

_DESCRIPTION = "garments found by fashionseg"


def require_same_names(path: Path, results: Sequence[Any], data: CocoData) -> None:
    """Refuse results of `segment` whose ids mean other photos or other classes than in `data`.

    Only ids that results use are compared: file names by their last part, classes as `categories_of` does.

    Args:
        path: the results file, beside which `images.json` may lie.
        results: what it holds, not checked yet.
        data: the ground truth.

    Raises:
        DataError: an id means something else.
    """
    if path.name != "predictions.json" or not _is_of_segment(path):
        return
    listing = _read_listing(path.with_name("images.json"))
    photos = [one for one in _records(listing, "images") if "video_id" not in one]
    photo = _first_other(
        {one["id"]: _last(one.get("file_name")) for one in photos},
        {image.id: _last(image.file_name) for image in data.images},
        _used(results, "image_id"),
    )
    category = _first_other(
        {one["id"]: plain_name(str(one.get("name"))) for one in _records(listing, "categories")},
        {category.id: plain_name(category.name) for category in data.categories},
        _used(results, "category_id"),
    )
    for what, other in (("photo", photo), ("category", category)):
        if other:
            number, here, there = other
            raise DataError(
                f"{path} was made with other ids than those of {data.where()}, where {what} {number} is "
                f"{printable(there)}: images.json beside the predictions says {printable(here)}; make them again with: "
                f"fashionseg segment --gt {data.where()}"
            )


def _is_of_segment(path: Path) -> bool:
    """Whether `segment` wrote the file: one result a line, where `evaluate`, which may write over it, needs one."""
    try:
        with path.open("rb") as file:
            return file.read(2) == b"[\n"
    except OSError:
        return False


def _read_listing(path: Path) -> dict[str, Any]:
    """An `images.json` of ours; an empty one where it is none or cannot be read."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
            return {}
        document = parse_json(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    info = document.get("info") if isinstance(document, dict) else None
    is_ours = isinstance(info, dict) and info.get("description") == _DESCRIPTION
    return document if is_ours else {}


def _records(listing: dict[str, Any], key: str) -> list[dict[str, Any]]:
    records = listing.get(key)
    records = records if isinstance(records, list) else []
    return [one for one in records if isinstance(one, dict) and isinstance(one.get("id"), int)]


def _used(results: Sequence[Any], key: str) -> list[int]:
    """Ids that results use, ascending."""
    values = (result.get(key) for result in results if isinstance(result, dict))
    return sorted({value for value in values if isinstance(value, int)})


def _last(name: Any) -> str:
    return PurePosixPath(str(name).replace("\\", "/")).name


def _first_other(here: dict[int, str], there: dict[int, str], used: Sequence[int]) -> tuple[int, str, str] | None:
    """The first used id that both know under different names, with those names; None without one."""
    both = (number for number in used if number in here and number in there)
    return next(((one, here[one], there[one]) for one in both if here[one] != there[one]), None)
