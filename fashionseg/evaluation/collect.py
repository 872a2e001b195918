"""Detections of photo after photo become one `Predictions`.

Knows pasted masks, encodings and columns. Knows nothing about where detections come from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.evaluation.predictions import Predictions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PhotoPredictions:
    """The predictions of one photo.

    Attributes:
        image_id: of the data set.
        category_ids: int64 [n], of the data set.
        boxes_xyxy: float64 [n, 4], x0 y0 x1 y1 in pixels of the photo.
        scores: float64 [n], 0..1.
        counts: n compressed COCO run-length encodings over the whole photo.
        size_hw: height and width of the photo in pixels.
    """

    image_id: int
    category_ids: NDArray[np.int64]
    boxes_xyxy: NDArray[np.float64]
    scores: NDArray[np.float64]
    counts: tuple[str, ...]
    size_hw: tuple[int, int]


def collect(photos: Iterable[PhotoPredictions], origin: str) -> Predictions:
    """Columns of all photos, in order; `origin` is their name for people."""
    photos = list(photos)
    number = [len(photo.scores) for photo in photos]
    boxes = np.concatenate([np.zeros((0, 4)), *(photo.boxes_xyxy for photo in photos)])
    boxes[:, 2:] -= boxes[:, :2]
    return Predictions(
        np.repeat(np.array([photo.image_id for photo in photos], np.int64), number),
        np.concatenate([np.zeros(0, np.int64), *(photo.category_ids for photo in photos)]),
        boxes,
        np.concatenate([np.zeros(0), *(photo.scores for photo in photos)]),
        tuple({"size": list(photo.size_hw), "counts": text} for photo in photos for text in photo.counts),
        origin,
    )
