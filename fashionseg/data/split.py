"""Splitting a data set into parts that share no group, with every class in proportion.

A group is what must stay together: in DeepFashion2 the photos of one `pair_id` show the same garment, and a garment on
both sides of a split makes a test set easier than the world. Knows nothing about files.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from fashionseg.data.coco import CocoData, Image

DEFAULT_PARTS = {"train": 80.0, "val": 10.0, "test": 10.0}
AUTOMATIC_KEYS = ("pair_id",)
"""Keys that tell groups where the user names none."""

PHOTOS = -1
"""Stands among category ids for the photos themselves, which are kept in proportion too."""


@dataclass(frozen=True, slots=True)
class Split:
    """A data set in parts.

    Attributes:
        parts: by name, in the order asked for.
        key: that groups were formed by; None where every photo is on its own.
        groups: their number.
        ungrouped: photos without that key, each on its own.
    """

    parts: dict[str, CocoData]
    key: str | None
    groups: int
    ungrouped: int


def split(data: CocoData, parts: Mapping[str, float], key: str | None = None, seed: int = 0) -> Split:
    """Split a data set.

    Groups are dealt out one by one, those with rare classes first, each to the part that lacks most of what it holds.
    The same data, parts and seed give the same split, whatever the order of photos in the file.

    Args:
        data: to split.
        parts: name and weight of each part; weights are relative.
        key: of images or annotations, such as "pair_id"; None takes `pair_id` where there is one.
        seed: of the order of equal groups.

    Raises:
        DataError: there is no such key, or fewer groups than parts.
    """
    chosen = _key(data, key)
    groups, ungrouped = _groups(data, chosen)
    if len(groups) < len(parts):
        raise DataError(f"{data.where()} has {len(groups)} groups, too few for {len(parts)} parts")
    members = {name: set[int]() for name in parts}
    for position, name in _deal(groups, data, parts, seed):
        members[name].update(image.id for image in groups[position])
    return Split({name: data.subset(ids) for name, ids in members.items()}, chosen, len(groups), ungrouped)


def groups_of(data: CocoData, image: Image, key: str) -> set[Hashable]:
    """The groups a photo belongs to: every value of the key in the image and in its annotations."""
    values = [image.extra.get(key), *(instance.extra.get(key) for instance in data.instances_of[image.id])]
    return {value if isinstance(value, int | str) else repr(value) for value in values if value is not None}


def _key(data: CocoData, key: str | None) -> str | None:
    candidates = AUTOMATIC_KEYS if key is None else (key,)
    for name in candidates:
        if any(groups_of(data, image, name) for image in data.images):
            return name
    if key is None:
        return None
    known = sorted({k for image in data.images[:1000] for k in image.extra})
    raise DataError(
        f"no photo of {data.where()} has the key {key!r}; its photos have: {', '.join(known) or 'no other'}"
    )


def _groups(data: CocoData, key: str | None) -> tuple[list[list[Image]], int]:
    """Groups of photos, in an order that depends on their file names alone, and how many photos have no key.

    Photos that share a value are one group, and so are photos that others link by their values.
    """
    values = [groups_of(data, image, key) if key else set() for image in data.images]
    root = _roots(values)
    together: dict[Hashable, list[Image]] = defaultdict(list)
    for image, own in zip(data.images, values, strict=True):
        together[("value", root(next(iter(own)))) if own else ("photo", image.id)].append(image)
    groups = sorted(together.values(), key=lambda images: min(image.file_name for image in images))
    return groups, sum(not own for own in values) if key else 0


def _roots(sets: Iterable[set[Hashable]]) -> Callable[[Hashable], Hashable]:
    """Join the values of each set; gives the function from a value to the one that stands for all joined with it."""
    parent: dict[Hashable, Hashable] = {}

    def root(value: Hashable) -> Hashable:
        while parent.setdefault(value, value) != value:
            parent[value] = parent[parent[value]]
            value = parent[value]
        return value

    for values in sets:
        for one, other in pairwise(values):
            parent[root(other)] = root(one)
    return root


def _deal(groups: list[list[Image]], data: CocoData, parts: Mapping[str, float], seed: int) -> list[tuple[int, str]]:
    """Part of each group, by position."""
    names, ids = list(parts), [PHOTOS, *data.category_ids]
    shares = np.array(list(parts.values()), np.float64) / sum(parts.values())
    held = np.array([[_contents(group, data)[c] for c in ids] for group in groups], np.float64)
    total = np.maximum(held.sum(0), 1)
    missing = shares[:, None] * total
    order = np.random.default_rng(seed).permutation(len(groups))
    weight = (held[order] / total).max(1)
    dealt = []
    for position in order[np.argsort(-weight, kind="stable")]:
        wish = (missing / (shares[:, None] * total) * (held[position] / total)).sum(1)
        best = int(np.argmax(wish))
        missing[best] -= held[position]
        dealt.append((int(position), names[best]))
    return dealt


def _contents(group: list[Image], data: CocoData) -> Counter[int]:
    counts = Counter({PHOTOS: len(group)})
    for image in group:
        counts.update(instance.category_id for instance in data.instances_of[image.id])
    return counts
