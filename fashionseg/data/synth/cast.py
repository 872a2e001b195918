"""The three people of the film and what they wear: all five kinds of garment.

Knows nothing about moving or painting them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fashionseg.data.synth.body import Body
from fashionseg.data.synth.cloth import Cloth, linear, random_cloth
from fashionseg.data.synth.head import HAIRS, SKINS, Look, random_look
from fashionseg.data.synth.sitter import Person
from fashionseg.data.synth.wardrobe import (
    LONG_SHIRT,
    SHORT_SHIRT,
    SHORTS,
    TROUSERS,
    Bottom,
    Outer,
    Outfit,
    Top,
)

if TYPE_CHECKING:
    import numpy as np


WHITE, NAVY, CAMEL = (238, 240, 240), (84, 50, 30), (84, 128, 178)


def cast(rng: np.random.Generator) -> tuple[Person, Person, Person]:
    """In T-shirt and shorts; in coat, sweater and jeans; in shirt and chinos."""
    return _summer(rng), _autumn(rng), _office(rng)


def _summer(rng: np.random.Generator) -> Person:
    top = Top(
        SHORT_SHIRT, _cloth(rng, WHITE, "stripes", (150, 70, 40), 0.042), 0.505, 0.011, 0.7, 0.006, 0.40, 0.010, "crew",
        False, False,
    )  # fmt: skip
    bottom = Bottom(SHORTS, _cloth(rng, (74, 106, 128), "plain"), 0.60, 0.45, 0.013, 0.064, None)
    outfit = Outfit(top, None, bottom, linear(230, 230, 228), 0.0, None, "none", top.cloth)
    return Person(Body(0.112, 0.092, 0.079, 0.090, 1.02, 1.06), _look(rng, 2, 1, "short"), outfit)


def _autumn(rng: np.random.Generator) -> Person:
    top = Top(
        LONG_SHIRT, _cloth(rng, (196, 206, 212), "knit"), 0.50, 0.008, 0.4, 0.004, 0.96, 0.0, "turtle", False, False
    )  # fmt: skip
    coat = Outer(
        _cloth(rng, CAMEL, "plain", folds=0.6), 0.36, 0.016, 0.014, (0.36, 0.50), (0.6, 0.12), 0.36, 0.0, False, 0.07
    )
    bottom = Bottom(TROUSERS, _cloth(rng, (124, 84, 54), "denim"), 0.60, 0.95, 0.003, 0.030, None)
    outfit = Outfit(top, coat, bottom, linear(40, 50, 70), 0.04, None, "none", top.cloth)
    return Person(Body(0.104, 0.088, 0.071, 0.089, 0.94, 1.05), _look(rng, 0, 3, "long"), outfit)


def _office(rng: np.random.Generator) -> Person:
    top = Top(
        LONG_SHIRT, _cloth(rng, (196, 160, 120), "plain"), 0.50, 0.012, 0.6, 0.006, 0.97, -0.002, "collar", True, False
    )  # fmt: skip
    bottom = Bottom(TROUSERS, _cloth(rng, NAVY, "plain", folds=0.6), 0.605, 0.97, 0.008, 0.040, linear(30, 44, 66))
    outfit = Outfit(top, None, bottom, linear(34, 46, 70), 0.0, None, "none", top.cloth)
    return Person(Body(0.115, 0.095, 0.082, 0.089, 1.05, 1.04), _look(rng, 4, 0, "short"), outfit)


def _cloth(
    rng: np.random.Generator,
    ground: tuple[int, int, int],
    pattern: str,
    second: tuple[int, int, int] = (60, 60, 60),
    period: float = 0.03,
    folds: float = 0.8,
) -> Cloth:
    cloth = random_cloth(rng, linear(*ground), (pattern,), (1,))
    colours = cloth.colours.copy()
    if pattern != "knit":
        colours[1] = linear(*second)
    return replace(cloth, colours=colours, period=period, upright=False, folds=folds, sheen=0.05)


def _look(rng: np.random.Generator, skin: int, hair: int, style: str) -> Look:
    look = random_look(rng)
    return replace(
        look, skin=linear(*SKINS[skin]), hair=linear(*HAIRS[hair]), style=style, beard=0.0, glasses="none", hat="none"
    )
