"""Shapes that a drawn figure is made of: generalised cylinders seen from the front, evaluated per pixel.

A `Surface` says for every pixel of a patch how much of it is covered, how far the surface bulges towards the viewer
and which point of the cylinder is seen, so that cloth patterns turn with the body. Knows nothing about garments,
colours or light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.synth.arrays import Floats


_FAR = np.float32(-1e6)


@dataclass(frozen=True, slots=True)
class Patch:
    """A rectangle of pixels: columns `x0 .. x0 + width`, rows `y0 .. y0 + height` of the picture."""

    x0: int
    y0: int
    width: int
    height: int

    @property
    def x(self) -> Floats:
        """float32 [1, width]: x of pixel centres in the picture."""
        return (np.arange(self.width, dtype=np.float32) + (self.x0 + 0.5))[None, :]

    @property
    def y(self) -> Floats:
        """float32 [height, 1]: y of pixel centres in the picture."""
        return (np.arange(self.height, dtype=np.float32) + (self.y0 + 0.5))[:, None]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of the picture."""
        return slice(self.y0, self.y0 + self.height), slice(self.x0, self.x0 + self.width)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @classmethod
    def around(cls, points_xy: Floats, margin: float, size_hw: tuple[int, int]) -> Patch | None:
        """The patch that holds points [n, 2] with a margin in pixels, clipped to the picture; None where nothing
        of it is in the picture.
        """
        low = np.floor(points_xy.min(0) - margin)
        high = np.ceil(points_xy.max(0) + margin)
        x0, y0 = max(int(low[0]), 0), max(int(low[1]), 0)
        x1, y1 = min(int(high[0]), size_hw[1]), min(int(high[1]), size_hw[0])
        return cls(x0, y0, x1 - x0, y1 - y0) if x1 > x0 and y1 > y0 else None


@dataclass(frozen=True, slots=True)
class Surface:
    """A shape on a patch; every array is float32 [height, width] of the patch.

    Attributes:
        alpha: 0..1, how much of the pixel is covered.
        height: pixels towards the viewer.
        angle: radians around the cylinder's axis, 0 towards the viewer, positive to the right.
        along: pixels along the axis from its start.
    """

    alpha: Floats
    height: Floats
    angle: Floats
    along: Floats

    def cut(self, keep: Floats) -> Surface:
        """The part where `keep` (float32, 0..1) says so."""
        return Surface(self.alpha * keep, self.height, self.angle, self.along)


def union(surfaces: Sequence[Surface]) -> Surface:
    """Several surfaces as one: the nearest to the viewer is seen."""
    if len(surfaces) == 1:
        return surfaces[0]
    alpha, height, angle, along = (
        surfaces[0].alpha,
        np.where(surfaces[0].alpha > 0, surfaces[0].height, _FAR),
        surfaces[0].angle,
        surfaces[0].along,
    )
    for other in surfaces[1:]:
        nearer = np.where(other.alpha > 0, other.height, _FAR) > height
        height = np.where(nearer, other.height, height)
        angle = np.where(nearer, other.angle, angle)
        along = np.where(nearer, other.along, along)
        alpha = np.maximum(alpha, other.alpha)
    return Surface(alpha, np.where(height == _FAR, np.float32(0), height), angle, along)


def tube(patch: Patch, centre: Floats, radii: Floats, *, flat_start: bool = False, flat_end: bool = False) -> Surface:
    """A bent round tube, such as a sleeve.

    A pixel shows the piece whose centre line is closest to it, so that height and `along` run on smoothly round a
    bend; only where the tube folds over itself does the piece in front win.

    Args:
        patch: where to evaluate.
        centre: float32 [n, 3], x y z of the centre line in pixels; z grows towards the viewer.
        radii: float32 [n], pixels.
        flat_start: cut the start straight instead of rounding it.
        flat_end: cut the end straight instead of rounding it.
    """
    x, y = patch.x, patch.y
    best = np.full(patch.shape, _FAR, np.float32)
    gap = np.full(patch.shape, np.inf, np.float32)
    alpha = np.zeros(patch.shape, np.float32)
    side = np.zeros(patch.shape, np.float32)
    along = np.zeros(patch.shape, np.float32)
    start, spans = 0.0, np.hypot(np.diff(centre[:, 0]), np.diff(centre[:, 1]))
    ends = _end_planes(patch, centre)
    to_end = np.cumsum(spans[::-1])[::-1]
    from_start = np.cumsum(spans)
    for i in range(len(centre) - 1):
        (ax, ay, az), (bx, by, bz) = centre[i], centre[i + 1]
        dx, dy = bx - ax, by - ay
        length = max(float(np.hypot(dx, dy)), 1e-3)
        raw = ((x - ax) * dx + (y - ay) * dy) / (length * length)
        t = np.clip(raw, 0, 1)
        off_x, off_y = x - (ax + t * dx), y - (ay + t * dy)
        distance = np.sqrt(off_x * off_x + off_y * off_y)
        radius = radii[i] + t * (radii[i + 1] - radii[i])
        cover = np.clip(radius - distance + 0.5, 0, 1)
        if flat_start and from_start[i] - spans[i] < 2 * radii[0]:
            cover = cover * ends[0]
        if flat_end and to_end[i] - spans[i] < 2 * radii[-1]:
            cover = cover * ends[1]
        bulge = az + t * (bz - az) + np.sqrt(np.maximum(radius * radius - distance * distance, 0))
        outside = distance - radius
        nearer = (cover > 0) & ((bulge > best + radius) | ((outside < gap) & (bulge > best - radius)))
        best = np.where(nearer, bulge, best)
        gap = np.where(nearer, outside, gap)
        sign = np.sign(dx * (y - ay) - dy * (x - ax))
        side = np.where(nearer, -sign * np.minimum(distance / np.maximum(radius, 0.5), 1), side)
        along = np.where(nearer, start + t * length, along)
        alpha = np.maximum(alpha, cover)
        start += length
    height = np.where(best == _FAR, np.float32(0), best).astype(np.float32)
    return Surface(alpha.astype(np.float32), height, np.arcsin(side).astype(np.float32), along.astype(np.float32))


