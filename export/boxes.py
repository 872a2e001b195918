"""Box arithmetic on batches of fixed shape: decode deltas, clip, area, overlaps, non-maximum suppression.

Plain tensor functions in float32, written so that tracing them yields static shapes and standard ONNX operators:
no boolean indexing, no loop over data. Knows nothing about networks or images.

Shapes: B is any batch axis, k the number of boxes; boxes are x0 y0 x1 y1 in pixels unless said otherwise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from torch import Tensor

NMS_BLOCK = 125
"""Boxes that one block of `greedy_keep` settles at once: 8 blocks for the usual 1000 candidates."""

NMS_ROUNDS = 12
"""Rounds inside a block. Photos need 2 to 6; a block that needs more is reported, never silently wrong."""


def decode(deltas: Tensor, boxes: Tensor, weights: tuple[float, ...], scale_clamp: float) -> Tensor:
    """Apply regression deltas to boxes with the arithmetic of Detectron2's `Box2BoxTransform.apply_deltas`.

    Args:
        deltas: float32 [..., 4], dx dy dw dh scaled by `weights`.
        boxes: float32 [..., 4].
        weights: the four divisors of the deltas.
        scale_clamp: largest dw and dh, so that exp does not overflow.

    Returns:
        float32 [..., 4], not clipped.
    """
    x0, y0, x1, y1 = boxes.unbind(-1)
    width, height = x1 - x0, y1 - y0
    dx, dy, dw, dh = (delta / weight for delta, weight in zip(deltas.unbind(-1), weights, strict=True))
    center_x = dx * width + (x0 + 0.5 * width)
    center_y = dy * height + (y0 + 0.5 * height)
    half_width = 0.5 * (torch.exp(dw.clamp(max=scale_clamp)) * width)
    half_height = 0.5 * (torch.exp(dh.clamp(max=scale_clamp)) * height)
    return torch.stack(
        (center_x - half_width, center_y - half_height, center_x + half_width, center_y + half_height), -1
    )


def clip(boxes: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes [N, k, 4] clipped to the picture of their row; `sizes_hw` is float32 [N, 2], height and width in pixels."""
    limits = sizes_hw.flip(1).repeat(1, 2)[:, None]  # w h w h
    return torch.minimum(F.relu(boxes), limits)


def sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height [...] of boxes [..., 4]."""
    x0, y0, x1, y1 = boxes.unbind(-1)
    return x1 - x0, y1 - y0


def threshold_at_most(value: float) -> float:
    """The largest float32 that is not above `value`: `x > value` for float32 x is `x > threshold_at_most(value)`.

    torchvision's NMS compares a float32 overlap with a double threshold; float32(0.6) is above 0.6, and an overlap
    exactly there would be judged otherwise.
    """
    rounded = torch.tensor(value, dtype=torch.float32)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.tensor(-math.inf))
    return rounded.item()


def overlapping(first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """1.0 where the IoU of two boxes is above `threshold`, in torchvision's order of operations.

    Args:
        first: float32 [B, j, 4].
        second: float32 [B, i, 4].

    Returns:
        float32 [B, j, i] of 0.0 and 1.0. Two empty boxes (0 / 0) do not overlap.
    """
    ax0, ay0, ax1, ay1 = (c[:, :, None] for c in first.unbind(-1))
    bx0, by0, bx1, by1 = (c[:, None, :] for c in second.unbind(-1))
    width = F.relu(torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0))
    height = F.relu(torch.minimum(ay1, by1) - torch.maximum(ay0, by0))
    shared = width * height
    areas = (ax1 - ax0) * (ay1 - ay0) + (bx1 - bx0) * (by1 - by0)
    return (shared / (areas - shared) > threshold_at_most(threshold)).float()


def greedy_keep(boxes: Tensor, valid: Tensor, threshold: float, labels: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression, exact wherever it says so.

    A box is kept where no kept box before it overlaps it. Boxes are settled in blocks: kept boxes of earlier blocks
    strike out boxes of this one, then a few rounds of "kept: not struck out by what was kept last round" settle the
    block itself. A round that changes nothing has found the one solution. Blocks make rounds cheap (a block's
    overlaps with itself instead of all with all) and few, as chains of suppression inside a block are short; and
    only half of the overlaps is ever computed.

    Args:
        boxes: float32 [B, k, 4], best first.
        valid: float32 [B, k], 1.0 for boxes that take part; others are neither kept nor suppress.
        threshold: IoU above which the later box is suppressed.
        labels: [B, k], optional: boxes of different labels do not suppress each other.

    Returns:
        kept, float32 [B, k] of 0.0 and 1.0; and exact, float32 [B], 1.0 where every block settled.
    """
    count = boxes.shape[1]
    kept: list[Tensor] = []
    changes: list[Tensor] = []
    for start in range(0, count, NMS_BLOCK):
        stop = min(start + NMS_BLOCK, count)
        hits = overlapping(boxes[:, :stop], boxes[:, start:stop], threshold)
        if labels is not None:
            hits = hits * (labels[:, :stop, None] == labels[:, None, start:stop]).float()
        free = valid[:, None, start:stop]
        if start:
            free = F.relu(free - torch.cat(kept, 2) @ hits[:, :start])
        inside = torch.triu(torch.ones(stop - start, stop - start), 1) * hits[:, start:stop]
        now, before = _settle(free, inside)
        kept.append(now)
        changes.append(torch.abs(now - before).sum((1, 2)))
    return torch.cat(kept, 2)[:, 0], 1 - torch.stack(changes, 1).sum(1).clamp(max=1)


def _settle(free: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The last two rounds of `greedy_keep` in one block: `free` [B, 1, i], `inside` [B, j, i] with j before i only.

    Counts of hits are whole numbers, so relu(free - hits) is 1.0 for a free box without a hit, else 0.0.
    """
    before = now = free
    for _ in range(min(NMS_ROUNDS, inside.shape[1])):
        before, now = now, F.relu(free - now @ inside)
    return now, before
