"""Several data sets as one: categories matched by name, ids made unique, photos linked into one folder.

Knows records and, for linking, files.
"""

from __future__ import annotations

import filecmp
import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from fashionseg.data.coco import Category, CocoData, Image, Instance
from fashionseg.data.photos import safe_path
from fashionseg.errors import DataError, OutputError
from fashionseg.files import output_errors, replacing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def merge(sets: Sequence[CocoData], prefixes: Sequence[str] = ()) -> CocoData:
    """One data set of several.

    Categories of one name become one; ids are kept where they agree in all sets and given out anew otherwise. Image
    and annotation ids are kept where no two sets share one, and given out anew otherwise.

    Args:
        sets: at least one.
        prefixes: a folder put before the file names of each set; () leaves names as they are.

    Raises:
        DataError: two sets have a photo of one name.
    """
    categories = _categories(sets)
    id_of = {category.name: category.id for category in categories}
    keep_images = _disjoint([[image.id for image in data.images] for data in sets])
    keep_instances = _disjoint([[instance.id for instance in data.instances] for data in sets])
    images: list[Image] = []
    instances: list[Instance] = []
    names: dict[str, int] = {}
    for number, data in enumerate(sets):
        prefix = f"{prefixes[number]}/" if prefixes else ""
        new_id: dict[int, int] = {}
        for image in data.images:
            name = prefix + image.file_name
            if names.setdefault(name, number) != number:
                both = f"{sets[names[name]].where()} and {data.where()}"
                raise DataError(f"{both} both have a photo {name}: tell them apart with --prefix")
            new_id[image.id] = image.id if keep_images else len(images) + 1
            images.append(replace(image, id=new_id[image.id], file_name=name))
        name_of = {category.id: category.name for category in data.categories}
        for instance in data.instances:
            instances.append(
                replace(
                    instance,
                    id=instance.id if keep_instances else len(instances) + 1,
                    image_id=new_id[instance.image_id],
                    category_id=id_of[name_of[instance.category_id]],
                )
            )
    description = "Merged from " + ", ".join(data.where() for data in sets)
    return CocoData(tuple(images), tuple(instances), categories, {"info": {"description": description}})


def link_photos(data: CocoData, source: Path, folder: Path, prefix: str) -> int:
    """Hard-link (or, across file systems, copy) the photos of a set into `folder`/`prefix`; returns how many.

    A photo that lies there already, as the same file or with the same bytes, stays as it is.

    Raises:
        DataError: a photo is missing, or its name leads out of the folder.
        OutputError: a file cannot be made, or another file has its name.
    """
    for image in data.images:
        path = safe_path(source, image.file_name)
        target = safe_path(folder / prefix if prefix else folder, image.file_name)
        if path is None or target is None:
            raise DataError(f"{data.where()} names a photo outside its folder: {image.file_name}")
        try:
            original = path.resolve(strict=True)
        except FileNotFoundError:
            raise DataError(f"{data.where()}: the photo {path} is missing") from None
        with output_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            _place(original, target)
    return len(data.images)


def _place(original: Path, target: Path) -> None:
    if target.exists():
        if not target.samefile(original) and not filecmp.cmp(target, original, shallow=False):
            raise OutputError(
                f"{target} exists and is another photo than {original}: "
                "write into another folder with -o, or tell them apart with --prefix"
            )
        return
    try:
        os.link(original, target)
    except OSError:
        with replacing(target) as beside:
            shutil.copyfile(original, beside)


def _categories(sets: Sequence[CocoData]) -> tuple[Category, ...]:
    """All categories by name; their ids where all sets agree, else 1, 2, 3 in order of appearance."""
    by_name: dict[str, Category] = {}
    for data in sets:
        for category in data.categories:
            by_name.setdefault(category.name, category)
    ids = {(c.id, c.name) for data in sets for c in data.categories}
    if len(ids) == len(by_name) == len({number for number, _ in ids}):
        return tuple(sorted(by_name.values(), key=lambda category: category.id))
    return tuple(replace(category, id=number) for number, category in enumerate(by_name.values(), start=1))


def _disjoint(lists: Sequence[Sequence[int]]) -> bool:
    """Whether no id is in two lists."""
    return len({number for ids in lists for number in ids}) == sum(map(len, lists))
