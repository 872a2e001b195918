"""Box arithmetic on batches of fixed shape: decode deltas, clip, overlaps, non-maximum suppression.

Plain tensor functions in float32, written so that tracing them yields static shapes and standard ONNX operators:
no boolean indexing, no loop over data. Knows nothing about networks or images.

Shapes: B is any batch axis, k the number of boxes; boxes are x0 y0 x1 y1 in pixels unless said otherwise.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from fashionseg.export.operators import one_minus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

SHIFTED_AT_MOST = 1000
"""torchvision/ops/boxes.py: `batched_nms` shifts boxes where they have no more than 4000 numbers (on a CPU)."""

NMS_STRIP = 175
"""Boxes whose overlaps with all boxes before them are computed at once. More strips compute less, in more nodes."""

NMS_BLOCK = 175
"""Boxes of a strip that are settled at once."""

NMS_ROUNDS = 16
"""Rounds inside a block. Photos need 2 to 12; a block that needs more is reported, never silently wrong."""


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
    low, high = boxes.split(2, -1)
    moves, growths = (deltas / torch.tensor(weights)).split(2, -1)
    size = high - low
    center = moves * size + (low + 0.5 * size)
    half = 0.5 * (torch.exp(growths.clamp(max=scale_clamp)) * size)
    return torch.cat((center - half, center + half), -1)


def clip(boxes: Tensor, sizes_hw: Tensor) -> Tensor:
    """Boxes [N, k, 4] clipped to the picture of their row; `sizes_hw` is float32 [N, 2], height and width in pixels."""
    limits = sizes_hw[:, None, [1, 0, 1, 0]]
    return torch.minimum(F.relu(boxes), limits)


def size_of(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Width and height [..., 1] of boxes [..., 4]."""
    low, high = boxes.split(2, -1)
    width, height = (high - low).split(1, -1)
    return width, height


def threshold_at_most(value: float) -> float:
    """The largest float32 that is not above `value`: `x > value` for float32 x is `x > threshold_at_most(value)`.

    torchvision's NMS compares a float32 overlap with a double threshold; float32(0.6) is above 0.6, and an overlap
    exactly there would be judged otherwise.
    """
    rounded = torch.tensor(value, dtype=torch.float32)
    if rounded.item() > value:
        rounded = torch.nextafter(rounded, torch.tensor(-math.inf))
    return float(rounded)


class Pairs:
    """Boxes taken apart to compare all with all: coordinates and areas as columns [B, k, 1] and as rows [B, 1, k]."""

    def __init__(self, boxes: Tensor, labels: Tensor | None, count: int) -> None:
        """`count` is k as a number."""
        self.count = count
        self.columns = _with_area(boxes.split(1, 2))
        self.rows = _with_area(boxes.transpose(1, 2).split(1, 1))
        if labels is not None:
            self.columns.append(labels[:, :, None])
            self.rows.append(labels[:, None, :])

    def overlaps(self, before: int, strip: slice, threshold: float) -> Tensor:
        """1.0 where a box overlaps another of the same label by an IoU above `threshold`, else 0.0.

        The order of operations is torchvision's, so that rounding decides alike. Two boxes without area (0 / 0) do
        not overlap. A negative width needs no care: it makes the ratio negative.

        Args:
            before: compare boxes 0 .. `before` ...
            strip: ... with these.
            threshold: of the intersection over union.

        Returns:
            float32 [B, j, i] for j boxes before and i of the strip.
        """
        columns = [column if before == self.count else column[:, :before] for column in self.columns]
        rows = [row if strip == slice(0, self.count) else row[:, :, strip] for row in self.rows]
        ax0, ay0, ax1, ay1, area_a, *label_a = columns
        bx0, by0, bx1, by1, area_b, *label_b = rows
        width = torch.minimum(ax1, bx1) - torch.maximum(ax0, bx0)
        height = F.relu(torch.minimum(ay1, by1) - torch.maximum(ay0, by0))
        shared = width * height
        hit = shared / (area_a + area_b - shared) > threshold_at_most(threshold)
        for mine, other in zip(label_a, label_b, strict=True):
            hit = hit & (mine == other)
        return hit.float()


