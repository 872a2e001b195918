"""COCO figures of a model on the validation set, while it is trained.

Knows Detectron2's inference loop and pycocotools' figures. The full report is `fashionseg.evaluation`'s; this is
the short one that chooses checkpoints. Knows nothing about steps or files.
"""

from __future__ import annotations

import contextlib
import io
import math
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from detectron2.data import DatasetMapper, build_detection_test_loader
from detectron2.data import transforms as T
from detectron2.evaluation.coco_evaluation import instances_to_coco_json
from detectron2.utils import comm
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from fashionseg.training.mapping import mapped_or_error
from fashionseg.training.sampling import CheckedBatches

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.training.dataset import TrainingSet

_FIGURES = {"AP": 0, "AP50": 1, "AP75": 2}
_IOU_50 = 0


class Validator:
    """Measures box and mask AP of a detector, in points (0..100), whole and per class.

    Attributes:
        data: the validation set.
    """

    def __init__(self, cfg: Any, data: TrainingSet) -> None:
        self.data = data
        self._truth = _ground_truth(data)
        resize = T.ResizeShortestEdge(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
        mapper = DatasetMapper(is_train=False, augmentations=[resize], image_format=cfg.INPUT.FORMAT)
        records = [{**record, "image_id": i} for i, record in enumerate(data.records)]
        workers = cfg.DATALOADER.NUM_WORKERS
        self._loader = CheckedBatches(
            build_detection_test_loader(records, mapper=partial(mapped_or_error, mapper), num_workers=workers)
        )

    @property
    def truth(self) -> COCO:
        """The validation set; images and classes are numbered from 0, as in `predict`."""
        return self._truth

    def predict(
        self, detector: torch.nn.Module, watch: Callable[[int, int], None] | None = None
    ) -> list[dict[str, Any]]:
        """COCO results of a detector on every photo, on every rank those of all ranks.

        `watch` is told after each batch how many of this rank's batches are done, and of how many.
        """
        was_training = detector.training
        detector.eval()
        results: list[dict[str, Any]] = []
        try:
            with torch.no_grad():
                for done, batch in enumerate(self._loader, 1):
                    for sample, output in zip(batch, detector(batch), strict=True):
                        results += instances_to_coco_json(output["instances"].to("cpu"), sample["image_id"])
                    if watch:
                        watch(done, len(self._loader))
        finally:
            detector.train(was_training)
        return [result for part in comm.all_gather(results) for result in part]

    def measure(self, detector: torch.nn.Module, watch: Callable[[int, int], None] | None = None) -> dict[str, float]:
        """Figures by name: "segm/AP", "bbox/AP50", "segm/AP50-trousers" and so on; `watch` as in `predict`."""
        results = self.predict(detector, watch)
        figures: dict[str, float] = {}
        for task in ("bbox", "segm"):
            figures |= _figures(self._truth, results, task, self.data.class_names)
        return figures


def _figures(truth: COCO, results: list[dict[str, Any]], task: str, names: tuple[str, ...]) -> dict[str, float]:
    if not results:
        return {f"{task}/{name}": 0.0 for name in _FIGURES}
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(truth, truth.loadRes(results), task)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = {f"{task}/{name}": 100 * float(evaluation.stats[at]) for name, at in _FIGURES.items()}
    precision = evaluation.eval["precision"]  # [iou, recall, class, area, detections]
    for at, name in enumerate(names):
        figures[f"{task}/AP-{name}"] = _mean(precision[:, :, at, 0, -1])
        figures[f"{task}/AP50-{name}"] = _mean(precision[_IOU_50, :, at, 0, -1])
    return {name: value for name, value in figures.items() if math.isfinite(value)}


def _mean(precision: NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return 100 * float(known.mean()) if known.size else math.nan


def _ground_truth(data: TrainingSet) -> COCO:
    """The validation set as pycocotools takes it; images and classes are numbered from 0."""
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(data.records):
        for annotation in record["annotations"]:
            rle = _rle(annotation["segmentation"], record)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": annotation["category_id"],
                    "bbox": annotation["bbox"],
                    "iscrowd": annotation["iscrowd"],
                    "segmentation": rle,
                    "area": float(coco_mask.area(rle)),
                }
            )
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i, "height": r["height"], "width": r["width"]} for i, r in enumerate(data.records)],
        "categories": [{"id": i, "name": name} for i, name in enumerate(data.class_names)],
        "annotations": annotations,
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def _rle(segmentation: Any, record: dict[str, Any]) -> Any:
    if isinstance(segmentation, dict):
        return segmentation
    return coco_mask.merge(coco_mask.frPyObjects(segmentation, record["height"], record["width"]))
