"""What is trained: Detectron2's model, and beside it a head for per-pixel labels that is thrown away afterwards.

Knows forward passes and losses. Knows nothing about data files, optimisers, steps or checkpoints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

IGNORE = 255
"""Label of pixels that no loss looks at."""

_LEVELS = {"p2": 0.5, "p3": 1.0, "p4": 0.5, "p5": 0.25}
"""Pyramid levels that are supervised, and the weight of each."""


class SemanticHead(nn.Module):
    """Per-pixel class logits by one 1x1 convolution a pyramid level, for two labellings at once.

    The fine labelling is that of the label maps; the coarse one is drawn from the garments (0 is background,
    1 + class index a garment), so that photos without a label map teach too.
    """

    def __init__(self, channels: int, fine_weights: torch.Tensor, coarse_weights: torch.Tensor) -> None:
        """Args:
        channels: of every pyramid level.
        fine_weights: float32 [classes of the label maps], weight of each in the loss.
        coarse_weights: float32 [1 + garment classes], weight of each in the loss.
        """
        super().__init__()
        self.split = (len(fine_weights), len(coarse_weights))
        self.register_buffer("fine_weights", fine_weights)
        self.register_buffer("coarse_weights", coarse_weights)
        self.predictors = nn.ModuleDict({level: nn.Conv2d(channels, sum(self.split), 1) for level in _LEVELS})
        for predictor in self.predictors.values():
            nn.init.normal_(predictor.weight, std=0.01)
            nn.init.zeros_(predictor.bias)

    def forward(self, features: dict[str, torch.Tensor], fine: torch.Tensor, coarse: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar.

        Args:
            features: of each level float [n, channels, h / stride, w / stride].
            fine: int64 [n, h, w], `IGNORE` where unknown.
            coarse: int64 [n, h, w].
        """
        total = fine.new_zeros((), dtype=torch.float32)
        for level, weight in _LEVELS.items():
            logits = self.predictors[level](features[level]).float()
            stride = fine.shape[-1] // logits.shape[-1]
            first, second = logits.split(self.split, dim=1)
            total = total + weight * _cross_entropy(first, _thinned(fine, stride), self.fine_weights)
            total = total + weight * _cross_entropy(second, _thinned(coarse, stride), self.coarse_weights)
        return total / sum(_LEVELS.values())


def _thinned(labels: torch.Tensor, stride: int) -> torch.Tensor:
    """The label at the centre of each cell of stride x stride pixels."""
    return labels[:, stride // 2 :: stride, stride // 2 :: stride]


def _cross_entropy(logits: torch.Tensor, target: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean cross-entropy; 0 and not NaN where every pixel is to be ignored."""
    losses = F.cross_entropy(logits, target, weights, ignore_index=IGNORE, reduction="sum")
    known = target != IGNORE
    return losses / weights[target[known]].sum().clamp(min=1.0)


class TrainedNetwork(nn.Module):
    """Detectron2's model with, at will, the semantic loss on the features it computes anyway.

    Attributes:
        detector: Detectron2's `GeneralizedRCNN`.
        semantic: the head, or None.
    """

    def __init__(
        self, detector: Any, semantic: SemanticHead | None, semantic_weight: float, amp: bool, channels_last: bool
    ) -> None:
        """Args:
        detector: Detectron2's model.
        semantic: head for per-pixel labels.
        semantic_weight: of its loss beside the detector's.
        amp: compute in bfloat16 where that is safe.
        channels_last: memory layout of the backbone's input.
        """
        super().__init__()
        self.detector, self.semantic = detector, semantic
        self._weight, self._amp = semantic_weight, amp
        self._features: dict[str, torch.Tensor] = {}
        detector.backbone.register_forward_hook(self._remember)
        if channels_last:
            self.to(memory_format=torch.channels_last)
            detector.backbone.register_forward_pre_hook(_to_channels_last)

    def _remember(self, _module: nn.Module, _inputs: Any, output: dict[str, torch.Tensor]) -> None:
        self._features = output if self.training else {}

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """Losses by name, each a scalar."""
        with torch.autocast(self.detector.device.type, torch.bfloat16, enabled=self._amp):
            losses: dict[str, torch.Tensor] = self.detector(batch)
            if self.semantic is not None:
                size_hw, classes = self._padded_hw(), self.semantic.split[0]
                targets = semantic_targets(batch, size_hw, classes, self.detector.device)
                losses["loss_semantic"] = self._weight * self.semantic(self._features, *targets)
        self._features = {}
        return losses

    def _padded_hw(self) -> tuple[int, int]:
        height, width = self._features["p2"].shape[-2:]
        return 4 * height, 4 * width


class SemanticNetwork(nn.Module):
    """Backbone and FPN of a detector with the semantic loss alone: the stage before the detector's."""

    def __init__(self, detector: Any, semantic: SemanticHead, amp: bool, channels_last: bool) -> None:
        """Args: as in `TrainedNetwork`; the layers of `detector` other than its backbone are not used."""
        super().__init__()
        self.backbone, self.semantic = detector.backbone, semantic
        self._prepare, self._amp = detector.preprocess_image, amp
        self._channels_last = channels_last
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def forward(self, batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The loss by name, a scalar."""
        images = self._prepare(batch).tensor
        if self._channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        size_hw, classes = (images.shape[-2], images.shape[-1]), self.semantic.split[0]
        targets = semantic_targets(batch, size_hw, classes, images.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self._amp):
            return {"loss_semantic": self.semantic(self.backbone(images), *targets)}


def semantic_targets(
    batch: Sequence[dict[str, Any]], size_hw: tuple[int, int], classes: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Fine and coarse labels of a batch, each int64 [n, height, width]; padding and classes unknown are `IGNORE`.

    Args:
        batch: as the loader gives it; `sem_seg` int64 [h, w] may be missing.
        size_hw: height and width of the padded batch.
        classes: number of those that the head knows in the fine labelling.
        device: where the labels are wanted.
    """
    fine = torch.full((len(batch), *size_hw), IGNORE, dtype=torch.int64)
    coarse = torch.full_like(fine, IGNORE)
    for row, sample in enumerate(batch):
        height, width = sample["image"].shape[-2:]
        if "sem_seg" in sample:
            labels = sample["sem_seg"]
            fine[row, :height, :width] = labels.masked_fill(labels >= classes, IGNORE)
        coarse[row, :height, :width] = 0
        instances = sample["instances"]
        for mask, label in zip(instances.gt_masks.tensor, instances.gt_classes, strict=True):
            coarse[row, :height, :width][mask] = label + 1
    return fine.to(device), coarse.to(device)


def _to_channels_last(_module: nn.Module, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
    return (inputs[0].contiguous(memory_format=torch.channels_last),)
