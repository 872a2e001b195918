"""RoIAlign over a feature pyramid without data-dependent shapes.

Detectron2's `ROIPooler` picks the boxes of each level with `nonzero`. Here every level pools all boxes, those of
other levels moved outside the picture, where RoIAlign yields zeros, and the levels are added: adding zeros is exact.
Knows nothing about proposals, classes or heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torchvision.ops import roi_align

if TYPE_CHECKING:
    from detectron2.modeling.poolers import ROIPooler
    from torch import Tensor

OUTSIDE = (-4096.0, -4096.0, -4095.0, -4095.0)
"""A box far outside: one pixel large, so that adaptive sampling takes a single sample a cell and no division by a
zero size occurs (TensorRT's RoiAlign yields NaN there)."""


class _RoiAlign(torch.autograd.Function):
    """`torchvision.ops.roi_align` that is traced into one ONNX RoiAlign with INT64 batch indices."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, boxes: Tensor, batch: Tensor, size: int, scale: float, ratio: int, aligned: bool
    ) -> Tensor:
        rois = torch.cat((batch[:, None].to(boxes.dtype), boxes), 1)
        return roi_align(features, rois, size, scale, ratio, aligned)

    @staticmethod
    def symbolic(
        g: Any, features: Any, boxes: Any, batch: Any, size: int, scale: float, ratio: int, aligned: bool
    ) -> Any:
        output = g.op(
            "RoiAlign",
            features,
            boxes,
            batch,
            coordinate_transformation_mode_s="half_pixel" if aligned else "output_half_pixel",
            mode_s="avg",
            output_height_i=size,
            output_width_i=size,
            sampling_ratio_i=max(ratio, 0),
            spatial_scale_f=scale,
        )
        output.setType(boxes.type().with_sizes([None, None, size, size]))
        return output


def level_areas(pooler: ROIPooler) -> list[float]:
    """The smallest float32 box area that Detectron2 assigns to each level after the first.

    Detectron2 assigns `floor(4 + log2(sqrt(area) / 224 + 1e-8))`, in float32. Comparing the area with the borders
    found here by bisection over float32 gives its answer for every box, also where rounding decides.
    """
    from detectron2.modeling.poolers import assign_boxes_to_levels
    from detectron2.structures import Boxes

    def level(bits: int) -> int:
        area = torch.tensor([bits], dtype=torch.int32).view(torch.float32)
        box = Boxes(torch.cat((torch.zeros(2), torch.ones(1), area))[None])
        assigned = assign_boxes_to_levels(
            [box], pooler.min_level, pooler.max_level, pooler.canonical_box_size, pooler.canonical_level
        )
        return int(assigned)

    borders = []
    for target in range(1, pooler.max_level - pooler.min_level + 1):
        low, high = 0, 0x7F7FFFFF  # positive float32 compare as their bit patterns do
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if level(middle) >= target else (middle, high)
        borders.append(torch.tensor([high], dtype=torch.int32).view(torch.float32).item())
    return borders


class PyramidPooler(torch.nn.Module):
    """What a Detectron2 `ROIPooler` computes, for a fixed number of boxes per picture."""

    def __init__(self, pooler: ROIPooler) -> None:
        super().__init__()
        align = pooler.level_poolers[0]
        self.size = int(align.output_size[0])
        self.ratio = int(align.sampling_ratio)
        self.aligned = bool(align.aligned)
        self.scales = [float(p.spatial_scale) for p in pooler.level_poolers]
        self.borders = level_areas(pooler)

    def forward(self, features: list[Tensor], boxes: Tensor, valid: Tensor) -> Tensor:
        """Pool boxes from the level their area belongs to.

        Args:
            features: per level float32 [N, C, h, w].
            boxes: float32 [N, k, 4] in pixels of the padded batch.
            valid: bool [N, k]; other boxes yield zeros.

        Returns:
            float32 [N * k, C, size, size].
        """
        count, rows = boxes.shape[0], boxes.shape[1]
        batch = torch.arange(count, device=boxes.device)[:, None].expand(count, rows).reshape(-1)
        width, height = boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1]
        area = width * height
        if self.aligned and self.ratio <= 0:
            # A box without area has no samples with adaptive sampling: its features are zero in Detectron2 too.
            valid = valid & (torch.minimum(width, height) > 0)
        outside = torch.tensor(OUTSIDE)
        pooled = None
        for level, (scale, feature) in enumerate(zip(self.scales, features, strict=True)):
            mine = valid
            if level > 0:
                mine = mine & (area >= self.borders[level - 1])
            if level < len(self.borders):
                mine = mine & (area < self.borders[level])
            rois = torch.where(mine[..., None], boxes, outside).reshape(-1, 4)
            cells = _RoiAlign.apply(feature, rois, batch, self.size, scale, self.ratio, self.aligned)
            pooled = cells if pooled is None else pooled + cells
        assert pooled is not None
        return pooled
