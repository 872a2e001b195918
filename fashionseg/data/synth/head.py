"""Heads: face, hair and hats of a drawn figure, and its neck.

Faces are a few soft marks on an ellipsoid, placed by angle, so that they turn with the head. Knows nothing about
garments below the neck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth.cloth import Cloth, linear, noise_tile, random_cloth, random_colour, sample
from fashionseg.data.synth.shapes import front_angle, patch_of, rows_of
from fashionseg.data.synth.surfaces import Patch, Surface, column, ellipsoid, tube

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.body import Body, Joints
    from fashionseg.data.synth.canvas import Canvas


SKINS = ((150, 180, 226), (128, 160, 212), (108, 142, 196), (84, 116, 172), (62, 90, 140), (44, 64, 104), (32, 46, 76))
HAIRS = (
    (20, 18, 18),
    (28, 30, 40),
    (38, 52, 78),
    (54, 82, 122),
    (96, 142, 188),
    (128, 178, 214),
    (40, 66, 134),
    (150, 152, 156),
)


@dataclass(frozen=True, slots=True)
class Look:
    """What does not change with clothes; colours are linear BGR, float32 [3].

    Attributes:
        skin: colour.
        hair: colour.
        style: "bald", "short", "bob", "long" or "bun".
        beard: 0 (none) .. 1.
        glasses: "none", "clear" or "sun".
        hat: "none", "beanie" or "cap".
        hat_cloth: of the hat.
        strands: float32 [TILE, TILE], noise of the hair.
    """

    skin: Floats
    hair: Floats
    style: str
    beard: float
    glasses: str
    hat: str
    hat_cloth: Cloth
    strands: Floats


def random_look(rng: np.random.Generator) -> Look:
    """A person's look."""
    tone = int(rng.integers(len(SKINS)))
    shades = len(HAIRS) if tone < 3 or rng.random() < 0.15 else 3
    skin = np.array(SKINS[tone], np.float32) * rng.uniform(0.92, 1.06)
    hair = np.array(HAIRS[rng.integers(shades)], np.float32) * rng.uniform(0.85, 1.15)
    style = str(rng.choice(["bald", "short", "bob", "long", "bun"], p=[0.05, 0.40, 0.2, 0.25, 0.1]))
    bearded = style in ("bald", "short") and rng.random() < 0.4
    return Look(
        linear(*np.clip(skin, 10, 250)),
        linear(*np.clip(hair, 6, 250)),
        style,
        float(rng.uniform(0.3, 0.9)) if bearded else 0.0,
        str(rng.choice(["none", "clear", "sun"], p=[0.62, 0.13, 0.25])),
        str(rng.choice(["none", "beanie", "cap"], p=[0.84, 0.08, 0.08])),
        random_cloth(rng, random_colour(rng), ("plain", "knit"), (1, 1)),
        noise_tile(rng, [(2, 32, 1.0), (4, 64, 0.8), (8, 128, 0.4)]),
    )


def paint_neck(canvas: Canvas, j: Joints, look: Look) -> None:
    """The neck, before any collar."""
    chin = j.head + np.array([0, 0.045 * j.scale, 0], np.float32)
    base = j.neck + np.array([0, 0.02 * j.scale, 0], np.float32)
    patch = patch_of(j, canvas.size_hw, np.stack([chin, base]), 0.06)
    if patch is not None:
        radii = np.array([0.0255, 0.031], np.float32) * j.scale
        canvas.paint(patch, tube(patch, np.stack([chin, base]), radii), look.skin * 0.9)


def paint_head(canvas: Canvas, j: Joints, body: Body, look: Look) -> None:
    """Head, face, hair on it, glasses and hat."""
    size = j.scale * body.head
    patch = patch_of(j, canvas.size_hw, j.head[None], 0.13 * body.head)
    if patch is None:
        return
    face = ellipsoid(patch, j.head, np.array([0.0455, 0.0625, 0.056], np.float32) * size)
    canvas.paint(patch, face, _face_colours(face, j, look, size), shadow=0.012 * j.scale, sheen=0.12)
    if look.style != "bald":
        _paint_hair(canvas, patch, j, look, size)
    if look.hat != "none":
        _paint_hat(canvas, patch, j, look, size)


def paint_long_hair(canvas: Canvas, j: Joints, look: Look) -> None:
    """Hair that falls over the back: paint it before the torso of a figure that faces the viewer, else after."""
    if look.style not in ("long", "bob"):
        return
    end = 0.72 if look.style == "long" else 0.84
    profile = np.array(
        [
            (0.955, 0.040, 0.045),
            (0.92, 0.056, 0.055),
            (0.86, 0.060, 0.05),
            (end + 0.02, 0.062, 0.04),
            (end, 0.05, 0.03),
        ],
        np.float32,
    )
    rows = rows_of(j, profile)
    rows[:, 1] += j.head[0] - j.neck[0] - 0.012 * j.scale * np.sin(j.head_yaw)
    patch = patch_of(j, canvas.size_hw, np.stack([j.head, j.neck, j.waist]), 0.12)
    if patch is not None:
        surface = column(patch, rows)
        canvas.paint(patch, surface, _hair_colours(surface, j, look), sheen=0.3)


