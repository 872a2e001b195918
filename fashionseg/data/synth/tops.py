"""Paints shirts, sweaters, dresses, jackets and coats: bodies, necklines, collars and details; sleeves are `figure.py`.

Knows nothing about the order in which garments cover each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.cloth import sample, stripe
from fashionseg.data.synth.sitter import Sitter, cover, sway, torso_patch
from fashionseg.data.synth.surfaces import Patch, Surface, column

if TYPE_CHECKING:
    from collections.abc import Callable

    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.cloth import Cloth
    from fashionseg.data.synth.wardrobe import Outer, Top


def paint_top(fig: Sitter, top: Top) -> None:
    """The body of a shirt, sweater, sleeveless top or dress, and its collar."""
    patch = torso_patch(fig, 0.06 + max(top.flare, 0), below=top.hem)
    if patch is None:
        return
    surface = top_surface(fig, patch, top)
    front = shapes.front_angle(surface, fig.j.yaw)
    surface = surface.cut(_neckline(fig, surface, front, top.neckline))
    if not top.sleeve:
        surface = surface.cut(_armholes(fig, surface))
    extra = _graphic(fig, surface, front, top) if top.graphic else None
    if top.neckline == "collar":
        extra = _placket(fig, surface, front, top.cloth, 0.045)
    cover(fig, patch, surface, top.cloth, fig.worn.top, front=front, overlay=extra)
    if top.neckline in ("collar", "turtle"):
        _collar(fig, top.cloth, fig.worn.top, 0.876 if top.neckline == "turtle" else 0.866, top.neckline == "collar")


def top_surface(fig: Sitter, patch: Patch, top: Top) -> Surface:
    """The body of a top before its neckline is cut."""
    hem = 0.56 if top.tucked and fig.outfit.bottom is not None else top.hem
    return shapes.upper_garment(
        patch, fig.j, fig.body, hem=hem, ease=top.ease, boxy=top.boxy, flare=top.flare, sway=sway(fig, hem)
    )


def _neckline(fig: Sitter, surface: Surface, front: Floats, kind: str) -> Floats:
    down = surface.along / fig.j.scale
    ahead = np.clip(np.cos(front), 0, 1)
    depth = {"crew": 0.004 + 0.022 * ahead**2, "turtle": 0 * ahead, "collar": 0.03 * ahead**6}.get(
        kind, 0.004 + 0.085 * np.clip(1 - np.abs(front) / 0.75, 0, 1)
    )
    return np.asarray(np.clip((down - depth) * fig.j.scale + 0.5, 0, 1), np.float32)


def _armholes(fig: Sitter, surface: Surface) -> Floats:
    """What a sleeveless top leaves of the torso: the shoulders are bare."""
    down = surface.along / fig.j.scale
    breadth = 0.62 + 0.38 * np.clip((down - 0.045) / 0.045, 0, 1) ** 2
    inside = (breadth - np.abs(np.sin(surface.angle))) * fig.body.shoulder * fig.j.scale
    return np.where(breadth >= 1, 1, np.clip(inside + 0.5, 0, 1)).astype(np.float32)


def _graphic(fig: Sitter, surface: Surface, front: Floats, top: Top) -> tuple[Floats, Floats]:
    """Weight and colour of a print on the chest."""
    down = surface.along / fig.j.scale
    window = (np.abs(front) < 0.55) & (down > 0.075) & (down < 0.165)
    ink = sample(top.cloth.fold_tile, front * 0.09 + 0.7, down, 0.35)
    return (window * np.clip(6 * ink, 0, 1)).astype(np.float32), top.cloth.colours[2]


def _placket(fig: Sitter, surface: Surface, front: Floats, cloth: Cloth, spacing: float) -> tuple[Floats, Floats]:
    """Weight and colour of the button row of a shirt."""
    down = surface.along / fig.j.scale
    line = np.exp(-(((np.abs(front) - 0.13) / 0.025) ** 2)) * 0.35
    button = np.exp(-((front / 0.05) ** 4)) * stripe(down, spacing, 0.14, 1 / fig.j.scale)
    return np.maximum(line, 0.7 * button).astype(np.float32), cloth.colours[0] * 0.3


def _collar(fig: Sitter, cloth: Cloth, owner: int, top: float, opened: bool) -> None:
    profile = np.array([(top, 0.036, 0.036), (0.85, 0.046, 0.042), (0.832, 0.062, 0.046)], np.float32)
    patch = torso_patch(fig, 0.05)
    if patch is None:
        return
    surface = column(patch, shapes.rows_of(fig.j, profile))
    front = shapes.front_angle(surface, fig.j.yaw)
    down = surface.along / fig.j.scale
    if opened:
        gap = 0.10 + 8 * np.clip(0.028 - down, 0, 1)
        point = 0.034 - 0.016 * np.clip(np.abs(front) - 0.5, 0, 1)
        keep = np.clip((np.abs(front) - gap) * 12, 0, 1) * np.clip((point - down) * fig.j.scale + 0.5, 0, 1)
        surface = surface.cut(keep.astype(np.float32))
    cover(fig, patch, surface, cloth, owner, front=front, shadow=0.008)


def paint_lining(fig: Sitter, outer: Outer) -> None:
    """The inside of an open coat, seen behind the legs: paint it before them."""
    patch = torso_patch(fig, 0.10, below=outer.hem)
    if patch is not None:
        surface = outer_surface(fig, patch, outer)
        fig.canvas.paint(patch, surface, outer.cloth.colours[0] * 0.35, owner=fig.worn.outer)


def paint_outer(fig: Sitter, outer: Outer) -> None:
    """The body of a jacket or coat, open or closed, and its collar."""
    patch = torso_patch(fig, 0.10, below=outer.hem)
    if patch is None:
        return
    surface = outer_surface(fig, patch, outer)
    front = shapes.front_angle(surface, fig.j.yaw)
    down = surface.along / fig.j.scale
    progress = np.clip(down / max(0.848 - outer.hem, 0.1), 0, 1)
    gap = outer.opening[0] + (outer.opening[1] - outer.opening[0]) * progress**2
    vee = outer.neck[0] * np.clip(1 - down / outer.neck[1], 0, 1)
    edge = np.abs(front) - np.maximum(gap, vee)
    if outer.opening[0] > 0:
        keep = np.clip(edge * 0.09 * fig.j.scale + 0.5, 0, 1)
    else:
        keep = np.where(vee > 0, np.clip(edge * 12 + 0.5, 0, 1), 1)
    surface = surface.cut(keep.astype(np.float32))
    cover(
        fig,
        patch,
        surface,
        outer.cloth,
        fig.worn.outer,
        front=front,
        overlay=_front_details(fig, outer, front, down, edge),
        quilted=outer.quilted,
        shadow=0.022,
    )
    _collar(fig, outer.cloth, fig.worn.outer, 0.872 if outer.hood else 0.860, opened=True)


def _front_details(fig: Sitter, outer: Outer, front: Floats, down: Floats, edge: Floats) -> tuple[Floats, Floats]:
    """Weight and colour of lapels, front edge, pockets and buttons."""
    rim = 0.55 * np.exp(-(((edge - 0.02) / 0.03) ** 2))
    weight = rim
    if outer.lapel > 0:
        length = max(outer.neck[1], 0.12) * 1.15
        width = outer.lapel * np.clip(1.15 - down / length, 0, 1)
        inside = ((edge > 0) & (edge < width)).astype(np.float32)
        weight = np.maximum(weight, 0.22 * inside)
        weight = np.maximum(weight, 0.6 * np.exp(-(((edge - width) / 0.03) ** 2)) * (down < length))
    if outer.buttons > 0:
        row = np.exp(-(((front - 0.10 - outer.opening[0]) / 0.045) ** 4))
        weight = np.maximum(weight, 0.8 * row * stripe(down, outer.buttons, 0.16, 1 / fig.j.scale) * (down > 0.1))
    pocket = (np.abs(np.abs(front) - 0.95) < 0.28) & (np.abs(down - 0.265) < 0.0035)
    return np.maximum(weight, 0.5 * pocket).astype(np.float32), outer.cloth.colours[0] * 0.25


def outer_surface(fig: Sitter, patch: Patch, outer: Outer) -> Surface:
    """The body of a jacket or coat before its front is cut."""
    return shapes.upper_garment(
        patch,
        fig.j,
        fig.body,
        hem=outer.hem,
        ease=outer.ease,
        boxy=0.7,
        flare=outer.flare,
        sway=sway(fig, outer.hem),
    )


def before_torso(fig: Sitter, patch: Patch) -> Callable[[Surface], Surface]:
    """Keeps what of an arm lies in front of the clothed torso, so that a sleeve grows out of the shoulder."""
    outfit = fig.outfit
    if outfit.outer is not None:
        torso = outer_surface(fig, patch, outfit.outer)
    else:
        torso = top_surface(fig, patch, outfit.top)
    depth = np.where(torso.alpha > 0.5, torso.height, np.float32(-1e6))

    def keep(surface: Surface) -> Surface:
        return surface.cut(np.clip((surface.height - depth) * 0.7 + 0.5, 0, 1).astype(np.float32))

    return keep
