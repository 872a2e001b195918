"""RoIAlign as TensorRT can take it: its plugin by name, or plain operators around GridSample.

TensorRT's importer turns ONNX RoiAlign into a plugin of a library that its Python wheels do not pack
(`libnvinfer_vc_plugin`); naming the plugin outright finds the same code in `libnvinfer_plugin`, which they do.
TensorRT-RTX makes no plugin without a live GPU, so ahead of time only plain operators build. Both rewrite a graph in
memory; the model file keeps the standard operator.

With a fixed number of samples a cell (`sampling_ratio` 2 in the embedded model) the plain operators are the operator up
to rounding: at most 1.0e-5 off on features of unit variance, and box and mask AP of the embedded model on CCP val stay
40.33 and 37.22. Where the operator adapts that number to the box (`sampling_ratio` 0), they are an approximation.
Knows ONNX graphs. Knows nothing about TensorRT's API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import onnx

RoiAlignStyle = Literal["plugin", "grid"]

GRID_SAMPLES = 2
"""Samples a cell and axis of the grid where the operator adapts their number to the box (`sampling_ratio` 0)."""

FAR = -64.0
"""In pixels of the features: a sample here reads nothing but zeros."""


def rewrite_roi_align(model: onnx.ModelProto, style: RoiAlignStyle) -> int:
    """Replace every RoiAlign node in place; returns how many there were.

    Args:
        model: whose RoiAlign nodes read as many boxes of each picture, in order of the pictures (all of ours do).
        style: "plugin" for TensorRT, exact; "grid" for plain operators, with a fixed number of samples a cell.
    """
    nodes, count = [], 0
    for node in model.graph.node:
        if node.op_type != "RoiAlign":
            nodes.append(node)
            continue
        count += 1
        nodes.extend(_plugin(node) if style == "plugin" else _grid(node, model.graph))
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return count


def is_exact(model: onnx.ModelProto, style: RoiAlignStyle) -> bool:
    """Whether RoIAlign in this style samples where the operator does."""
    pooling = [node for node in model.graph.node if node.op_type == "RoiAlign"]
    return style == "plugin" or all(_attributes(node)["sampling_ratio"] for node in pooling)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    from onnx import helper

    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    return {
        "half_pixel": found.get("coordinate_transformation_mode", b"half_pixel") == b"half_pixel",
        "output_height": found.get("output_height", 1),
        "output_width": found.get("output_width", 1),
        "sampling_ratio": found.get("sampling_ratio", 0),
        "spatial_scale": found.get("spatial_scale", 1.0),
    }


def _plugin(node: onnx.NodeProto) -> list[onnx.NodeProto]:
    """The node as plugin `ROIAlign_TRT` (NVIDIA/TensorRT, plugin/roiAlignPlugin), which takes INT32 batch indices."""
    from onnx import TensorProto, helper

    found = _attributes(node)
    features, boxes, batch = node.input
    narrow = f"{node.name}/batch"
    return [
        helper.make_node("Cast", [batch], [narrow], narrow, to=TensorProto.INT32),
        helper.make_node(
            "ROIAlign_TRT",
            [features, boxes, narrow],
            list(node.output),
            node.name,
            plugin_version="2",
            plugin_namespace="",
            coordinate_transformation_mode=int(found["half_pixel"]),
            mode=1,  # average
            output_height=found["output_height"],
            output_width=found["output_width"],
            sampling_ratio=found["sampling_ratio"],
            spatial_scale=found["spatial_scale"],
        ),
    ]


def _grid(node: onnx.NodeProto, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    """The node as GridSample over all sample points of the boxes of a picture, averaged cell by cell."""
    from onnx import numpy_helper, parser

    found = _attributes(node)
    samples = found["sampling_ratio"] or GRID_SAMPLES
    rows, columns = found["output_height"], found["output_width"]
    if rows != columns:
        raise ValueError(f"{node.name}: cells of {rows} x {columns}; only square pooling is written here")
    part = parser.parse_graph(_GRID)
    points = rows * samples
    constants = {
        "scale": np.array(found["spatial_scale"], np.float32),
        "shift": np.array(-0.5 if found["half_pixel"] else 0.0, np.float32),
        "least": np.array(-np.inf if found["half_pixel"] else 1.0, np.float32),
        "steps": ((np.arange(points) + 0.5) / points).astype(np.float32),
        "by_picture": np.array([-1, 4]),
        "halves": np.array([2, 2]),
        "ones": np.array([1, 1]),
        "last": np.array([3]),
        "very_last": np.array([4]),
        "down": np.array([1, 1, points, 1]),
        "across": np.array([1, 1, 1, points]),
        "as_grid": np.array([0, -1, points, 2]),
        "as_cells": np.array([0, 0, -1, rows * columns]),
        "any_box": np.array([-1]),
        "square": np.array([rows, columns]),
        "zero": np.array(0, np.float32),
        "one": np.array(1, np.float32),
        "two": np.array(2, np.float32),
        "below": np.array(-1, np.float32),
        "far": np.array(FAR, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(value, f"{node.name}/{name}") for name, value in constants.items())
    outside = {"x": node.input[0], "rois": node.input[1], "y": node.output[0]}
    for inner in part.node:
        inner.name = f"{node.name}/{inner.output[0]}"
        for names in (inner.input, inner.output):
            for index, name in enumerate(names):
                names[index] = outside.get(name, f"{node.name}/{name}")
        if inner.op_type == "AveragePool":
            for attribute in inner.attribute:
                attribute.ints[:] = [samples, samples]
    return list(part.node)


_GRID = """
roi_align (float[N, C, H, W] x, float[R, 4] rois) => (float[R, C, S, S] y) {
    pictures = Shape <start = 0, end = 1> (x)
    height_i = Shape <start = 2, end = 3> (x)
    width_i = Shape <start = 3, end = 4> (x)
    limits_i = Concat <axis = 0> (width_i, height_i)
    limits_f = Cast <to = 1> (limits_i)
    limits = Unsqueeze (limits_f, any_box)
    grouped = Concat <axis = 0> (pictures, by_picture)
    boxes = Reshape (rois, grouped)
    scaled = Mul (boxes, scale)
    moved = Add (scaled, shift)
    near, opposite = Split <axis = 2> (moved, halves)
    extent_raw = Sub (opposite, near)
    extent = Max (extent_raw, least)
    origin = Unsqueeze (near, last)
    length = Unsqueeze (extent, last)
    distance = Mul (length, steps)
    spot = Add (origin, distance)
    after = GreaterOrEqual (spot, below)
    before = LessOrEqual (spot, limits)
    inside = And (after, before)
    top = Sub (limits, one)
    capped = Min (spot, top)
    clipped = Max (capped, zero)
    placed = Where (inside, clipped, far)
    doubled = Mul (placed, two)
    centred = Add (doubled, one)
    share = Div (centred, limits)
    unit = Sub (share, one)
    across_x, turned_y = Split <axis = 2> (unit, ones)
    down_y = Transpose <perm = [0, 1, 3, 2]> (turned_y)
    grid_x = Tile (across_x, down)
    grid_y = Tile (down_y, across)
    column_x = Unsqueeze (grid_x, very_last)
    column_y = Unsqueeze (grid_y, very_last)
    pairs = Concat <axis = 4> (column_x, column_y)
    grid = Reshape (pairs, as_grid)
    sampled = GridSample <mode = "bilinear", padding_mode = "zeros", align_corners = 0> (x, grid)
    pooled = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (sampled)
    cells = Reshape (pooled, as_cells)
    ordered = Transpose <perm = [0, 2, 1, 3]> (cells)
    channels = Shape <start = 1, end = 2> (x)
    result = Concat <axis = 0> (any_box, channels, square)
    y = Reshape (ordered, result)
}
"""
"""Boxes [N, k, 4]; `spot`: sample positions along x and y [N, k, 2, P], P = S * samples; `grid` [N, k * P, P, 2]."""
