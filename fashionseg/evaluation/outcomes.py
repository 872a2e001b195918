"""What went right and wrong in each photo: the kinds of errors TIDE names.

Kinds as in Bolya et al., "TIDE: A General Toolbox for Identifying Object Detection Errors", ECCV 2020
(https://arxiv.org/abs/2008.08115): a prediction that finds no garment of its class at IoU 0.5 is a wrong class, a wrong
place, both, a duplicate, or background (IoU below 0.1 with everything); a garment is missed where no such error
explains it. Knows nothing about AP: how much AP each kind costs is hotcoco's `tide_errors`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import hotcoco
import numpy as np

from fashionseg.evaluation.matching import MATCH_IOU

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image, Instance, Rle
    from fashionseg.evaluation.matching import Matches
    from fashionseg.evaluation.predictions import Predictions

BACKGROUND_IOU = 0.1


class Kind(Enum):
    """What a prediction or a garment turned out to be; the value is for people."""

    CORRECT = "correct"
    IGNORED = "ignored"
    CLASS = "wrong class"
    PLACE = "wrong place"
    BOTH = "wrong class and place"
    DUPLICATE = "duplicate"
    BACKGROUND = "background"
    MISSED = "missed"


ERROR_KINDS = (Kind.CLASS, Kind.PLACE, Kind.BOTH, Kind.DUPLICATE, Kind.BACKGROUND, Kind.MISSED)


@dataclass(frozen=True, slots=True)
class PhotoOutcome:
    """What became of the predictions and garments of one photo.

    Attributes:
        image: the photo.
        predictions: intp [p], indices into the `Predictions`, best score first.
        kinds: what each of them is.
        missed: garments that no prediction found.
        unexplained: those of `missed` that no wrong class or place explains; TIDE counts only these as missed.
        loss: missed garments plus the scores of wrong predictions: the higher, the worse the photo.
    """

    image: Image
    predictions: NDArray[np.intp]
    kinds: tuple[Kind, ...]
    missed: tuple[Instance, ...]
    unexplained: tuple[Instance, ...]
    loss: float


def outcomes(
    data: CocoData, predictions: Predictions, matches: Matches, iou_type: str, min_score: float
) -> list[PhotoOutcome]:
    """What became of predictions of at least `min_score` in each photo, in order of the data set.

    `matches` are those of all predictions by `iou_type`, "bbox" or "segm": a prediction's match does not depend on
    worse ones, so a threshold changes nothing but which are looked at.
    """
    kept = np.flatnonzero(predictions.scores >= min_score)
    kept = kept[np.argsort(-predictions.scores[kept], kind="stable")]
    of_image: dict[int, list[int]] = {image.id: [] for image in data.images}
    for index in kept.tolist():
        of_image[int(predictions.image_ids[index])].append(index)
    return [_outcome(data, predictions, matches, iou_type, image, of_image[image.id]) for image in data.images]


def count_kinds(found: Sequence[PhotoOutcome]) -> dict[Kind, int]:
    """How many predictions (and, for `MISSED`, garments) of each kind there are in all photos."""
    counts = dict.fromkeys(Kind, 0)
    for outcome in found:
        for kind in outcome.kinds:
            counts[kind] += 1
        counts[Kind.MISSED] += len(outcome.unexplained)
    return counts


def _outcome(
    data: CocoData, predictions: Predictions, matches: Matches, iou_type: str, image: Image, chosen: list[int]
) -> PhotoOutcome:
    index = np.array(chosen, np.intp)
    garments = [instance for instance in data.instances_of[image.id] if not instance.is_crowd]
    ious = _ious(predictions, iou_type, index, garments, image)
    same = predictions.category_ids[index][:, None] == np.array([g.category_id for g in garments], np.int64)[None]
    found = {data.instances[i].id for i in matches.found[index][matches.correct[index]].tolist()}
    free = np.array([g.id not in found for g in garments], np.bool_)
    explained = np.zeros(len(garments), np.bool_)
    kinds = []
    for row, number in enumerate(chosen):
        if matches.correct[number] or matches.ignored[number]:
            kinds.append(Kind.IGNORED if matches.ignored[number] else Kind.CORRECT)
            continue
        kind, garment = _kind(ious[row], same[row])
        kinds.append(kind)
        if garment is not None:
            explained[garment] = True
    missed = tuple(g for g, is_free in zip(garments, free, strict=True) if is_free)
    unexplained = tuple(g for g, is_free, known in zip(garments, free, explained, strict=True) if is_free and not known)
    wrong = [predictions.scores[i] for i, kind in zip(chosen, kinds, strict=True) if kind in ERROR_KINDS]
    return PhotoOutcome(image, index, tuple(kinds), missed, unexplained, float(len(missed) + sum(wrong)))


def _kind(ious: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[Kind, int | None]:
    """The kind of a wrong prediction, and the garment it would have found but for a wrong class or place.

    Args:
        ious: float64 [g], with each garment of the photo.
        same: bool [g], garments of the prediction's class.
    """
    if not len(ious) or ious.max() <= BACKGROUND_IOU:
        return Kind.BACKGROUND, None
    own, other = np.where(same, ious, -1), np.where(same, -1, ious)
    if BACKGROUND_IOU <= own.max() <= MATCH_IOU:
        return Kind.PLACE, int(own.argmax())
    if other.max() >= MATCH_IOU:
        return Kind.CLASS, int(other.argmax())
    if own.max() >= MATCH_IOU:
        return Kind.DUPLICATE, None
    return Kind.BOTH, None


def _ious(
    predictions: Predictions, iou_type: str, index: NDArray[np.intp], garments: list[Instance], image: Image
) -> NDArray[np.float64]:
    """float64 [p, g]: IoU of masks ("segm") or of boxes ("bbox")."""
    if not len(index) or not garments:
        return np.zeros((len(index), len(garments)))
    crowd = [False] * len(garments)
    if iou_type == "bbox":
        boxes = np.array([g.bbox for g in garments], np.float64)
        return np.asarray(hotcoco.mask.bbox_iou(predictions.boxes_xywh[index], boxes, crowd))
    assert predictions.rles is not None
    theirs = [predictions.rles[i] for i in index.tolist()]
    return np.asarray(hotcoco.mask.iou(theirs, [garment_rle(g, image) for g in garments], crowd))


def garment_rle(instance: Instance, image: Image) -> Rle:
    """The mask of a garment as a run-length encoding of its photo; polygons are drawn as pycocotools does."""
    segmentation = instance.segmentation
    assert segmentation is not None
    if isinstance(segmentation, list):
        parts = hotcoco.mask.frPyObjects(segmentation, image.height, image.width)
        rle: Rle = hotcoco.mask.merge(parts)
        return rle
    encoded: Rle = hotcoco.mask.frPyObjects(segmentation, image.height, image.width)
    return encoded
