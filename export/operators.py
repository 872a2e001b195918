"""ONNX operators that torch's exporter would spell with many nodes, or not at all.

Each is a function of tensors with a symbolic form: in PyTorch it computes, while tracing it becomes one node. A small
model spends a fifth of its time on the overhead of small nodes, which is why this matters.
Knows nothing about boxes or networks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import pad
from torchvision.ops import roi_align as torchvision_roi_align

if TYPE_CHECKING:
    from torch import Tensor


def rows_at(rows: Tensor, index: Tensor) -> Tensor:
    """Rows of `rows` [N, n, ...] at `index` int64 [N, k]: [N, k, ...]. One GatherND."""
    return _RowsAt.apply(rows, index)


def reshape(values: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Reshape with ONNX's meaning of 0: that axis stays as it is. One Reshape with a constant shape."""
    return _Reshape.apply(values, shape)


def one_minus(values: Tensor) -> Tensor:
    """1 - x, limited to 0 .. 1. One HardSigmoid."""
    return _OneMinus.apply(values)


def roi_align(features: Tensor, boxes: Tensor, batch: Tensor, size: int, ratio: int) -> Tensor:
    """RoiAlign with half-pixel alignment ("ROIAlignV2").

    Args:
        features: float32 [N, C, h, w].
        boxes: float32 [R, 4], x0 y0 x1 y1 in pixels of `features`.
        batch: int64 [R], which of the N maps each box lies in.
        size: height and width of the result.
        ratio: samples per cell and axis; 0 adapts it to the size of the box.

    Returns:
        float32 [R, C, size, size].
    """
    return _RoiAlign.apply(features, boxes, batch, size, ratio)


def bordered(level: Tensor, widest: Tensor) -> Tensor:
    """A map with its border repeated: a row above and below, and columns on the right up to a width. One Pad.

    Args:
        level: [N, C, h, w].
        widest: [..., W], W >= w.

    Returns:
        [N, C, h + 2, W].
    """
    return _Bordered.apply(level, widest)


class _RowsAt(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, index: Tensor) -> Tensor:
        return rows[torch.arange(len(rows))[:, None], index]

    @staticmethod
    def symbolic(g: Any, rows: Any, index: Any) -> Any:
        last = g.op("Constant", value_t=torch.tensor([-1]))
        output = g.op("GatherND", rows, g.op("Unsqueeze", index, last), batch_dims_i=1)
        sizes = rows.type().sizes()
        return _typed(output, rows, [None, None, *sizes[2:]] if sizes else None)


class _Reshape(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, shape: tuple[int, ...]) -> Tensor:
        return values.reshape([size or values.shape[axis] for axis, size in enumerate(shape)])

    @staticmethod
    def symbolic(g: Any, values: Any, shape: tuple[int, ...]) -> Any:
        output = g.op("Reshape", values, g.op("Constant", value_t=torch.tensor(shape)))
        return _typed(output, values, [size if size > 0 else None for size in shape])


class _OneMinus(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return (1 - values).clamp(0, 1)

    @staticmethod
    def symbolic(g: Any, values: Any) -> Any:
        output = g.op("HardSigmoid", values, alpha_f=-1.0, beta_f=1.0)
        output.setType(values.type())
        return output


class _Bordered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, level: Tensor, widest: Tensor) -> Tensor:
        return pad(level, (0, widest.shape[3] - level.shape[3], 1, 1), mode="replicate")

    @staticmethod
    def symbolic(g: Any, level: Any, widest: Any) -> Any:
        widths = [g.op("Shape", values, start_i=3, end_i=4) for values in (widest, level)]
        fixed = g.op("Constant", value_t=torch.tensor([0, 0, 1, 0, 0, 0, 1]))  # in front of each axis, then behind
        pads = g.op("Concat", fixed, g.op("Sub", *widths), axis_i=0)
        sizes = level.type().sizes()
        return _typed(g.op("Pad", level, pads, mode_s="edge"), level, sizes and [*sizes[:2], None, None])


class _RoiAlign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, boxes: Tensor, batch: Tensor, size: int, ratio: int) -> Tensor:
        rois = torch.cat((batch[:, None].to(boxes.dtype), boxes), 1)
        return torchvision_roi_align(features, rois, size, 1.0, ratio, True)

    @staticmethod
    def symbolic(g: Any, features: Any, boxes: Any, batch: Any, size: int, ratio: int) -> Any:
        output = g.op(
            "RoiAlign",
            features,
            boxes,
            batch,
            coordinate_transformation_mode_s="half_pixel",
            mode_s="avg",
            output_height_i=size,
            output_width_i=size,
            sampling_ratio_i=max(ratio, 0),
            spatial_scale_f=1.0,
        )
        return _typed(output, boxes, [None, None, size, size])


def _typed(output: Any, like: Any, sizes: list[int | None] | None) -> Any:
    """`output` with the element type of `like` and `sizes`: what torch's exporter needs to know further on."""
    if sizes is not None:
        output.setType(like.type().with_sizes(sizes))
    return output
