"""Per-pixel label maps: which classes they hold and how rare each is.

Knows 8-bit PNG files of class indices. Knows nothing about networks or steps.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.data.label_map import read_label_map
from fashionseg.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALLEST, _LARGEST = 0.2, 3.0
_MAPS_READ = 1000


def label_frequencies(records: Sequence[dict[str, Any]]) -> NDArray[np.float64]:
    """Share of pixels of each class index, float64 [classes], over (at most a thousand of) the label maps.

    The classes are those up to the highest index found; without any there is one, which no pixel is known to have.

    Raises:
        DataError: a label map cannot be read.
    """
    files = [record["label_map"] for record in records if "label_map" in record]
    counts = np.zeros(256)
    for file in files[:: max(1, -(-len(files) // _MAPS_READ))]:
        labels = read_label_map(Path(file))
        if isinstance(labels, str):
            raise DataError(f"the label map {file} {labels}")
        counts += np.bincount(labels.ravel(), minlength=256)
    known = np.flatnonzero(counts[:255])
    if not known.size:
        return np.ones(1)
    counts = counts[: known[-1] + 1]
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
