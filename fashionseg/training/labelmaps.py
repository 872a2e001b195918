"""Per-pixel label maps: which classes they hold and how rare each is.

Knows 8-bit PNG files of class indices. Knows nothing about networks or steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_THINNING = 4
_SMALLEST, _LARGEST = 0.2, 3.0
_MAPS_READ = 1000


def label_frequencies(records: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Share of pixels of each class index, float64 [classes], over (at most a thousand of) the label maps.

    Without any label map there is one class, which no pixel is known to have.

    Raises:
        DataError: a label map cannot be read.
    """
    files = [record["sem_seg_file_name"] for record in records if "sem_seg_file_name" in record]
    if not files:
        return np.ones(1)
    counts = np.zeros(256)
    for file in files[:: -(-len(files) // _MAPS_READ)]:
        labels = cv2.imread(file, cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise DataError(f"cannot read the label map {Path(file)}: it must be an 8-bit PNG of class indices")
        counts += np.bincount(labels[::_THINNING, ::_THINNING].ravel(), minlength=256)
    counts = counts[: int(np.flatnonzero(counts[:255])[-1]) + 1]
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares


def garment_frequencies(records: Sequence[dict[str, Any]], classes: int) -> NDArray[np.float64]:
    """Share of pixels of background and of each garment class, float64 [1 + classes], judged by boxes."""
    areas = np.zeros(1 + classes)
    for record in records:
        total = float(record["height"] * record["width"])
        for annotation in record["annotations"]:
            areas[1 + annotation["category_id"]] += annotation["bbox"][2] * annotation["bbox"][3] / total
    areas[0] = max(1.0, len(records) - areas.sum())
    shares: NDArray[np.float64] = areas / areas.sum()
    return shares


def loss_weights(frequencies: NDArray[np.float64]) -> NDArray[np.float32]:
    """Weight of each class, float32 [classes]: the inverse square root of its share, within bounds."""
    present = frequencies > 0
    weights = np.where(present, 1 / np.sqrt(np.maximum(frequencies, 1e-12)), 0)
    weights /= np.median(weights[present])
    return np.where(present, np.clip(weights, _SMALLEST, _LARGEST), 0).astype(np.float32)
