"""Paints one dressed figure onto a canvas, back to front.

Knows the order in which skin, garments, hair and bags cover each other. Knows nothing about backgrounds or files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.bags import paint_backpack, paint_shoulder_bag, paint_tote
from fashionseg.data.synth.body import Pose, joints
from fashionseg.data.synth.bottoms import paint_bottom
from fashionseg.data.synth.head import paint_head, paint_long_hair, paint_neck
from fashionseg.data.synth.sitter import ARM_BENDS, Person, Sitter, cover, number_garments, torso_patch
from fashionseg.data.synth.surfaces import column, union
from fashionseg.data.synth.tops import before_torso, paint_lining, paint_outer, paint_top

if TYPE_CHECKING:
    from fashionseg.data.synth.canvas import Canvas


def draw_figure(
    canvas: Canvas, person: Person, pose: Pose, foot_xy: tuple[float, float], scale: float, labels: list[int]
) -> None:
    """Paint a figure.

    Args:
        canvas: painted on.
        person: who, in which clothes.
        pose: how the body stands.
        foot_xy: where the feet stand, pixels.
        scale: height of the body in pixels.
        labels: class index of each labelled garment on the canvas so far; those of this figure are appended, and
            their positions are the numbers in `canvas.owner`.
    """
    j = joints(person.body, pose, foot_xy, scale)
    canvas.begin_figure()
    canvas.ground_shadow(foot_xy[0], foot_xy[1], 0.13 * scale, 0.022 * scale)
    _paint(Sitter(canvas, person, pose, j, number_garments(person.outfit, labels)))


def _paint(fig: Sitter) -> None:
    """Back to front."""
    outfit, near = fig.outfit, _near_sides(fig)
    if outfit.bag == "backpack" and fig.facing > 0:
        paint_backpack(fig)
    if outfit.outer is not None and outfit.outer.hem < 0.5:
        paint_lining(fig, outfit.outer)
    for side in (0, 1):
        if side not in near:
            _arm(fig, side)
    if fig.facing > -0.1:
        paint_long_hair(fig.canvas, fig.j, fig.look)
    for side in sorted((0, 1), key=lambda s: fig.j.ankles[s][2]):
        _leg(fig, side)
    _torso_skin(fig)
    paint_neck(fig.canvas, fig.j, fig.look)
    _clothes(fig)
    paint_head(fig.canvas, fig.j, fig.body, fig.look)
    if fig.facing <= -0.1:
        paint_long_hair(fig.canvas, fig.j, fig.look)
    if outfit.bag == "shoulder":
        paint_shoulder_bag(fig)
    for side in sorted(near, key=lambda s: fig.j.elbows[s][2]):
        _arm(fig, side)
    if outfit.bag == "backpack" and fig.facing <= 0:
        paint_backpack(fig)


def _clothes(fig: Sitter) -> None:
    outfit = fig.outfit
    if outfit.top.tucked and outfit.bottom is not None:
        paint_top(fig, outfit.top)
        paint_bottom(fig, outfit.bottom)
    else:
        if outfit.bottom is not None:
            paint_bottom(fig, outfit.bottom)
        paint_top(fig, outfit.top)
    if outfit.outer is not None:
        paint_outer(fig, outfit.outer)


def _near_sides(fig: Sitter) -> list[int]:
    """Arms in front of the torso or beside it, as the viewer sees them."""
    limit = -0.030 * fig.j.scale
    return [s for s in (0, 1) if 0.5 * (fig.j.elbows[s][2] + fig.j.wrists[s][2]) >= limit]


def _leg(fig: Sitter, side: int) -> None:
    points = np.stack([fig.j.hips[side], fig.j.knees[side], fig.j.ankles[side], fig.j.toes[side]])
    patch = shapes.patch_of(fig.j, fig.canvas.size_hw, points, 0.09)
    if patch is None:
        return
    skin = shapes.leg_skin(patch, fig.j, fig.body, side)
    colour = fig.look.skin if fig.outfit.sock is None else fig.outfit.sock
    fig.canvas.paint(patch, skin, colour, sheen=0.1, shadow=0.015 * fig.j.scale, smooth=0.008 * fig.j.scale)
    shoe = shapes.shoe(patch, fig.j, side, shaft=fig.outfit.shaft)
    sole = np.clip((patch.y - (fig.j.ankles[side][1] + 0.026 * fig.j.scale)) / 2, 0, 1)[..., None]
    colours = fig.outfit.shoes * (1 - 0.6 * sole) + 0.02
    fig.canvas.paint(patch, shoe, np.broadcast_to(colours, (*patch.shape, 3)), sheen=0.5)


def _torso_skin(fig: Sitter) -> None:
    patch = torso_patch(fig, 0.05)
    if patch is not None:
        rows = shapes.rows_of(fig.j, shapes.torso_profile(fig.body)[1:])
        fig.canvas.paint(patch, column(patch, rows), fig.look.skin, sheen=0.1)


def _arm(fig: Sitter, side: int) -> None:
    points = np.stack([fig.j.shoulders[side], fig.j.elbows[side], fig.j.wrists[side]])
    patch = shapes.patch_of(fig.j, fig.canvas.size_hw, points, 0.10)
    if patch is None:
        return
    skin = shapes.arm_skin(patch, fig.j, fig.body, side)
    if not fig.pose.arms[side].pocket:
        skin = union([skin, shapes.hand(patch, fig.j, fig.body, side)])
    before = before_torso(fig, patch)
    fig.canvas.paint(
        patch, before(skin), fig.look.skin, sheen=0.12, shadow=0.014 * fig.j.scale, smooth=0.005 * fig.j.scale
    )
    top, outer = fig.outfit.top, fig.outfit.outer
    if top.sleeve > 0 and (outer is None or top.sleeve > 0.98):
        surface = shapes.sleeve(patch, fig.j, fig.body, side, end=top.sleeve, ease=top.ease, flare=top.cuff)
        cover(
            fig,
            patch,
            before(surface),
            top.cloth,
            fig.worn.top,
            offset=0.31 * (side + 1),
            bunch=ARM_BENDS if top.sleeve > 0.6 else (),
        )
    if outer is not None:
        surface = shapes.sleeve(patch, fig.j, fig.body, side, end=0.97, ease=outer.ease, flare=0.001)
        cover(
            fig,
            patch,
            before(surface),
            outer.cloth,
            fig.worn.outer,
            offset=0.31 * (side + 1),
            bunch=ARM_BENDS,
            quilted=outer.quilted,
        )
    if fig.outfit.bag == "tote" and side == 1 and not fig.pose.arms[side].pocket:
        paint_tote(fig, side)
