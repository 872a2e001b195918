"""Name tags: rendering them once, and finding places where they hide neither each other nor leave the picture.

Knows text, colours and rectangles. Knows nothing about detections or masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fashionseg.palette import BGR, text_color

if TYPE_CHECKING:
    from numpy.typing import NDArray

Place = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the picture, x1 and y1 not included."""


@dataclass(frozen=True, slots=True)
class Tag:
    """A rendered name tag.

    Attributes:
        color: uint8 [h, w, 3], BGR, already multiplied by its opacity.
        clear: uint8 [h, w, 3], 255 where the picture shows through (outside the rounded corners), 0 where the tag is
            opaque; the same in all three channels.
    """

    color: NDArray[np.uint8]
    clear: NDArray[np.uint8]

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.color.shape[0], self.color.shape[1]

    def paint(self, image: NDArray[np.uint8], x: int, y: int) -> None:
        """Blend into `image`, uint8 [H, W, 3] BGR, with the top left corner at (x, y); all of it lies inside."""
        height, width = self.size_hw
        under = image[y : y + height, x : x + width]
        shown = cv2.multiply(under, self.clear, scale=1 / 255)
        under[...] = cv2.add(shown, self.color, dst=shown)


@lru_cache(maxsize=512)
def render_tag(text: str, color: BGR, text_px: int) -> Tag:
    """A rounded tag of this background colour with the text in black or white, `text_px` pixels per em."""
    font = _font(text_px)
    cap_top, cap_bottom = font.getbbox("H", anchor="ls")[1::2]
    cap = cap_bottom - cap_top
    height = round(text_px * 1.5)
    margin = round(text_px * 0.45)
    width = int(np.ceil(font.getlength(text))) + 2 * margin
    canvas = Image.new("L", (width, height))
    ImageDraw.Draw(canvas).text((margin, (height + cap) // 2), text, fill=255, font=font, anchor="ls")
    ink = np.asarray(canvas, np.float32)[..., None] / 255
    painted = np.array(color, np.float32) * (1 - ink) + np.array(text_color(color), np.float32) * ink
    opacity = _rounded(height, width, text_px * 0.3)[..., None]
    clear = np.repeat(255 - np.rint(255 * opacity), 3, axis=2)
    return Tag(np.rint(painted * opacity).astype(np.uint8), clear.astype(np.uint8))


def place_tags(boxes: NDArray[np.float32], sizes_hw: list[tuple[int, int]], picture_hw: tuple[int, int]) -> list[Place]:
    """A place for each tag at its box, inside the picture, where possible without covering an earlier tag.

    Args:
        boxes: float32 [n, 4], x0 y0 x1 y1 in pixels of the picture.
        sizes_hw: height and width of each tag; not larger than the picture.
        picture_hw: height and width of the picture.
    """
    taken: list[Place] = []
    for box, size_hw in zip(boxes.tolist(), sizes_hw, strict=True):
        taken.append(_best_place(_candidates(box, size_hw, picture_hw), taken))
    return taken


def _candidates(
    box: tuple[float, float, float, float], size_hw: tuple[int, int], picture_hw: tuple[int, int]
) -> list[Place]:
    """Places at the corners of the box, the usual one first: on its top edge, inside, below, then further down."""
    x0, y0, x1, y1 = map(round, box)
    height, width = size_hw
    corners = [
        (x0, y0 - height),
        (x0, y0),
        (x1 - width, y0 - height),
        (x1 - width, y0),
        (x0, y1),
        (x0, y1 - height),
        (x0, y0 + height),
        (x1 - width, y0 + height),
        (x0, y0 + 2 * height),
        (x1 - width, y0 + 2 * height),
    ]
    most_x, most_y = picture_hw[1] - width, picture_hw[0] - height
    places = []
    for x, y in corners:
        left, top = min(max(x, 0), most_x), min(max(y, 0), most_y)
        places.append((left, top, left + width, top + height))
    return places


def _best_place(candidates: list[Place], taken: list[Place]) -> Place:
    best, least = candidates[0], float("inf")
    for place in candidates:
        overlap = sum(_overlap(place, other) for other in taken)
        if not overlap:
            return place
        if overlap < least:
            best, least = place, overlap
    return best


def _overlap(a: Place, b: Place) -> int:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0


@lru_cache(maxsize=8)
def _font(text_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(text_px)


def _rounded(height: int, width: int, radius: float) -> NDArray[np.float32]:
    """float32 [height, width]: opacity 0..1 of a rectangle with rounded, smooth corners."""
    y = np.abs(np.arange(height, dtype=np.float32) - (height - 1) / 2) - (height / 2 - radius)
    x = np.abs(np.arange(width, dtype=np.float32) - (width - 1) / 2) - (width / 2 - radius)
    distance = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None])
    return np.clip(radius + 0.5 - distance, 0, 1).astype(np.float32)
