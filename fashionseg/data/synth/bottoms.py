"""Paints trousers, shorts and skirts. Knows nothing about what else a figure wears."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.sitter import LEG_BENDS, Sitter, cover, sway
from fashionseg.data.synth.surfaces import Patch, Surface, union
from fashionseg.data.synth.wardrobe import UNLABELLED, Bottom

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats


def paint_bottom(fig: Sitter, bottom: Bottom) -> None:
    """Trousers, shorts or a skirt, with fly, waistband and belt."""
    points = np.stack([fig.j.waist, *fig.j.hips, *fig.j.knees, *fig.j.ankles])
    patch = shapes.patch_of(fig.j, fig.canvas.size_hw, points, 0.14)
    if patch is None:
        return
    rows = (patch.y - shapes.level(fig.j, bottom.waist)) / fig.j.scale
    if bottom.label == UNLABELLED:
        surface = shapes.skirt_shape(
            patch, fig.j, fig.body, waist=bottom.waist, hem=bottom.end, ease=bottom.ease, flare=bottom.hem,
            sway=sway(fig, bottom.end),
        )  # fmt: skip
        places, crease = None, np.zeros(patch.shape, np.float32)
    else:
        surface, across, along, crease = _trousers(fig, patch, bottom)
        places = (across, along)
    front = shapes.front_angle(surface, fig.j.yaw)
    fly: Floats = 0.5 * np.exp(-((front / 0.05) ** 2)) * (rows > 0) * (rows < 0.10) * (bottom.label != UNLABELLED)
    waistband = 0.35 * np.exp(-(((rows - 0.022) / 0.0035) ** 2))
    overlay = (np.maximum(np.maximum(fly, waistband), crease).astype(np.float32), bottom.cloth.colours[0] * 0.3)
    cover(
        fig,
        patch,
        surface,
        bottom.cloth,
        fig.worn.bottom,
        front=None if places else front,
        places=places,
        overlay=overlay,
        bunch=LEG_BENDS if bottom.end > 0.8 and places is not None else (),
        smooth=0.010,
    )
    if bottom.belt is not None and bottom.label != UNLABELLED:
        band = np.clip(1 - np.abs(rows - 0.011) / 0.009, 0, 1) > 0.1
        fig.canvas.paint(
            patch, surface.cut(np.broadcast_to(band, patch.shape).astype(np.float32)), bottom.belt, sheen=0.4
        )


def _trousers(fig: Sitter, patch: Patch, bottom: Bottom) -> tuple[Surface, Floats, Floats, Floats]:
    """Surface; where on the cloth each pixel lies, across and along in body heights; shade between the legs.

    On the pelvis cloth is laid flat, down the legs it follows each leg; between the two the places blend, so that
    neither pattern nor folds jump.
    """
    scale = fig.j.scale
    pelvis = shapes.pelvis_shape(patch, fig.j, fig.body, waist=bottom.waist, ease=bottom.ease)
    legs = [
        shapes.trouser_leg(
            patch, fig.j, fig.body, side, end=min(bottom.end, 1.0), ease=bottom.ease, hem_radius=bottom.hem
        )
        for side in (0, 1)
    ]
    surface = union([*legs, pelvis])
    flat_x = (patch.x - fig.j.pelvis[0]) / scale + 0 * patch.y
    flat_y = (patch.y - shapes.level(fig.j, bottom.waist)) / scale + 0 * patch.x
    across, along = flat_x, flat_y
    for side, leg in enumerate(legs):
        seen = (leg.alpha > 0) & (surface.height == leg.height)
        down = leg.along / scale
        share = np.clip((down - 0.05) / 0.12, 0, 1) ** 2
        own_x = (fig.j.hips[side][0] - fig.j.pelvis[0]) / scale + 0.05 * leg.angle
        across = np.where(seen, flat_x + share * (own_x - flat_x), across)
        along = np.where(seen, flat_y + share * (down + 0.08 - flat_y), along)
    return surface, across.astype(np.float32), along.astype(np.float32), _crease(fig, legs, surface)


def _crease(fig: Sitter, legs: list[Surface], surface: Surface) -> Floats:
    """Shade where one leg lies against the other, 0..1: without it shorts in mid-stride look like a skirt."""
    seen = [((leg.alpha > 0.5) & (surface.height == leg.height)).astype(np.float32) for leg in legs]
    size = max(0.006 * fig.j.scale, 0.8)
    near = [cv2.GaussianBlur(one, (0, 0), size) for one in seen]
    return np.asarray(np.clip(3.0 * near[0] * near[1], 0, 0.75), np.float32)
