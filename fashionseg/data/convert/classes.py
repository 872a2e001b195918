"""Which classes a conversion keeps, and what they are called.

A `ClassMap` turns names and ids of the source format into COCO categories. `five` and `thirteen` are built in for
DeepFashion2; a TOML or JSON file gives any other. Knows nothing about annotations.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.data.records import Category
from fashionseg.errors import DataError
from fashionseg.toml import parse_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEEPFASHION2_NAMES = (
    "short_sleeved_shirt",
    "long_sleeved_shirt",
    "short_sleeved_outwear",
    "long_sleeved_outwear",
    "vest",
    "sling",
    "shorts",
    "trousers",
    "skirt",
    "short_sleeved_dress",
    "long_sleeved_dress",
    "vest_dress",
    "sling_dress",
)
"""In order of category id from 1, as evaluation/deepfashion2_to_coco.py of
https://github.com/switchablenorms/DeepFashion2 names them."""

FIVE_NAMES = ("short_sleeved_shirt", "long_sleeved_shirt", "long_sleeved_outwear", "shorts", "trousers")

MAX_FILE_BYTES = 1024**2


@dataclass(frozen=True, slots=True)
class ClassMap:
    """Source classes that are kept.

    Attributes:
        categories: of the result, ids from 1.
        id_of: category id of the result for each source id that is kept.
    """

    categories: tuple[Category, ...]
    id_of: dict[int, int]

    def name_of(self, category_id: int) -> str:
        """Name of a category of the result."""
        return self.categories[category_id - 1].name


def named_class_map(wanted: Mapping[str, Sequence[str | int]], source: Mapping[int, str], where: str) -> ClassMap:
    """A map from result names to the source classes that make them up.

    Args:
        wanted: for each category of the result, in order, the source names or ids.
        source: name of each source id.
        where: named in errors.

    Raises:
        DataError: a source class is unknown or used twice, or nothing is wanted.
    """
    ids = {name: number for number, name in source.items()}
    id_of: dict[int, int] = {}
    for category_id, (name, members) in enumerate(wanted.items(), start=1):
        for member in members:
            number = member if isinstance(member, int) else ids.get(member, -1)
            if number not in source:
                raise DataError(f"{where}: {member!r} is no class of the source; its classes: {', '.join(ids)}")
            if number in id_of:
                raise DataError(f"{where}: {source[number]} is used twice")
            id_of[number] = category_id
        if not members:
            raise DataError(f"{where}: {name} is made up of no class")
    if not id_of:
        raise DataError(f"{where}: no class is kept")
    extra = {"supercategory": "clothes"}
    categories = tuple(Category(number, name, dict(extra)) for number, name in enumerate(wanted, start=1))
    return ClassMap(categories, id_of)


def deepfashion2_classes(choice: str) -> ClassMap:
    """`five`, `thirteen`, or the name of a mapping file.

    Raises:
        DataError: the file is missing or wrong.
    """
    source = dict(enumerate(DEEPFASHION2_NAMES, start=1))
    if choice == "thirteen":
        return named_class_map({name: [name] for name in DEEPFASHION2_NAMES}, source, choice)
    if choice == "five":
        return named_class_map({name: [name] for name in FIVE_NAMES}, source, choice)
    from pathlib import Path

    path = Path(choice)
    return named_class_map(read_mapping(path), source, str(path))


def read_mapping(path: Path) -> dict[str, Sequence[str | int]]:
    """A TOML or JSON table: result name = source name or id, or a list of them.

    Raises:
        DataError: no such file, or not such a table.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is too large for a class mapping")
        text = path.read_text(encoding="utf-8")
        document: Any = json.loads(text) if path.suffix.lower() == ".json" else parse_toml(text)
    except FileNotFoundError:
        raise DataError(
            f"class mapping not found: {path}; name a TOML or JSON file such as: top = ['vest', 'sling']"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read the class mapping {path}: {error}") from error
    if not isinstance(document, dict):
        raise DataError(f"{path} is not a table of classes")
    mapping: dict[str, Sequence[str | int]] = {}
    for name, members in document.items():
        listed = members if isinstance(members, list) else [members]
        if not all(isinstance(m, str | int) and not isinstance(m, bool) for m in listed):
            raise DataError(f"{path}: {name} must be a class name, an id, or a list of them")
        mapping[name] = listed
    return mapping
