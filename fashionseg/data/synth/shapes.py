"""Shapes of garments and limbs on a posed body.

Each function turns joints and a few measures into a `Surface` on a `Patch`. Lengths are in body heights, heights are
measured from the ground of a body standing straight (0.52 is the hip, 0.848 the base of the neck, 1 the crown).
Knows nothing about colours, light or painting order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth.surfaces import Patch, Surface, column, smooth_line, tube, union

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.body import Body, Joints


HIP, NECK = 0.52, 0.848
SAMPLES = 4
"""Straight pieces that each of the two halves of a limb is drawn with."""


def level(j: Joints, height: Floats | float) -> Floats:
    """Rows in pixels of heights of the torso, or below it."""
    h = np.asarray(height, np.float32)
    torso = j.pelvis[1] + (h - HIP) / (NECK - HIP) * (j.neck[1] - j.pelvis[1])
    return np.asarray(np.where(h >= HIP, torso, j.pelvis[1] + (HIP - h) * j.scale), np.float32)


def torso_profile(body: Body) -> Floats:
    """float32 [n, 3]: height, half breadth, half depth of the bare torso, from the neck down to the crotch."""
    return np.array(
        [
            (0.866, 0.029, 0.032),
            (0.852, 0.036, 0.038),
            (0.840, 0.054, 0.043),
            (0.826, body.shoulder * 0.80, 0.047),
            (0.811, body.shoulder * 0.96, 0.051),
            (0.780, body.shoulder * 0.98, 0.059),
            (0.735, body.chest * 1.04, 0.066),
            (0.700, body.chest, 0.066),
            (0.650, 0.5 * (body.chest + body.waist), 0.060),
            (0.610, body.waist, 0.056),
            (0.565, 0.35 * body.waist + 0.65 * body.hip, 0.060),
            (0.520, body.hip, 0.064),
            (0.470, body.hip * 0.95, 0.062),
        ],
        np.float32,
    )


def rows_of(j: Joints, profile: Floats, sway: float = 0.0) -> Floats:
    """Rows for `column` of a profile [n, 3] (height, half breadth, half depth) turned by the figure's yaw.

    `sway` shifts the lowest row sideways, in body heights; those between in proportion to the square.
    """
    smooth = smooth_line(profile, 5)
    height, breadth, depth = smooth[:, 0], np.maximum(smooth[:, 1], 0.004), np.maximum(smooth[:, 2], 0.004)
    y = level(j, height)
    cos, sin = np.cos(j.yaw), np.sin(j.yaw)
    half = np.hypot(breadth * cos, depth * sin) * j.scale
    bulge = np.hypot(breadth * sin, depth * cos) * j.scale
    down = (height[0] - height) / max(height[0] - height[-1], 1e-3)
    x = j.spine_x(y) + sway * j.scale * down**2
    order = np.argsort(y, kind="stable")
    return np.stack([y, x, half, bulge, np.zeros_like(y)], 1).astype(np.float32)[order]


def patch_of(j: Joints, size_hw: tuple[int, int], points: Floats, margin: float) -> Patch | None:
    """The patch around points [n, 2 or 3] in pixels with a margin in body heights."""
    return Patch.around(points[:, :2], margin * j.scale + 3, size_hw)


def front_angle(surface: Surface, yaw: float) -> Floats:
    """Angle around the body, float32: 0 is the middle of the front, +-pi the middle of the back."""
    angle = surface.angle - yaw
    return (np.mod(angle + np.pi, 2 * np.pi) - np.pi).astype(np.float32)


def upper_garment(
    patch: Patch, j: Joints, body: Body, *, hem: float, ease: float, boxy: float, flare: float, sway: float = 0.0
) -> Surface:
    """The body of a shirt, coat or dress from the base of the neck down to `hem`.

    Args:
        patch: where to evaluate.
        j: joints of the figure.
        body: its proportions.
        hem: height of the lower edge.
        ease: room between body and cloth.
        boxy: 0 follows the waist .. 1 hangs straight from the chest.
        flare: half breadth added at the hem.
        sway: of the hem, to the right.
    """
    profile = torso_profile(body)[1:]
    heights = profile[:, 0]
    top = profile[profile[:, 0] >= hem]
    if hem < heights[-1]:
        extra = np.linspace(heights[-1], hem, 4, dtype=np.float32)[1:]
        last = profile[-1]
        top = np.concatenate([profile, np.stack([extra, np.full(3, last[1]), np.full(3, last[2])], 1)])
    else:
        breadth = np.interp(-hem, -heights, profile[:, 1])
        depth = np.interp(-hem, -heights, profile[:, 2])
        top = np.concatenate([top, np.array([[hem, breadth, depth]], np.float32)])
    top = top.astype(np.float32).copy()
    widest = np.maximum.accumulate(np.where(top[:, 0] < 0.75, top[:, 1], 0))
    below = top[:, 0] < 0.75
    top[below, 1] += boxy * (widest - top[:, 1])[below]
    room = np.clip((0.85 - top[:, 0]) / 0.05, 0.25, 1) * ease
    down = np.clip((0.70 - top[:, 0]) / max(0.70 - hem, 0.02), 0, 1)
    top[:, 1] += room + flare * down**1.5
    top[:, 2] += room + 0.6 * flare * down**1.5
    return column(patch, rows_of(j, top, sway))


def skirt_shape(
    patch: Patch, j: Joints, body: Body, *, waist: float, hem: float, ease: float, flare: float, sway: float = 0.0
) -> Surface:
    """A skirt, or the pelvis of trousers, from `waist` down to `hem`."""
    profile = torso_profile(body)
    heights = np.linspace(waist, hem, 8, dtype=np.float32)
    breadth = np.interp(-heights, -profile[:, 0], profile[:, 1]) + ease
    depth = np.interp(-heights, -profile[:, 0], profile[:, 2]) + ease
    down = np.clip((0.55 - heights) / max(0.55 - hem, 0.02), 0, 1)
    rows = np.stack([heights, breadth + flare * down, depth + 0.7 * flare * down], 1)
    return column(patch, rows_of(j, rows.astype(np.float32), sway))


def pelvis_shape(patch: Patch, j: Joints, body: Body, *, waist: float, ease: float) -> Surface:
    """The upper part of trousers, from `waist` to where the legs part."""
    profile = torso_profile(body)
    heights = np.array([waist, 0.57, 0.545, 0.52, 0.498, 0.478, 0.464], np.float32)
    breadth = np.interp(-heights, -profile[:, 0], profile[:, 1]) + ease
    depth = np.interp(-heights, -profile[:, 0], profile[:, 2]) + ease
    shrink = np.interp(-heights, (-0.53, -0.50, -0.464), (1.0, 0.86, 0.12))
    deep = np.interp(-heights, (-0.55, -0.50, -0.464), (1.0, 0.90, 0.55))
    return column(patch, rows_of(j, np.stack([heights, breadth * shrink, depth * deep], 1).astype(np.float32)))


def limb_line(points: Sequence[Floats]) -> Floats:
    """A smooth centre line [n, 3] through the three joints of a limb."""
    return smooth_line(np.stack(list(points)), SAMPLES)


def part_of_limb(
    patch: Patch,
    line: Floats,
    stops: Sequence[tuple[float, float]],
    start: float,
    end: float,
    scale: float,
    *,
    flat_start: bool = False,
    flat_end: bool = True,
) -> Surface:
    """The part of a limb between two fractions of its centre line.

    Args:
        patch: where to evaluate.
        line: float32 [n, 3], from `limb_line`.
        stops: (fraction, radius in body heights), ascending.
        start: fraction, 0..1.
        end: fraction, 0..1.
        scale: pixels per body height.
        flat_start: cut straight at the start.
        flat_end: cut straight at the end.
    """
    t = np.linspace(0, 1, len(line))
    cuts = np.unique(np.concatenate([t[(t > start) & (t < end)], [start, end]]))
    centre = np.stack([np.interp(cuts, t, line[:, k]) for k in range(3)], 1).astype(np.float32)
    at = np.asarray(stops, np.float32)
    radii = np.interp(cuts, at[:, 0], at[:, 1]).astype(np.float32) * scale
    return tube(patch, centre, radii, flat_start=flat_start, flat_end=flat_end)


def arm_skin(patch: Patch, j: Joints, body: Body, side: int) -> Surface:
    """A bare arm from shoulder to wrist."""
    thick = body.limb
    stops = [
        (0, 0.023 * thick),
        (0.15, 0.027 * thick),
        (0.3, 0.025 * thick),
        (0.5, 0.022 * thick),
        (0.65, 0.022 * thick),
        (1, 0.0145 * thick),
    ]
    line = limb_line((_inside_shoulder(j, side), j.elbows[side], j.wrists[side]))
    return part_of_limb(patch, line, stops, 0, 1, j.scale, flat_end=False)


def _inside_shoulder(j: Joints, side: int) -> Floats:
    """Where a sleeve starts: a little inside the torso, so that the shoulder slopes."""
    inwards = (j.neck - j.shoulders[side]) * np.array([1, 0, 1], np.float32)
    return (j.shoulders[side] + 0.10 * inwards + np.array([0, 0.004, -0.012], np.float32) * j.scale).astype(np.float32)


def hand(patch: Patch, j: Joints, body: Body, side: int) -> Surface:
    """A loosely closed hand with a thumb."""
    wrist = j.wrists[side]
    direction = wrist - j.elbows[side]
    direction = direction / max(float(np.linalg.norm(direction)), 1e-3)
    size = j.scale * body.limb
    middle, tip = wrist + direction * 0.028 * size, wrist + direction * 0.056 * size
    palm = tube(
        patch,
        np.stack([wrist, middle, tip]).astype(np.float32),
        np.array([0.0145, 0.0185, 0.0105], np.float32) * size,
    )
    inwards = np.array([-direction[1], direction[0], 0.4], np.float32) * (1 if side == 0 else -1) * np.cos(j.yaw)
    thumb_base = wrist + direction * 0.014 * size
    thumb_tip = thumb_base + (0.6 * direction - 0.55 * inwards) * 0.026 * size
    thumb = tube(
        patch, np.stack([thumb_base, thumb_tip]).astype(np.float32), np.array([0.009, 0.006], np.float32) * size
    )
    return union([palm, thumb])


def sleeve(patch: Patch, j: Joints, body: Body, side: int, *, end: float, ease: float, flare: float) -> Surface:
    """A sleeve from the shoulder to the fraction `end` of the arm (0.5 is the elbow, 1 the wrist)."""
    thick = body.limb
    stops = [
        (0, 0.024 * thick + 0.4 * ease),
        (0.10, 0.027 * thick + 0.7 * ease),
        (0.22, 0.028 * thick + 0.9 * ease),
        (0.5, 0.024 * thick + ease),
        (1, 0.0175 * thick + ease * 0.7),
    ]
    radius_end = float(np.interp(end, [s[0] for s in stops], [s[1] for s in stops])) + flare
    stops = [s for s in stops if s[0] < end] + [(end, radius_end)]
    line = limb_line((_inside_shoulder(j, side), j.elbows[side], j.wrists[side]))
    return part_of_limb(patch, line, stops, 0, end, j.scale)


def leg_skin(patch: Patch, j: Joints, body: Body, side: int) -> Surface:
    """A bare leg from hip to ankle."""
    k = body.limb
    stops = [(0, 0.054 * k), (0.25, 0.047 * k), (0.5, 0.033 * k), (0.66, 0.036 * k), (0.85, 0.024 * k), (1, 0.019 * k)]
    line = limb_line((j.hips[side], j.knees[side], j.ankles[side]))
    return part_of_limb(patch, line, stops, 0, 1, j.scale, flat_end=False)


def trouser_leg(
    patch: Patch, j: Joints, body: Body, side: int, *, end: float, ease: float, hem_radius: float
) -> Surface:
    """A leg of trousers or shorts from the hip to the fraction `end` of the leg (0.5 is the knee, 1 the ankle)."""
    k = body.limb
    skin = np.array([(0, 0.054), (0.25, 0.048), (0.5, 0.034), (0.66, 0.035), (0.85, 0.025), (1, 0.021)], np.float32)
    at = np.linspace(0, end, 6)
    straight = 0.054 * k + ease + (hem_radius - 0.054 * k - ease) * at / end
    tight = np.interp(at, skin[:, 0], skin[:, 1]) * k + ease
    stops = list(zip(at.tolist(), np.maximum(0.5 * (straight + tight), tight).tolist(), strict=True))
    stops[-1] = (end, hem_radius)
    line = limb_line((j.hips[side], j.knees[side], j.ankles[side]))
    return part_of_limb(patch, line, stops, 0, end, j.scale)


def shoe(patch: Patch, j: Joints, side: int, *, shaft: float) -> Surface:
    """A shoe with its heel at the ankle; `shaft` is how far it reaches up the leg, in body heights."""
    ankle, toe = j.ankles[side], j.toes[side]
    forward = toe - ankle
    down = np.array([0, 0.020 * j.scale, 0], np.float32)
    heel = ankle - 0.22 * forward + down * 0.9
    middle = ankle + 0.5 * forward + down * 0.35
    foot = tube(
        patch,
        np.stack([heel, ankle + 0.1 * forward + down * 0.5, middle, toe]).astype(np.float32),
        np.array([0.020, 0.025, 0.023, 0.0165], np.float32) * j.scale,
    )
    if shaft <= 0:
        return foot
    knee = j.knees[side]
    up = (knee - ankle) / max(float(np.linalg.norm(knee - ankle)), 1e-3)
    top = ankle + up * shaft * j.scale
    boot = tube(
        patch, np.stack([ankle, top]).astype(np.float32), np.array([0.024, 0.030], np.float32) * j.scale, flat_end=True
    )
    return union([foot, boot])
