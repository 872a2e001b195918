"""Photos of a data set on disk: finding, measuring and hashing them.

Knows folders and files. Knows nothing about annotations.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.errors import DataError, MediaError
from fashionseg.media.images import image_size
from fashionseg.media.sources import PHOTO_SUFFIXES, natural_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from fashionseg.data.coco import CocoData


def find_photos(folder: Path) -> list[str]:
    """Names of all photos below a folder, relative to it with "/", in natural order.

    Raises:
        DataError: no such folder, or no photo in it.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder of photos at {folder}")
    found = _files(folder, PHOTO_SUFFIXES)
    if not found:
        raise DataError(f"{folder} holds no photo")
    return sorted(found, key=natural_key)


def labels_without_photo(folder: Path, suffix: str, photos: Sequence[str]) -> list[str]:
    """Names of the label files below `folder`, as in `find_photos`, that belong to none of `photos`.

    Args:
        folder: of labels; each photo's has the photo's name with `suffix`.
        suffix: such as ".txt"; files with it in capitals belong to no photo.
        photos: as `find_photos` names them.
    """
    expected = {os.path.splitext(name)[0] + suffix for name in photos}  # noqa: PTH122 - many thousand names
    return sorted((name for name in _files(folder, (suffix,)) if name not in expected), key=natural_key)


def _files(folder: Path, suffixes: Collection[str]) -> list[str]:
    """Names of the files below a folder with one of these suffixes in any case, relative to it with "/"."""
    return [
        os.path.relpath(os.path.join(top, name), folder).replace(os.sep, "/")  # noqa: PTH118 - many thousand names
        for top, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes  # noqa: PTH122
    ]


def photo_folder(data: CocoData, given: Path | None) -> Path:
    """Where the photos of a data set lie: the given folder, else `images/` or the folder beside the annotation file.

    Raises:
        DataError: the first photo is not in any of them.
    """
    if given is not None:
        if not given.is_dir():
            raise DataError(f"there is no folder of photos at {given}")
        return given
    beside = data.path.parent if data.path else Path()
    for folder in (beside / "images", beside / "image", beside):
        if not data.images or (folder / data.images[0].file_name).is_file():
            return folder
    raise DataError(f"the photos of {data.where()} are not beside it; name their folder with --images")


def safe_path(folder: Path, name: str) -> Path | None:
    """The file of a photo named in an annotation file; None where the name leads out of the folder."""
    if not name or name.startswith(("/", "\\")) or ":" in name or ".." in name.replace("\\", "/").split("/"):
        return None
    return folder / name


def read_size_hw(path: Path) -> tuple[int, int] | str:
    """Height and width of a photo as decoded (upright), from its header; a text that says why not otherwise."""
    try:
        return image_size(path)
    except MediaError as error:
        return str(error)


def hash_file(path: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