def _with_area(sides: tuple[Tensor, ...]) -> list[Tensor]:
    x0, y0, x1, y1 = sides
    return [x0, y0, x1, y1, (x1 - x0) * (y1 - y0)]


def shifted(boxes: Tensor, groups: Tensor, valid: Tensor, total: Tensor) -> Tensor:
    """Boxes as torchvision's `batched_nms` compares them: those of a group shifted away from all other groups.

    torchvision does so for up to 1000 boxes on a CPU, and compares more of them group by group. The shift rounds
    coordinates, by a few thousandths of a pixel for the last of 80 classes; where an overlap is within that of the
    threshold, the answer is Detectron2's only if the rounding is torchvision's.

    Args:
        boxes: float32 [N, k, 4].
        groups: float32 [..., k, 1], number of each box's group.
        valid: float32 [N, k, 1], 1.0 for boxes that take part.
        total: float32 [N, 1, 1], how many take part, also where `boxes` holds the best of them alone.
    """
    widest = (boxes * valid).amax((1, 2), keepdim=True)
    return boxes + groups * (widest + 1) * (total <= SHIFTED_AT_MOST).float()


def greedy_keep(
    boxes: Tensor, valid: Tensor, threshold: float, count: int, labels: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Greedy non-maximum suppression, exact wherever it says so.

    A box is kept where no kept box before it overlaps it. Boxes are settled in blocks: kept boxes of earlier blocks
    strike out boxes of this one, then a few rounds of "kept: not struck out by what was kept last round" settle the
    block itself. A round that changes nothing has found the one solution. Blocks make rounds cheap (a block's
    overlaps with itself instead of all with all) and few, as chains of suppression inside a block are short; and
    only half of the overlaps is ever computed.

    Args:
        boxes: float32 [B, k, 4], best first.
        valid: float32 [B, 1, k], 1.0 for boxes that take part; others are neither kept nor suppress.
        threshold: IoU above which the later box is suppressed.
        count: k, as a number: a size read off a tensor would be traced as an unknown.
        labels: int64 [B, k], optional: boxes of different labels do not suppress each other.

    Returns:
        kept, float32 [B, 1, k] of 0.0 and 1.0; and exact, float32 [B], 1.0 where every block settled.
    """
    pairs = Pairs(boxes, labels, count)
    kept: list[Tensor] = []
    changes: list[Tensor] = []
    for start, stop in _spans(0, count, NMS_STRIP):
        strip = pairs.overlaps(stop, slice(start, stop), threshold)
        for first, last in _spans(start, stop, NMS_BLOCK):
            hits = strip[:, :last, first - start : last - start] if last < stop or first > start else strip
            free = valid[:, :, first:last]
            if first:
                free = free * one_minus(torch.cat(kept, 2) @ hits[:, :first])
            now, before = _settle(free, hits[:, first:] * _later(last - first), min(NMS_ROUNDS, last - first))
            kept.append(now)
            changes.append(torch.abs(now - before))
    return torch.cat(kept, 2), 1 - torch.cat(changes, 2).amax((1, 2))


def _spans(start: int, stop: int, longest: int) -> Iterator[tuple[int, int]]:
    """`start` .. `stop` in as few parts of nearly equal length as possible, none longer than `longest`."""
    parts = -(-(stop - start) // longest)
    borders = [start + (stop - start) * part // parts for part in range(parts + 1)]
    return itertools.pairwise(borders)


def _later(count: int) -> Tensor:
    """1.0 at [j, i] where box i comes after box j: only those can be suppressed by it."""
    return torch.triu(torch.ones(count, count), 1)


def _settle(free: Tensor, hits: Tensor, rounds: int) -> tuple[Tensor, Tensor]:
    """The last two rounds of `greedy_keep` in one block.

    Args:
        free: float32 [B, 1, i], 1.0 for boxes that no earlier block suppressed.
        hits: float32 [B, i, i], 1.0 where the first box would suppress the second.
        rounds: how many.

    Returns:
        float32 [B, 1, i] each, 1.0 for kept boxes, after the last round and after the one before.
    """
    hits = hits * free.transpose(1, 2)  # a box that is not free strikes out nothing, whatever a round says of it
    before = now = free
    for _ in range(rounds):
        before, now = now, one_minus(now @ hits)
    return free * now, free * before
