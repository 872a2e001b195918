"""Choosing part of a data set: categories, sizes, levels of attributes, a number of photos.

Knows records alone; masks are drawn only to tell whether they are empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.convert.classes import named_class_map
from fashionseg.data.segmentation import instance_mask
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fashionseg.data.coco import Category, CocoData, Instance


@dataclass(frozen=True, slots=True)
class Choice:
    """What to keep.

    Attributes:
        classes: names or ids of categories; () keeps all.
        where: values, as text, that a key of an annotation may have, such as {"occlusion": {"1"}}.
        min_area: pixels of the mask at least.
        need_masks: only instances to learn from: a box with an area, and a mask that covers a pixel of the photo.
        whole_photos: leave out photos in which an instance of a kept category is not kept, so that no photo shows a
            garment that is not annotated.
        keep_empty: keep photos without instances.
        limit: photos at most, drawn at random; None keeps all.
        seed: of the draw.
    """

    classes: tuple[str, ...] = ()
    where: Mapping[str, frozenset[str]] = field(default_factory=dict)
    min_area: float = 0.0
    whole_photos: bool = False
    keep_empty: bool = False
    limit: int | None = None
    seed: int = 0
    need_masks: bool = False


def select(data: CocoData, choice: Choice) -> CocoData:
    """The part of a data set that `choice` keeps; ids stay as they are.

    Raises:
        DataError: an unknown category, or a key that no annotation has.
    """
    categories = chosen_categories(data, choice.classes)
    _check_keys(data, choice)
    ids = {category.id for category in categories}
    candidates = [i for i in data.instances if i.category_id in ids]
    kept = [i for i in candidates if _is_good(i, choice)]
    if choice.need_masks:
        kept = [i for i in kept if _has_mask(i, data.image_of[i.image_id].size_hw)]
    good = {i.id for i in kept}
    spoilt = {i.image_id for i in candidates if i.id not in good} if choice.whole_photos else set()
    shown = {i.image_id for i in kept}
    images = [i for i in data.images if i.id not in spoilt and (choice.keep_empty or i.id in shown)]
    if choice.limit is not None and len(images) > choice.limit:
        drawn = np.random.default_rng(choice.seed).permutation(len(images))[: choice.limit]
        images = [images[k] for k in np.sort(drawn)]
    left = {image.id for image in images}
    return replace(
        data,
        images=tuple(images),
        instances=tuple(i for i in kept if i.image_id in left),
        categories=tuple(categories),
    )


def chosen_categories(data: CocoData, wanted: Sequence[str]) -> list[Category]:
    """Categories by name or id; all where none is named.

    Raises:
        DataError: one is unknown.
    """
    if not wanted:
        return list(data.categories)
    known = {str(c.id): c for c in data.categories} | {c.name: c for c in data.categories}
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise DataError(
            f"{data.where()} has no category {', '.join(map(repr, unknown))}; it has: {', '.join(data.class_names)}"
        )
    ids = {known[name].id for name in wanted}
    return [category for category in data.categories if category.id in ids]


def rename(data: CocoData, mapping: Mapping[str, Sequence[str | int]], where: str) -> CocoData:
    """Categories renamed and joined; instances of categories that are not named are left out, photos stay.

    Args:
        data: to rename.
        mapping: names or ids of the present categories that make up each new one, in the order of new ids from 1.
        where: named in errors.

    Raises:
        DataError: an unknown category, or one that is used twice.
    """
    classes = named_class_map(mapping, {c.id: c.name for c in data.categories}, where)
    instances = tuple(
        replace(i, category_id=classes.id_of[i.category_id]) for i in data.instances if i.category_id in classes.id_of
    )
    return replace(data, instances=instances, categories=classes.categories)


def _is_good(instance: Instance, choice: Choice) -> bool:
    return instance.area >= choice.min_area and all(
        str(instance.extra.get(key)) in values for key, values in choice.where.items()
    )


def _has_mask(instance: Instance, size_hw: tuple[int, int]) -> bool:
    if min(instance.bbox[2:]) <= 0 or instance.segmentation is None:
        return False
    return instance_mask(instance, size_hw).area > 0


def _check_keys(data: CocoData, choice: Choice) -> None:
    for key in choice.where:
        if not any(key in instance.extra for instance in data.instances):
            known = sorted({k for i in data.instances[:1000] for k in i.extra})
            raise DataError(
                f"no annotation of {data.where()} has the key {key!r}; they have: {', '.join(known) or 'no other keys'}"
            )
