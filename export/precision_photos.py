"""Photos for lowering the precision: those to calibrate on, those to prove with, labelled or not.

Knows files, sizes and data sets. Knows nothing about graphs.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.data.coco import CocoData
from fashionseg.data.records import Category, Image
from fashionseg.errors import MediaError
from fashionseg.export.precision_check import PhotoSet
from fashionseg.media.images import encode_jpeg, image_size, read_image
from fashionseg.preprocess import make_batch, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.model import ModelSpec

CALIBRATION_PHOTOS = 64
"""Photos that are enough to calibrate on; of more, as many are taken at even distances."""

BUILT_IN = 12
"""Drawn pictures that stand in where the user names no photos."""


def photo_files(arguments: Sequence[Path], folder: Path | None = None) -> list[Path]:
    """The photos among files, folders and globs, in natural order, and those of COCO files (.json).

    Args:
        arguments: what the user named.
        folder: where the photos of COCO files lie; None to look beside them.

    Raises:
        MediaError: something is missing, or there is no photo.
        DataError: a COCO file is damaged, or its photos are missing.
    """
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.photos import photo_paths
    from fashionseg.media.sources import find_sources

    sets = [one for one in arguments if one.suffix.lower() == ".json"]
    listed = [path for one in sets for path in photo_paths(read_coco(one), folder)]
    others = [one for one in arguments if one not in sets]
    found = find_sources(others) if others else None
    if found and found.problems:
        raise MediaError(str(found.problems[0]))
    photos = [source.path for source in found.sources if source.kind == "photo"] if found else []
    if not photos and not listed:
        raise MediaError(f"there is no photo among {', '.join(map(str, arguments))}")
    return [*listed, *photos]


def spread(files: Sequence[Path], number: int) -> list[Path]:
    """At most `number` of the files, at even distances."""
    if len(files) <= number:
        return list(files)
    return [files[index * len(files) // number] for index in range(number)]


def batches(
    files: Sequence[Path], spec: ModelSpec, advance: Callable[[], None]
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int32]]]:
    """Each photo as a batch of one, resized for the model; `advance` is called after each."""
    for file in files:
        yield make_batch([prepare(read_image(file), spec)], spec.size_divisor)
        advance()


def labelled_photos(annotations: Path, folder: Path | None = None) -> PhotoSet:
    """The photos of a COCO file, in `folder`, or else beside it or in `images/` there.

    Raises:
        DataError: no such file, damaged, without annotations, or photos are missing.
    """
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.photos import photo_paths

    data = read_coco(annotations, need_instances=True)
    return PhotoSet(data, tuple(photo_paths(data, folder)), labelled=True)


def plain_photos(files: Sequence[Path], spec: ModelSpec) -> PhotoSet:
    """Photos without labels, as a data set of the model's classes."""
    sizes = [image_size(file) for file in files]
    images = tuple(
        Image(i, file.name, width, height)
        for i, (file, (height, width)) in enumerate(zip(files, sizes, strict=True), 1)
    )
    named = zip(spec.category_ids, spec.class_names, strict=True)
    categories = tuple(Category(number, name) for number, name in sorted(named))
    return PhotoSet(CocoData(images, (), categories), tuple(files), labelled=False)


@contextmanager
def built_in_photos() -> Iterator[list[Path]]:
    """Drawn pictures of dressed people as files, while the block lasts."""
    import numpy as np

    from fashionseg.data.synth.scene import draw_scene

    sizes = ((640, 480), (480, 640), (560, 560), (720, 480))
    rng = np.random.default_rng(11)
    with tempfile.TemporaryDirectory(prefix="fashionseg-") as folder:
        files = []
        for index in range(BUILT_IN):
            scene = draw_scene(rng, sizes[index % len(sizes)], people=1 + index % 3)
            files.append(Path(folder) / f"drawn-{index:02}.jpg")
            files[-1].write_bytes(encode_jpeg(scene.image))
        yield files
