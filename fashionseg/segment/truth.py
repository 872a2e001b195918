"""Ids of a ground-truth file for a run: which image of it each photo is, which category each class.

Knows names and ids. Knows nothing about pixels or writing.
"""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fashionseg.errors import FashionsegError
from fashionseg.writers.coco import Ids

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fashionseg.data.coco import CocoData, Image
    from fashionseg.media.frame import Source
    from fashionseg.model import ModelFile
    from fashionseg.segment.types import Plan

_BELOW = "name the folder that the file names in it begin below"
"""What to do where file names alone do not tell."""


def ids_of(path: Path, plan: Plan, model: ModelFile, note: Callable[[str], None]) -> Ids:
    """Image ids by file name, category ids by class name.

    A photo is the image of its name below the folder that was given, or else the one whose path ends in the same file
    name, where no other image and no other photo has that.

    Args:
        path: a COCO file.
        plan: whose photos to look for.
        model: whose classes to look for.
        note: is told how many photos the file does not have.

    Raises:
        FashionsegError: no photo or no class of the model is in the file, or which image a photo is cannot be told.
    """
    from fashionseg.data.coco import read_coco

    truth = read_coco(path)
    photos = [source for source in plan.sources if source.kind == "photo"]
    images = _images_of(photos, truth)
    if not images:
        raise FashionsegError(f"none of the photos stands in {path}: their file names differ")
    missing = len(photos) - len(images)
    if missing:
        note(f"{missing} of {len(photos)} photos are not in {path}: they are left out of predictions.json")
    return Ids(images, _categories_of(truth, model), max(image.id for image in truth.images) + 1)


def _images_of(photos: list[Source], truth: CocoData) -> dict[int, int]:
    """Image id by `Source.index` of the photos that the file has."""
    by_name: dict[str, list[Image]] = {}
    by_last: dict[str, list[Image]] = {}
    for image in truth.images:
        by_name.setdefault(image.file_name, []).append(image)
        by_last.setdefault(_last(image.file_name), []).append(image)
    exact = {image.id for photo in photos for image in by_name.get(photo.name, ())}
    alike = Counter(_last(photo.name) for photo in photos)
    found: dict[int, int] = {}
    owners: dict[int, Source] = {}
    for photo in photos:
        last = _last(photo.name)
        images = by_name.get(photo.name) or by_last.get(last, [])
        if photo.name not in by_name and all(image.id in exact for image in images):
            continue  # others of this name are other photos
        if len(images) > 1:
            names = " and ".join(f"{image.file_name} (id {image.id})" for image in images[:2])
            raise FashionsegError(
                f"{truth.where()} holds {names}: which of them {photo.path} is cannot be told; {_BELOW}"
            )
        if photo.name not in by_name and alike[last] > 1:
            raise FashionsegError(
                f"{truth.where()} holds {images[0].file_name}, and {alike[last]} photos are named {last}: which of "
                f"them it is cannot be told; {_BELOW}"
            )
        owner = owners.setdefault(images[0].id, photo)
        if owner is not photo:
            raise FashionsegError(
                f"{owner.path} and {photo.path} are both {images[0].file_name} in {truth.where()}; {_BELOW}"
            )
        found[photo.index] = images[0].id
    return found


def _last(name: str) -> str:
    return PurePosixPath(name).name


def _categories_of(truth: CocoData, model: ModelFile) -> tuple[int, ...]:
    """Category id by class; classes that the file has not get fresh ones."""
    known = {category.name: category.id for category in truth.categories}
    names = model.spec.class_names
    missing = [name for name in names if name not in known]
    if len(missing) == len(names):
        raise FashionsegError(f"{truth.where()} has none of the model's classes ({', '.join(missing)})")
    fresh = max(known.values()) + 1
    known.update({name: fresh + number for number, name in enumerate(missing)})
    return tuple(known[name] for name in names)