def _face_colours(face: Surface, j: Joints, look: Look, size: float) -> Floats:
    angle = front_angle(face, j.head_yaw)
    v = face.along / (0.125 * size)
    colours: Floats = np.broadcast_to(look.skin, (*angle.shape, 3))

    def mark(at: float, row: float, wide: float, tall: float, colour: Floats, strength: float) -> None:
        nonlocal colours
        weight = strength * np.exp(-(((angle - at) / wide) ** 4) - ((v - row) / tall) ** 4)
        colours = colours + weight[..., None] * (colour - colours)

    dark, red = look.skin * 0.12, look.skin * np.array([0.55, 0.5, 0.9], np.float32)
    for side in (-1, 1):
        mark(side * 0.62, 0.66, 0.25, 0.10, look.skin * np.array([0.9, 0.9, 1.08], np.float32), 0.5)
        mark(side * 0.40, 0.50, 0.19, 0.028, np.full(3, 0.55, np.float32), 0.8)
        mark(side * 0.40, 0.50, 0.09, 0.032, dark * 0.4, 0.95)
        mark(side * 0.41, 0.435, 0.24, 0.016, look.hair * 0.6, 0.8)
        mark(side * 0.13, 0.625, 0.07, 0.016, dark * 2, 0.55)
    mark(0.0, 0.57, 0.07, 0.09, look.skin * 1.15, 0.5)
    mark(0.0, 0.765, 0.26, 0.022, red, 0.9)
    mark(0.0, 0.765, 0.24, 0.006, dark, 0.6)
    if look.beard > 0:
        mark(0.0, 0.92, 1.1, 0.22, look.hair, 0.8 * look.beard)
        mark(0.0, 0.71, 0.3, 0.025, look.hair, 0.7 * look.beard)
    if look.glasses != "none":
        lens = np.full(3, 0.012, np.float32)
        strength = 0.97 if look.glasses == "sun" else 0.25
        for side in (-1, 1):
            mark(side * 0.42, 0.50, 0.30, 0.062, lens, strength)
        mark(0.0, 0.475, 1.35, 0.010, lens, 0.9)
    return colours


def _hair_colours(surface: Surface, j: Joints, look: Look) -> Floats:
    streaks = sample(look.strands, surface.angle * 0.06, surface.along / j.scale, 0.25)
    return (look.hair * np.clip(1 + 0.35 * streaks, 0.4, 1.8)[..., None]).astype(np.float32)


def _paint_hair(canvas: Canvas, patch: Patch, j: Joints, look: Look, size: float) -> None:
    """Hair on the skull: all around but for the face."""
    centre = j.head + np.array([-0.006 * np.sin(j.head_yaw), -0.007, 0.004], np.float32) * size
    hair = ellipsoid(patch, centre, np.array([0.0505, 0.0650, 0.060], np.float32) * size)
    angle = front_angle(hair, j.head_yaw)
    v = (patch.y - (j.head[1] - 0.0625 * size)) / (0.125 * size)
    ear = {"short": 0.95, "bun": 1.05, "bob": 0.85, "long": 0.80}[look.style]
    wave = 0.03 * sample(look.strands, angle * 0.08, angle * 0.0, 0.3)
    hairline = 0.20 + wave + 0.10 * angle**2
    nape = 0.86 if look.style in ("short", "bun") else 1.2
    shown = np.maximum(_soft(np.abs(angle) - ear, 0.06), _soft(hairline - v, 0.02)) * _soft(nape - v, 0.03)
    canvas.paint(patch, hair.cut(shown), _hair_colours(hair, j, look), sheen=0.3, shadow=0.006 * j.scale)
    if look.style == "bun":
        top = j.head + np.array([-0.035 * np.sin(j.head_yaw), -0.068, -0.02], np.float32) * size
        bun = ellipsoid(patch, top, np.array([0.026, 0.022, 0.026], np.float32) * size)
        canvas.paint(patch, bun, _hair_colours(bun, j, look), sheen=0.3)


def _paint_hat(canvas: Canvas, patch: Patch, j: Joints, look: Look, size: float) -> None:
    centre = j.head + np.array([0, -0.010, 0.005], np.float32) * size
    dome = ellipsoid(patch, centre, np.array([0.054, 0.066, 0.062], np.float32) * size)
    v = (patch.y - (j.head[1] - 0.0625 * size)) / (0.125 * size)
    cloth = look.hat_cloth
    albedo = cloth.albedo(dome.angle * 0.05, dome.along / j.scale, 1 / j.scale)
    canvas.paint(patch, dome.cut(_soft(0.30 - v, 0.02)), albedo, shadow=0.01 * j.scale)
    facing = np.cos(j.head_yaw)
    if look.hat == "cap" and facing > -0.3:
        peak = j.head + np.array([0.06 * np.sin(j.head_yaw), -0.022, 0.06 * facing], np.float32) * size
        half = np.array([0.030 + 0.016 * abs(facing), 0.008 + 0.006 * facing, 0.02], np.float32) * size
        canvas.paint(patch, ellipsoid(patch, peak, half), cloth.colours[0] * 0.8, shadow=0.012 * j.scale)


def _soft(distance: Floats, edge: float) -> Floats:
    """0 below 0, 1 above `edge`, a ramp between."""
    return np.clip(distance / edge, 0, 1).astype(np.float32)
