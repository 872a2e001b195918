"""A label map: a picture beside a photo in which each pixel is the number of its class.

Knows one file: where it lies and how it is read. Knows nothing about what the numbers mean.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")


def label_map_path(folder: Path, photo: str) -> Path:
    """The label map of a photo named relative to its own folder: the same name with .png, in `folder`."""
    return (folder / photo).with_suffix(".png")


def read_label_map(path: Path, size_hw: tuple[int, int] | None = None) -> NDArray[np.uint8] | str:
    """Class numbers, uint8 [H, W], of an 8-bit grey or palette PNG; a text that says why not otherwise.

    Args:
        path: the file.
        size_hw: height and width of the photo in pixels, which the map must have; None takes any.
    """
    return _looked_at(path, size_hw, lambda picture: np.asarray(picture, np.uint8))


def label_map_problem(path: Path, size_hw: tuple[int, int]) -> str:
    """Why `read_label_map` would not read a file, "" where it would; from the header alone."""
    return _looked_at(path, size_hw, lambda _: "")


def _looked_at(path: Path, size_hw: tuple[int, int] | None, look: Callable[[Any], T]) -> T | str:
    """What `look` makes of the opened picture, or why it is no label map."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.mode not in ("L", "P"):
                return f"has mode {picture.mode}; a label map is an 8-bit grey or palette PNG"
            if size_hw and picture.size != size_hw[::-1]:
                return f"is {picture.width}x{picture.height} pixels, its photo {size_hw[1]}x{size_hw[0]}"
            return look(picture)
    except FileNotFoundError:
        return "is missing"
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"cannot be read: {error}"
