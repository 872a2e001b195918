"""`Predictions`: what a model found in all photos of a data set, as columns, from whatever source.

Everything that `evaluate` measures, it measures on this type: a checkpoint, an ONNX file, an engine and a
`predictions.json` all end here. Knows the COCO results format and when a results file does not belong to a data set.
Knows nothing about metrics or about how predictions are made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.data.records import is_number, rle_problem
from fashionseg.errors import DataError
from fashionseg.evaluation.listing import require_same_names
from fashionseg.json_text import parse_json
from fashionseg.rle import text_to_counts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Rle

MODEL_SCORE_FLOOR = 0.05
"""Detectron2's default `SCORE_THRESH_TEST`: predictions below it are commonly not written at all."""

MAX_FILE_BYTES = 8 * 1024**3


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in the photos of a data set, in the order they were made.

    Attributes:
        image_ids: int64 [n], ids of the data set's images.
        category_ids: int64 [n], ids of the data set's categories.
        boxes_xywh: float64 [n, 4], x y width height in pixels of the photo, pixel edges.
        scores: float64 [n], 0..1.
        rles: n compressed run-length encodings of masks over the whole photo; None where there are boxes only.
        origin: what made them, for people: a file name.
    """

    image_ids: NDArray[np.int64]
    category_ids: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]
    rles: tuple[Rle, ...] | None
    origin: str

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, keep: NDArray[np.bool_]) -> Predictions:
        """Those where the boolean mask [n] is set."""
        return replace(
            self,
            image_ids=self.image_ids[keep],
            category_ids=self.category_ids[keep],
            boxes_xywh=self.boxes_xywh[keep],
            scores=self.scores[keep],
            rles=None if self.rles is None else tuple(self.rles[i] for i in np.flatnonzero(keep)),
        )

    def to_results(self, *, boxes: bool = True, masks: bool = True) -> list[dict[str, Any]]:
        """A COCO results list, with or without boxes and masks."""
        columns = zip(
            self.image_ids.tolist(),
            self.category_ids.tolist(),
            self.scores.tolist(),
            self.boxes_xywh.tolist(),
            self.rles or [None] * len(self),
            strict=True,
        )
        results = []
        for image_id, category_id, score, box, rle in columns:
            result = {"image_id": image_id, "category_id": category_id, "score": score}
            if boxes:
                result["bbox"] = box
            if masks and rle is not None:
                result["segmentation"] = rle
            results.append(result)
        return results

    def cut_warning(self) -> str | None:
        """A sentence where low scores seem to be missing, which lowers AP; None where they are there.

        The lowest of n scores lies about 1/n above the threshold they were cut at, so that much is allowed.
        """
        if not len(self):
            return None
        lowest = float(self.scores.min())
        if lowest <= MODEL_SCORE_FLOOR + min(1 / len(self), MODEL_SCORE_FLOOR):
            return None
        return (
            f"{self.origin} holds no score below {lowest:.2f}: predictions cut above {MODEL_SCORE_FLOOR} lower AP; "
            f"write them again with: fashionseg segment --conf {MODEL_SCORE_FLOOR}"
        )


def read_predictions(path: str | Path, data: CocoData) -> Predictions:
    """Read a COCO results file that belongs to `data`.

    Raises:
        DataError: no such file, not a results list, or one of another data set, by its ids or by the names in the
            `images.json` that `segment` wrote beside it.
    """
    results = _load(Path(path))
    require_same_names(Path(path), results, data)
    return from_results(results, data, str(path))


def from_results(results: Sequence[Any], data: CocoData, origin: str) -> Predictions:
    """Check and turn a COCO results list into columns; `origin` names it in errors.

    Raises:
        DataError: a result is damaged, or names a photo or category that `data` has not.
    """
    for index, result in enumerate(results):
        problem = _problem(result, data)
        if problem:
            raise DataError(f"{origin}: prediction {index}: {problem}")
    with_mask = sum("segmentation" in result for result in results)
    if with_mask not in (0, len(results)):
        raise DataError(f"{origin}: {with_mask} of {len(results)} predictions have a mask: all or none must have one")
    rles = tuple(result["segmentation"] for result in results) if with_mask or not results else None
    boxes = [result["bbox"] if "bbox" in result else _box_of(result["segmentation"]) for result in results]
    return Predictions(
        np.array([result["image_id"] for result in results], np.int64),
        np.array([result["category_id"] for result in results], np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        np.array([result["score"] for result in results], np.float64),
        rles,
        origin,
    )


def _load(path: Path) -> list[Any]:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is larger than {MAX_FILE_BYTES >> 30} GiB: not a results file of one data set")
        results = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"predictions file not found: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read the predictions file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(results, list):
        hint = ": it is an annotation file, which belongs to --data" if _is_annotation_file(results) else ""
        raise DataError(f"{path} is not a COCO results list{hint}")
    return results


def _is_annotation_file(document: Any) -> bool:
    return isinstance(document, dict) and "annotations" in document


def _problem(result: Any, data: CocoData) -> str | None:
    """Why a result cannot be used with `data`; None where it can."""
    if not isinstance(result, dict):
        return "not an object with image_id, category_id, score and bbox or segmentation"
    image_id, category_id, score = (result.get(key) for key in ("image_id", "category_id", "score"))
    image = data.image_of.get(image_id) if isinstance(image_id, int) else None
    if image is None:
        return f"image_id {image_id!r} is not in {data.where()}: predictions of other photos?"
    if not isinstance(category_id, int) or category_id not in data.label_of:
        known = ", ".join(f"{category.id} {category.name}" for category in data.categories)
        return f"category_id {category_id!r} is not in {data.where()}, which has {known}"
    if not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        return f"score {score!r} is not a number from 0 to 1"
    if "bbox" not in result and "segmentation" not in result:
        return "it has neither a bbox nor a segmentation"
    if "bbox" in result and not _is_box(result["bbox"]):
        return f"bbox {result['bbox']!r:.60} is not [x, y, width, height]"
    if "segmentation" in result:
        return _mask_problem(result["segmentation"], image.size_hw)
    return None


def _mask_problem(rle: Any, size_hw: tuple[int, int]) -> str | None:
    """Why a segmentation is no mask of a photo of `size_hw`; None where it is one."""
    if not isinstance(rle, dict):
        return "its segmentation is not a run-length encoding"
    counts = rle.get("counts")
    if isinstance(counts, str) and rle.get("size") == list(size_hw):
        try:  # the same check as `rle_problem`, an order of magnitude faster
            if text_to_counts(counts).sum() == size_hw[0] * size_hw[1]:
                return None
        except DataError as error:
            return str(error)
    return rle_problem(rle, size_hw)


def _box_of(rle: Rle) -> list[float]:
    import hotcoco

    box: list[float] = hotcoco.mask.to_bbox(rle).tolist()
    return box


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and box[2] >= 0 and box[3] >= 0
