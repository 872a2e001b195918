"""AP by size and by what DeepFashion2 annotates of each garment: scale, occlusion, zoom-in, viewpoint.

A slice is the garments with one value, in the photos that hold at least one of them. Other garments of these photos
are ignored as COCO ignores crowds: not finding them costs nothing, finding them is no mistake. Knows the attributes'
names and values. Knows nothing about how they got into the annotations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.evaluation.coco_metrics import mean_measured

if TYPE_CHECKING:
    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.coco_metrics import CocoProblem, CocoScores

ATTRIBUTES: dict[str, dict[int, str]] = {
    "scale": {1: "small", 2: "modest", 3: "large"},
    "occlusion": {1: "slight", 2: "medium", 3: "heavy"},
    "zoom_in": {1: "none", 2: "medium", 3: "large"},
    "viewpoint": {1: "not worn", 2: "frontal", 3: "side or back"},
}
"""Values as https://github.com/switchablenorms/DeepFashion2 numbers them."""

SIZES = (("small", "APs", 0.0, 32.0**2), ("medium", "APm", 32.0**2, 96.0**2), ("large", "APl", 96.0**2, 1e10))
"""COCO's size ranges: name, its line, smallest and largest area in pixels."""

MAX_VALUES = 20
"""An attribute with more values than this is no attribute to slice by."""


@dataclass(frozen=True, slots=True)
class Slice:
    """AP among garments that share a value.

    Attributes:
        attribute: "size", "scale", "occlusion", "zoom_in" or "viewpoint".
        value: for people, such as "heavy".
        garments: number of them.
        photos: number of photos they are in.
        ap: by IoU type, 0..1.
        ap50: the same at IoU 0.5; empty for sizes, which COCO measures at the mean IoU only.
    """

    attribute: str
    value: str
    garments: int
    photos: int
    ap: dict[str, float | None]
    ap50: dict[str, float | None]


def slices(problem: CocoProblem, scores: dict[str, CocoScores]) -> list[Slice]:
    """AP by COCO's sizes and by each attribute that the annotations carry."""
    found = [_size_slice(problem.data, scores, *size) for size in SIZES]
    for attribute, names in ATTRIBUTES.items():
        values = _values(problem.data, attribute)
        found += [_attribute_slice(problem, attribute, value, names) for value in values]
    return [one for one in found if one.garments]


def _values(data: CocoData, attribute: str) -> list[Any]:
    """The values that occur, sorted; none where the attribute is absent or is no attribute at all."""
    carried = (instance.extra.get(attribute) for instance in data.instances if not instance.is_crowd)
    values = {value for value in carried if isinstance(value, int | str)}
    return sorted(values, key=str) if len(values) <= MAX_VALUES else []


def _size_slice(
    data: CocoData, scores: dict[str, CocoScores], name: str, line: str, smallest: float, largest: float
) -> Slice:
    chosen = [i for i in data.instances if not i.is_crowd and smallest <= i.area < largest]
    photos = len({instance.image_id for instance in chosen})
    return Slice("size", name, len(chosen), photos, {key: one.overall[line] for key, one in scores.items()}, {})


def _attribute_slice(problem: CocoProblem, attribute: str, value: Any, names: dict[int, str]) -> Slice:
    data = problem.data
    chosen = [not i.is_crowd and i.extra.get(attribute) == value for i in data.instances]
    image_ids = sorted({i.image_id for i, keep in zip(data.instances, chosen, strict=True) if keep})
    ap, ap50 = {}, {}
    for iou_type in problem.iou_types:
        precision = np.asarray(problem.among(iou_type, chosen, image_ids).eval["precision"], np.float64)
        ap[iou_type], ap50[iou_type] = mean_measured(precision), mean_measured(precision[0])
    shown = names.get(value, str(value)) if isinstance(value, int) else value
    return Slice(attribute, shown, sum(chosen), len(image_ids), ap, ap50)
