"""Where people stand: skies, fronts of houses, walls, floors, curtains.

Every function paints into a picture, float32 [H, W, 3], linear BGR, in place. `ground_top` is the row where walls meet
the floor. Sizes follow the picture's height. Nothing here is labelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth.cloth import dull_colour, hsv, linear, random_colour
from fashionseg.data.synth.noise import fractal, smooth_noise
from fashionseg.data.synth.paint2d import fill, lay, rectangle

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats

    Rng = np.random.Generator


def sky(image: Floats, rng: Rng, ground_top: float) -> None:
    """Blue or overcast, lighter towards the horizon."""
    rows = max(int(ground_top), 1)
    high = (
        linear(*hsv(rng.uniform(100, 112), rng.uniform(40, 140), rng.uniform(190, 250)))
        if rng.random() < 0.6
        else linear(210, 205, 200)
    )
    low = linear(240, 232, 226)
    t = np.linspace(0, 1, rows, dtype=np.float32)[:, None, None]
    clouds = np.clip(0.5 * fractal(rng, (rows, image.shape[1]), 3, 4, 0.5), 0, 1)[..., None]
    base = high + t * (low - high)
    image[:rows] = base + 0.7 * clouds * (1 - base)


def skyline(image: Floats, rng: Rng, ground_top: float) -> None:
    """Far buildings against the sky."""
    height, width = image.shape[:2]
    x = 0.0
    while x < width:
        wide = width * float(rng.uniform(0.10, 0.35))
        top = ground_top - height * float(rng.uniform(0.12, 0.45))
        colour = dull_colour(rng, 80, 200)
        rectangle(image, x, top, x + wide, ground_top, colour)
        pane = max(wide / float(rng.integers(4, 9)), 4)
        _window_grid(
            image, rng, (x + pane * 0.3, top + pane * 0.3, x + wide - pane * 0.3, ground_top), pane, pane * 1.4
        )
        x += wide


def facade(image: Floats, rng: Rng, ground_top: float) -> None:
    """A house front close by: windows above, a door or a shop window at street level."""
    height, width = image.shape[:2]
    rows = max(int(ground_top), 1)
    colour = dull_colour(rng, 90, 240, 70)
    texture = 1 + 0.07 * fractal(rng, (rows, width), 5, 5)
    image[:rows] = colour * texture[..., None]
    if rng.random() < 0.5:
        courses = height * float(rng.uniform(0.02, 0.06))
        for y in np.arange(0, rows, courses):
            rectangle(image, 0, y, width, y + max(courses * 0.06, 1), colour * 0.7)
    pane = height * float(rng.uniform(0.12, 0.24))
    street = ground_top - height * float(rng.uniform(0.30, 0.45))
    _window_grid(image, rng, (-pane * float(rng.uniform(0, 1)), -pane * 0.4, width, street), pane, pane * 1.5)
    x = width * float(rng.uniform(-0.1, 0.2))
    while x < width:
        wide = height * float(rng.uniform(0.14, 0.40))
        top = ground_top - height * float(rng.uniform(0.26, 0.40))
        _opening(image, rng, x, top, x + wide, ground_top)
        if rng.random() < 0.3:
            awning = random_colour(rng)
            fill(
                image,
                [
                    (x, top),
                    (x + wide, top),
                    (x + wide * 1.06, top + 0.07 * height),
                    (x - wide * 0.06, top + 0.07 * height),
                ],
                awning,
            )
        x += wide + height * float(rng.uniform(0.05, 0.25))
    rectangle(image, 0, ground_top - height * 0.02, width, ground_top, colour * 0.45)


def _window_grid(image: Floats, rng: Rng, box: tuple[float, float, float, float], wide: float, tall: float) -> None:
    x0, y0, x1, y1 = box
    share_x, share_y = rng.uniform(0.45, 0.75), rng.uniform(0.5, 0.75)
    frame = linear(*np.full(3, rng.uniform(40, 230)))
    for y in np.arange(y0, y1 - tall * 0.5, tall):
        for x in np.arange(x0, x1 - wide * 0.5, wide):
            glass = linear(*hsv(rng.uniform(90, 120), rng.uniform(5, 70), rng.uniform(30, 150)))
            w, h = wide * share_x, tall * share_y
            rectangle(image, x - w * 0.06, y - h * 0.04, x + w * 1.06, y + h * 1.05, frame)
            rectangle(image, x, y, x + w, y + h, glass)
            rectangle(image, x + w * 0.48, y, x + w * 0.52 + 1, y + h, frame)


def _opening(image: Floats, rng: Rng, x0: float, y0: float, x1: float, y1: float) -> None:
    """A door or shop window with something vague behind the glass."""
    frame = random_colour(rng) * 0.6
    rectangle(image, x0, y0, x1, y1, frame)
    inset = 0.05 * (x1 - x0)
    a, b, c, d = (max(int(v), 0) for v in (x0 + inset, y0 + inset, x1 - inset, y1 - inset * rng.uniform(1, 4)))
    part = image[b:d, a:c]
    if part.size:
        glow = 0.12 + 0.10 * fractal(rng, part.shape[:2], 3, 3)
        part[:] = np.clip(glow, 0.01, 1)[..., None] * random_colour(rng) * 2 + 0.02


_GROUNDS = {
    "asphalt": ((96, 94, 92), 0.10),
    "paving": ((150, 152, 154), 0.06),
    "cobbles": ((120, 122, 126), 0.08),
    "grass": ((52, 112, 88), 0.20),
    "gravel": ((150, 162, 172), 0.16),
    "boards": ((84, 118, 160), 0.06),
}


def ground(image: Floats, rng: Rng, ground_top: float, kind: str) -> None:
    """The floor in perspective, from `ground_top` to the lower edge."""
    height, width = image.shape[:2]
    top = int(ground_top)
    if top >= height - 1:
        return
    base, rough = _GROUNDS[kind]
    colour = linear(*np.clip(np.array(base) * rng.uniform(0.6, 1.25) + rng.normal(0, 3, 3), 15, 245))
    horizon = ground_top - height * 0.25
    y = np.arange(top, height, dtype=np.float32)[:, None]
    depth = (height * 1.1 - horizon) / (y - horizon)
    across = ((np.arange(width, dtype=np.float32)[None, :] - width * 0.5) / height) * depth
    along = np.broadcast_to(depth * 1.6, across.shape)
    tile = fractal(rng, (256, 256), 8, 5)
    noise = cv2.remap(tile, np.mod(across * 180, 255), np.mod(along * 180, 255), cv2.INTER_LINEAR)
    shade = 1 + rough * noise + 0.5 * rough * rng.standard_normal(noise.shape, dtype=np.float32)
    if kind in ("paving", "cobbles", "boards"):
        shade = shade * _joints(rng, kind, across, along, depth)
    image[top:] = colour * np.clip(shade, 0.1, 2)[..., None]
    image[top:] *= (1 - 0.25 * np.exp(-(y - top) / (0.02 * height)))[..., None]


def _joints(rng: Rng, kind: str, across: Floats, along: Floats, depth: Floats) -> Floats:
    size = {"paving": 0.30, "cobbles": 0.07, "boards": 0.09}[kind] * float(rng.uniform(0.8, 1.4))
    line = 0.02 * size + 0.0016 * depth
    column = np.abs(across / size - np.round(across / size)) * size < line
    row_size = size * (8 if kind == "boards" else 1)
    row = np.abs(along / row_size - np.round(along / row_size)) * row_size < line
    cell = np.floor(across / size + 0.5) * 57.0 + np.floor(along / row_size + 0.5) * 131.0
    tint = 1 + 0.08 * np.sin(cell * 12.9898)
    return np.where(column | row, 0.72, tint).astype(np.float32)


def kerb(image: Floats, rng: Rng, y: float) -> None:
    """The edge of the pavement, and perhaps road marks."""
    height, width = image.shape[:2]
    rectangle(image, 0, y, width, y + 0.012 * height, linear(190, 190, 190) * float(rng.uniform(0.6, 1)))
    rectangle(image, 0, y + 0.012 * height, width, y + 0.024 * height, linear(60, 60, 60))
    if rng.random() < 0.4:
        for x in np.arange(float(rng.uniform(-0.2, 0)) * width, width, 0.22 * width):
            low, shift = y + 0.10 * height, 0.08 * width
            fill(
                image,
                [
                    (x, y + 0.03 * height),
                    (x + 0.10 * width, y + 0.03 * height),
                    (x + 0.10 * width + shift, low),
                    (x + shift, low),
                ],
                linear(225, 225, 225),
                0.8,
            )


def wall(image: Floats, rng: Rng, ground_top: float, kind: str) -> None:
    """A plain wall down to the floor."""
    height, width = image.shape[:2]
    rows = max(int(ground_top), 1)
    colour = dull_colour(rng, 70, 245, 90 if kind in ("plaster", "shutter") else 25)
    if kind == "brick":
        colour = linear(*hsv(rng.uniform(4, 14), rng.uniform(60, 140), rng.uniform(90, 190)))
    shade = 1 + 0.08 * fractal(rng, (rows, width), 3, 6) + 0.02 * rng.standard_normal((rows, width), dtype=np.float32)
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(width, dtype=np.float32)[None, :]
    if kind == "brick":
        tall = height * float(rng.uniform(0.014, 0.028))
        course = np.floor(y / tall)
        offset = x / (tall * 3) + 0.5 * np.mod(course, 2)
        mortar = (np.mod(y / tall, 1) < 0.14) | (np.mod(offset, 1) < 0.05)
        brick = 1 + 0.16 * np.sin(course * 78.233 + np.floor(offset) * 12.9898)
        shade = shade * np.where(mortar, 1.5, brick)
    if kind == "shutter":
        shade = shade * (1 + 0.22 * np.sin(y * (2 * np.pi / (height * 0.022))))
    image[:rows] = np.clip(colour * np.clip(shade, 0.2, 2)[..., None], 0.005, 1)
    if kind == "graffiti":
        for _ in range(int(rng.integers(8, 24))):
            _stroke(image, rng, rows)


def _stroke(image: Floats, rng: Rng, rows: int) -> None:
    height, width = image.shape[:2]
    start = np.array([rng.uniform(0, width), rng.uniform(0.2 * rows, rows)])
    steps = rng.normal(0, 0.05 * height, (10, 2)).cumsum(0) + start
    mask = np.zeros((height, width), np.uint8)
    thick = max(int(height * rng.uniform(0.006, 0.03)), 1)
    cv2.polylines(mask, [steps.astype(np.int32)], bool(rng.random() < 0.5), 255, thick, cv2.LINE_AA)
    mask[rows:] = 0
    lay(image, mask.astype(np.float32) / 255, random_colour(rng))


def hedge(image: Floats, rng: Rng, ground_top: float) -> None:
    """Bushes along the horizon."""
    height, width = image.shape[:2]
    x = np.linspace(0, 1, width, dtype=np.float32)
    edge = ground_top - height * (0.10 + 0.06 * smooth_noise(rng, (1, width), 1, 7)[0] + 0.02 * np.sin(40 * x))
    alpha = np.clip(np.arange(height, dtype=np.float32)[:, None] - edge[None, :], 0, 1)
    alpha[int(ground_top) :] = 0
    lay(image, alpha, leaves(rng, (height, width)))


def leaves(rng: Rng, size_hw: tuple[int, int]) -> Floats:
    """A picture of foliage, float32 [H, W, 3]."""
    colour = linear(*hsv(rng.uniform(22, 50), rng.uniform(60, 150), rng.uniform(50, 130)))
    shade = 1 + 0.45 * fractal(rng, size_hw, 10, 5) + 0.2 * rng.standard_normal(size_hw, dtype=np.float32)
    return np.asarray(colour * np.clip(shade, 0.15, 2.6)[..., None], np.float32)


def window(image: Floats, rng: Rng, ground_top: float) -> None:
    """A bright window in a room."""
    height, width = image.shape[:2]
    x, y, wide, tall = float(rng.uniform(0, 0.7)) * width, 0.08 * height, 0.35 * height, 0.4 * height
    rectangle(image, x - 6, y - 6, x + wide + 6, min(y + tall + 6, ground_top), linear(230, 230, 230))
    rectangle(
        image, x, y, x + wide, min(y + tall, ground_top - 4), linear(250, 245, 240) * float(rng.uniform(0.6, 1.2))
    )
    rectangle(image, x + 0.49 * wide, y, x + 0.52 * wide, min(y + tall, ground_top - 4), linear(230, 230, 230))


def curtain(image: Floats, rng: Rng, ground_top: float) -> None:
    """Hanging cloth in upright folds, down to the floor or the sill."""
    height, width = image.shape[:2]
    wide = height * float(rng.uniform(0.12, 0.4))
    x0 = int(rng.uniform(-0.3 * wide, width - 0.5 * wide))
    x1, x0 = min(int(x0 + wide), width), max(x0, 0)
    y0, y1 = int(height * rng.uniform(0, 0.08)), int(min(ground_top * rng.uniform(0.6, 1.04), height))
    if x1 - x0 < 3 or y1 - y0 < 3:
        return
    u = np.linspace(0, 1, x1 - x0, dtype=np.float32)[None, :]
    v = np.linspace(0, 1, y1 - y0, dtype=np.float32)[:, None]
    folds = float(rng.integers(4, 11))
    wobble = 0.12 * smooth_noise(rng, (y1 - y0, x1 - x0), 3, 5)
    shade = 0.85 + 0.35 * np.sin(2 * np.pi * (folds * u * (1 + 0.06 * v) + wobble)) + 0.06 * wobble
    colour = random_colour(rng)
    cloth = colour * np.clip(shade, 0.2, 1.6)[..., None]
    if rng.random() < 0.3:
        stripes = (np.sin(u * folds * 9) > 0.4)[..., None]
        cloth = np.where(stripes, random_colour(rng) * np.clip(shade, 0.2, 1.6)[..., None], cloth)
    image[y0:y1, x0:x1] = cloth
