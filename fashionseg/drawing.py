"""Drawing detections into a picture: translucent masks, smooth outlines, thin boxes, readable name tags.

Knows pixels, masks and colours. Knows nothing about where a picture comes from or goes to.

Only pixels under a mask, a line or a tag are touched, so a picture without detections costs nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.palette import class_color
from fashionseg.tags import place_tags, render_tag

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from fashionseg.detections import Detections
    from fashionseg.masks import PastedMask
    from fashionseg.palette import BGR

PARTS = frozenset({"boxes", "labels", "masks"})
"""What `hide` may leave out."""

_OPACITY = 0.4
_SUBPIXEL_BITS = 4
_SMALLEST_TEXT = 7


class Annotator:
    """Draws detections of one model.

    Args:
        class_names: of each contiguous class index; underscores are shown as spaces.
        hide: any of `PARTS`.

    Raises:
        ValueError: `hide` names something else.
    """

    def __init__(self, class_names: Sequence[str], hide: Collection[str] = frozenset()) -> None:
        unknown = set(hide) - PARTS
        if unknown:
            raise ValueError(f"cannot hide {', '.join(sorted(unknown))}; choose from {', '.join(sorted(PARTS))}")
        self._names = [name.replace("_", " ") for name in class_names]
        self._hide = frozenset(hide)

    def draw(self, image: NDArray[np.uint8], detections: Detections, pasted: Sequence[PastedMask]) -> None:
        """Draw into `image`, in place.

        Args:
            image: uint8 [H, W, 3], BGR, writable, C-contiguous.
            detections: n detections in pixels of this picture.
            pasted: their n masks (see `fashionseg.masks.paste_masks`).
        """
        if not len(detections):
            return
        line_px, text_px = _scale(image.shape[0], image.shape[1])
        sizes = np.prod(detections.boxes[:, 2:] - detections.boxes[:, :2], axis=1)
        order = np.argsort(-sizes, kind="stable").tolist()  # large garments first: small ones stay visible
        colors = [class_color(label) for label in detections.labels.tolist()]
        if "masks" not in self._hide:
            for i in order:
                _draw_mask(image, pasted[i], colors[i], line_px)
        if "boxes" not in self._hide:
            for i in order:
                _draw_box(image, detections.boxes[i], colors[i], line_px)
        if "labels" not in self._hide:
            self._draw_tags(image, detections, colors, text_px)

    def _draw_tags(self, image: NDArray[np.uint8], detections: Detections, colors: list[BGR], text_px: int) -> None:
        height, width = image.shape[:2]
        tags, rows = [], []
        for row, (label, score) in enumerate(zip(detections.labels.tolist(), detections.scores.tolist(), strict=True)):
            text = f"{self._names[label]} {score:.0%}"
            for smaller in range(text_px, _SMALLEST_TEXT - 1, -1):
                tag = render_tag(text, colors[row], smaller)
                if tag.size_hw[0] <= height and tag.size_hw[1] <= width:
                    tags.append(tag)
                    rows.append(row)
                    break
        places = place_tags(detections.boxes[rows], [tag.size_hw for tag in tags], (height, width))
        for tag, place in reversed(list(zip(tags, places, strict=True))):
            tag.paint(image, place[0], place[1])


def _scale(height: int, width: int) -> tuple[int, int]:
    """Width of lines and size of text in pixels for a picture of this size."""
    side = math.sqrt(height * width)
    return max(1, round(side / 520)), max(10, round(side / 66))


def _draw_mask(image: NDArray[np.uint8], mask: PastedMask, color: BGR, line_px: int) -> None:
    bits = mask.bits
    if not bits.size:
        return
    under = image[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
    tinted = cv2.convertScaleAbs(under, alpha=1 - _OPACITY)
    cv2.add(tinted, tuple(_OPACITY * value for value in color) + (0.0,), dst=tinted)
    np.copyto(under, tinted, where=bits.view(np.bool_)[..., None])
    contours, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(mask.x, mask.y))
    lines = [_smooth(contour[:, 0], line_px) for contour in contours]
    cv2.polylines(image, lines, True, color, line_px, cv2.LINE_AA, _SUBPIXEL_BITS)


def _smooth(contour: NDArray[np.int32], step: int) -> NDArray[np.int32]:
    return (contour[:: step + 1] << _SUBPIXEL_BITS).astype(np.int32)


def _draw_box(image: NDArray[np.uint8], box: NDArray[np.float32], color: BGR, line_px: int) -> None:
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), color, max(1, line_px // 2))
