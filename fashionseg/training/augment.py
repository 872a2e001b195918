"""Augmentations that Detectron2 does not have, as its own `Augmentation` and `Transform`.

Knows pixels, masks and coordinates of one photo. Knows nothing about recipes' files, loaders or models. All
randomness comes from numpy's global generator, as in Detectron2's augmentations: `mapping.py` seeds it a photo.
"""

# ruff: noqa: NPY002 - Detectron2's augmentations draw from numpy's global generator, so ours must

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from detectron2.data import transforms as T
from fvcore.transforms.transform import NoOpTransform, Transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.training.recipe import Augmentation

_OVERSAMPLING = 1.25
"""A photo is first shrunk by area averaging to this multiple of its final scale: a bilinear warp alone would alias,
which the antialiased resize at inference does not."""

_BORDER_BGR = (104, 116, 124)
_GRAY_BGR = np.array([0.114, 0.587, 0.299], np.float32)


class AffineTransform(Transform):
    """One affine map of a photo onto a canvas: pixels beyond the photo become the mean colour, masks 0."""

    def __init__(self, matrix: NDArray[np.float64], canvas_hw: tuple[int, int]) -> None:
        """Args:
        matrix: float64 [2, 3], maps x, y (pixel edges) of the photo to those of the canvas.
        canvas_hw: height and width of the canvas in pixels.
        """
        super().__init__()
        self.matrix, self.canvas_hw = matrix, canvas_hw

    def apply_image(self, img: NDArray[Any]) -> NDArray[Any]:
        """uint8 [h, w, 3] -> uint8 [canvas height, canvas width, 3], the same channel order."""
        scale = math.sqrt(abs(np.linalg.det(self.matrix[:, :2])))
        factor = min(1.0, scale * _OVERSAMPLING)
        matrix = self.matrix.copy()
        if factor < 1:
            height, width = img.shape[:2]
            small = cv2.resize(
                img, (max(1, round(width * factor)), max(1, round(height * factor))), interpolation=cv2.INTER_AREA
            )
            matrix[:, 0] *= width / small.shape[1]
            matrix[:, 1] *= height / small.shape[0]
            img = small
        return self._warped(img, matrix, cv2.INTER_LINEAR, _BORDER_BGR)

    def apply_segmentation(self, segmentation: NDArray[Any]) -> NDArray[Any]:
        """uint8 [h, w] of labels -> uint8 [canvas height, canvas width], nearest label, 0 beyond the photo."""
        return self._warped(segmentation.astype(np.uint8, copy=False), self.matrix, cv2.INTER_NEAREST, (0,))

    def apply_coords(self, coords: NDArray[Any]) -> NDArray[Any]:
        """float [n, 2], x y in pixels of the photo -> of the canvas."""
        return coords @ self.matrix[:, :2].T + self.matrix[:, 2]

    def _warped(
        self, img: NDArray[Any], matrix: NDArray[np.float64], filter_: int, border: tuple[int, ...]
    ) -> NDArray[Any]:
        centres = matrix.copy()  # OpenCV counts from pixel centres, the matrix from pixel edges
        centres[:, 2] += matrix[:, :2] @ [0.5, 0.5] - 0.5
        height, width = self.canvas_hw
        return cv2.warpAffine(
            img, centres, (width, height), flags=filter_, borderMode=cv2.BORDER_CONSTANT, borderValue=border
        )


