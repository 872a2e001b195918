"""Name tags: rendering them once, and finding places where they hide neither each other nor leave the picture.

Knows text, colours and rectangles. Knows nothing about detections or masks.
"""

from __future__ import annotations

import heapq
import itertools
import math
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fashionseg.palette import BGR, text_color

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

Place = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole pixels of the picture, x1 and y1 not included."""

Point = tuple[int, int]
"""x, y in whole pixels of the picture; may lie outside."""

_SYSTEM_FONTS = (  # for names in other scripts than Latin
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-zenhei.ttc",
    "NotoSans-Regular.ttf",
    "PingFang.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "malgun.ttf",
    "arial.ttf",
)
_NOT_ON_A_LINE = frozenset({"Cc", "Cs", "Zl", "Zp"})
_TRIES = 32  # places looked at before a tag settles for one it shares
_TRIES_OF_ALL = 512  # in a picture: where 100 tags jostle, nobody can read them, and drawing takes 21 ms, not 122
_SPACE = 1  # pixels left between two tags
_NOTE_INK = 200  # of 255: the note stands back behind the name


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
def render_tag(name: str, note: str, color: BGR, text_px: int) -> Tag:
    """A rounded tag of this background colour: a name and, standing back, a note; `text_px` pixels per em."""
    name, font = _legible(name, text_px)
    height, margin = round(text_px * 1.5), round(text_px * 0.5)
    gap = round(text_px * 0.4) if name and note else 0
    note_x = margin + math.ceil(font.getlength(name)) + gap
    width = note_x + math.ceil(font.getlength(note)) + margin
    capital = -font.getbbox("H", anchor="ls")[1]
    baseline = round((height + capital) / 2)
    canvas = Image.new("L", (width, height))
    pen = ImageDraw.Draw(canvas)
    pen.text((margin, baseline), name, fill=255, font=font, anchor="ls")
    pen.text((note_x, baseline), note, fill=_NOTE_INK, font=font, anchor="ls")
    share = np.linspace(0, 1, 256)[:, None]  # of the text's colour, per value of the canvas
    colors = np.rint((1 - share) * color + share * text_color(color)).astype(np.uint8)
    opacity = np.rint(255 * _rounded(height, width, text_px * 0.32)).astype(np.uint8)
    opaque = cv2.merge([opacity] * 3)
    painted = cv2.multiply(colors[np.asarray(canvas)], opaque, scale=1 / 255)
    return Tag(np.asarray(painted, np.uint8), np.asarray(cv2.bitwise_not(opaque), np.uint8))


def place_tags(homes: list[Point], sizes_hw: list[tuple[int, int]], picture_hw: tuple[int, int]) -> list[Place]:
    """A place for each of n tags, inside the picture and, where possible, not on an earlier tag.

    Args:
        homes: where each tag would best have its top left corner.
        sizes_hw: height and width of each tag, not larger than the picture.
        picture_hw: height and width of the picture.
    """
    taken: list[Place] = []
    tries = min(_TRIES, _TRIES_OF_ALL // max(len(homes), 1) + 1)
    for home, size_hw in zip(homes, sizes_hw, strict=True):
        taken.append(_nearest_free(_inside(home, size_hw, picture_hw), taken, picture_hw, tries))
    return taken


def _nearest_free(home: Place, taken: list[Place], picture_hw: tuple[int, int], tries: int) -> Place:
    """The free place nearest to `home`, sought best first beside the tags in the way; else the one shared least."""
    queue = [(0, home)]
    seen = {home}
    best, least = home, math.inf
    for _ in range(tries):
        if not queue:
            break
        _, place = heapq.heappop(queue)
        x0, y0, x1, y1 = place
        blockers = [one for one in taken if one[0] < x1 and x0 < one[2] and one[1] < y1 and y0 < one[3]]
        if not blockers:
            return place
        shared = sum(_overlap(place, blocker) for blocker in blockers)
        if shared < least:
            best, least = place, shared
        for corner in {corner for blocker in blockers for corner in _beside(place, blocker)}:
            other = _inside(corner, (place[3] - place[1], place[2] - place[0]), picture_hw)
            if other not in seen:
                seen.add(other)
                heapq.heappush(queue, (abs(other[0] - home[0]) + abs(other[1] - home[1]), other))
    return best


def _inside(corner: Point, size_hw: tuple[int, int], picture_hw: tuple[int, int]) -> Place:
    """The place with this top left corner, moved into the picture."""
    height, width = size_hw
    x = min(max(corner[0], 0), picture_hw[1] - width)
    y = min(max(corner[1], 0), picture_hw[0] - height)
    return x, y, x + width, y + height


def _beside(place: Place, blocker: Place) -> list[Point]:
    """Corners above, below, right and left of a tag in the way."""
    x0, y0, x1, y1 = place
    return [
        (x0, blocker[1] - (y1 - y0) - _SPACE),
        (x0, blocker[3] + _SPACE),
        (blocker[2] + _SPACE, y0),
        (blocker[0] - (x1 - x0) - _SPACE, y0),
    ]


def _overlap(a: Place, b: Place) -> int:
    """Pixels that two places share that do share some."""
    return (min(a[2], b[2]) - max(a[0], b[0])) * (min(a[3], b[3]) - max(a[1], b[1]))


@lru_cache(maxsize=256)
def _legible(text: str, text_px: int) -> tuple[str, ImageFont.FreeTypeFont]:
    """The text and a font that has its letters.

    The font Pillow brings along knows ASCII alone; then come the system's. Where none has the letters, accents are
    left out; what is still missing shows as boxes. Line breaks and the like, which Pillow's layout of text refuses, and
    lone surrogates become spaces: names come from model files.
    """
    text = "".join(" " if unicodedata.category(c) in _NOT_ON_A_LINE else c for c in text)
    brought = cast("ImageFont.FreeTypeFont", ImageFont.load_default(text_px))  # a bitmap font where no size is given
    for font in itertools.chain([brought], _system_fonts(text_px)):
        missing = bytes(font.getmask("\uffff"))
        if all(bytes(font.getmask(letter)) != missing for letter in set(text)):
            return text, font
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return plain, brought


def _system_fonts(text_px: int) -> Iterator[ImageFont.FreeTypeFont]:
    for name in _SYSTEM_FONTS:
        try:
            yield ImageFont.truetype(name, text_px)
        except OSError:  # not on this machine
            continue


def _rounded(height: int, width: int, radius: float) -> NDArray[np.float32]:
    """float32 [height, width]: opacity 0..1 of a rectangle with rounded, smooth corners."""
    y = np.abs(np.arange(height, dtype=np.float32) - (height - 1) / 2) - (height / 2 - radius)
    x = np.abs(np.arange(width, dtype=np.float32) - (width - 1) / 2) - (width / 2 - radius)
    distance = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None])
    opacity: NDArray[np.float32] = np.clip(radius + 0.5 - distance, 0, 1)
    return opacity
