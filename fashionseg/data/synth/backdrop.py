"""Backgrounds: streets, parks, walls, shops, rooms and studios without a single labelled garment.

Each is drawn from noise, perspective and simple shapes in linear light and blurred as a lens would. They hold what
detectors mistake for clothes: trees, curtains, boxes, cars, umbrellas. Knows nothing about figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth import paint2d, places, props
from fashionseg.data.synth.cloth import linear
from fashionseg.data.synth.noise import fractal, speckle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fashionseg.data.synth.arrays import Floats


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A background.

    Attributes:
        image: float32 [H, W, 3], linear BGR.
        kind: which drawer made it.
        ground_top: row from which on the floor is seen; feet stand below it.
    """

    image: Floats
    kind: str
    ground_top: float


def draw_backdrop(rng: np.random.Generator, size_hw: tuple[int, int], kind: str | None = None) -> Backdrop:
    """A background of a random kind, or of the given one of `KINDS`."""
    name = kind or str(rng.choice(list(KINDS), p=_SHARES))
    ground_top = float(size_hw[0] * rng.uniform(0.52, 0.80))
    image = KINDS[name](rng, size_hw, ground_top)
    blur = float(rng.uniform(0.3, 5.0)) * size_hw[0] / 640
    if name != "studio":
        image = _lens_blur(image, blur)
    tone = float(rng.uniform(0.7, 1.25))
    return Backdrop(np.clip(image * tone, 0.002, 1.2).astype(np.float32), name, ground_top)


def _lens_blur(image: Floats, radius: float) -> Floats:
    """Blur by a disc: bright spots become discs, as they do in photos."""
    if radius < 0.6:
        return image
    size = 2 * int(np.ceil(radius)) + 1
    disc = np.zeros((size, size), np.float32)
    cv2.circle(disc, (size // 2, size // 2), size // 2, 1, -1, cv2.LINE_AA)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REPLICATE)


def _street(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    image = np.zeros((*size_hw, 3), np.float32)
    if rng.random() < 0.75:
        places.facade(image, rng, ground_top)
    else:
        places.sky(image, rng, ground_top)
        places.skyline(image, rng, ground_top)
    places.ground(image, rng, ground_top, str(rng.choice(["asphalt", "paving", "cobbles"])))
    if rng.random() < 0.6:
        kerb = ground_top + (size_hw[0] - ground_top) * float(rng.uniform(0.05, 0.35))
        places.kerb(image, rng, kerb)
    for _ in range(int(rng.integers(0, 3))):
        props.car(image, rng, ground_top)
    for _ in range(int(rng.integers(0, 3))):
        props.tree(image, rng, ground_top)
    _scatter(image, rng, ground_top, (props.post, props.box, props.cone, props.umbrella), 4)
    return image


def _park(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    image = np.zeros((*size_hw, 3), np.float32)
    places.sky(image, rng, ground_top)
    places.hedge(image, rng, ground_top)
    places.ground(image, rng, ground_top, str(rng.choice(["grass", "grass", "gravel"])))
    for _ in range(int(rng.integers(2, 7))):
        props.tree(image, rng, ground_top)
    _scatter(image, rng, ground_top, (props.bench, props.post, props.box, props.umbrella), 3)
    return image


def _wall(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    image = np.zeros((*size_hw, 3), np.float32)
    places.wall(image, rng, ground_top, str(rng.choice(["brick", "plaster", "concrete", "shutter", "graffiti"])))
    places.ground(image, rng, ground_top, str(rng.choice(["asphalt", "paving", "cobbles"])))
    _scatter(image, rng, ground_top, (props.box, props.post, props.bench, props.cone, props.pot), 3)
    return image


def _room(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    image = np.zeros((*size_hw, 3), np.float32)
    places.wall(image, rng, ground_top, "plaster")
    if rng.random() < 0.5:
        places.window(image, rng, ground_top)
    places.ground(image, rng, ground_top, "boards")
    for _ in range(int(rng.integers(1, 4))):
        places.curtain(image, rng, ground_top)
    _scatter(image, rng, ground_top, (props.box, props.shelf, props.pot, props.bag, props.chair, props.lamp), 5)
    return image


def _shop(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    image = np.zeros((*size_hw, 3), np.float32)
    places.wall(image, rng, ground_top, "plaster")
    places.ground(image, rng, ground_top, str(rng.choice(["boards", "paving"])))
    for _ in range(int(rng.integers(2, 5))):
        props.shelf(image, rng, ground_top)
    _scatter(image, rng, ground_top, (props.box, props.bag, props.pot, props.lamp, props.chair), 5)
    return image


def _studio(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    colour = linear(*(np.full(3, rng.uniform(90, 250)) + rng.normal(0, 9, 3)).clip(20, 252))
    ramp = np.linspace(rng.uniform(0.85, 1.05), rng.uniform(0.75, 1.0), size_hw[0], dtype=np.float32)
    soft = 1 + 0.06 * fractal(rng, size_hw, 2, 2)
    return (colour * (ramp[:, None] * soft)[..., None]).astype(np.float32)


def _clutter(rng: np.random.Generator, size_hw: tuple[int, int], ground_top: float) -> Floats:
    """Blurred shapes and colours of no meaning."""
    image = np.zeros((*size_hw, 3), np.float32)
    light = 0.3 + 0.15 * fractal(rng, size_hw, 4, 4)
    for channel in range(3):
        image[..., channel] = light * (1 + 0.15 * fractal(rng, size_hw, 3, 2))
    for _ in range(int(rng.integers(10, 40))):
        paint2d.blob(image, rng)
    places.ground(image, rng, ground_top, str(rng.choice(["asphalt", "grass", "boards"])))
    return image * speckle(rng, size_hw, 0.06)[..., None]


KINDS: dict[str, Callable[[np.random.Generator, tuple[int, int], float], NDArray[np.float32]]] = {
    "street": _street,
    "park": _park,
    "wall": _wall,
    "room": _room,
    "shop": _shop,
    "studio": _studio,
    "clutter": _clutter,
}
_SHARES = (0.36, 0.16, 0.15, 0.11, 0.08, 0.06, 0.08)


def _scatter(
    image: Floats,
    rng: np.random.Generator,
    ground_top: float,
    kinds: tuple[Callable[[Floats, np.random.Generator, float], None], ...],
    most: int,
) -> None:
    for _ in range(int(rng.integers(0, most))):
        kinds[rng.integers(len(kinds))](image, rng, ground_top)
