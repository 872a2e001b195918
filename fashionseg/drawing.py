"""Drawing detections into a picture: translucent masks, smooth outlines, thin boxes, readable name tags.

Knows pixels, masks and colours. Knows nothing about where a picture comes from or goes to.

Only pixels under a mask, a line or a tag are touched, so a picture without detections costs nothing.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.outlines import draw_outline
from fashionseg.palette import class_color
from fashionseg.tags import place_tags, render_tag

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from fashionseg.detections import Detections
    from fashionseg.masks import PastedMask
    from fashionseg.palette import BGR
    from fashionseg.tags import Point, Tag

PARTS = frozenset({"boxes", "labels", "masks"})
"""What `hide` may leave out."""

_OPACITY = 0.4  # of the colour over a garment
_SMALLEST_TEXT = 7  # pixels per em; a tag that does not fit into the picture at this size is left out


class Annotator:
    """Draws the detections of one model. May be used from several threads at once.

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

    def draw(
        self,
        image: NDArray[np.uint8],
        detections: Detections,
        pasted: Sequence[PastedMask],
        notes: Sequence[str] | None = None,
    ) -> None:
        """Draw into `image`, in place.

        Args:
            image: uint8 [H, W, 3], BGR, writable, C-contiguous.
            detections: n detections in pixels of this picture.
            pasted: their n masks (see `fashionseg.masks.paste_masks`).
            notes: n texts behind the names; default: the scores.
        """
        if not len(detections):
            return
        line_px, text_px = _scale(image.shape[0], image.shape[1])
        colors = [class_color(label) for label in detections.labels.tolist()]
        sides = detections.boxes[:, 2:] - detections.boxes[:, :2]
        order = np.argsort(-sides[:, 0] * sides[:, 1], kind="stable").tolist()  # small garments stay visible
        if "masks" not in self._hide:
            for i in order:
                _draw_mask(image, pasted[i], colors[i], line_px)
        if "boxes" not in self._hide:
            for i in order:
                _draw_box(image, detections.boxes[i], colors[i], max(1, line_px // 2))
        if "labels" not in self._hide:
            texts = [f"{score:.0%}" for score in detections.scores.tolist()] if notes is None else notes
            self._draw_tags(image, detections, texts, pasted, colors, text_px)

    def _draw_tags(
        self,
        image: NDArray[np.uint8],
        detections: Detections,
        notes: Sequence[str],
        pasted: Sequence[PastedMask],
        colors: list[BGR],
        text_px: int,
    ) -> None:
        size_hw = image.shape[0], image.shape[1]
        tags, homes = [], []
        for i, (label, note) in enumerate(zip(detections.labels.tolist(), notes, strict=True)):
            tag = _fitting_tag(self._names[label], note, colors[i], text_px, size_hw)
            if tag is None:
                continue
            tags.append(tag)
            if "boxes" in self._hide and pasted[i].area:
                homes.append(_centred_on(pasted[i], tag))
            else:
                homes.append(_standing_on(detections.boxes[i], tag))
        places = place_tags(homes, [tag.size_hw for tag in tags], size_hw)
        for tag, place in zip(reversed(tags), reversed(places), strict=True):  # the best score ends on top
            tag.paint(image, place[0], place[1])


def _scale(height: int, width: int) -> tuple[int, int]:
    """Width of outlines and size of text, in pixels, for a picture of this size."""
    side = math.sqrt(height * width)
    return round(0.6 + side / 600), max(12, round(side / 62))


def _draw_mask(image: NDArray[np.uint8], mask: PastedMask, color: BGR, line_px: int) -> None:
    bits = mask.bits
    if not bits.size:
        return
    under = image[mask.y : mask.y + mask.height, mask.x : mask.x + mask.width]
    shown = cv2.convertScaleAbs(under, alpha=1 - _OPACITY)
    blue, green, red = (round(_OPACITY * value) for value in color)  # whole numbers: OpenCV then stays in 8 bits
    cv2.add(shown, (blue, green, red, 0), dst=under, mask=bits)  # type: ignore[call-overload]  # stubs know no scalars
    draw_outline(image, bits, (mask.x, mask.y), color, line_px)


def _draw_box(image: NDArray[np.uint8], box: NDArray[np.float32], color: BGR, line_px: int) -> None:
    x0, y0, x1, y1 = np.rint(box).astype(int).tolist()
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), color, line_px)


def _fitting_tag(name: str, note: str, color: BGR, text_px: int, picture_hw: tuple[int, int]) -> Tag | None:
    """The tag at this size of text, or smaller where the picture is small; None where it does not fit at all."""
    for px in range(text_px, _SMALLEST_TEXT - 1, -1):
        tag = render_tag(name, note, color, px)
        if tag.size_hw[0] <= picture_hw[0] and tag.size_hw[1] <= picture_hw[1]:
            return tag
    return None


def _standing_on(box: NDArray[np.float32], tag: Tag) -> Point:
    """Top left corner of a tag that stands on the left end of a box."""
    return round(float(box[0])), round(float(box[1])) - tag.size_hw[0]


def _centred_on(mask: PastedMask, tag: Tag) -> Point:
    """Top left corner of a tag in the middle of a garment."""
    x, y = mask.center
    return round(x - tag.size_hw[1] / 2), round(y - tag.size_hw[0] / 2)
