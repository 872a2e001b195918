"""Things that stand about: cars, trees, posts, boxes, benches, shelves, bags.

Every function paints into a picture, float32 [H, W, 3], linear BGR, in place. `ground_top` is the row where walls meet
the floor. Sizes follow the picture's height. Nothing here is labelled.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth.cloth import dull_colour, hsv, linear, random_colour
from fashionseg.data.synth.noise import fractal
from fashionseg.data.synth.paint2d import disc, fill, lay, rectangle
from fashionseg.data.synth.places import leaves

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats

    Rng = np.random.Generator


def tree(image: Floats, rng: Rng, ground_top: float) -> None:
    """A trunk and a crown, the crown of leaves or bare."""
    height, width = image.shape[:2]
    x, base = float(rng.uniform(0, width)), ground_top + height * float(rng.uniform(0, 0.12))
    tall, thick = height * float(rng.uniform(0.45, 1.0)), height * float(rng.uniform(0.010, 0.045))
    bark = dull_colour(rng, 35, 110)
    lean = float(rng.normal(0, 0.04)) * tall
    fill(
        image,
        [
            (x - thick, base),
            (x - 0.6 * thick + lean, base - tall),
            (x + 0.6 * thick + lean, base - tall),
            (x + thick, base),
        ],
        bark,
    )
    fill(
        image,
        [
            (x + 0.2 * thick, base),
            (x + 0.2 * thick + lean, base - tall),
            (x + 0.6 * thick + lean, base - tall),
            (x + thick, base),
        ],
        bark * 0.5,
    )
    for _ in range(5):
        start = base - tall * float(rng.uniform(0.4, 0.9))
        end = x + lean + float(rng.normal(0, 0.15)) * height, start - height * float(rng.uniform(0.05, 0.2))
        fill(
            image,
            [(x + lean * 0.6 - thick * 0.4, start), (end[0], end[1]), (x + lean * 0.6 + thick * 0.4, start)],
            bark,
        )
    if rng.random() < 0.75:
        _crown(
            image, rng, x + lean, base - tall * float(rng.uniform(0.75, 0.95)), height * float(rng.uniform(0.12, 0.32))
        )


def _crown(image: Floats, rng: Rng, x: float, y: float, size: float) -> None:
    height, width = image.shape[:2]
    x0, x1 = max(int(x - 1.6 * size), 0), min(int(x + 1.6 * size), width)
    y0, y1 = max(int(y - 1.3 * size), 0), min(int(y + 1.3 * size), height)
    if x1 - x0 < 2 or y1 - y0 < 2:
        return
    xs = (np.arange(x0, x1, dtype=np.float32)[None, :] - x) / (1.25 * size)
    ys = (np.arange(y0, y1, dtype=np.float32)[:, None] - y) / size
    shape = (y1 - y0, x1 - x0)
    alpha = np.clip(3 * (0.75 - xs * xs - ys * ys + 0.35 * fractal(rng, shape, 6, 4)), 0, 1)
    foliage = leaves(rng, shape) * (1.15 - 0.4 * np.clip(ys, -1, 1))[..., None]
    lay(image[y0:y1, x0:x1], alpha.astype(np.float32), foliage.astype(np.float32))


def car(image: Floats, rng: Rng, ground_top: float) -> None:
    """A parked car seen from the side."""
    height, width = image.shape[:2]
    long = height * float(rng.uniform(0.5, 1.0))
    tall, x = long * 0.30, float(rng.uniform(-0.4 * long, width - 0.4 * long))
    base = ground_top + height * float(rng.uniform(0.02, 0.10))
    paint = random_colour(rng)
    body = [
        (0, -0.25),
        (0.02, -0.62),
        (0.22, -0.66),
        (0.33, -1.0),
        (0.70, -1.0),
        (0.82, -0.66),
        (0.98, -0.58),
        (1.0, -0.25),
    ]
    points = [(x + long * a, base + tall * b) for a, b in body]
    rectangle(
        image,
        x + 0.03 * long,
        base - 0.05 * tall,
        x + 0.97 * long,
        base + 0.06 * tall,
        np.full(3, 0.01, np.float32),
        0.6,
    )
    fill(image, points, paint)
    lower = [(x + long * a, base + tall * b) for a, b in ((0, -0.25), (0.01, -0.42), (0.99, -0.42), (1.0, -0.25))]
    fill(image, lower, paint * 0.5)
    for a, b in (((0.27, -0.66), (0.35, -0.94)), ((0.53, -0.66), (0.53, -0.94))):
        right = 0.50 if a[0] < 0.4 else 0.76
        top = 0.50 if a[0] < 0.4 else 0.68
        glass = [(x + long * p, base + tall * q) for p, q in (a, b, (top, -0.94), (right, -0.66))]
        fill(image, glass, linear(*np.full(3, rng.uniform(40, 150))))
    for hub in (0.19, 0.80):
        disc(image, x + long * hub, base - 0.20 * tall, 0.095 * long, 0.095 * long, np.full(3, 0.012, np.float32))
        disc(image, x + long * hub, base - 0.20 * tall, 0.055 * long, 0.055 * long, linear(150, 150, 150))


def post(image: Floats, rng: Rng, ground_top: float) -> None:
    """A lamp post, sign or bollard."""
    height, width = image.shape[:2]
    x, base = float(rng.uniform(0, width)), ground_top + height * float(rng.uniform(0, 0.15))
    tall, thick = height * float(rng.choice([0.12, 0.5, 0.9])), height * float(rng.uniform(0.004, 0.012))
    colour = random_colour(rng) * 0.5
    rectangle(image, x - thick, base - tall, x + thick, base, colour)
    rectangle(image, x, base - tall, x + thick, base, colour * 0.5)
    if tall > 0.3 * height and rng.random() < 0.6:
        disc(image, x, base - tall, 0.03 * height, 0.03 * height, random_colour(rng))


def box(image: Floats, rng: Rng, ground_top: float) -> None:
    """A crate or bin: a front and a side."""
    height, width = image.shape[:2]
    x, base = float(rng.uniform(0, width)), ground_top + height * float(rng.uniform(0.02, 0.2))
    wide, tall = height * rng.uniform(0.05, 0.22, 2)
    colour = random_colour(rng)
    rectangle(image, x, base - tall, x + wide, base, colour)
    skew = 0.3 * wide
    fill(
        image,
        [
            (x + wide, base - tall),
            (x + wide + skew, base - tall * 1.08),
            (x + wide + skew, base - 0.08 * tall),
            (x + wide, base),
        ],
        colour * 0.5,
    )
    fill(
        image,
        [
            (x, base - tall),
            (x + skew, base - tall * 1.08),
            (x + wide + skew, base - tall * 1.08),
            (x + wide, base - tall),
        ],
        np.clip(colour * 1.4, 0, 1),
    )
    if rng.random() < 0.5:
        rectangle(image, x + 0.42 * wide, base - tall, x + 0.5 * wide, base, colour * 0.75)


def cone(image: Floats, rng: Rng, ground_top: float) -> None:
    """A traffic cone."""
    height, width = image.shape[:2]
    x, base, tall = float(rng.uniform(0, width)), ground_top + height * float(rng.uniform(0.05, 0.2)), height * 0.12
    orange = linear(30, 90, 235)
    for a, b, colour in ((0.0, 0.35, orange), (0.35, 0.6, linear(235, 235, 235)), (0.6, 1.0, orange)):
        half_a, half_b = 0.30 * (1 - a) + 0.04, 0.30 * (1 - b) + 0.04
        fill(
            image,
            [
                (x - half_a * tall, base - a * tall),
                (x - half_b * tall, base - b * tall),
                (x + half_b * tall, base - b * tall),
                (x + half_a * tall, base - a * tall),
            ],
            colour,
        )


def umbrella(image: Floats, rng: Rng, ground_top: float) -> None:
    """A sunshade of stripes on a pole."""
    height, width = image.shape[:2]
    x, base = float(rng.uniform(0, width)), ground_top + height * float(rng.uniform(0, 0.1))
    tall, wide, colours = (
        height * float(rng.uniform(0.4, 0.6)),
        height * float(rng.uniform(0.12, 0.3)),
        [random_colour(rng), random_colour(rng)],
    )
    rectangle(image, x - 0.005 * height, base - tall, x + 0.005 * height, base, linear(120, 120, 120))
    edges = np.linspace(-1, 1, 7)
    for k, (a, b) in enumerate(pairwise(edges)):
        fill(image, [(x, base - tall * 1.15), (x + a * wide, base - tall), (x + b * wide, base - tall)], colours[k % 2])


def bench(image: Floats, rng: Rng, ground_top: float) -> None:
    """A bench of slats."""
    height, width = image.shape[:2]
    x, base, long = (
        float(rng.uniform(-0.1, 0.9)) * width,
        ground_top + height * float(rng.uniform(0.05, 0.15)),
        height * 0.4,
    )
    wood = linear(*hsv(rng.uniform(8, 18), rng.uniform(40, 140), rng.uniform(70, 180)))
    for k, y in enumerate((0.20, 0.165, 0.13, 0.085, 0.07)):
        rectangle(
            image,
            x,
            base - y * height,
            x + long,
            base - (y - 0.024 + 0.003 * k) * height,
            wood * float(rng.uniform(0.7, 1.2)),
        )
    for a in (0.08, 0.90):
        rectangle(image, x + a * long, base - 0.09 * height, x + (a + 0.03) * long, base, wood * 0.3)


def shelf(image: Floats, rng: Rng, ground_top: float) -> None:
    """A shelf full of boxes, books or folded things."""
    height, width = image.shape[:2]
    wide, tall = height * float(rng.uniform(0.2, 0.5)), height * float(rng.uniform(0.3, 0.6))
    x, y = float(rng.uniform(-0.1, 0.9)) * width, ground_top - tall
    wood = random_colour(rng) * 0.7
    rectangle(image, x, y, x + wide, ground_top, wood * 0.4)
    rows = int(rng.integers(3, 7))
    for row in range(rows):
        floor, left = y + tall * (row + 1) / rows, x + 0.01 * height
        while left < x + wide - 0.03 * height:
            w, h = height * float(rng.uniform(0.012, 0.06)), tall / rows * float(rng.uniform(0.4, 0.85))
            rectangle(image, left, floor - h, min(left + w, x + wide), floor, random_colour(rng))
            left += w + height * 0.003
        rectangle(image, x, floor - 0.006 * height, x + wide, floor + 0.006 * height, wood)


def pot(image: Floats, rng: Rng, ground_top: float) -> None:
    """A plant in a pot."""
    height, width = image.shape[:2]
    x, base, size = (
        float(rng.uniform(0, width)),
        ground_top + height * float(rng.uniform(0, 0.12)),
        height * float(rng.uniform(0.04, 0.09)),
    )
    _crown(image, rng, x, base - 2.2 * size, 1.4 * size)
    fill(
        image,
        [(x - 0.7 * size, base), (x - size, base - 1.4 * size), (x + size, base - 1.4 * size), (x + 0.7 * size, base)],
        random_colour(rng),
    )


def bag(image: Floats, rng: Rng, ground_top: float) -> None:
    """A bag standing on the floor."""
    height, width = image.shape[:2]
    x, base, size = (
        float(rng.uniform(0, width)),
        ground_top + height * float(rng.uniform(0.05, 0.2)),
        height * float(rng.uniform(0.04, 0.09)),
    )
    colour, mask = random_colour(rng), np.zeros((height, width), np.uint8)
    cv2.ellipse(
        mask,
        (int(x), int(base - 1.4 * size)),
        (int(0.5 * size), int(0.7 * size)),
        0,
        180,
        360,
        255,
        max(int(0.12 * size), 1),
        cv2.LINE_AA,
    )
    lay(image, mask.astype(np.float32) / 255, colour * 0.5)
    fill(
        image,
        [
            (x - 1.1 * size, base),
            (x - 0.9 * size, base - 1.5 * size),
            (x + 0.9 * size, base - 1.5 * size),
            (x + 1.1 * size, base),
        ],
        colour,
    )
    fill(
        image,
        [
            (x + 0.3 * size, base),
            (x + 0.2 * size, base - 1.5 * size),
            (x + 0.9 * size, base - 1.5 * size),
            (x + 1.1 * size, base),
        ],
        colour * 0.7,
    )


def chair(image: Floats, rng: Rng, ground_top: float) -> None:
    """A chair seen from the front."""
    height, width = image.shape[:2]
    x, base, size = (
        float(rng.uniform(0, width)),
        ground_top + height * float(rng.uniform(0.02, 0.15)),
        height * float(rng.uniform(0.08, 0.13)),
    )
    colour = random_colour(rng)
    for a in (-0.5, 0.42):
        rectangle(image, x + a * size, base - 1.9 * size, x + (a + 0.08) * size, base, colour * 0.5)
    rectangle(image, x - 0.5 * size, base - 1.9 * size, x + 0.5 * size, base - 1.3 * size, colour * 0.8)
    rectangle(image, x - 0.55 * size, base - 0.95 * size, x + 0.55 * size, base - 0.8 * size, colour)


def lamp(image: Floats, rng: Rng, ground_top: float) -> None:
    """A standing lamp with a bright shade."""
    height, width = image.shape[:2]
    x, base, tall = float(rng.uniform(0, width)), ground_top + 0.03 * height, height * float(rng.uniform(0.35, 0.55))
    rectangle(image, x - 2, base - tall, x + 2, base, linear(40, 40, 40))
    fill(
        image,
        [
            (x - 0.08 * height, base - tall),
            (x - 0.05 * height, base - tall - 0.1 * height),
            (x + 0.05 * height, base - tall - 0.1 * height),
            (x + 0.08 * height, base - tall),
        ],
        linear(190, 230, 250),
    )
