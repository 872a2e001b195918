"""A short film: three people in a street, walking and turning, frame by frame with exact masks.

Knows who walks where. Knows nothing about codecs; `video.py` encodes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from fashionseg.data.synth import places, props
from fashionseg.data.synth.body import Arm, Leg, Pose
from fashionseg.data.synth.canvas import Canvas, Light
from fashionseg.data.synth.cast import cast
from fashionseg.data.synth.figure import draw_figure
from fashionseg.data.synth.people import walking_pose
from fashionseg.data.synth.scene import Scene, instances_of, to_srgb

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fashionseg.data.synth.arrays import Floats
    from fashionseg.data.synth.sitter import Person


SIZE_HW = (360, 640)
FPS = 25
SECONDS = 7

FOCAL = 1060.0
"""Pixels: a person `z` body heights away appears FOCAL / z pixels tall."""

HORIZON, EYE = 54.0, 0.90
"""Row of the horizon, and the camera's height in body heights."""

STRIDE = 0.78
"""Body heights walked in two steps; feet do not slide."""

GROUND_TOP = 196.0
OVERSCAN = 40
"""Pixels of background beyond the left and right edge, for the camera to move over."""


@dataclass(frozen=True, slots=True)
class Walk:
    """A straight walk: start (x, z) in body heights, heading (yaw, radians), speed in body heights a second."""

    x: float
    z: float
    yaw: float
    speed: float

    def at(self, time: float) -> tuple[float, float, float]:
        """x, z and the phase of the step."""
        way = self.speed * time
        return self.x + np.sin(self.yaw) * way, self.z - np.cos(self.yaw) * way, 2 * np.pi * way / STRIDE


@dataclass(frozen=True, slots=True)
class Film:
    """Everything that stays the same from frame to frame."""

    background: Floats
    light: Light
    people: tuple[Person, ...]

    def frame(self, index: int) -> Scene:
        """Frame `index`; any frame can be drawn on its own."""
        time = index / FPS
        pan = OVERSCAN * 0.5 * np.sin(2 * np.pi * time / (2 * SECONDS) - np.pi / 2)
        shift = np.array([[1, 0, -OVERSCAN - pan], [0, 1, 0]], np.float32)
        view = cv2.warpAffine(self.background, shift, SIZE_HW[::-1], flags=cv2.INTER_LINEAR)
        canvas, labels = Canvas(view, self.light), list[int]()
        placed = zip(self.people, _moves(time), strict=True)
        for person, (x, z, pose) in sorted(placed, key=lambda item: -item[1][1]):
            scale = FOCAL / z
            foot = (SIZE_HW[1] / 2 + FOCAL * x / z - pan, HORIZON + EYE * scale)
            draw_figure(canvas, person, pose, foot, scale, labels)
        picture = cv2.GaussianBlur(canvas.image, (0, 0), 0.5)
        return Scene(to_srgb(picture * 1.02), instances_of(canvas, labels), "film")


def make_film(seed: int) -> Film:
    """The film of a seed."""
    rng = np.random.default_rng(seed)
    direction = np.array([-0.45, -0.72, 0.55], np.float32)
    light = Light(
        direction / np.linalg.norm(direction),
        np.array([0.86, 0.96, 1.04], np.float32),
        np.array([0.54, 0.50, 0.46], np.float32),
        np.array([0.20, 0.21, 0.22], np.float32),
        0.35,
    )
    return Film(_street(rng), light, cast(rng))


def draw_video_frames(seed: int = 0, frames: int | None = None) -> Iterator[Scene]:
    """The frames of the film one after another, each with its labels; `frames` of them, default all."""
    film = make_film(seed)
    for index in range(FPS * SECONDS if frames is None else frames):
        yield film.frame(index)


def _street(rng: np.random.Generator) -> Floats:
    size = (SIZE_HW[0], SIZE_HW[1] + 2 * OVERSCAN)
    image = np.zeros((*size, 3), np.float32)
    places.sky(image, rng, GROUND_TOP)
    places.facade(image, rng, GROUND_TOP)
    places.ground(image, rng, GROUND_TOP, "paving")
    places.kerb(image, rng, GROUND_TOP + 6)
    props.car(image, rng, GROUND_TOP + 2)
    props.tree(image, rng, GROUND_TOP)
    props.post(image, rng, GROUND_TOP)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1.8), 0.002, 1.1).astype(np.float32)


def _moves(time: float) -> tuple[tuple[float, float, Pose], ...]:
    """x, z and pose of each person, in the order of the cast."""
    return _stroller(Walk(-1.12, 4.5, 0.36, 0.20), time), _model(time), _stroller(Walk(1.33, 4.6, -0.42, 0.21), time)


def _stroller(walk: Walk, time: float) -> tuple[float, float, Pose]:
    x, z, phase = walk.at(time)
    return x, z, walking_pose(phase, walk.yaw, stride=0.36, swing=0.32)


def _model(time: float) -> tuple[float, float, Pose]:
    """Stands, turns to and fro, puts a hand on the hip and waves."""
    yaw = 0.50 * np.sin(2 * np.pi * time / SECONDS)
    hip, wave = _between(time, 0.6, 2.4), _between(time, 3.4, 5.8)
    left = _blend(Arm(0.14, 0.02, 0.20), Arm(0.78, -0.30, 1.55, 1.25), hip)
    waving = Arm(2.15, 0.05, 1.0 + 0.35 * float(np.sin(2 * np.pi * 1.4 * time)), 1.4)
    right = _blend(Arm(0.14, 0.02, 0.20), waving, wave)
    weight = 0.02 * float(np.sin(2 * np.pi * time / 3.5))
    legs = (Leg(0.05 + weight, 0.02, 0.04), Leg(0.05 - weight, 0.0, 0.02))
    return 0.03, 3.40, Pose(float(yaw), weight, 0.25 * float(np.sin(2 * np.pi * time / 4)), (left, right), legs)


def _between(time: float, start: float, end: float, ramp: float = 0.5) -> float:
    """0 outside, 1 inside, with smooth ramps."""
    t = float(np.clip(min(time - start, end - time) / ramp, 0, 1))
    return t * t * (3 - 2 * t)


def _blend(rest: Arm, goal: Arm, share: float) -> Arm:
    def mix(a: float, b: float) -> float:
        return a + share * (b - a)

    return replace(
        rest,
        out=mix(rest.out, goal.out),
        forward=mix(rest.forward, goal.forward),
        bend=mix(rest.bend, goal.bend),
        inward=mix(rest.inward, goal.inward),
    )
