"""Random people and poses.

Knows which angles look like standing, walking or posing. Knows nothing about painting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.synth.body import Arm, Body, Leg, Pose
from fashionseg.data.synth.head import random_look
from fashionseg.data.synth.sitter import Person
from fashionseg.data.synth.wardrobe import plain_outfit, random_outfit

if TYPE_CHECKING:
    from collections.abc import Callable


def random_person(rng: np.random.Generator, *, plain: bool = False) -> Person:
    """A person with a body, a look and clothes; in a `plain_outfit` if asked for."""
    broad, wide = rng.normal(0, 1, 2)
    body = Body(
        shoulder=float(np.clip(0.108 + 0.006 * broad, 0.096, 0.124)),
        chest=float(np.clip(0.090 + 0.006 * broad + 0.004 * wide, 0.078, 0.112)),
        waist=float(np.clip(0.076 + 0.010 * wide, 0.060, 0.108)),
        hip=float(np.clip(0.089 + 0.006 * wide, 0.078, 0.112)),
        limb=float(np.clip(1 + 0.10 * wide, 0.84, 1.28)),
        head=float(np.clip(rng.normal(1.04, 0.05), 0.94, 1.2)),
    )
    return Person(body, random_look(rng), plain_outfit(rng) if plain else random_outfit(rng))


def random_pose(rng: np.random.Generator, *, plain: bool = False) -> Pose:
    """A pose of a person in the street: standing, walking or posing, mostly seen from the front; always if `plain`."""
    legs = _walk(float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.2, 0.5))) if rng.random() < 0.4 else _stand(rng)
    yaw = float(rng.normal(0, 0.35)) if rng.random() < 0.75 else float(rng.uniform(-np.pi, np.pi))
    arms = (_arm(rng), _arm(rng))
    if rng.random() < 0.2:
        arms = (arms[0], arms[0])
    if plain:
        yaw = float(rng.normal(0, 0.2))
    return Pose(yaw, float(rng.normal(0, 0.03)), float(rng.normal(0, 0.25)), arms, legs)


def walking_pose(phase: float, yaw: float, stride: float = 0.42, swing: float = 0.40) -> Pose:
    """A walker's pose at `phase` radians of the step; two steps are 2 pi."""
    legs = _walk(phase, stride)
    arms = (
        Arm(0.12, -swing * np.sin(phase), 0.30 + 0.12 * np.sin(phase)),
        Arm(0.12, swing * np.sin(phase), 0.30 - 0.12 * np.sin(phase)),
    )
    return Pose(yaw, 0.012 * float(np.sin(phase)), 0.0, arms, legs)


def _walk(phase: float, stride: float) -> tuple[Leg, Leg]:
    def leg(at: float) -> Leg:
        lifted = max(0.0, float(np.sin(at + 1.9)))
        return Leg(0.015, stride * float(np.sin(at)), 0.08 + 0.95 * stride * lifted**1.5 * 1.6)

    return leg(phase), leg(phase + np.pi)


def _stand(rng: np.random.Generator) -> tuple[Leg, Leg]:
    wide = rng.uniform(0.0, 0.14)

    def leg() -> Leg:
        bend = float(rng.choice([0.0, rng.uniform(0, 0.4)]))
        return Leg(float(wide * rng.uniform(0.4, 1.2)), float(rng.normal(0.6 * bend, 0.06)), bend)

    return leg(), leg()


def _hanging(rng: np.random.Generator) -> Arm:
    return Arm(float(rng.uniform(0.06, 0.28)), float(rng.normal(0.0, 0.15)), float(rng.uniform(0.05, 0.5)))


def _pocket(rng: np.random.Generator) -> Arm:
    return Arm(
        float(rng.uniform(0.22, 0.34)), float(rng.uniform(-0.25, -0.05)), float(rng.uniform(0.55, 0.75)), 0.35, True
    )


def _akimbo(rng: np.random.Generator) -> Arm:
    return Arm(
        float(rng.uniform(0.6, 0.85)),
        float(rng.uniform(-0.4, -0.1)),
        float(rng.uniform(1.25, 1.7)),
        float(rng.uniform(1.1, 1.45)),
    )


def _holding(rng: np.random.Generator) -> Arm:
    return Arm(
        float(rng.uniform(0.1, 0.3)),
        float(rng.uniform(0.0, 0.3)),
        float(rng.uniform(1.3, 2.2)),
        float(rng.uniform(0.2, 1.1)),
    )


def _raised(rng: np.random.Generator) -> Arm:
    return Arm(
        float(rng.uniform(1.0, 2.3)),
        float(rng.uniform(-0.1, 0.3)),
        float(rng.uniform(0.2, 1.2)),
        float(rng.uniform(-0.5, 0.3)),
    )


_ARMS: tuple[tuple[Callable[[np.random.Generator], Arm], float], ...] = (
    (_hanging, 0.50), (_pocket, 0.16), (_akimbo, 0.12), (_holding, 0.16), (_raised, 0.06),
)  # fmt: skip


def _arm(rng: np.random.Generator) -> Arm:
    index = rng.choice(len(_ARMS), p=[share for _, share in _ARMS])
    return _ARMS[index][0](rng)
