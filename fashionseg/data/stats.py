"""Figures of a data set: instances, photos and sizes of each category, and as text in Detectron2's layout.

Knows records alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fashionseg.data.coco import CocoData

SMALL, LARGE = 32**2, 96**2
"""COCO's limits of small and large objects, in pixels of the mask."""

COLUMN_PAIRS = 3


@dataclass(frozen=True, slots=True)
class CategoryStats:
    """Figures of one category.

    Attributes:
        name: of the category.
        instances: crowds included.
        photos: that show at least one.
        small: instances below 32 x 32 pixels of mask.
        medium: between.
        large: of 96 x 96 pixels or more.
        median_share: of the photo that an instance covers, 0..1; 0 without instances.
    """

    name: str
    instances: int
    photos: int
    small: int
    medium: int
    large: int
    median_share: float


@dataclass(frozen=True, slots=True)
class Stats:
    """Figures of a data set.

    Attributes:
        categories: in order of id.
        photos: all.
        empty_photos: without an instance.
        instances: all.
        crowds: of them.
        sizes: number of photos of each (width, height), most common first.
        levels: of each attribute such as "occlusion": number of instances of each value.
    """

    categories: tuple[CategoryStats, ...]
    photos: int
    empty_photos: int
    instances: int
    crowds: int
    sizes: tuple[tuple[tuple[int, int], int], ...]
    levels: dict[str, dict[str, int]]


LEVEL_KEYS = ("occlusion", "scale", "zoom_in", "viewpoint")


def stats(data: CocoData) -> Stats:
    """Figures of a data set."""
    by_category = {category.id: list[tuple[float, float, int]]() for category in data.categories}
    levels: dict[str, Counter[str]] = {key: Counter() for key in LEVEL_KEYS}
    for instance in data.instances:
        image = data.image_of[instance.image_id]
        share = instance.area / (image.width * image.height)
        by_category[instance.category_id].append((instance.area, share, image.id))
        for key in LEVEL_KEYS:
            if key in instance.extra:
                levels[key][str(instance.extra[key])] += 1
    sizes = Counter((image.width, image.height) for image in data.images)
    return Stats(
        tuple(_category(category.name, by_category[category.id]) for category in data.categories),
        len(data.images),
        sum(not found for found in data.instances_of.values()),
        len(data.instances),
        sum(instance.is_crowd for instance in data.instances),
        tuple(sizes.most_common()),
        {key: dict(sorted(counts.items())) for key, counts in levels.items() if counts},
    )


def _category(name: str, found: list[tuple[float, float, int]]) -> CategoryStats:
    small = sum(area < SMALL for area, _, _ in found)
    large = sum(area >= LARGE for area, _, _ in found)
    return CategoryStats(
        name,
        len(found),
        len({image_id for _, _, image_id in found}),
        small,
        len(found) - small - large,
        large,
        median(share for _, share, _ in found) if found else 0.0,
    )


def instance_rows(figures: Stats) -> list[list[str]]:
    """Rows of the table that Detectron2 logs for a training set: three pairs of category and number, then the total."""
    cells = [text for c in figures.categories for text in (c.name, f"{c.instances}")]
    cells += [""] * (-len(cells) % (2 * COLUMN_PAIRS))
    rows = [cells[i : i + 2 * COLUMN_PAIRS] for i in range(0, len(cells), 2 * COLUMN_PAIRS)]
    return [*rows, ["total", f"{figures.instances}", *[""] * (2 * COLUMN_PAIRS - 2)]]
