"""`Detections`: what a model found in one picture.

Knows boxes, scores, labels and low-resolution masks of one picture and how to filter, scale and clip them.
Knows nothing about files, models, drawing or full-frame masks (`masks.py` pastes and encodes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Detections:
    """The detections of one picture, best score first.

    Attributes:
        boxes: float32 [n, 4], x0 y0 x1 y1 in pixels of a picture of `size_hw`; x to the right, y down, pixel
            edges (the first pixel spans 0..1).
        scores: float32 [n], 0..1, descending.
        labels: int32 [n], contiguous class index into `ModelSpec.class_names`.
        masks: float32 [n, m, m], probability 0..1 that a cell of the box's m x m grid belongs to the garment
            (m is 28 for Mask R-CNN). Cells are relative to the box, so scaling boxes scales masks.
        size_hw: height and width in pixels of the picture the boxes refer to.

    Raises:
        ValueError: the arrays do not have the same length, or not the shapes above.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: NDArray[np.float32]
    size_hw: tuple[int, int]

    def __post_init__(self) -> None:
        n = len(self.scores)
        if self.boxes.shape != (n, 4) or self.labels.shape != (n,) or self.scores.shape != (n,):
            raise ValueError(
                f"boxes {self.boxes.shape}, scores {self.scores.shape}, labels {self.labels.shape} do not agree"
            )
        if self.masks.ndim != 3 or len(self.masks) != n or self.masks.shape[1] != self.masks.shape[2]:
            raise ValueError(f"masks must be [{n}, m, m], not {self.masks.shape}")

    @classmethod
    def empty(cls, size_hw: tuple[int, int], mask_side: int = 28) -> Detections:
        """No detection in a picture of `size_hw` (height, width in pixels)."""
        return cls(
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.float32),
            np.zeros(0, np.int32),
            np.zeros((0, mask_side, mask_side), np.float32),
            size_hw,
        )

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: NDArray[np.bool_] | NDArray[np.intp]) -> Detections:
        """The detections chosen by a boolean mask [n] or by indices, in that order."""
        return replace(
            self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep], masks=self.masks[keep]
        )

    def filtered(self, min_score: float = 0.0, labels: Collection[int] | None = None) -> Detections:
        """Those with a score of at least `min_score` and, where given, a label among `labels`."""
        keep = self.scores >= min_score
        if labels is not None:
            keep &= np.isin(self.labels, list(labels))
        return self if keep.all() else self.select(keep)

    def scaled_to(self, size_hw: tuple[int, int]) -> Detections:
        """The same detections in a picture resized to `size_hw`: boxes scaled, clipped, empty ones dropped.

        This is what Detectron2's `detector_postprocess` does to boxes (scale, clip, keep non-empty).
        """
        height, width = size_hw
        scale_y, scale_x = height / self.size_hw[0], width / self.size_hw[1]
        boxes = self.boxes * np.array([scale_x, scale_y, scale_x, scale_y], np.float32)
        np.clip(boxes, 0, np.array([width, height, width, height], np.float32), out=boxes)
        keep = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return replace(self, boxes=boxes, size_hw=size_hw).select(keep)
