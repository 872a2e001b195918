"""From pictures of any size to the batch a model file takes: resize, pad, stack.

Knows the resize rule of a `ModelSpec`. Knows nothing about files or about running a model; normalisation happens
inside the model's graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fashionseg.model import ModelSpec


def resized_size(size_hw: tuple[int, int], min_size: int, max_size: int) -> tuple[int, int]:
    """Height and width a picture is resized to: short side to `min_size`, long side at most `max_size`.

    The rounding is that of Detectron2's `ResizeShortestEdge.get_output_shape`
    (detectron2/data/transforms/augmentation_impl.py). A side never becomes 0.
    """
    height, width = size_hw
    scale = min_size / min(height, width)
    new_height, new_width = (min_size, scale * width) if height < width else (scale * height, min_size)
    if max(new_height, new_width) > max_size:
        shrink = max_size / max(new_height, new_width)
        new_height, new_width = new_height * shrink, new_width * shrink
    return max(1, int(new_height + 0.5)), max(1, int(new_width + 0.5))


def padded_size(size_hw: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Height and width rounded up to multiples of `divisor`."""
    height, width = size_hw
    return -(-height // divisor) * divisor, -(-width // divisor) * divisor


def resize(image: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize as Detectron2's `ResizeTransform` does to uint8 pictures: Pillow's bilinear filter, antialiased.

    Args:
        image: uint8 [H, W, 3].
        size_hw: height and width of the result.

    Returns:
        uint8 [*size_hw, 3]; `image` itself where the size is already right.
    """
    from PIL import Image

    if image.shape[:2] == size_hw:
        return image
    height, width = size_hw
    resized = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def prepare(image: NDArray[np.uint8], spec: ModelSpec) -> NDArray[np.uint8]:
    """`image` (uint8 [H, W, 3], BGR) resized by the rule of `spec`."""
    size_hw = resized_size((image.shape[0], image.shape[1]), spec.min_size, spec.max_size)
    return resize(image, size_hw)


def make_batch(images: Sequence[NDArray[np.uint8]], divisor: int) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    """Stack resized pictures, padded right and below with zeros to the largest of them and to `divisor`.

    Args:
        images: N pictures, uint8 [h, w, 3] each, N > 0.

    Returns:
        uint8 [N, H, W, 3] and int32 [N, 2], the height and width of each picture inside its row.
    """
    sizes = np.array([image.shape[:2] for image in images], np.int32)
    height, width = padded_size((int(sizes[:, 0].max()), int(sizes[:, 1].max())), divisor)
    batch = np.zeros((len(images), height, width, 3), np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = image
    return batch, sizes
