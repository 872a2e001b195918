"""Flat shapes with smooth edges, painted in place into a picture, float32 [H, W, 3], linear BGR."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth.cloth import random_colour

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


def blob(image: Floats, rng: Rng) -> None:
    """A shape of no meaning."""
    height, width = image.shape[:2]
    centre, size = rng.uniform((0, 0), (width, height)), height * float(rng.uniform(0.02, 0.2))
    angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 9))))
    radius = size * rng.uniform(0.5, 1.3, len(angle))
    points = list(zip(centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle), strict=True))
    fill(image, points, random_colour(rng), float(rng.uniform(0.5, 1)))
