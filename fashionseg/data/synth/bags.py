"""Paints bags: in the hand, over the shoulder, on the back. They are not labelled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.surfaces import column, tube

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.sitter import Sitter


def paint_tote(fig: Sitter, side: int) -> None:
    """A bag with handles, hanging from the hand of a side."""
    wrist, scale = fig.j.wrists[side], fig.j.scale
    top = wrist + np.array([0, 0.10 * scale, 0], np.float32)
    rows = np.array(
        [
            (top[1], wrist[0], 0.062 * scale, 9, wrist[2]),
            (top[1] + 0.14 * scale, wrist[0], 0.07 * scale, 9, wrist[2]),
        ],
        np.float32,
    )
    _bag(
        fig,
        rows,
        [
            wrist + np.array((-0.03 * scale, 0.10 * scale, 0)),
            wrist + np.array((0, 0.04 * scale, 0)),
            wrist + np.array((0.03 * scale, 0.10 * scale, 0)),
        ],
    )


def paint_shoulder_bag(fig: Sitter) -> None:
    """A small bag at the hip with its strap across the chest."""
    scale, hip = fig.j.scale, fig.j.hips[0]
    x = fig.j.pelvis[0] - (0.075 + fig.body.hip * 0.4) * scale * (1 if fig.facing >= 0 else -1)
    y = hip[1] - 0.02 * scale
    rows = np.array([(y, x, 0.05 * scale, 9, 0), (y + 0.09 * scale, x, 0.056 * scale, 9, 0)], np.float32)
    far = fig.j.shoulders[1] + np.array((0, -0.01 * scale, 0))
    _bag(fig, rows, [far, np.array([x, y, 0])])


def paint_backpack(fig: Sitter) -> None:
    """A backpack: paint it first where the figure faces the viewer, else last."""
    scale, neck = fig.j.scale, fig.j.neck
    back = np.sin(fig.j.yaw)
    x = neck[0] - 0.07 * back * scale
    half = (0.10 - 0.035 * abs(back)) * scale
    rows = np.array(
        [
            (neck[1] + 0.02 * scale, x, 0.8 * half, 9, 0),
            (neck[1] + 0.06 * scale, x, half, 12, 0),
            (neck[1] + 0.28 * scale, x, half, 12, 0),
        ],
        np.float32,
    )
    _bag(fig, rows, [])


def _bag(fig: Sitter, rows: Floats, strap: list[Floats]) -> None:
    corners = np.stack([rows[:, 1], rows[:, 0]], 1)
    points = np.concatenate([corners, np.stack(strap)[:, :2]]) if strap else corners
    patch = shapes.patch_of(fig.j, fig.canvas.size_hw, points.astype(np.float32), 0.09)
    if patch is None:
        return
    cloth, scale = fig.outfit.bag_cloth, fig.j.scale
    if strap:
        line = np.stack(strap).astype(np.float32)
        band = tube(patch, line, np.full(len(line), max(0.006 * scale, 0.8), np.float32))
        fig.canvas.paint(patch, band, cloth.colours[0] * 0.6, shadow=0.006 * scale)
    surface = column(patch, rows, squareness=6)
    albedo = cloth.albedo(surface.angle * 0.06, surface.along / scale, 1 / scale)
    fig.canvas.paint(patch, surface, albedo, sheen=0.4, shadow=0.02 * scale)