def _end_planes(patch: Patch, centre: Floats) -> tuple[Floats, Floats]:
    """What lies on the tube's side of the straight cuts through its two ends, 0..1."""
    planes = []
    for end, inner in ((centre[0], centre[1]), (centre[-1], centre[-2])):
        inward = (inner - end)[:2] / max(float(np.hypot(*(inner - end)[:2])), 1e-3)
        distance = (patch.x - end[0]) * inward[0] + (patch.y - end[1]) * inward[1]
        planes.append(np.clip(distance + 0.5, 0, 1).astype(np.float32))
    return planes[0], planes[1]


def column(patch: Patch, rows: Floats, *, squareness: float = 2.0, hem_tilt: float = 0.16) -> Surface:
    """An upright shape with one left and one right edge in each row, such as a torso or a skirt.

    Args:
        patch: where to evaluate.
        rows: float32 [n, 5], each y, centre x, half width, half depth, z, from top to bottom.
        squareness: 2 bulges like an ellipse, more like a box.
        hem_tilt: how much lower the lower edge is where it is nearer to the viewer, who looks down on it.
    """
    y = patch.y[:, 0]
    centre, half, depth, z = (np.interp(y, rows[:, 0], rows[:, k]).astype(np.float32)[:, None] for k in (1, 2, 3, 4))
    offset = patch.x - centre
    u = np.clip(offset / np.maximum(half, 0.5), -1, 1)
    bulge = depth * np.power(1 - np.abs(u) ** squareness, 1 / squareness)
    hem = rows[-1, 0] + hem_tilt * (bulge - 0.5 * rows[-1, 3])
    inside = np.clip(patch.y - rows[0, 0] + 0.5, 0, 1) * np.clip(hem - patch.y + 0.5, 0, 1)
    alpha = np.clip(half - np.abs(offset) + 0.5, 0, 1) * inside
    height = z + bulge
    along = np.broadcast_to((y - rows[0, 0])[:, None], patch.shape)
    return Surface(
        alpha.astype(np.float32),
        height.astype(np.float32),
        np.arcsin(u).astype(np.float32),
        along.astype(np.float32),
    )


def ellipsoid(patch: Patch, centre: Floats, half: Floats, tilt: float = 0.0) -> Surface:
    """An ellipsoid, such as a head.

    Args:
        patch: where to evaluate.
        centre: float32 [3], x y z in pixels.
        half: float32 [3], half width, half height, half depth in pixels.
        tilt: radians, clockwise.
    """
    dx, dy = patch.x - centre[0], patch.y - centre[1]
    cos, sin = np.cos(tilt), np.sin(tilt)
    u, v = (dx * cos + dy * sin) / half[0], (dy * cos - dx * sin) / half[1]
    radius = np.sqrt(u * u + v * v)
    alpha = np.clip((1 - radius) * min(half[0], half[1]) + 0.5, 0, 1)
    height = centre[2] + half[2] * np.sqrt(np.maximum(1 - radius * radius, 0))
    across = u / np.sqrt(np.maximum(1 - v * v, 0.02))
    angle = np.arcsin(np.clip(across, -1, 1))
    along = np.broadcast_to((v + 1) * half[1], patch.shape)
    return Surface(
        alpha.astype(np.float32), height.astype(np.float32), angle.astype(np.float32), along.astype(np.float32)
    )


def smooth_line(points: Floats, samples: int) -> Floats:
    """A Catmull-Rom curve through points [n, d], `samples` points for each span and the last point."""
    padded = np.concatenate([2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]])
    t = (np.arange(samples, dtype=np.float32) / samples)[:, None]
    pieces = []
    for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        pieces.append(
            0.5 * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * (p1 - p2) + p3 - p0) * t**3)
        )
    return np.concatenate([*pieces, points[-1:]]).astype(np.float32)
