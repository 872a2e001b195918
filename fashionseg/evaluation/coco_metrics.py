"""COCO's metrics: precision and recall at ten IoU thresholds, by class, size and number of predictions.

Knows how ground truth and predictions are handed to hotcoco and how its arrays become named numbers. The arrays are
those of pycocotools bit by bit (`benchmarks/evaluate.py` and the tests compare them). Knows nothing about models,
files or what the numbers are used for.

All numbers are 0..1; None where nothing could be measured (no garment of that class or size).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import hotcoco
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.predictions import Predictions

IOU_TYPES = ("bbox", "segm")
IOU_THRESHOLDS = tuple(float(x) for x in np.linspace(0.5, 0.95, 10))
ALL_SIZES = (0.0, 1e10)
MAX_PREDICTIONS = 100
"""Predictions of a class in a photo that COCO looks at."""


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One of COCO's twelve lines.

    Attributes:
        name: short name, such as "AP50".
        recall: True for average recall, False for average precision.
        iou: index of the IoU threshold; None for the mean over all ten.
        area: index of the size range: all, small (< 32 x 32 pixels), medium, large (>= 96 x 96).
        limit: index of the number of predictions: 1, 10, 100.
    """

    name: str
    recall: bool = False
    iou: int | None = None
    area: int = 0
    limit: int = 2


SUMMARY = (
    SummaryLine("AP"),
    SummaryLine("AP50", iou=0),
    SummaryLine("AP75", iou=5),
    SummaryLine("APs", area=1),
    SummaryLine("APm", area=2),
    SummaryLine("APl", area=3),
    SummaryLine("AR1", recall=True, limit=0),
    SummaryLine("AR10", recall=True, limit=1),
    SummaryLine("AR100", recall=True),
    SummaryLine("ARs", recall=True, area=1),
    SummaryLine("ARm", recall=True, area=2),
    SummaryLine("ARl", recall=True, area=3),
)


@dataclass(frozen=True, slots=True)
class CocoScores:
    """COCO's numbers for boxes or for masks.

    Attributes:
        iou_type: "bbox" or "segm".
        overall: the twelve numbers by name.
        per_class: the twelve numbers of each class, in order of category ids.
        precision: float64 [10, 101, K], interpolated precision at each IoU threshold and recall (0, 0.01 .. 1) of
            each class, all sizes; -1 for a class without garments.
    """

    iou_type: str
    overall: dict[str, float | None]
    per_class: tuple[dict[str, float | None], ...]
    precision: NDArray[np.float64]


