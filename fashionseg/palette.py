"""One colour per class: stable, vivid, told apart by the colour-blind.

Knows class indices and colours. Knows nothing about names or drawing.

A class keeps its colour whatever the number of classes of the model. The table was chosen greedily so that each
colour lies far (in OKLab) from those before it, for normal vision and for protanopia, deuteranopia and tritanopia
(simulated after Machado, Oliveira and Fernandes 2009) at once; a test measures it.
"""

from __future__ import annotations

import colorsys
from functools import cache

BGR = tuple[int, int, int]
"""Blue, green, red, each 0..255."""

_TABLE = (
    0x2F9BFF,  # blue
    0xFFA41C,  # amber
    0xE0359E,  # magenta
    0x5BE8B0,  # mint
    0x7A3FF2,  # violet
    0xB5303C,  # garnet
    0xFFEB57,  # yellow
    0xD0B0FF,  # lavender
    0xB47723,  # bronze
    0x8E24AA,  # purple
    0xFF7F6E,  # coral
    0x0F8A83,  # teal
    0xF9C874,  # sand
    0x7DE3FF,  # sky
    0xB6F279,  # lime
    0xDE64E7,  # orchid
)
_GOLDEN_RATIO = 0.618034
_LIGHTNESS = (0.62, 0.45, 0.75)


@cache
def class_color(label: int) -> BGR:
    """The colour of a contiguous class index."""
    if label < len(_TABLE):
        rgb = _TABLE[label]
        return rgb & 255, rgb >> 8 & 255, rgb >> 16
    extra = label - len(_TABLE)
    hue = (0.03 + extra * _GOLDEN_RATIO) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, _LIGHTNESS[extra % len(_LIGHTNESS)], 0.75)
    return round(255 * blue), round(255 * green), round(255 * red)


def text_color(background: BGR) -> BGR:
    """White on dark and strong backgrounds, nearly black on light ones.

    Equal WCAG contrast lies at a luminance of 0.18; on middle tones such as magenta white is the easier to read of
    the two, so the change comes a little later.
    """
    return (20, 20, 20) if relative_luminance(background) > 0.25 else (255, 255, 255)


def relative_luminance(color: BGR) -> float:
    """0 for black to 1 for white, as WCAG 2 defines it for sRGB."""
    blue, green, red = (_linear(value / 255) for value in color)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
