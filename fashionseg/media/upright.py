"""`Turn`: how stored pixels are turned to stand upright.

Knows EXIF orientations and display matrices. Knows nothing about files or decoders.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Turn:
    """One of the eight ways to lay a picture down: first rows and columns change places, then sides are swapped.

    Attributes:
        transposed: rows become columns.
        mirrored: left and right are swapped.
        flipped: top and bottom are swapped.
    """

    transposed: bool = False
    mirrored: bool = False
    flipped: bool = False

    @classmethod
    def from_exif(cls, orientation: int) -> Turn:
        """The turn that undoes an EXIF orientation (tag 0x0112): 1 to 8, anything else counts as upright."""
        return _EXIF.get(orientation, cls())

    @classmethod
    def from_display_matrix(cls, matrix: bytes) -> Turn:
        """The turn that a display matrix of MP4 and FFmpeg asks for: 9 native int32, x' = ax + cy, y' = bx + dy.

        Angles between are rounded to a quarter turn.
        """
        a, b, _, c, d, *_rest = struct.unpack("=9i", matrix)
        if abs(a) + abs(d) >= abs(b) + abs(c):
            return cls(False, a < 0, d < 0)
        return cls(True, c < 0, b < 0)

    def size_hw(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width after the turn."""
        return size_hw[::-1] if self.transposed else size_hw

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [H, W, 3] turned; C-contiguous. The very same array where nothing is to be done."""
        if self == Turn():
            return np.ascontiguousarray(image)
        import cv2

        if self.transposed:
            image = cv2.transpose(image)  # type: ignore[assignment]
        if self.mirrored or self.flipped:
            image = cv2.flip(image, -1 if self.mirrored and self.flipped else int(self.mirrored))  # type: ignore[assignment]
        return image


_EXIF = {
    2: Turn(mirrored=True),
    3: Turn(mirrored=True, flipped=True),
    4: Turn(flipped=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, mirrored=True),
    7: Turn(transposed=True, mirrored=True, flipped=True),
    8: Turn(transposed=True, flipped=True),
}
