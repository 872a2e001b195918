"""A clip to measure with where the user names none: a camera that pans over drawn people, 5 s of 1280 x 720.

Drawing every frame would take minutes; one wide picture is drawn, and each frame shows another part of it. Knows
nothing about models.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import draw_scene
from fashionseg.media.video_writer import PartWriter

if TYPE_CHECKING:
    from pathlib import Path

SIZE_HW = (720, 1280)
WIDTH = 1920
FRAMES = 120
RATE = Fraction(24)
SEED = 3


def write_panning_clip(path: Path, frames: int = FRAMES, size_hw: tuple[int, int] = SIZE_HW) -> None:
    """Write the clip as MP4, `frames` frames of `size_hw`."""
    height, width = size_hw
    wide = width * WIDTH // SIZE_HW[1]
    scene = draw_scene(np.random.default_rng(SEED), (height, wide)).image
    with PartWriter(path, size_hw, 1 / RATE, RATE) as writer:
        for index in range(frames):
            swing = (1 - np.cos(2 * np.pi * index / FRAMES)) / 2
            left = round(float(swing) * (wide - width))
            writer.write(np.ascontiguousarray(scene[:, left : left + width]), index)
