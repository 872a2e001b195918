"""Masks of annotations: polygons and run lengths become pixels, and pixels become run lengths.

Polygons are filled by COCO's own rule (hotcoco, equal to pycocotools). Knows nothing about files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fashionseg.masks import PastedMask
from fashionseg.rle import counts_to_text, encode_rle, rle_runs

if TYPE_CHECKING:
    from fashionseg.data.records import Instance, Polygons, Rle


def rle_counts(segmentation: Polygons | Rle, size_hw: tuple[int, int]) -> str:
    """COCO's compressed counts of a checked segmentation of a photo of `size_hw`."""
    if isinstance(segmentation, list):
        from hotcoco import mask

        runs = mask.frPyObjects(segmentation, *size_hw)
        counts = (runs[0] if len(runs) == 1 else mask.merge(runs))["counts"]
        return counts.decode() if isinstance(counts, bytes) else str(counts)
    counts = segmentation["counts"]
    return counts if isinstance(counts, str) else counts_to_text(np.array(counts, np.int64))


def polygon_area(polygons: Polygons, size_hw: tuple[int, int]) -> int:
    """Pixels of a photo of `size_hw` that polygons cover together."""
    from hotcoco import mask

    runs = mask.frPyObjects(polygons, *size_hw)
    return int(mask.area(runs[0] if len(runs) == 1 else mask.merge(runs)))


def instance_mask(instance: Instance, size_hw: tuple[int, int]) -> PastedMask:
    """The pixels of an instance of a photo of `size_hw`; those of its box where it has no segmentation."""
    if instance.segmentation is not None:
        return PastedMask.from_runs(rle_runs(rle_counts(instance.segmentation, size_hw), size_hw))
    x, y, width, height = instance.bbox
    left, top = max(round(x), 0), max(round(y), 0)
    right, bottom = min(round(x + width), size_hw[1]), min(round(y + height), size_hw[0])
    return PastedMask.from_bits(np.ones((max(bottom - top, 0), max(right - left, 0)), np.uint8), left, top)


def to_rle(mask: PastedMask, size_hw: tuple[int, int]) -> Rle:
    """A mask as compressed run lengths of a photo of `size_hw`."""
    return {"size": list(size_hw), "counts": encode_rle(mask, size_hw)}
