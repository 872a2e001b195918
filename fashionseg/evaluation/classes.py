"""Which category of a data set a model's class is: matched by name, so that numbering does not matter.

Knows names. Knows nothing about models or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.coco import CocoData


def categories_of(class_names: Sequence[str], data: CocoData, where: str) -> list[int | None]:
    """For each class index of a model the category id of the data set; None for a class the data set has not.

    Names are the same where they differ in case, and in "_", "-" and " " alone.

    Raises:
        DataError: a category of the data set is not among the model's classes, so that it could never be found.
    """
    known = {plain_name(name): i for i, name in enumerate(class_names)}
    lacking = [category.name for category in data.categories if plain_name(category.name) not in known]
    if lacking:
        raise DataError(
            f"{where} does not know {', '.join(map(repr, lacking))} of {data.where()}; "
            f"its classes are {', '.join(class_names)}"
        )
    found: list[int | None] = [None] * len(class_names)
    for category in data.categories:
        found[known[plain_name(category.name)]] = category.id
    return found


def plain_name(name: str) -> str:
    """A name without what does not tell classes apart: case, and "_", "-" or " "."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())