class CocoProblem:
    """Ground truth and predictions of one data set, ready for hotcoco; both are converted once."""

    def __init__(self, data: CocoData, predictions: Predictions) -> None:
        self.data = data
        self.predictions = predictions
        self.iou_types = IOU_TYPES if has_masks(data) and predictions.rles is not None else IOU_TYPES[:1]
        self._truth = hotcoco.COCO(coco_document(data))
        self._results = {iou_type: self._load(predictions, iou_type) for iou_type in self.iou_types}

    def _load(self, predictions: Predictions, iou_type: str) -> Any:
        # As Detectron2 (evaluation/coco_evaluation.py): given a box too, COCO takes its area for that of the mask.
        return self._truth.load_res(predictions.to_results(boxes=iou_type == "bbox", masks=iou_type == "segm"))

    def evaluation(self, iou_type: str, predictions: Predictions | None = None) -> Any:
        """A `hotcoco.COCOeval` after `evaluate` and `accumulate`; of other predictions where given."""
        results = self._results[iou_type] if predictions is None else self._load(predictions, iou_type)
        evaluation = hotcoco.COCOeval(self._truth, results, iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation

    def at_one_iou(self, iou_type: str, iou: float) -> Any:
        """A `hotcoco.COCOeval` after `evaluate`, at one IoU threshold, all sizes: its `eval_imgs` are few."""
        evaluation = hotcoco.COCOeval(self._truth, self._results[iou_type], iou_type)
        _restrict(evaluation.params, [iou])
        evaluation.evaluate()
        return evaluation

    def among(self, iou_type: str, chosen: Sequence[bool], image_ids: list[int]) -> Any:
        """A `hotcoco.COCOeval` after `accumulate` in which only chosen garments of some photos count.

        The others are not missed when not found, and whoever finds them makes no mistake; a prediction that meets no
        garment at all is one.

        Args:
            iou_type: "bbox" or "segm".
            chosen: one flag per instance of the data set.
            image_ids: photos to look at.
        """
        # COCO ignores garments outside a range of areas, so the areas say who is chosen: 1 or 3, within 0..2.
        ids = np.arange(1, len(self.data.instances) + 1)
        self._marked.update_anns(ids=ids, area=np.where(chosen, 1.0, 3.0))
        evaluation = hotcoco.COCOeval(self._marked, self._marked_results[iou_type], iou_type)
        evaluation.params.img_ids = image_ids
        _restrict(evaluation.params, list(IOU_THRESHOLDS), (0.0, 2.0))
        evaluation.evaluate()
        evaluation.accumulate()
        return evaluation

    @cached_property
    def _marked(self) -> Any:
        """Ground truth whose areas `among` writes over."""
        return hotcoco.COCO(coco_document(self.data))

    @cached_property
    def _marked_results(self) -> dict[str, Any]:
        """Predictions that all have area 1, by IoU type."""
        number = len(self.predictions)
        found = {iou_type: self._load(self.predictions, iou_type) for iou_type in self.iou_types}
        for results in found.values():
            if number:
                results.update_anns(ids=np.arange(1, number + 1), area=np.ones(number))
        return found


def _restrict(params: Any, ious: list[float], area: tuple[float, float] = ALL_SIZES) -> None:
    params.iou_thrs = ious
    params.area_rng = [list(area)]
    params.area_rng_lbl = ["all"]
    params.max_dets = [MAX_PREDICTIONS]


def coco_document(data: CocoData) -> dict[str, Any]:
    """The data set as a COCO document with what metrics need: no names, nothing a stranger may have added.

    Annotations are numbered from 1 in their order: libraries refuse ids below 0, or take 0 for none.
    """
    return {
        "images": [{"id": image.id, "width": image.width, "height": image.height} for image in data.images],
        "annotations": [replace(one, id=number, extra={}).to_json() for number, one in enumerate(data.instances, 1)],
        "categories": [{"id": category.id, "name": str(category.id)} for category in data.categories],
    }


def has_masks(data: CocoData) -> bool:
    """Whether every garment has a mask, so that masks can be measured."""
    return all(instance.segmentation is not None for instance in data.instances)


def coco_scores(evaluation: Any, iou_type: str) -> CocoScores:
    """Name the numbers in the arrays of a `hotcoco.COCOeval` after `accumulate`."""
    precision = np.asarray(evaluation.eval["precision"], np.float64)  # [IoU, recall, class, area, limit]
    recall = np.asarray(evaluation.eval["recall"], np.float64)  # [IoU, class, area, limit]
    classes = range(precision.shape[2])
    return CocoScores(
        iou_type,
        _twelve(precision, recall),
        tuple(_twelve(precision[:, :, k : k + 1], recall[:, k : k + 1]) for k in classes),
        np.ascontiguousarray(precision[:, :, :, 0, -1]),
    )


def _twelve(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float | None]:
    values = {}
    for line in SUMMARY:
        array = recall if line.recall else precision
        array = array if line.iou is None else array[line.iou]
        values[line.name] = mean_measured(array[..., line.area, line.limit])
    return values


def mean_measured(values: NDArray[np.float64]) -> float | None:
    """Mean of the values that were measured (-1 says not); None without any."""
    measured = values[values > -1]
    return float(measured.mean()) if measured.size else None
