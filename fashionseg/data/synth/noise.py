"""Noise fields that backgrounds are made of. Knows nothing about what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats


def smooth_noise(rng: np.random.Generator, size_hw: tuple[int, int], rows: int, columns: int) -> Floats:
    """Smooth noise float32 [H, W], deviation about 1, with that many bumps down and across."""
    grid = rng.standard_normal((rows + 3, columns + 3)).astype(np.float32)
    height, width = size_hw
    big_hw = int(np.ceil(height * (rows + 3) / rows)), int(np.ceil(width * (columns + 3) / columns))
    big = cv2.resize(grid, big_hw[::-1], interpolation=cv2.INTER_CUBIC)
    top, left = (big_hw[0] - height) // 2, (big_hw[1] - width) // 2
    return big[top : top + height, left : left + width]


def fractal(
    rng: np.random.Generator, size_hw: tuple[int, int], cells: int, octaves: int, aspect: float = 1.0
) -> Floats:
    """Octaves of smooth noise, float32 [H, W], deviation about 1; `aspect` > 1 stretches it upright."""
    total, weight, power = np.zeros(size_hw, np.float32), 1.0, 0.0
    for octave in range(octaves):
        count = cells * 2**octave
        columns = max(1, min(round(count * aspect * size_hw[1] / size_hw[0]), size_hw[1]))
        total += weight * smooth_noise(rng, size_hw, min(count, size_hw[0]), columns)
        power += weight * weight
        weight *= 0.55
    return total / np.float32(np.sqrt(power))


def speckle(rng: np.random.Generator, size_hw: tuple[int, int], strength: float) -> Floats:
    """A factor about 1 for each pixel, float32 [H, W]."""
    noise = rng.standard_normal(size_hw, dtype=np.float32)
    return np.asarray(np.clip(1 + strength * noise, 0.1, 3), np.float32)
