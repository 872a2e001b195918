"""Cloth: colour, pattern and folds of a drawn garment.

A `Cloth` gives the albedo and the folds at points of a surface measured in units of the body's height, so that a
pattern keeps its size and sticks to the garment when the figure moves. Colours are linear light, BGR, 0..1.
Knows nothing about shapes or light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.synth.arrays import Floats


TILE = 256
"""Side in pixels of the noise tiles; they repeat."""

PATTERNS = ("plain", "stripes", "pinstripes", "checks", "dots", "flowers", "knit", "denim", "melange", "blocks")


@dataclass(frozen=True, slots=True)
class Cloth:
    """One bolt of cloth.

    Attributes:
        pattern: one of `PATTERNS`.
        colours: float32 [3, 3], linear BGR: ground, second and third colour.
        period: of the pattern, in body heights.
        upright: stripes run along the body, not around it.
        folds: depth of folds, 0 (stiff) .. 1 (flowing).
        sheen: 0 (matt) .. 1 (silk, leather).
        fold_tile: float32 [TILE, TILE], long soft folds, about -1..1.
        grain_tile: float32 [TILE, TILE], fine noise, about -1..1.
        motif_tile: float32 [TILE, TILE], 0..1: where dots or flowers show the second colour.
    """

    pattern: str
    colours: Floats
    period: float
    upright: bool
    folds: float
    sheen: float
    fold_tile: Floats
    grain_tile: Floats
    motif_tile: Floats

    def albedo(self, across: Floats, along: Floats, pixel: float) -> Floats:
        """float32 [h, w, 3], linear BGR.

        Args:
            across: float32 [h, w], around the body, in body heights.
            along: float32 [h, w], down the body, in body heights.
            pixel: size of a pixel in body heights; patterns finer than it fade to their mean.
        """
        grain = sample(self.grain_tile, across, along, 0.22)
        base = np.broadcast_to(self.colours[0], (*across.shape, 3)) * (1 + 0.05 * grain)[..., None]
        weight = self._pattern_weight(across, along, pixel)
        if weight is not None:
            base = base + weight[..., None] * (self.colours[1] - base)
        if self.pattern == "checks":
            thin = stripe(across, self.period, 0.08, pixel, 0.3) + stripe(along, self.period, 0.08, pixel, 0.3)
            base = base + 0.6 * np.minimum(thin, 1)[..., None] * (self.colours[2] - base)
        if self.pattern == "denim":
            twill = sample(self.grain_tile, across + along, along - across, 0.05)
            wash = sample(self.fold_tile, across, along, 1.1)
            base = base * np.clip(1 + 0.16 * twill + 0.30 * wash, 0.3, 2)[..., None]
        if self.pattern == "melange":
            base = base * np.clip(1 + 0.22 * sample(self.grain_tile, across, along, 0.09), 0.3, 2)[..., None]
        return np.clip(base, 0.002, 1).astype(np.float32)

    def _pattern_weight(self, across: Floats, along: Floats, pixel: float) -> Floats | None:
        """How much of the second colour shows, float32 [h, w]; None where the pattern has but one."""
        line = across if self.upright else along
        if self.pattern == "stripes":
            return stripe(line, self.period, 0.5, pixel)
        if self.pattern == "pinstripes":
            return 0.8 * stripe(across, self.period * 0.5, 0.12, pixel)
        if self.pattern == "checks":
            return 0.5 * (stripe(across, self.period, 0.45, pixel) + stripe(along, self.period, 0.45, pixel))
        if self.pattern in ("dots", "flowers"):
            return sample(self.motif_tile, across, along, self.period * 6)
        if self.pattern == "knit":
            return 0.35 * stripe(across, 0.009, 0.5, pixel) + 0.2 * stripe(along, 0.007, 0.5, pixel)
        if self.pattern == "blocks":
            return (1 / (1 + np.exp(np.clip((0.16 + self.period - along) / 0.002, -30, 30)))).astype(np.float32)
        return None

    def relief(self, across: Floats, along: Floats) -> Floats:
        """Folds as a height, float32 [h, w], in body heights."""
        long = sample(self.fold_tile, across, along, 0.55)
        short = sample(self.fold_tile, along * 0.8 + across * 0.5, across + 0.3, 0.3)
        fine = sample(self.grain_tile, across, along, 0.5)
        return (self.folds * (0.0085 * long + 0.0020 * short) + 0.00012 * fine).astype(np.float32)


def stripe(position: Floats, period: float, share: float, pixel: float, shift: float = 0.0) -> Floats:
    """Anti-aliased stripes: 1 over `share` of each period, 0 between, float32 like `position`."""
    phase = position / period + shift
    distance = np.abs(phase - np.floor(phase) - 0.5)
    edge = max(pixel / period, 0.02)
    sharp = np.clip((share / 2 - distance) / edge + 0.5, 0, 1)
    fade = np.clip(2 * edge - 0.4, 0, 1)
    return np.asarray(sharp * (1 - fade) + share * fade, np.float32)


def sample(tile: Floats, across: Floats, along: Floats, size: float) -> Floats:
    """A repeating tile looked up where it spans `size` body heights; float32 like `across`."""
    scale = np.float32(TILE / size)
    map_x = np.mod(across * scale, TILE).astype(np.float32)
    map_y = np.mod(along * scale, TILE).astype(np.float32)
    return cv2.remap(tile, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)


def noise_tile(rng: np.random.Generator, cells: Sequence[tuple[int, int, float]]) -> Floats:
    """A tile of smooth repeating noise with mean 0 and deviation 1/2: a sum of (rows, columns, weight) octaves."""
    total = np.zeros((TILE, TILE), np.float32)
    for rows, columns, weight in cells:
        grid = rng.standard_normal((rows, columns)).astype(np.float32)
        wrapped = np.pad(grid, 2, mode="wrap")
        height, width = TILE * (rows + 4) // rows, TILE * (columns + 4) // columns
        big = cv2.resize(wrapped, (width, height), interpolation=cv2.INTER_CUBIC)
        top, left = (height - TILE) // 2, (width - TILE) // 2
        total += weight * big[top : top + TILE, left : left + TILE]
    total -= total.mean()
    return total / (2 * max(float(total.std()), 1e-6))


def random_cloth(rng: np.random.Generator, ground: Floats, patterns: Sequence[str], weights: Sequence[float]) -> Cloth:
    """A cloth of a ground colour (linear BGR) with one of `patterns`, drawn by `weights`."""
    share = np.asarray(weights) / np.sum(weights)
    pattern = str(rng.choice(list(patterns), p=share))
    light = float(ground.mean())
    other = ground * rng.uniform(0.15, 0.5) if light > 0.25 else ground * 0.4 + rng.uniform(0.25, 0.8)
    if rng.random() < 0.5:
        other = random_colour(rng)
    if pattern == "knit":
        other = ground * 0.55
    colours = np.stack([ground, other, random_colour(rng)]).astype(np.float32)
    return Cloth(
        pattern,
        np.clip(colours, 0.003, 0.95).astype(np.float32),
        period=float(rng.uniform(0.018, 0.075)),
        upright=bool(rng.random() < 0.3),
        folds=float(rng.uniform(0.35, 1.0)),
        sheen=float(rng.choice([0.0, 0.05, 0.12, 0.35], p=[0.4, 0.3, 0.2, 0.1])),
        fold_tile=noise_tile(rng, [(3, 6, 1.0), (4, 12, 0.5), (10, 20, 0.13)]),
        grain_tile=noise_tile(rng, [(64, 64, 0.7), (128, 128, 1.0)]),
        motif_tile=_motif(rng, pattern),
    )


def _motif(rng: np.random.Generator, pattern: str) -> Floats:
    tile = np.zeros((TILE, TILE), np.float32)
    if pattern == "dots":
        for row in range(4):
            for col in range(4):
                centre = (int(col * 64 + 32 * (row % 2)) + 16, row * 64 + 32)
                for shift in (-TILE, 0, TILE):
                    cv2.circle(tile, (centre[0] + shift, centre[1]), 15, 1.0, -1, cv2.LINE_AA)
    if pattern == "flowers":
        for _ in range(22):
            x, y, size = (int(v) for v in (*rng.integers(0, TILE, 2), rng.integers(8, 22)))
            for k in range(5):
                a = 2 * np.pi * k / 5
                centre = (int(x + size * 0.7 * np.cos(a)) % TILE, int(y + size * 0.7 * np.sin(a)) % TILE)
                cv2.circle(tile, centre, size // 2, float(rng.uniform(0.6, 1)), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(tile, (0, 0), 1.2)


def linear(blue: float, green: float, red: float) -> Floats:
    """Linear light of an sRGB colour given as B, G, R in 0..255; float32 [3]."""
    return ((np.array([blue, green, red], np.float32) / 255) ** 2.2).astype(np.float32)


_NEUTRALS = (
    (24, 22, 22), (38, 36, 36), (62, 58, 56), (105, 100, 98), (150, 146, 142), (196, 194, 190), (232, 232, 230),
    (244, 244, 246), (70, 44, 28), (98, 60, 36), (140, 110, 80), (150, 184, 208), (118, 152, 186), (84, 106, 132),
    (60, 84, 70), (40, 52, 92),
)  # fmt: skip


def random_colour(rng: np.random.Generator) -> Floats:
    """A colour clothes have, linear BGR, float32 [3]: mostly neutral, sometimes bright."""
    if rng.random() < 0.62:
        colour = np.array(_NEUTRALS[rng.integers(len(_NEUTRALS))], np.float32)
        colour = np.clip(colour + rng.normal(0, 8) + rng.normal(0, 6, 3), 8, 250)
    else:
        colour = hsv(rng.uniform(0, 180), rng.beta(2.2, 2.0) * 215, rng.uniform(60, 225))
    return linear(*colour)


def hsv(hue: float, saturation: float, value: float) -> Floats:
    """sRGB colour of OpenCV's hue (0..180), saturation and value (0..255); float32 [3], BGR, 0..255."""
    pixel = np.array([[[hue % 180, saturation, value]]], np.uint8)
    return np.asarray(cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0], np.float32)


def dull_colour(rng: np.random.Generator, low: float, high: float, saturation: float = 45) -> Floats:
    """A colour that walls and stone have, linear BGR, float32 [3]; `low` and `high` are sRGB values 0..255."""
    hue = rng.uniform(5, 25) if rng.random() < 0.65 else rng.uniform(0, 180)
    return linear(*hsv(hue, rng.uniform(0, saturation), rng.uniform(low, high)))
