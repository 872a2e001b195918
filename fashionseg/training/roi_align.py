"""RoIAlign as matrix products: what training on a CPU waits for otherwise.

torchvision's CPU operator walks from sample to sample on one core, and its gradient does so again. Bilinear sampling on
a grid is separable, so that a pooled RoI is `Y F X'` for every channel, with weights Y [rows out, height] and X
[columns out, width]: a few large matrix products, forward and backward, on all cores. They do more arithmetic than
needed, and are several times as fast on the small feature maps that one trains with on a CPU.

The definition is that of Mask R-CNN (He et al. 2017, https://arxiv.org/abs/1703.06870, section 3) as torchvision
computes it (torchvision/csrc/ops/cpu/roi_align_kernel.cpp); a test compares both. Knows nothing about training.
"""

from __future__ import annotations

import torch
from detectron2.layers import ROIAlign
from detectron2.modeling.poolers import ROIPooler
from torch import nn

MOST_CELLS = 128 * 128
"""Cells of a feature map beyond which the products cost more than they save."""

MOST_NUMBERS = 1 << 24
"""Numbers between the two products: more RoIs than give that many are pooled in parts."""


class MatrixRoIAlign(nn.Module):
    """Takes the place of a Detectron2 `ROIAlign` with a fixed number of samples; without weights."""

    def __init__(self, plain: ROIAlign) -> None:
        """Args:
        plain: what it stands in for, and what does the work on maps of more than `MOST_CELLS` cells.
        """
        super().__init__()
        self.plain = plain

    def forward(self, features: torch.Tensor, rois: torch.Tensor) -> torch.Tensor:
        """Pool.

        Args:
            features: float [N, C, H, W].
            rois: float [R, 5]: number of the picture, then x1 y1 x2 y2 in pixels of the network's input.

        Returns:
            [R, C, height, width] of the output size, in the dtype of the features.
        """
        height, width = features.shape[-2:]
        if height * width > MOST_CELLS or not len(rois):
            pooled: torch.Tensor = self.plain(features, rois)
            return pooled
        with torch.autocast(features.device.type, enabled=False):
            boxes = rois[:, 1:].float() * self.plain.spatial_scale - (0.5 if self.plain.aligned else 0.0)
            rows = self._weights(boxes[:, 1], boxes[:, 3], self.plain.output_size[0], height)
            columns = self._weights(boxes[:, 0], boxes[:, 2], self.plain.output_size[1], width)
            pictures = rois[:, 0].long()
            maps = features.float().permute(0, 2, 3, 1).contiguous().unbind()
            parts, places = [], []
            for number in pictures.unique().tolist():
                place = torch.nonzero(pictures == number)[:, 0]
                parts.append(_product(rows[place], columns[place], maps[number]))
                places.append(place)
            return torch.cat(parts)[torch.argsort(torch.cat(places))].to(features.dtype)

    def _weights(self, low: torch.Tensor, high: torch.Tensor, bins: int, cells: int) -> torch.Tensor:
        """How much each cell of one axis counts in each bin, float32 [R, bins, cells]; `low` and `high` are [R]."""
        size, samples = high - low, self.plain.sampling_ratio
        if not self.plain.aligned:
            size = size.clamp(min=1.0)
        steps = (torch.arange(bins * samples, device=low.device) + 0.5) / samples
        at = low[:, None] + steps * (size / bins)[:, None]
        inside = (at >= -1) & (at <= cells)
        distance = at.clamp(0, cells - 1)[..., None] - torch.arange(cells, device=low.device)
        weights = (1 - distance.abs()).clamp(min=0) * inside[..., None]
        return weights.view(len(low), bins, samples, cells).mean(2)


def _product(rows: torch.Tensor, columns: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
    """[R, C, height out, width out] of one picture's features [H, W, C]."""
    bins, (height, width, channels) = rows.shape[1], features.shape
    count = max(1, MOST_NUMBERS // (bins * width * channels))
    parts = []
    for some_rows, some_columns in zip(rows.split(count), columns.split(count), strict=True):
        strips = some_rows.reshape(-1, height) @ features.view(height, width * channels)
        parts.append(some_columns[:, None] @ strips.view(-1, bins, width, channels))
    return torch.cat(parts).permute(0, 3, 1, 2)


def use_matrix_roi_align(detector: nn.Module) -> None:
    """Put `MatrixRoIAlign` into a Detectron2 model wherever RoIs are pooled with a fixed number of samples."""
    for module in detector.modules():
        if isinstance(module, ROIPooler):
            for level, plain in enumerate(module.level_poolers):
                if isinstance(plain, ROIAlign) and plain.sampling_ratio > 0:
                    module.level_poolers[level] = MatrixRoIAlign(plain)
