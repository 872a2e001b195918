"""Things that stand in backgrounds. Every function paints into a picture, float32 [H, W, 3], linear BGR, in place.

`ground_top` is the row where walls meet the floor. Sizes follow the picture's height. Nothing here is labelled.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth.cloth import dull_colour, hsv, linear, random_colour
from fashionseg.data.synth.noise import fractal, smooth_noise

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats

    Rng = np.random.Generator


def fill(image: Floats, points: list[tuple[float, float]], colour: Floats, alpha: float = 1.0) -> None:
    """A polygon with smooth edges."""
    mask = np.zeros(image.shape[:2], np.uint8)
    corners = np.round(np.array(points, np.float32) * 16).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, shift=4)
    lay(image, mask.astype(np.float32) * (alpha / 255), colour)


def lay(image: Floats, alpha: Floats, colour: Floats) -> None:
    """Blend a colour [3] or picture over, where alpha [H, W] says so; only the rows and columns concerned."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not len(rows):
        return
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    over = colour if colour.ndim == 1 else colour[part]
    image[part] += alpha[part][..., None] * (over - image[part])


def rectangle(image: Floats, x0: float, y0: float, x1: float, y1: float, colour: Floats, alpha: float = 1.0) -> None:
    """An upright rectangle, whole pixels."""
    part = image[max(int(y0), 0) : max(int(y1), 0), max(int(x0), 0) : max(int(x1), 0)]
    part += alpha * (colour - part)


def disc(image: Floats, x: float, y: float, rx: float, ry: float, colour: Floats) -> None:
    """An ellipse with smooth edges."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    fill(image, list(zip(x + rx * np.cos(angle), y + ry * np.sin(angle), strict=True)), colour)


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
    lay(image, alpha, _leaves(rng, (height, width)))


def _leaves(rng: Rng, size_hw: tuple[int, int]) -> Floats:
    colour = linear(*hsv(rng.uniform(22, 50), rng.uniform(60, 150), rng.uniform(50, 130)))
    shade = 1 + 0.45 * fractal(rng, size_hw, 10, 5) + 0.2 * rng.standard_normal(size_hw, dtype=np.float32)
    return np.asarray(colour * np.clip(shade, 0.15, 2.6)[..., None], np.float32)


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
    leaves = _leaves(rng, shape) * (1.15 - 0.4 * np.clip(ys, -1, 1))[..., None]
    lay(image[y0:y1, x0:x1], alpha.astype(np.float32), leaves.astype(np.float32))


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


def window(image: Floats, rng: Rng, ground_top: float) -> None:
    """A bright window in a room."""
    height, width = image.shape[:2]
    x, y, wide, tall = float(rng.uniform(0, 0.7)) * width, 0.08 * height, 0.35 * height, 0.4 * height
    rectangle(image, x - 6, y - 6, x + wide + 6, min(y + tall + 6, ground_top), linear(230, 230, 230))
    rectangle(
        image, x, y, x + wide, min(y + tall, ground_top - 4), linear(250, 245, 240) * float(rng.uniform(0.6, 1.2))
    )
    rectangle(image, x + 0.49 * wide, y, x + 0.52 * wide, min(y + tall, ground_top - 4), linear(230, 230, 230))


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


def blob(image: Floats, rng: Rng) -> None:
    """A shape of no meaning."""
    height, width = image.shape[:2]
    centre, size = rng.uniform((0, 0), (width, height)), height * float(rng.uniform(0.02, 0.2))
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    radius = size * rng.uniform(0.5, 1.3, len(angle))
    points = list(zip(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), strict=True))
    fill(image, points, random_colour(rng), float(rng.uniform(0.5, 1)))
