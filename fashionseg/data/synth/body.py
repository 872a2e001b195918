"""Bodies and poses: where a figure's joints are.

A `Body` holds proportions in units of its height, a `Pose` angles; `joints` puts both together into points in
pixels. Knows nothing about clothes or colours.

Frame of reference: x to the right of the picture, y down, z towards the viewer. The figure's own left is the viewer's
right when it faces the viewer; sides are named by the picture at yaw 0: side -1 is left in the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fashionseg.data.synth.arrays import Floats


SIDES = (-1, 1)

CAMERA_TILT = 0.10
"""The camera looks slightly down: a point nearer to it by one unit appears this much lower."""


@dataclass(frozen=True, slots=True)
class Body:
    """Proportions, in units of the figure's height.

    Attributes:
        shoulder: half the breadth of the shoulders.
        chest: half the breadth of the chest.
        waist: half the breadth of the waist.
        hip: half the breadth of the hips.
        limb: thickness of arms and legs, 1 is average.
        head: size of the head, 1 is average.
        leg: height of the hip joint.
    """

    shoulder: float = 0.112
    chest: float = 0.092
    waist: float = 0.078
    hip: float = 0.09
    limb: float = 1.0
    head: float = 1.0
    leg: float = 0.52


@dataclass(frozen=True, slots=True)
class Arm:
    """Angles of an arm in radians: away from the body, forwards, bend of the elbow, and where the elbow bends to: 0 is
    forwards, pi/2 inwards; `pocket` hides the hand.
    """

    out: float = 0.10
    forward: float = 0.0
    bend: float = 0.15
    inward: float = 0.0
    pocket: bool = False


@dataclass(frozen=True, slots=True)
class Leg:
    """Angles of a leg in radians: away from the body, forwards, bend of the knee."""

    out: float = 0.03
    forward: float = 0.0
    bend: float = 0.0


@dataclass(frozen=True, slots=True)
class Pose:
    """How a body stands.

    Attributes:
        yaw: radians the body is turned; 0 faces the viewer, pi/2 looks to the right of the picture.
        lean: radians the spine leans sideways.
        head_yaw: radians the head is turned further.
        arms: of side -1 and 1.
        legs: of side -1 and 1.
    """

    yaw: float = 0.0
    lean: float = 0.0
    head_yaw: float = 0.0
    arms: tuple[Arm, Arm] = (Arm(), Arm())
    legs: tuple[Leg, Leg] = (Leg(), Leg())


@dataclass(frozen=True, slots=True)
class Joints:
    """Points of a figure in pixels, float32 [3] (x, y, z); pairs are indexed by 0 (side -1) and 1 (side 1).

    `scale` is pixels per body height; `yaw` as in the pose.
    """

    scale: float
    yaw: float
    head_yaw: float
    head: Floats
    neck: Floats
    waist: Floats
    pelvis: Floats
    shoulders: tuple[Floats, Floats]
    elbows: tuple[Floats, Floats]
    wrists: tuple[Floats, Floats]
    hips: tuple[Floats, Floats]
    knees: tuple[Floats, Floats]
    ankles: tuple[Floats, Floats]
    toes: tuple[Floats, Floats]

    def spine_x(self, y: Floats) -> Floats:
        """x of the middle of the torso at rows y, all in pixels."""
        points = np.stack([self.neck, self.waist, self.pelvis])
        return np.asarray(np.interp(y, points[:, 1], points[:, 0]), np.float32)


def joints(body: Body, pose: Pose, foot_xy: tuple[float, float], scale: float) -> Joints:
    """Joints of a body in a pose, standing with its feet about `foot_xy`, `scale` pixels tall."""
    up = _Frame(pose, scale)
    hips, knees, ankles, toes = zip(
        *(_leg(body, leg, side) for leg, side in zip(pose.legs, SIDES, strict=True)), strict=True
    )
    ground = min(float(ankle[1]) for ankle in ankles) - 0.04
    pelvis = np.array([0, body.leg, 0])
    spine = np.array([np.sin(pose.lean), np.cos(pose.lean), 0])
    waist, neck = pelvis + 0.10 * spine, pelvis + (0.848 - 0.52) * spine
    head = neck + np.array([0.3 * np.sin(pose.lean), 0.088 + 0.01 * (body.head - 1), 0.012])
    shoulders, elbows, wrists = zip(
        *(_arm(body, arm, side, neck) for arm, side in zip(pose.arms, SIDES, strict=True)), strict=True
    )

    def place(point: Floats) -> Floats:
        return up.place(point, ground, foot_xy)

    def pair(points: tuple[Floats, ...]) -> tuple[Floats, Floats]:
        return place(points[0]), place(points[1])

    return Joints(
        scale, pose.yaw, pose.yaw + pose.head_yaw, place(head), place(neck), place(waist), place(pelvis),
        pair(shoulders), pair(elbows), pair(wrists), pair(hips), pair(knees), pair(ankles), pair(toes),
    )  # fmt: skip


class _Frame:
    """Body units to picture pixels for one pose."""

    def __init__(self, pose: Pose, scale: float) -> None:
        self.cos, self.sin, self.scale = np.cos(pose.yaw), np.sin(pose.yaw), scale

    def place(self, point: Floats, ground: float, foot_xy: tuple[float, float]) -> Floats:
        """Picture coordinates of a point given in body units, y up."""
        x = point[0] * self.cos + point[2] * self.sin
        z = -point[0] * self.sin + point[2] * self.cos
        y = foot_xy[1] - (point[1] - ground) * self.scale + CAMERA_TILT * z * self.scale
        return np.array([foot_xy[0] + x * self.scale, y, z * self.scale], np.float32)


def _leg(body: Body, leg: Leg, side: int) -> tuple[Floats, Floats, Floats, Floats]:
    hip = np.array([side * 0.56 * body.hip, body.leg, 0])
    thigh, shin = 0.455 * body.leg, 0.46 * body.leg
    knee = hip + thigh * np.array([side * np.sin(leg.out), -np.cos(leg.out) * np.cos(leg.forward), np.sin(leg.forward)])
    below = leg.forward - leg.bend
    ankle = knee + shin * np.array([side * np.sin(leg.out) * 0.6, -np.cos(below), np.sin(below)])
    lift = np.clip(0.6 * leg.bend - 0.2, 0, 0.8)
    toe = ankle + np.array([side * 0.02, -0.030 - 0.04 * lift, 0.078 * np.cos(lift)])
    return hip, knee, ankle, toe


def _arm(body: Body, arm: Arm, side: int, neck: Floats) -> tuple[Floats, Floats, Floats]:
    shoulder = neck + np.array([side * (body.shoulder - 0.021), -0.042, -0.004])
    down = np.array([side * np.sin(arm.out), -np.cos(arm.out) * np.cos(arm.forward), np.sin(arm.forward)])
    down = down / np.linalg.norm(down)
    elbow = shoulder + 0.165 * down
    towards = np.array([-side * np.sin(arm.inward), 0.0, np.cos(arm.inward)])
    bend = towards - (towards @ down) * down
    lower = np.cos(arm.bend) * down + np.sin(arm.bend) * bend / max(float(np.linalg.norm(bend)), 1e-3)
    wrist = elbow + 0.145 * lower
    return shoulder, elbow, wrist
