"""Smooth outlines of masks.

Knows pixels set or not set and lines. Knows nothing about detections.

The border of a pasted mask climbs in steps of a pixel. Averaging neighbouring border pixels gives points between
the pixels, so that the line runs smoothly; leaving out the points that lie on a straight line anyway makes the thick
anti-aliased line three times cheaper.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.palette import BGR

_FRACTION_BITS = 4  # points are given to OpenCV in sixteenths of a pixel
_TOLERANCE = 0.15  # of the line's width: a point nearer than this to its chord is left out
_FEWEST = 8  # points a contour keeps when averaged


def draw_outline(
    image: NDArray[np.uint8], bits: NDArray[np.uint8], corner_xy: tuple[int, int], color: BGR, line_px: int
) -> None:
    """Draw the borders of a mask, holes included, into `image`.

    Args:
        image: uint8 [H, W, 3], BGR, writable.
        bits: uint8 [h, w], non-zero where the mask is.
        corner_xy: top left pixel of `bits` in the picture.
        color: of the line.
        line_px: width of the line in pixels.
    """
    contours, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=corner_xy)
    window = 1 + min(line_px, 3)
    tolerance = _TOLERANCE * line_px * 2**_FRACTION_BITS
    lines = [
        cv2.approxPolyDP(_averaged(np.asarray(contour, np.int32), window), tolerance, True) for contour in contours
    ]
    cv2.polylines(image, lines, True, color, line_px, cv2.LINE_AA, _FRACTION_BITS)


def _averaged(contour: NDArray[np.int32], window: int) -> NDArray[np.int32]:
    """int32 [k, 1, 2]: means of 2 * `window` successive points, one every `window`, in sixteenths of a pixel."""
    window = min(window, len(contour) // _FEWEST)
    if window < 2:
        return contour << _FRACTION_BITS
    used = len(contour) // window * window
    sums = contour[0:used:window].copy()
    for k in range(1, window):
        sums += contour[k:used:window]
    pairs: NDArray[np.int32] = sums + np.concatenate([sums[-1:], sums[:-1]])
    pairs <<= _FRACTION_BITS - 1
    pairs //= window
    return pairs
