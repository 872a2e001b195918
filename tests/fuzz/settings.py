"""TOML files to damage, and how all that read TOML read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import cv2
import stubs
from fuzz.mutations import blind, damaged_toml

from fashionseg.cli.segment import segment
from fashionseg.data.convert.classes import deepfashion2_classes
from fashionseg.errors import FashionsegError
from fashionseg.training.recipe import read_recipe, recipe_names

if TYPE_CHECKING:
    import random
    from pathlib import Path


KEYS = (
    *("conf", "classes", "batch", "device", "threads", "save", "hide", "vid-stride", "start", "end", "encoder", "gt"),
    *("restart", "dry-run", "quiet", "json", "output", "model", "defaults", "sources"),
    *(
        "name",
        "augmentation",
        "optimizer",
        "ema",
        "validation",
        "semantic",
        "detectron2",
        "scale",
        "canvas_hw",
        "decay",
    ),
    *("metric", "SOLVER.BASE_LR", "keep_checkpoints", "learning_rate"),
)
"""Of defaults and of recipes."""


def seeds() -> list[bytes]:
    """Defaults of `segment`, all recipes, a class mapping."""
    recipes = [read_recipe(name).to_toml().encode() for name in recipe_names()]
    return [
        b'conf = 0.4\nclasses = ["shirt", "7"]\nbatch = 2\nhide = "boxes"\nvid-stride = 3\nstart = "0:01"\n',
        *recipes,
        b"name = 'x'\n[augmentation]\nscale = [0.5, 2]\ncanvas_hw = [64, 64]\n[ema]\ndecay = 0.9\n",
        b"top = ['vest', 'sling']\nskirt = 9\nother = [1, 'trousers']\n",
    ]


def damage(seeds: list[bytes], rng: random.Random) -> bytes:
    """Other values and keys, or blind damage."""
    if rng.random() < 0.15:
        return blind(seeds, rng)
    return damaged_toml(rng.choice(seeds).decode(), KEYS, rng).encode("utf-8", "surrogatepass")


def read(path: Path) -> None:
    """By all three readers of TOML: none may fail over what is meant for another.

    Raises:
        FashionsegError: all refuse it.
    """
    refused = 0
    for reader in (read_defaults, read_recipe_file, read_mapping_file):
        try:
            reader(path)
        except (FashionsegError, click.ClickException):
            refused += 1
    if refused == 3:
        raise FashionsegError("all refuse it")


def read_defaults(path: Path) -> None:
    """As `segment --defaults`: everything is parsed, nothing is run."""
    photo = path.parent / "photo.png"
    if not photo.exists():
        cv2.imwrite(str(photo), stubs.picture((8, 8)))
    with segment.make_context("segment", [str(photo), "-o", str(path.parent / "out"), "--defaults", str(path)]):
        pass


def read_recipe_file(path: Path) -> None:
    """As `train --recipe`, and written back."""
    recipe = read_recipe(path)
    recipe.detectron2_keys()
    path.with_name("again.toml").write_text(recipe.to_toml(), encoding="utf-8")


def read_mapping_file(path: Path) -> None:
    """As `data convert --classes`."""
    deepfashion2_classes(str(path))
