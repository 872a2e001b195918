"""From a record to what the model takes: Detectron2's `DatasetMapper` with the recipe's augmentations, seeded.

Knows loaders and augmentations. Knows nothing about models, steps or files a run leaves behind.
"""

# ruff: noqa: NPY002 - Detectron2's augmentations draw from numpy's global generator, so ours must

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from detectron2.data import DatasetMapper, build_detection_train_loader
from detectron2.data import detection_utils as utils
from detectron2.structures import BitMasks, Boxes, Instances, PolygonMasks
from detectron2.utils import comm

from fashionseg.data.label_map import read_label_map
from fashionseg.errors import DataError
from fashionseg.training.augment import RandomColour, RandomWarp
from fashionseg.training.sampling import (
    CheckedBatches,
    ResumableSampler,
    SeededSamples,
    batch_size_per_worker,
    endless_sampler,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fashionseg.training.recipe import Recipe

MIN_BOX_SIDE = 2.0
"""Pixels of the augmented photo; a garment that shows less than that is no garment to learn from."""


class SeededMapper:
    """Detectron2's mapper whose randomness depends on seed, rank and position in the stream alone."""

    def __init__(self, mapper: DatasetMapper, seed: int) -> None:
        self._mapper, self._seed, self._rank = mapper, seed, comm.get_rank()

    def __call__(self, record: dict[str, Any], position: int) -> dict[str, Any]:
        """The photo as Detectron2's models take it: image uint8 [3, h, w] BGR, instances, and sem_seg if there."""
        state, python_state = np.random.get_state(), random.getstate()
        words = np.random.SeedSequence([self._seed, self._rank, position]).generate_state(4)
        np.random.seed(words)
        random.seed(int(words[0]))
        try:
            return _without_slivers(mapped(self._mapper, record))
        finally:
            np.random.set_state(state)
            random.setstate(python_state)


def mapped(mapper: DatasetMapper, record: dict[str, Any]) -> dict[str, Any]:
    """What Detectron2's mapper makes of a record.

    Raises:
        DataError: the photo or its label map is damaged, or not of the annotated size.
    """
    try:
        sample: dict[str, Any] = mapper(record)
    except (OSError, ValueError, SyntaxError, utils.SizeMismatchError) as error:
        raise DataError(f"cannot use {record['file_name']}: {' '.join(str(error).split())}") from error
    return sample


def mapped_or_error(mapper: DatasetMapper, record: dict[str, Any]) -> dict[str, Any] | DataError:
    """As `mapped`, with the error in the sample's place, for `CheckedBatches`."""
    try:
        return mapped(mapper, record)
    except DataError as error:
        return error


class _Mapper(DatasetMapper):
    """Detectron2's mapper, which cannot recompute the boxes of a photo that has none, nor read palette PNGs."""

    def _transform_annotations(
        self, dataset_dict: dict[str, Any], transforms: Any, image_shape: tuple[int, int]
    ) -> None:
        if "label_map" in dataset_dict:
            labels = _read_labels(dataset_dict.pop("label_map"), dataset_dict)
            dataset_dict["sem_seg"] = torch.as_tensor(transforms.apply_segmentation(labels).astype(np.int64))
        if any(not annotation["iscrowd"] for annotation in dataset_dict["annotations"]):
            super()._transform_annotations(dataset_dict, transforms, image_shape)
            return
        dataset_dict.pop("annotations")
        empty = Instances(image_shape)
        empty.gt_boxes = Boxes(torch.zeros(0, 4))
        empty.gt_classes = torch.zeros(0, dtype=torch.int64)
        bits = BitMasks(torch.zeros(0, *image_shape, dtype=torch.bool))
        empty.gt_masks = bits if self.instance_mask_format == "bitmask" else PolygonMasks([])
        dataset_dict["instances"] = empty


def _read_labels(file: str, record: dict[str, Any]) -> NDArray[np.uint8]:
    labels = read_label_map(Path(file), (record["height"], record["width"]))
    if isinstance(labels, str):
        raise DataError(f"the label map {file} {labels}")
    return labels


def _without_slivers(sample: dict[str, Any]) -> dict[str, Any]:
    instances = sample["instances"]
    sample["instances"] = instances[instances.gt_boxes.nonempty(MIN_BOX_SIDE)]
    return sample


def training_mapper(cfg: Any, recipe: Recipe, canvas_hw: tuple[int, int]) -> SeededMapper:
    """The mapper that a recipe asks for; `canvas_hw` is used by the "warp" method."""
    rule = recipe.augmentation
    warp = rule.method == "warp"
    geometry = [RandomWarp(rule, canvas_hw)] if warp else utils.build_augmentation(cfg, is_train=True)
    mapper = _Mapper(
        is_train=True,
        augmentations=[*geometry, RandomColour(rule)],
        image_format=cfg.INPUT.FORMAT,
        use_instance_mask=cfg.MODEL.MASK_ON,
        instance_mask_format=cfg.INPUT.MASK_FORMAT,
        recompute_boxes=warp,
    )
    return SeededMapper(mapper, cfg.SEED)


def training_loader(
    cfg: Any, records: list[dict[str, Any]], mapper: SeededMapper, photos_per_step: int, start_step: int
) -> Iterable[list[dict[str, Any]]]:
    """Detectron2's training loader, beginning with the photos of step `start_step`."""
    lying = [r["width"] > r["height"] for r in records] if cfg.DATALOADER.ASPECT_RATIO_GROUPING else None
    sampler = ResumableSampler(endless_sampler(cfg, records), lying, batch_size_per_worker(photos_per_step), start_step)
    loader = build_detection_train_loader(
        SeededSamples(records, mapper),
        mapper=None,
        sampler=sampler,
        total_batch_size=photos_per_step,
        aspect_ratio_grouping=False,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
    )
    return CheckedBatches(loader)
