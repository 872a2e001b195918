"""The photos of a data set on disk: where they lie, and whether the annotations fit them.

Knows folders and sizes. Knows nothing about pixels' contents or metrics.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from fashionseg.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image


def photo_paths(data: CocoData, folder: Path | None = None) -> list[Path]:
    """The file of each image of `data`.

    Args:
        data: a data set.
        folder: where its photos lie; None to look beside the annotation file and in `images/` there.

    Raises:
        DataError: a photo is missing, or a file name leads out of the folder.
    """
    for image in data.images:
        name = PurePosixPath(image.file_name)
        if name.is_absolute() or ".." in name.parts or Path(image.file_name).drive:
            raise DataError(f"{data.where()}: the file name {image.file_name!r} leads out of the folder of photos")
    beside = data.path.parent if data.path else Path()
    folders = [folder] if folder else [beside / "images", beside]
    best = max(folders, key=lambda one: sum((one / image.file_name).is_file() for image in data.images[:100]))
    paths = [best / image.file_name for image in data.images]
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(paths)} photos of {data.where()} are missing, the first is {missing[0]}; "
            "name their folder with --images"
        )
    return paths


def check_size(pixels: NDArray[np.uint8], image: Image, path: Path, data: CocoData) -> None:
    """Refuse a photo (uint8 [H, W, 3]) that the annotations do not fit.

    Raises:
        DataError: annotated with another size.
    """
    height, width = pixels.shape[:2]
    if (height, width) == image.size_hw:
        return
    turned = " (turned by its EXIF orientation: annotate it upright)" if (width, height) == image.size_hw else ""
    raise DataError(
        f"{path} is {width} x {height} pixels but {data.where()} says {image.width} x {image.height}{turned}: "
        "boxes and masks would not fit"
    )
