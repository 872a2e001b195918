"""RoiAlign over a feature pyramid without data-dependent shapes.

Detectron2's `ROIPooler` picks the boxes of each level with `nonzero` and runs RoiAlign once a level. Here the levels
are packed into one canvas, and one RoiAlign pools every box from the place of its level. The other way, one RoiAlign a
level over all boxes and adding, takes twice as long on a CPU, since each writes its zeros.
Knows nothing about proposals, classes or heads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from fashionseg.export.boxes import size_of
from fashionseg.export.operators import bordered, reshape, roi_align

if TYPE_CHECKING:
    from detectron2.modeling.poolers import ROIPooler
    from torch import Tensor

OUTSIDE = (-4096.0, -4096.0, -4095.0, -4095.0)
"""A box far outside of the canvas, for rows without a box: RoiAlign yields zeros there. It is one pixel large, so
that adaptive sampling takes a single sample a cell and nothing divides by a size of zero (TensorRT yields NaN)."""

STRIPE = 8.0
"""Height in pixels of the canvas of the stripes that boxes are sorted by."""

WIDEST = 8192.0
"""More than a canvas is wide, in pixels."""


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


class Canvas:
    """The levels of a pyramid packed into one map, one below the other, the finest on top.

    RoiAlign reads up to half a pixel outside of a level and means its border there. It does so by itself at the border
    of the map; wherever a level ends inside of the map its border is repeated, to the right until the map is full:
    so every value is copied once more at most, by a single Concat.

    Attributes:
        features: float32 [N, C, h, w], the packed map.
        corners: float32 [levels, 4], x y x y in pixels of the map of the first pixel of each level; only where there
            are several.
    """

    def __init__(self, levels: list[Tensor]) -> None:
        """`levels`: float32 [N, C, h, w] each, finest first, none higher or wider than the one before."""
        if len(levels) == 1:
            self.features = levels[0]
            return
        finest, *others = levels
        self.features = torch.cat((finest, finest[:, :, -1:], *(bordered(level, finest) for level in others)), 2)
        heights = torch.stack([torch._shape_as_tensor(level)[2:3] for level in levels])  # [levels, 1]
        tops = (heights + 2).cumsum(0) - heights - 2
        self.corners = F.pad(tops.float(), (1, 0)).repeat(1, 2)


class PyramidPooler(torch.nn.Module):
    """What a Detectron2 `ROIPooler` computes, for a fixed number of boxes per picture."""

    def __init__(self, pooler: ROIPooler, rows: int) -> None:
        """`rows`: k, the number of boxes per picture."""
        super().__init__()
        self.rows = rows
        align = pooler.level_poolers[0]
        self.size = int(align.output_size[0])
        self.ratio = max(int(align.sampling_ratio), 0)
        self.register_buffer("borders", torch.tensor(level_areas(pooler)), persistent=False)
        self.register_buffer("scales", torch.tensor([p.spatial_scale for p in pooler.level_poolers]), persistent=False)

    def places(self, canvas: Canvas, boxes: Tensor, present: Tensor) -> Tensor:
        """Where boxes lie in the canvas, each on the level that its area belongs to.

        Args:
            canvas: the levels of the pooler.
            boxes: float32 [N, k, 4] in pixels of the padded batch.
            present: bool [N, k]; other boxes are put outside.

        Returns:
            float32 [N, k, 4], x0 y0 x1 y1 in pixels of the canvas.
        """
        width, height = size_of(boxes)
        present = present[..., None]
        if self.ratio == 0:
            # Adaptive sampling takes no sample of a box without area: its features are zeros.
            present = present & (torch.minimum(width, height) > 0)
        if len(self.borders):
            level = (width * height >= self.borders).long().sum(-1)
            places = boxes * self.scales[:, None][level] + canvas.corners[level]
        else:
            places = boxes * self.scales
        return torch.where(present, places, torch.tensor(OUTSIDE))

    def forward(self, canvas: Canvas, places: Tensor, batch: Tensor) -> Tensor:
        """Pool boxes.

        Args:
            canvas: the levels of the pooler.
            places: float32 [N, k, 4], from `places`.
            batch: int64 [N, 1], the numbers 0 .. N - 1.

        Returns:
            float32 [N * k, C, size, size].
        """
        rows = reshape(batch + torch.zeros(1, self.rows, dtype=torch.int64), (-1,))
        return roi_align(canvas.features, reshape(places, (-1, 4)), rows, self.size, self.ratio)


def reading_order(places: Tensor, count: int) -> Tensor:
    """Indices int64 [N, k] that sort boxes of a canvas, float32 [N, k, 4], by stripes, and by x inside a stripe.

    Neighbours read the same rows of the features: in this order RoiAlign takes a quarter less time on a CPU.
    `count` is k as a number.
    """
    key = torch.floor(places[..., 1] / STRIPE) * WIDEST + places[..., 0]
    return key.topk(count, 1).indices