class RandomWarp(T.Augmentation):
    """Scale, rotation, shift and flip in one warp onto the recipe's canvas.

    At scale 1 the photo just covers the canvas, which lies when the photo lies. A photo larger than the canvas is
    placed so that any part of it can come to lie inside, a smaller one so that it stays inside.
    """

    def __init__(self, rule: Augmentation, canvas_hw: tuple[int, int]) -> None:
        super().__init__()
        self.rule, self.canvas_hw = rule, canvas_hw

    def get_transform(self, image: NDArray[np.uint8]) -> AffineTransform:
        """A random warp for an image uint8 [h, w, 3]."""
        height, width = image.shape[:2]
        short, long = sorted(self.canvas_hw)
        canvas_height, canvas_width = (short, long) if width > height else (long, short)
        low, high = self.rule.scale
        cover = max(canvas_height / height, canvas_width / width)
        scale = cover * math.exp(np.random.uniform(math.log(low), math.log(high)))
        angle = math.radians(np.random.uniform(-1, 1) * self.rule.rotation)
        mirror = -1.0 if np.random.uniform() < self.rule.flip else 1.0
        cos, sin = scale * math.cos(angle), scale * math.sin(angle)
        linear = np.array([[cos * mirror, -sin], [sin * mirror, cos]])
        slack = np.abs(np.array([canvas_width - width * scale, canvas_height - height * scale])) / 2
        centre = np.array([canvas_width, canvas_height]) / 2 + np.random.uniform(-1, 1, 2) * slack
        offset = centre - linear @ np.array([width, height]) / 2
        return AffineTransform(np.column_stack([linear, offset]), (canvas_height, canvas_width))


class ColourTransform(Transform):
    """One linear map of colours and, at will, a painted rectangle; masks and coordinates stay."""

    def __init__(
        self, matrix: NDArray[np.float32], offset: NDArray[np.float32], patch: tuple[int, int, int, int] | None
    ) -> None:
        """Args:
        matrix: float32 [3, 3] on BGR values.
        offset: float32 [3], added to BGR values 0..255.
        patch: x0 y0 x1 y1 in pixels of the rectangle to paint over.
        """
        super().__init__()
        self.map, self.patch = np.column_stack([matrix, offset]).astype(np.float32), patch

    def apply_image(self, img: NDArray[Any]) -> NDArray[Any]:
        """uint8 [h, w, 3] BGR -> the same."""
        out: NDArray[Any] = cv2.transform(img, self.map)
        if self.patch:
            x0, y0, x1, y1 = self.patch
            out[y0:y1, x0:x1] = _BORDER_BGR
        return out

    def apply_coords(self, coords: NDArray[Any]) -> NDArray[Any]:
        """Unchanged."""
        return coords

    def apply_segmentation(self, segmentation: NDArray[Any]) -> NDArray[Any]:
        """Unchanged."""
        return segmentation


class RandomColour(T.Augmentation):
    """Brightness, contrast, saturation and hue as one linear map, and the cut-out."""

    def __init__(self, rule: Augmentation) -> None:
        super().__init__()
        self.rule = rule

    def get_transform(self, image: NDArray[np.uint8]) -> Transform:
        """A random change of colours for an image uint8 [h, w, 3], BGR."""
        rule = self.rule
        if not any((rule.brightness, rule.contrast, rule.saturation, rule.hue, rule.cutout)):
            return NoOpTransform()
        brightness, contrast, saturation, hue = np.random.uniform(-1, 1, 4) * [
            rule.brightness,
            rule.contrast,
            rule.saturation,
            rule.hue,
        ]
        grey = np.tile(_GRAY_BGR, (3, 1))
        matrix = grey + (1 + saturation) * (_hue_rotation(math.radians(hue)) - grey)
        gain = (1 + brightness) * (1 + contrast)
        offset = np.full(3, -128 * contrast * (1 + brightness), np.float32)
        return ColourTransform(matrix * np.float32(gain), offset, self._patch(image.shape[0], image.shape[1]))

    def _patch(self, height: int, width: int) -> tuple[int, int, int, int] | None:
        chance, part_w, part_h, at_x, at_y = np.random.uniform(0, 1, 5)
        if chance >= self.rule.cutout:
            return None
        patch_w, patch_h = int(width * (0.1 + 0.3 * part_w)), int(height * (0.1 + 0.2 * part_h))
        x0, y0 = int(at_x * (width - patch_w)), int(at_y * (height - patch_h))
        return x0, y0, x0 + patch_w, y0 + patch_h


def _hue_rotation(angle: float) -> NDArray[np.float32]:
    """float32 [3, 3]: a turn about the grey axis (Rodrigues' formula)."""
    cos, sin, third = math.cos(angle), math.sin(angle), 1 / 3
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) * math.sqrt(third)
    return (cos * np.eye(3) + (1 - cos) * third * np.ones((3, 3)) + sin * cross).astype(np.float32)
