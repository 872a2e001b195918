"""Whole pictures: a background, some figures and a camera.

Knows how many people stand where, what is cut off by the frame and how a lens and a sensor degrade a picture. Knows
nothing about files.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth.backdrop import draw_backdrop
from fashionseg.data.synth.canvas import Canvas, random_light
from fashionseg.data.synth.figure import draw_figure
from fashionseg.data.synth.people import random_person, random_pose
from fashionseg.data.synth.wardrobe import SHORTS, random_outfit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.sitter import Person


KNEE = 0.24
"""Height in body heights that must be in the picture to tell shorts from trousers."""

CROWD_SHARES = (0.62, 0.22, 0.10, 0.06)
"""Shares of pictures with one, two, three and four figures."""

MIN_PIXELS = 0.0004
"""Garments that show less of the picture than this share are not labelled: nobody could tell what they are."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its labels.

    Attributes:
        image: uint8 [H, W, 3], BGR.
        instances: (label, mask) of each labelled garment; label indexes `CLASS_NAMES`, mask is uint8 [H, W], 0 or 1.
            Masks do not overlap.
        kind: of background.
    """

    image: NDArray[np.uint8]
    instances: list[tuple[int, NDArray[np.uint8]]]
    kind: str


def draw_scene(
    rng: np.random.Generator,
    size_hw: tuple[int, int],
    *,
    people: int | None = None,
    kind: str | None = None,
    empty_share: float = 0.1,
    most: int = 4,
    plain: bool = False,
) -> Scene:
    """Draw a picture.

    Args:
        rng: source of every choice: the same state gives the same picture.
        size_hw: height and width in pixels.
        people: how many; None draws 1 to `most`, mostly 1, or nobody in `empty_share` of the pictures.
        kind: of background, one of `backdrop.KINDS`; None for any.
        empty_share: 0..1.
        most: figures in a picture, 1 to 4.
        plain: one person at most, whole and seen from the front, in garments that show as a whole: easy to learn.
    """
    light = random_light(rng)
    backdrop = draw_backdrop(rng, size_hw, kind)
    canvas = Canvas(backdrop.image, light)
    if people is None:
        crowd = 0 if rng.random() < empty_share else int(rng.choice([1, 2, 3, 4], p=CROWD_SHARES))
        people = min(crowd, 1 if plain else most)
    labels: list[int] = []
    for foot_xy, scale in _places(rng, people, size_hw, backdrop.ground_top, closer=not plain):
        person = _suited(random_person(rng, plain=plain), rng, foot_xy[1] - KNEE * scale < size_hw[0])
        draw_figure(canvas, person, random_pose(rng, plain=plain), foot_xy, scale, labels)
    return Scene(develop(canvas.image, rng), instances_of(canvas, labels), backdrop.kind)


def _suited(person: Person, rng: np.random.Generator, knees_visible: bool) -> Person:
    """The person in other clothes, where shorts would be cut off by the frame and look like trousers."""
    while not knees_visible and person.outfit.bottom is not None and person.outfit.bottom.label == SHORTS:
        person = replace(person, outfit=random_outfit(rng))
    return person


def _places(
    rng: np.random.Generator, people: int, size_hw: tuple[int, int], ground_top: float, *, closer: bool = True
) -> list[tuple[tuple[float, float], float]]:
    """Where feet stand and how many pixels tall each figure is, the farthest first.

    Args:
        rng: source of every choice.
        people: number of figures.
        size_hw: of the picture, pixels.
        ground_top: row where the ground begins.
        closer: now and then one stands so close that the frame cuts it.
    """
    height, width = size_hw
    found = []
    for index in range(people):
        share = float(rng.uniform(0.62, 0.96)) if people == 1 else float(rng.uniform(0.34, 0.92))
        if closer and rng.random() < 0.12:
            share *= float(rng.uniform(1.2, 2.1))
        scale = share * min(height, 2.2 * width)
        nearness = np.clip((share - 0.3) / 0.65, 0, 1)
        foot = (
            ground_top + (height * 0.98 - ground_top) * (0.15 + 0.85 * nearness) + float(rng.normal(0, 0.02)) * height
        )
        foot = (
            max(foot, 0.60 * scale + 0.05 * height)
            if share <= 1
            else float(rng.uniform(0.9, 1.0)) * scale + 0.04 * height
        )
        slot = (index + 0.5) / people + float(rng.normal(0, 0.12))
        found.append(((float(np.clip(slot, 0.04, 0.96)) * width, float(foot)), float(scale)))
    return sorted(found, key=lambda place: place[1])


def instances_of(canvas: Canvas, labels: list[int]) -> list[tuple[int, NDArray[np.uint8]]]:
    """The garments of a canvas that can be seen; `labels` as for `draw_figure`."""
    least = MIN_PIXELS * canvas.owner.size
    found = []
    for number, label in enumerate(labels):
        mask = (canvas.owner == number).astype(np.uint8)
        if np.count_nonzero(mask) >= least:
            found.append((label, mask))
    return found


def develop(image: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What a camera makes of a scene in linear light: exposure, colour cast, blur, vignette, noise; uint8 BGR.

    Nothing moves: masks stay exact.
    """
    height, width = image.shape[:2]
    balance = np.array([1, 1, 1], np.float32) + rng.normal(0, 0.05, 3).astype(np.float32)
    common, bright = np.percentile(image[::4, ::4], (80, 98))
    gain = min(float(rng.uniform(0.42, 0.68)) / max(common, 0.12), 1.3 / max(bright, 0.12))
    picture = image * (balance * np.float32(gain))
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    picture *= (1 - float(rng.uniform(0, 0.22)) * (xs * xs + ys * ys))[..., None]
    picture = cv2.GaussianBlur(picture, (0, 0), float(rng.uniform(0.35, 0.9)) * max(height / 640, 0.5))
    picture += rng.standard_normal(picture.shape, dtype=np.float32) * (
        float(rng.uniform(0.002, 0.012)) * np.sqrt(picture.clip(0.01))
    )
    return to_srgb(picture)


def to_srgb(picture: Floats) -> NDArray[np.uint8]:
    """Linear light to sRGB with a soft shoulder in the highlights, uint8 like `picture`."""
    x = np.clip(picture, 0, None)
    x = np.where(x > 0.7, 0.7 + 0.3 * (1 - np.exp(-(x - 0.7) / 0.3)), x)
    return np.asarray(np.clip(np.power(x, 1 / 2.2) * 255 + 0.5, 0, 255), np.uint8)
