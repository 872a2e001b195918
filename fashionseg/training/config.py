"""Detectron2's config for a recipe and a data set.

Knows `CfgNode` and which keys follow from data and machine. Knows nothing about loaders, trainers or files of a run.
"""

from __future__ import annotations

from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any

import torch
from detectron2 import model_zoo
from detectron2.config import get_cfg

from fashionseg.errors import TrainingError

if TYPE_CHECKING:
    from fashionseg.training.dataset import TrainingSet
    from fashionseg.training.recipe import Recipe


SAMPLERS = ("TrainingSampler", "RepeatFactorTrainingSampler")
"""Those of Detectron2's samplers that can be continued after a stop."""


_NAMED_ELSEWHERE = {
    "MODEL.WEIGHTS": "--weights",
    "MODEL.DEVICE": "--device",
    "SEED": "--seed",
    "OUTPUT_DIR": "-o",
    "DATASETS.TRAIN": "--train",
    "DATASETS.TEST": "--val",
}
"""Keys that a run sets itself, and the option that says to what."""

_SWITCHES = {
    "INPUT.CROP.ENABLED": 'augmentation.method = "warp" crops',
    "TEST.AUG.ENABLED": "validation looks at each photo once",
    "TEST.PRECISE_BN.ENABLED": "a network that is measured has the running statistics, averaged by ema.decay",
    "MODEL.KEYPOINT_ON": "only boxes and masks are learnt",
    "MODEL.LOAD_PROPOSALS": "proposals are learnt",
}
"""What Detectron2 can switch on and this trainer does not do, and what there is instead."""


def build_config(
    recipe: Recipe, data: TrainingSet | None = None, device: str = "", seed: int = 0, run: str = ""
) -> Any:
    """Detectron2's `CfgNode` of a recipe, complete and frozen.

    Args:
        recipe: what to build.
        data: sets the number of classes and, where masks are RLE, the mask format; None leaves the recipe's.
        device: "cpu", "cuda", "cuda:1"; "" takes a GPU where there is one.
        seed: of samplers, augmentation and the network's own randomness.
        run: output folder.

    Raises:
        TrainingError: a key that Detectron2 does not have, a value of the wrong kind, or classes that do not match.
    """
    cfg = get_cfg()
    if recipe.base:
        try:
            cfg.merge_from_file(model_zoo.get_config_file(recipe.base))
        except RuntimeError:
            raise TrainingError(f"recipe {recipe.name}: Detectron2's model zoo has no config {recipe.base!r}") from None
    for key, value in recipe.detectron2_keys().items():
        _set(cfg, key, value, recipe.name)
    cfg.MODEL.WEIGHTS = ""
    cfg.MODEL.DEVICE = device or ("cuda" if torch.cuda.is_available() else "cpu")
    cfg.SEED = seed
    cfg.OUTPUT_DIR = run
    if data is not None:
        _fit_to_data(cfg, recipe, data)
    _require_sense(cfg, recipe.name)
    cfg.freeze()
    return cfg


def _set(cfg: Any, key: str, value: Any, name: str) -> None:
    if key in _NAMED_ELSEWHERE:
        raise TrainingError(f"recipe {name}: {key} is not set in a recipe: use {_NAMED_ELSEWHERE[key]}")
    *parents, leaf = key.split(".")
    node = cfg
    for parent in parents:
        node = node.get(parent) if hasattr(node, "get") else None
        if node is None:
            raise TrainingError(f"recipe {name}: Detectron2 has no config key {key}")
    if leaf not in node:
        raise TrainingError(f"recipe {name}: Detectron2 has no config key {key}")
    if isinstance(node[leaf], float) and type(value) is int:
        value = float(value)
    try:
        cfg.merge_from_list([key, value])
    except (ValueError, AssertionError, KeyError) as error:
        raise TrainingError(f"recipe {name}: {key} cannot be {value!r}: {str(error).splitlines()[0]}") from None


def _require_sense(cfg: Any, name: str) -> None:
    solver = cfg.SOLVER
    for key in ("MAX_ITER", "IMS_PER_BATCH", "CHECKPOINT_PERIOD", "BASE_LR"):
        if solver[key] <= 0:
            raise TrainingError(f"recipe {name}: SOLVER.{key} must be positive, not {solver[key]}")
    if cfg.DATALOADER.SAMPLER_TRAIN not in SAMPLERS:
        raise TrainingError(
            f"recipe {name}: DATALOADER.SAMPLER_TRAIN must be one of {', '.join(SAMPLERS)}, "
            f"not {cfg.DATALOADER.SAMPLER_TRAIN!r}"
        )
    for key, instead in _SWITCHES.items():
        if reduce(getitem, key.split("."), cfg):
            raise TrainingError(f"recipe {name}: {key} cannot be true here: {instead}")


def _fit_to_data(cfg: Any, recipe: Recipe, data: TrainingSet) -> None:
    asked = recipe.detectron2_keys().get("MODEL.ROI_HEADS.NUM_CLASSES")
    if asked is not None and asked != len(data.class_names):
        raise TrainingError(
            f"recipe {recipe.name} is for {asked} classes, {data.source} has {len(data.class_names)} "
            f"({', '.join(data.class_names)}): --set MODEL.ROI_HEADS.NUM_CLASSES={len(data.class_names)}"
        )
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(data.class_names)
    if data.has_rle() or recipe.augmentation.method == "warp" or recipe.semantic.steps:
        cfg.INPUT.MASK_FORMAT = "bitmask"


def uses_mixed_precision(cfg: Any) -> str:
    """ "float32", "bfloat16" or "float16": what `SOLVER.AMP.ENABLED` means on the config's device."""
    if not cfg.SOLVER.AMP.ENABLED:
        return "float32"
    if cfg.MODEL.DEVICE == "cpu" or torch.cuda.is_bf16_supported():
        return "bfloat16"
    return "float16"
