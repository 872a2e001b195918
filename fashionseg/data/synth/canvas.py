"""The canvas a scene is painted on: lighting, compositing and who owns which pixel.

Surfaces are painted back to front. The canvas keeps, beside the picture in linear light, the number of the garment
that each pixel shows, so that instance masks are exact by construction: a pixel belongs to the last surface that
covered at least half of it. Knows nothing about what a surface stands for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.surfaces import Patch, Surface


NOBODY = -1


@dataclass(frozen=True, slots=True)
class Light:
    """Light of a scene. Colours are linear BGR, float32 [3].

    Attributes:
        direction: float32 [3], unit vector towards the light: x right, y down, z to the viewer.
        key: of the sun or lamp.
        sky: from above.
        bounce: from the ground.
        softness: 0 (hard sun) .. 1 (overcast).
    """

    direction: Floats
    key: Floats
    sky: Floats
    bounce: Floats
    softness: float


def random_light(rng: np.random.Generator) -> Light:
    """Daylight or a room's light from some side, always from above."""
    side, up, front = rng.uniform(-0.9, 0.9), rng.uniform(0.35, 1.0), rng.uniform(0.25, 0.9)
    direction = np.array([side, -up, front], np.float32)
    softness = float(rng.uniform(0.1, 1.0))
    warm = float(rng.uniform(-0.12, 0.14))
    key = (1.25 - 0.65 * softness) * np.array([1 - warm, 1, 1 + warm], np.float32)
    sky = (0.28 + 0.45 * softness) * np.array([1 + 0.6 * warm + 0.04, 1, 1 - 0.6 * warm], np.float32)
    return Light(direction / np.linalg.norm(direction), key, sky, 0.45 * sky * (1 + 0.3 * warm), softness)


class Canvas:
    """A picture in the making.

    Attributes:
        image: float32 [H, W, 3], linear BGR.
        owner: int16 [H, W], number of the garment a pixel shows, or `NOBODY`.
        figure: float32 [H, W], 0..1, what the current figure covers; contact shadows fall on it alone.
        light: of the scene.
    """

    def __init__(self, background: Floats, light: Light) -> None:
        """Start from a background, float32 [H, W, 3], linear BGR; it is copied."""
        self.image = background.copy()
        self.owner = np.full(background.shape[:2], NOBODY, np.int16)
        self.figure = np.zeros(background.shape[:2], np.float32)
        self.light = light

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]

    def begin_figure(self) -> None:
        """From now on contact shadows fall on what the next figure covers."""
        self.figure[:] = 0

    def paint(
        self,
        patch: Patch,
        surface: Surface,
        albedo: Floats,
        *,
        relief: Floats | None = None,
        owner: int = NOBODY,
        sheen: float = 0.0,
        shadow: float = 0.0,
        smooth: float = 0.8,
    ) -> None:
        """Light a surface and lay it over the picture.

        Args:
            patch: where.
            surface: what shape, on that patch.
            albedo: float32 [h, w, 3] or [3], linear BGR.
            relief: float32 [h, w], folds in pixels towards the viewer.
            owner: number of the garment, `NOBODY` for what is not labelled.
            sheen: 0 (matt) .. 1 (polished).
            shadow: size in pixels of the contact shadow it casts on the figure beneath.
            smooth: pixels over which steps between parts of the surface are smoothed.
        """
        if shadow > 0:
            self._cast_shadow(patch, surface.alpha, shadow)
        rows, columns = patch.slices
        colour = lit(surface, albedo, self.light, relief, sheen, smooth)
        alpha = surface.alpha[..., None]
        self.image[rows, columns] += alpha * (colour - self.image[rows, columns])
        np.maximum(self.figure[rows, columns], surface.alpha, out=self.figure[rows, columns])
        self.owner[rows, columns][surface.alpha >= 0.5] = owner

    def _cast_shadow(self, patch: Patch, alpha: Floats, size: float) -> None:
        direction = self.light.direction
        shift = np.array([[1, 0, -direction[0] * size], [0, 1, -direction[1] * size]], np.float32)
        moved = cv2.warpAffine(alpha, shift, (patch.width, patch.height), flags=cv2.INTER_LINEAR)
        soft = cv2.GaussianBlur(np.maximum(moved, alpha), (0, 0), max(size, 0.6))
        rows, columns = patch.slices
        strength = 0.55 - 0.2 * self.light.softness
        self.image[rows, columns] *= (1 - strength * soft * self.figure[rows, columns])[..., None]

    def ground_shadow(self, x: float, y: float, width: float, height: float) -> None:
        """Darken the ground under a figure's feet; centre and half axes in pixels."""
        rows, columns = self.size_hw
        top, bottom = max(int(y - 4 * height), 0), min(int(y + 5 * height) + 1, rows)
        left, right = max(int(x - 5 * width), 0), min(int(x + 5 * width) + 1, columns)
        if bottom <= top or right <= left:
            return
        xs = np.arange(left, right, dtype=np.float32)[None, :] - x
        ys = np.arange(top, bottom, dtype=np.float32)[:, None] - y
        core = np.exp(-((xs / width) ** 2 + (ys / height) ** 2))
        hard = 1 - self.light.softness
        lean = -self.light.direction[0]
        long_x = xs - lean * width * 1.6
        streak = np.exp(-((long_x / (width * 2.0)) ** 2 + ((ys + 0.25 * lean * long_x * height / width) / height) ** 2))
        dark = np.clip(0.55 * core + 0.45 * hard * streak, 0, 0.8)
        self.image[top:bottom, left:right] *= (1 - dark)[..., None]


def lit(surface: Surface, albedo: Floats, light: Light, relief: Floats | None, sheen: float, smooth: float) -> Floats:
    """Colour of a surface under a light, float32 [h, w, 3], linear BGR."""
    height = _extended(surface.height, surface.alpha, smooth)
    if relief is not None:
        height = height + relief
    gx, gy = cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=1 / 8)
    norm = 1 / np.sqrt(gx * gx + gy * gy + 1)
    lx, ly, lz = (float(v) for v in light.direction)
    facing = (-gx * lx - gy * ly + lz) * norm
    wrap = 0.2 + 0.5 * light.softness
    diffuse = np.clip((facing + wrap) / (1 + wrap), 0, 1)
    up = 0.5 + 0.5 * gy * norm
    ambient = up[..., None] * light.sky + (1 - up)[..., None] * light.bounce
    hollow = 1.0
    if relief is not None:
        hollow = np.clip(1 + 0.10 * (relief - cv2.GaussianBlur(relief, (0, 0), 4)), 0.65, 1.2)[..., None]
    colour = albedo * (diffuse[..., None] * light.key + ambient * (0.55 + 0.45 * norm[..., None])) * hollow
    if sheen > 0:
        half = light.direction + np.array([0, 0, 1], np.float32)
        half = half / np.linalg.norm(half)
        gloss = np.clip((-gx * half[0] - gy * half[1] + half[2]) * norm, 0, 1) ** 18
        colour = colour + (0.35 * sheen) * gloss[..., None] * light.key
    return np.asarray(colour, np.float32)


def _extended(height: Floats, alpha: Floats, smooth: float) -> Floats:
    """Height carried on beyond the shape's edge and slightly smoothed, so that slopes at the edge make sense."""
    inside = (alpha > 0.5).astype(np.float32)
    spread = cv2.blur(inside, (5, 5)) + 1e-4
    beyond = cv2.blur(height * inside, (5, 5)) / spread
    return cv2.GaussianBlur(np.where(inside > 0, height, beyond), (0, 0), max(smooth, 0.6))
