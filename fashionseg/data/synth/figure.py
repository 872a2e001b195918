"""Paints one dressed figure onto a canvas, back to front.

Knows the order in which skin, garments, hair and bags cover each other and how each is coloured. Knows nothing about
backgrounds or files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth import shapes
from fashionseg.data.synth.body import Body, Joints, Pose, joints
from fashionseg.data.synth.canvas import NOBODY, Canvas
from fashionseg.data.synth.cloth import Cloth, sample, stripe
from fashionseg.data.synth.head import Look, paint_head, paint_long_hair, paint_neck
from fashionseg.data.synth.surfaces import Patch, Surface, column, tube, union
from fashionseg.data.synth.wardrobe import OUTWEAR, UNLABELLED, Bottom, Outer, Outfit, Top

if TYPE_CHECKING:
    from collections.abc import Callable

    from fashionseg.data.synth.arrays import Floats


@dataclass(frozen=True, slots=True)
class Person:
    """A figure that can be drawn again in another pose."""

    body: Body
    look: Look
    outfit: Outfit


@dataclass(frozen=True, slots=True)
class _Worn:
    """Numbers under which the garments of one figure own pixels."""

    top: int
    outer: int
    bottom: int


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
    worn = _number(person.outfit, labels)
    canvas.begin_figure()
    canvas.ground_shadow(foot_xy[0], foot_xy[1], 0.13 * scale, 0.022 * scale)
    painter = _Painter(canvas, person, pose, j, worn)
    painter.paint()


def _number(outfit: Outfit, labels: list[int]) -> _Worn:
    def number(label: int) -> int:
        if label == UNLABELLED:
            return NOBODY
        labels.append(label)
        return len(labels) - 1

    return _Worn(
        number(outfit.top.label),
        number(OUTWEAR) if outfit.outer else NOBODY,
        number(outfit.bottom.label) if outfit.bottom else NOBODY,
    )


class _Painter:
    """One figure being painted."""

    def __init__(self, canvas: Canvas, person: Person, pose: Pose, j: Joints, worn: _Worn) -> None:
        self.canvas, self.pose, self.j, self.worn = canvas, pose, j, worn
        self.body, self.look, self.outfit = person.body, person.look, person.outfit
        self.facing = float(np.cos(j.yaw))

    def paint(self) -> None:
        """Back to front."""
        outfit, near = self.outfit, self._near_sides()
        if outfit.bag == "backpack" and self.facing > 0:
            self._backpack()
        if outfit.outer is not None and outfit.outer.hem < 0.5:
            self._lining(outfit.outer)
        for side in (0, 1):
            if side not in near:
                self._arm(side)
        if self.facing > -0.1:
            paint_long_hair(self.canvas, self.j, self.look)
        for side in sorted((0, 1), key=lambda s: self.j.ankles[s][2]):
            self._leg(side)
        self._torso_skin()
        paint_neck(self.canvas, self.j, self.look)
        self._clothes()
        paint_head(self.canvas, self.j, self.body, self.look)
        if self.facing <= -0.1:
            paint_long_hair(self.canvas, self.j, self.look)
        if outfit.bag == "shoulder":
            self._shoulder_bag()
        for side in sorted(near, key=lambda s: self.j.elbows[s][2]):
            self._arm(side)
        if outfit.bag == "backpack" and self.facing <= 0:
            self._backpack()

    def _clothes(self) -> None:
        outfit = self.outfit
        if outfit.top.tucked and outfit.bottom is not None:
            self._top(outfit.top)
            self._bottom(outfit.bottom)
        else:
            if outfit.bottom is not None:
                self._bottom(outfit.bottom)
            self._top(outfit.top)
        if outfit.outer is not None:
            self._outer(outfit.outer)

    def _near_sides(self) -> list[int]:
        """Arms in front of the torso or beside it, as the viewer sees them."""
        limit = -0.030 * self.j.scale
        return [s for s in (0, 1) if 0.5 * (self.j.elbows[s][2] + self.j.wrists[s][2]) >= limit]

    # Skin and shoes

    def _leg(self, side: int) -> None:
        points = np.stack([self.j.hips[side], self.j.knees[side], self.j.ankles[side], self.j.toes[side]])
        patch = shapes.patch_of(self.j, self.canvas.size_hw, points, 0.09)
        if patch is None:
            return
        skin = shapes.leg_skin(patch, self.j, self.body, side)
        colour = self.look.skin if self.outfit.sock is None else self.outfit.sock
        self.canvas.paint(patch, skin, colour, sheen=0.1, shadow=0.015 * self.j.scale, smooth=0.008 * self.j.scale)
        shoe = shapes.shoe(patch, self.j, side, shaft=self.outfit.shaft)
        sole = np.clip((patch.y - (self.j.ankles[side][1] + 0.026 * self.j.scale)) / 2, 0, 1)[..., None]
        colours = self.outfit.shoes * (1 - 0.6 * sole) + 0.02
        self.canvas.paint(patch, shoe, np.broadcast_to(colours, (*patch.shape, 3)), sheen=0.5)

    def _torso_skin(self) -> None:
        patch = self._torso_patch(0.05)
        if patch is not None:
            rows = shapes.rows_of(self.j, shapes.torso_profile(self.body)[1:])
            self.canvas.paint(patch, column(patch, rows), self.look.skin, sheen=0.1)

    def _arm(self, side: int) -> None:
        points = np.stack([self.j.shoulders[side], self.j.elbows[side], self.j.wrists[side]])
        patch = shapes.patch_of(self.j, self.canvas.size_hw, points, 0.10)
        if patch is None:
            return
        skin = shapes.arm_skin(patch, self.j, self.body, side)
        if not self.pose.arms[side].pocket:
            skin = union([skin, shapes.hand(patch, self.j, self.body, side)])
        before = self._before_torso(patch)
        self.canvas.paint(
            patch, before(skin), self.look.skin, sheen=0.12, shadow=0.014 * self.j.scale, smooth=0.005 * self.j.scale
        )
        top, outer = self.outfit.top, self.outfit.outer
        if top.sleeve > 0 and (outer is None or top.sleeve > 0.98):
            surface = shapes.sleeve(patch, self.j, self.body, side, end=top.sleeve, ease=top.ease, flare=top.cuff)
            self._cover(
                patch, before(surface), top.cloth, self.worn.top, offset=0.31 * (side + 1), bunch=top.sleeve > 0.6
            )
        if outer is not None:
            surface = shapes.sleeve(patch, self.j, self.body, side, end=0.97, ease=outer.ease, flare=0.001)
            self._cover(
                patch,
                before(surface),
                outer.cloth,
                self.worn.outer,
                offset=0.31 * (side + 1),
                bunch=True,
                quilted=outer.quilted,
            )
        if self.outfit.bag == "tote" and side == 1 and not self.pose.arms[side].pocket:
            self._tote(side)

    def _before_torso(self, patch: Patch) -> Callable[[Surface], Surface]:
        """Keeps what of an arm lies in front of the clothed torso, so that a sleeve grows out of the shoulder."""
        outfit = self.outfit
        if outfit.outer is not None:
            torso = self._outer_surface(patch, outfit.outer)
        else:
            torso = self._top_surface(patch, outfit.top)
        depth = np.where(torso.alpha > 0.5, torso.height, np.float32(-1e6))

        def keep(surface: Surface) -> Surface:
            return surface.cut(np.clip((surface.height - depth) * 0.7 + 0.5, 0, 1).astype(np.float32))

        return keep

    # Garments

    def _top(self, top: Top) -> None:
        patch = self._torso_patch(0.06 + max(top.flare, 0), below=top.hem)
        if patch is None:
            return
        surface = self._top_surface(patch, top)
        front = shapes.front_angle(surface, self.j.yaw)
        surface = surface.cut(self._neckline(surface, front, top.neckline))
        extra = self._graphic(surface, front, top) if top.graphic else None
        if top.neckline == "collar":
            extra = self._placket(surface, front, top.cloth, 0.045)
        self._cover(patch, surface, top.cloth, self.worn.top, front=front, overlay=extra)
        if top.neckline in ("collar", "turtle"):
            self._collar(
                top.cloth, self.worn.top, 0.876 if top.neckline == "turtle" else 0.866, top.neckline == "collar"
            )

    def _top_surface(self, patch: Patch, top: Top) -> Surface:
        hem = 0.56 if top.tucked and self.outfit.bottom is not None else top.hem
        return shapes.upper_garment(
            patch, self.j, self.body, hem=hem, ease=top.ease, boxy=top.boxy, flare=top.flare, sway=self._sway(hem)
        )

    def _neckline(self, surface: Surface, front: Floats, kind: str) -> Floats:
        down = surface.along / self.j.scale
        ahead = np.clip(np.cos(front), 0, 1)
        depth = {"crew": 0.004 + 0.022 * ahead**2, "turtle": 0 * ahead, "collar": 0.03 * ahead**6}.get(
            kind, 0.004 + 0.085 * np.clip(1 - np.abs(front) / 0.75, 0, 1)
        )
        return np.asarray(np.clip((down - depth) * self.j.scale + 0.5, 0, 1), np.float32)

    def _graphic(self, surface: Surface, front: Floats, top: Top) -> tuple[Floats, Floats]:
        """Weight and colour of a print on the chest."""
        down = surface.along / self.j.scale
        window = (np.abs(front) < 0.55) & (down > 0.075) & (down < 0.165)
        ink = sample(top.cloth.fold_tile, front * 0.09 + 0.7, down, 0.35)
        return (window * np.clip(6 * ink, 0, 1)).astype(np.float32), top.cloth.colours[2]

    def _placket(self, surface: Surface, front: Floats, cloth: Cloth, spacing: float) -> tuple[Floats, Floats]:
        """Weight and colour of the button row of a shirt."""
        down = surface.along / self.j.scale
        line = np.exp(-(((np.abs(front) - 0.13) / 0.025) ** 2)) * 0.35
        button = np.exp(-((front / 0.05) ** 4)) * stripe(down, spacing, 0.14, 1 / self.j.scale)
        return np.maximum(line, 0.7 * button).astype(np.float32), cloth.colours[0] * 0.3

    def _collar(self, cloth: Cloth, owner: int, top: float, opened: bool) -> None:
        profile = np.array([(top, 0.036, 0.036), (0.85, 0.046, 0.042), (0.832, 0.062, 0.046)], np.float32)
        patch = self._torso_patch(0.05)
        if patch is None:
            return
        surface = column(patch, shapes.rows_of(self.j, profile))
        front = shapes.front_angle(surface, self.j.yaw)
        down = surface.along / self.j.scale
        if opened:
            gap = 0.10 + 8 * np.clip(0.028 - down, 0, 1)
            point = 0.034 - 0.016 * np.clip(np.abs(front) - 0.5, 0, 1)
            keep = np.clip((np.abs(front) - gap) * 12, 0, 1) * np.clip((point - down) * self.j.scale + 0.5, 0, 1)
            surface = surface.cut(keep.astype(np.float32))
        self._cover(patch, surface, cloth, owner, front=front, shadow=0.008)

    def _lining(self, outer: Outer) -> None:
        patch = self._torso_patch(0.10, below=outer.hem)
        if patch is not None:
            surface = self._outer_surface(patch, outer)
            self.canvas.paint(patch, surface, outer.cloth.colours[0] * 0.35, owner=self.worn.outer)

    def _outer(self, outer: Outer) -> None:
        patch = self._torso_patch(0.10, below=outer.hem)
        if patch is None:
            return
        surface = self._outer_surface(patch, outer)
        front = shapes.front_angle(surface, self.j.yaw)
        down = surface.along / self.j.scale
        progress = np.clip(down / max(0.848 - outer.hem, 0.1), 0, 1)
        gap = outer.opening[0] + (outer.opening[1] - outer.opening[0]) * progress**2
        vee = outer.neck[0] * np.clip(1 - down / outer.neck[1], 0, 1)
        edge = np.abs(front) - np.maximum(gap, vee)
        closed = outer.opening[0] <= 0
        keep = (
            np.clip(edge * 0.09 * self.j.scale + 0.5, 0, 1)
            if not closed
            else np.where(vee > 0, np.clip(edge * 12 + 0.5, 0, 1), 1)
        )
        surface = surface.cut(keep.astype(np.float32))
        self._cover(
            patch,
            surface,
            outer.cloth,
            self.worn.outer,
            front=front,
            overlay=self._front_details(outer, front, down, edge),
            quilted=outer.quilted,
            shadow=0.022,
        )
        self._collar(outer.cloth, self.worn.outer, 0.872 if outer.hood else 0.860, opened=True)

    def _front_details(self, outer: Outer, front: Floats, down: Floats, edge: Floats) -> tuple[Floats, Floats]:
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
            row = np.exp(-(((front - np.sign(front) * 0 - 0.10 - outer.opening[0]) / 0.045) ** 4))
            weight = np.maximum(weight, 0.8 * row * stripe(down, outer.buttons, 0.16, 1 / self.j.scale) * (down > 0.1))
        pocket = (np.abs(np.abs(front) - 0.95) < 0.28) & (np.abs(down - 0.265) < 0.0035)
        return np.maximum(weight, 0.5 * pocket).astype(np.float32), outer.cloth.colours[0] * 0.25

    def _outer_surface(self, patch: Patch, outer: Outer) -> Surface:
        return shapes.upper_garment(
            patch,
            self.j,
            self.body,
            hem=outer.hem,
            ease=outer.ease,
            boxy=0.7,
            flare=outer.flare,
            sway=self._sway(outer.hem),
        )

    def _bottom(self, bottom: Bottom) -> None:
        points = np.stack([self.j.waist, *self.j.hips, *self.j.knees, *self.j.ankles])
        patch = shapes.patch_of(self.j, self.canvas.size_hw, points, 0.14)
        if patch is None:
            return
        rows = (patch.y - shapes.level(self.j, bottom.waist)) / self.j.scale
        if bottom.label == UNLABELLED:
            surface = shapes.skirt_shape(
                patch, self.j, self.body, waist=bottom.waist, hem=bottom.end, ease=bottom.ease, flare=bottom.hem,
                sway=self._sway(bottom.end),
            )  # fmt: skip
            places = None
        else:
            surface, *places = self._trousers(patch, bottom)
        front = shapes.front_angle(surface, self.j.yaw)
        fly = 0.5 * np.exp(-((front / 0.05) ** 2)) * (rows > 0) * (rows < 0.10) * (bottom.label != UNLABELLED)
        waistband = 0.35 * np.exp(-(((rows - 0.022) / 0.0035) ** 2))
        overlay = (np.maximum(fly, waistband).astype(np.float32), bottom.cloth.colours[0] * 0.3)
        self._cover(
            patch,
            surface,
            bottom.cloth,
            self.worn.bottom,
            front=None if places else front,
            places=places,
            overlay=overlay,
            bunch=bottom.end > 0.8 and places is not None,
            smooth=0.016,
        )
        if bottom.belt is not None and bottom.label != UNLABELLED:
            band = np.clip(1 - np.abs(rows - 0.011) / 0.009, 0, 1) > 0.1
            self.canvas.paint(
                patch, surface.cut(np.broadcast_to(band, patch.shape).astype(np.float32)), bottom.belt, sheen=0.4
            )

    def _trousers(self, patch: Patch, bottom: Bottom) -> tuple[Surface, Floats, Floats]:
        """Surface, and where on the cloth each pixel lies: across and along in body heights, float32 [h, w].

        On the pelvis cloth is laid flat, down the legs it follows each leg; between the two the places blend, so that
        neither pattern nor folds jump.
        """
        scale = self.j.scale
        pelvis = shapes.pelvis_shape(patch, self.j, self.body, waist=bottom.waist, ease=bottom.ease)
        legs = [
            shapes.trouser_leg(
                patch, self.j, self.body, side, end=min(bottom.end, 1.0), ease=bottom.ease, hem_radius=bottom.hem
            )
            for side in (0, 1)
        ]
        surface = union([*legs, pelvis])
        flat_x = (patch.x - self.j.pelvis[0]) / scale + 0 * patch.y
        flat_y = (patch.y - shapes.level(self.j, bottom.waist)) / scale + 0 * patch.x
        across, along = flat_x, flat_y
        for side, leg in enumerate(legs):
            seen = (leg.alpha > 0) & (surface.height == leg.height)
            down = leg.along / scale
            share = np.clip((down - 0.05) / 0.12, 0, 1) ** 2
            across = np.where(seen, flat_x + share * (leg.angle * 0.045 + 0.37 * side - 0.06 - flat_x), across)
            along = np.where(seen, flat_y + share * (down + 0.08 - flat_y), along)
        return surface, across.astype(np.float32), along.astype(np.float32)

    def _cover(
        self,
        patch: Patch,
        surface: Surface,
        cloth: Cloth,
        owner: int,
        *,
        front: Floats | None = None,
        places: list[Floats] | None = None,
        overlay: tuple[Floats, Floats] | None = None,
        offset: float = 0.0,
        bunch: bool = False,
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
            bunch: cloth bunches at the joints of a limb.
            quilted: spacing of rolls in body heights; 0 for none.
            shadow: size of the contact shadow in body heights.
            smooth: how far steps of the surface are smoothed, in body heights.
        """
        scale = self.j.scale
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
            wave = np.sin(2 * np.pi * (along / 0.028 + 1.5 * sample(cloth.fold_tile, across, along, 0.4)))
            relief = relief + (0.0013 * cloth.folds * scale) * wave * _near_joint(along - offset)
        if quilted > 0:
            relief = relief + 0.006 * scale * np.abs(np.sin(np.pi * along / quilted))
        self.canvas.paint(
            patch,
            surface,
            albedo,
            relief=relief.astype(np.float32),
            owner=owner,
            sheen=cloth.sheen,
            shadow=shadow * scale,
            smooth=smooth * scale,
        )

    def _sway(self, hem: float) -> float:
        """How far the legs push a hem sideways, in body heights."""
        middle = 0.5 * (self.j.knees[0][0] + self.j.knees[1][0]) - self.j.pelvis[0]
        return float(np.clip(middle / self.j.scale, -0.05, 0.05)) * float(np.clip((0.52 - hem) / 0.25, 0, 1))

    def _torso_patch(self, margin: float, below: float = 0.44) -> Patch | None:
        bottom = np.array([self.j.pelvis[0], shapes.level(self.j, below), 0], np.float32)
        points = np.stack([self.j.neck, *self.j.shoulders, self.j.pelvis, *self.j.hips, bottom])
        return shapes.patch_of(self.j, self.canvas.size_hw, points, margin + 0.05)

    # Bags

    def _tote(self, side: int) -> None:
        wrist, scale = self.j.wrists[side], self.j.scale
        top = wrist + np.array([0, 0.10 * scale, 0], np.float32)
        rows = np.array(
            [
                (top[1], wrist[0], 0.062 * scale, 9, wrist[2]),
                (top[1] + 0.14 * scale, wrist[0], 0.07 * scale, 9, wrist[2]),
            ],
            np.float32,
        )
        self._bag(
            rows,
            [
                wrist + np.array((-0.03 * scale, 0.10 * scale, 0)),
                wrist + np.array((0, 0.04 * scale, 0)),
                wrist + np.array((0.03 * scale, 0.10 * scale, 0)),
            ],
        )

    def _shoulder_bag(self) -> None:
        scale, hip = self.j.scale, self.j.hips[0]
        x = self.j.pelvis[0] - (0.075 + self.body.hip * 0.4) * scale * (1 if self.facing >= 0 else -1)
        y = hip[1] - 0.02 * scale
        rows = np.array([(y, x, 0.05 * scale, 9, 0), (y + 0.09 * scale, x, 0.056 * scale, 9, 0)], np.float32)
        far = self.j.shoulders[1] + np.array((0, -0.01 * scale, 0))
        self._bag(rows, [far, np.array([x, y, 0])])

    def _backpack(self) -> None:
        scale, neck = self.j.scale, self.j.neck
        back = np.sin(self.j.yaw)
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
        self._bag(rows, [])

    def _bag(self, rows: Floats, strap: list[Floats]) -> None:
        corners = np.stack([rows[:, 1], rows[:, 0]], 1)
        points = np.concatenate([corners, np.stack(strap)[:, :2]]) if strap else corners
        patch = shapes.patch_of(self.j, self.canvas.size_hw, points.astype(np.float32), 0.09)
        if patch is None:
            return
        cloth, scale = self.outfit.bag_cloth, self.j.scale
        if strap:
            line = np.stack(strap).astype(np.float32)
            band = tube(patch, line, np.full(len(line), max(0.006 * scale, 0.8), np.float32))
            self.canvas.paint(patch, band, cloth.colours[0] * 0.6, shadow=0.006 * scale)
        surface = column(patch, rows, squareness=6)
        albedo = cloth.albedo(surface.angle * 0.06, surface.along / scale, 1 / scale)
        self.canvas.paint(patch, surface, albedo, sheen=0.4, shadow=0.02 * scale)


def _near_joint(t: Floats) -> Floats:
    """About 1 near the middle and the end of a limb, where cloth bunches, else less; `t` in body heights along it."""
    return (0.08 + np.exp(-(((t - 0.17) / 0.05) ** 2)) + np.exp(-(((t - 0.42) / 0.06) ** 2))).astype(np.float32)
