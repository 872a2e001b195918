"""A figure on its way onto the canvas: who, in which pose, and how cloth is laid over its shapes.

Every painter of a garment works on a `Sitter` and ends in `cover`. Knows nothing about single garments.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.canvas import NOBODY, Canvas
from fashionseg.data.synth.cloth import sample
from fashionseg.data.synth.wardrobe import OUTWEAR, UNLABELLED, Outfit

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.body import Body, Joints, Pose
    from fashionseg.data.synth.cloth import Cloth
    from fashionseg.data.synth.head import Look
    from fashionseg.data.synth.surfaces import Patch, Surface

ARM_BENDS, LEG_BENDS = (0.165, 0.28), (0.33, 0.51)
"""Where sleeves and trouser legs bunch: at elbow and wrist, at knee and ankle; body heights from shoulder and waist."""


@dataclass(frozen=True, slots=True)
class Person:
    """A figure that can be drawn again in another pose."""

    body: Body
    look: Look
    outfit: Outfit


@dataclass(frozen=True, slots=True)
class Worn:
    """Numbers under which the garments of one figure own pixels."""

    top: int
    outer: int
    bottom: int


@dataclass(frozen=True, slots=True)
class Sitter:
    """One figure being painted.

    Attributes:
        canvas: painted on.
        person: who.
        pose: how the body stands.
        j: its joints in pixels.
        worn: the garments' numbers.
    """

    canvas: Canvas
    person: Person
    pose: Pose
    j: Joints
    worn: Worn

    @property
    def body(self) -> Body:
        """Proportions."""
        return self.person.body

    @property
    def look(self) -> Look:
        """Skin, hair and hat."""
        return self.person.look

    @property
    def outfit(self) -> Outfit:
        """Clothes."""
        return self.person.outfit

    @property
    def facing(self) -> float:
        """1 faces the viewer, -1 turns the back."""
        return float(np.cos(self.j.yaw))


def number_garments(outfit: Outfit, labels: list[int]) -> Worn:
    """Numbers for the labelled garments of an outfit: their positions in `labels`, to which their classes are added."""

    def number(label: int) -> int:
        if label == UNLABELLED:
            return NOBODY
        labels.append(label)
        return len(labels) - 1

    return Worn(
        number(outfit.top.label),
        number(OUTWEAR) if outfit.outer else NOBODY,
        number(outfit.bottom.label) if outfit.bottom else NOBODY,
    )


def cover(
    fig: Sitter,
    patch: Patch,
    surface: Surface,
    cloth: Cloth,
    owner: int,
    *,
    front: Floats | None = None,
    places: tuple[Floats, Floats] | None = None,
    overlay: tuple[Floats, Floats] | None = None,
    offset: float = 0.0,
    bunch: tuple[float, ...] = (),
    quilted: float = 0.0,
    shadow: float = 0.016,
    smooth: float = 0.004,
) -> None:
    """Paint a garment's surface in its cloth.

    Args:
        patch: where.
        surface: its shape.
        cloth: its cloth.
        owner: its number.
        front: angle around the body; None for a limb.
        places: across and along the cloth, where they do not follow from the surface.
        overlay: weight [h, w] and colour [3] of details on the cloth.
        offset: shifts the cloth, so that two sleeves differ.
        bunch: where along a limb cloth bunches, in body heights.
        quilted: spacing of rolls in body heights; 0 for none.
        shadow: size of the contact shadow in body heights.
        smooth: how far steps of the surface are smoothed, in body heights.
    """
    scale = fig.j.scale
    across = (surface.angle if front is None else front) * (0.04 if front is None else 0.09) + offset
    along = surface.along / scale + offset
    if places is not None:
        across, along = places
    albedo = cloth.albedo(across, along, 1 / scale)
    if overlay is not None:
        weight, colour = overlay
        albedo = albedo + weight[..., None] * (colour - albedo)
    relief = cloth.relief(across, along) * scale
    if bunch:
        wave = np.sin(2 * np.pi * (along / 0.028 + 3.0 * sample(cloth.fold_tile, across, along, 0.35)))
        relief = relief + (0.0010 * cloth.folds * scale) * wave * _near(bunch, along - offset)
    if quilted > 0:
        relief = relief + 0.006 * scale * np.abs(np.sin(np.pi * along / quilted))
    fig.canvas.paint(
        patch,
        surface,
        albedo,
        relief=relief.astype(np.float32),
        owner=owner,
        sheen=cloth.sheen,
        shadow=shadow * scale,
        smooth=smooth * scale,
    )


def sway(fig: Sitter, hem: float) -> float:
    """How far the legs push a hem sideways, in body heights."""
    middle = 0.5 * (fig.j.knees[0][0] + fig.j.knees[1][0]) - fig.j.pelvis[0]
    return float(np.clip(middle / fig.j.scale, -0.05, 0.05)) * float(np.clip((0.52 - hem) / 0.25, 0, 1))


def torso_patch(fig: Sitter, margin: float, below: float = 0.44) -> Patch | None:
    """The patch around the torso down to the height `below`, with a margin; both in body heights."""
    bottom = np.array([fig.j.pelvis[0], shapes.level(fig.j, below), 0], np.float32)
    points = np.stack([fig.j.neck, *fig.j.shoulders, fig.j.pelvis, *fig.j.hips, bottom])
    return shapes.patch_of(fig.j, fig.canvas.size_hw, points, margin + 0.05)


def _near(bends: tuple[float, ...], along: Floats) -> Floats:
    """About 1 near the bends, falling to 0; all in body heights."""
    near = [np.exp(-(((along - bend) / 0.045) ** 2)) for bend in bends]
    return np.asarray(np.maximum.reduce(near), np.float32)
