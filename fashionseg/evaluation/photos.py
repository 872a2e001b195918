"""The photos of a data set that is measured on: all there, and of the annotated size.

Knows files and sizes. Knows nothing about what is in a photo or about metrics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashionseg.data.photos import photo_folder, read_size_hw, safe_path
from fashionseg.errors import DataError
from fashionseg.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image


def photo_paths(data: CocoData, folder: Path | None = None) -> list[Path]:
    """The file of each image of `data`, in order.

    Args:
        data: a data set.
        folder: where its photos lie; None to look in `images/` beside the annotation file, and there.

    Raises:
        DataError: a photo is missing, or a file name leads out of the folder.
    """
    place = photo_folder(data, folder)
    paths = []
    for image in data.images:
        path = safe_path(place, image.file_name)
        if path is None:
            raise DataError(f"{data.where()}: the file name {image.file_name!r} leads out of the folder of photos")
        paths.append(path)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(paths)} photos of {data.where()} are missing, the first is {missing[0]}; "
            "name their folder with --images"
        )
    return paths


def require_sizes(data: CocoData, photos: Sequence[Path]) -> None:
    """Refuse photos that are no pictures or not of the annotated size, from their headers, before a model runs.

    Raises:
        DataError: with the first of them and their number.
    """
    texts = (_header_problem(image, path, data) for image, path in zip(data.images, photos, strict=True))
    problems = [text for text in texts if text]
    if problems:
        more = f" (and {plural(len(problems) - 1, 'more photo')} like it)" if len(problems) > 1 else ""
        raise DataError(f"{problems[0]}{more}; see: fashionseg data check")


def _header_problem(image: Image, path: Path, data: CocoData) -> str:
    size = read_size_hw(path)
    return size if isinstance(size, str) else _size_problem(size, image, path, data)


def check_size(pixels: NDArray[np.uint8], image: Image, path: Path, data: CocoData) -> None:
    """Refuse a photo (uint8 [H, W, 3]) that the annotations do not fit.

    Raises:
        DataError: annotated with another size.
    """
    problem = _size_problem((pixels.shape[0], pixels.shape[1]), image, path, data)
    if problem:
        raise DataError(problem)


def _size_problem(size_hw: tuple[int, int], image: Image, path: Path, data: CocoData) -> str:
    """Why a photo of this size does not fit its annotations; empty where it does."""
    height, width = size_hw
    if size_hw == image.size_hw:
        return ""
    turned = " (turned by its EXIF orientation: annotate it upright)" if (width, height) == image.size_hw else ""
    return (
        f"{path} is {width} x {height} pixels but {data.where()} says {image.width} x {image.height}{turned}: "
        "boxes and masks would not fit"
    )
