"""The worst photos of a data set, drawn: what is annotated beside what was predicted.

Knows outcomes of photos and how to draw them. Knows nothing about pages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import hotcoco
import numpy as np

from fashionseg.detections import Detections
from fashionseg.drawing import Annotator
from fashionseg.errors import DataError, MediaError
from fashionseg.evaluation.outcomes import ERROR_KINDS, Kind, garment_rle
from fashionseg.evaluation.photos import check_size
from fashionseg.evaluation.text import printable
from fashionseg.masks import PastedMask
from fashionseg.media.images import encode_jpeg, read_image
from fashionseg.rle import decode_rle
from fashionseg.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image, Rle
    from fashionseg.evaluation.outcomes import PhotoOutcome
    from fashionseg.evaluation.predictions import Predictions
    from fashionseg.evaluation.result import Evaluation

MAX_PHOTOS = 12
SHOWN_SIDE = 640
"""Longest side of a picture in the report, in pixels."""

JPEG_QUALITY = 82


@dataclass(frozen=True, slots=True)
class GalleryPhoto:
    """A photo of the gallery.

    Attributes:
        file_name: of the data set.
        problems: in words, each with how often it occurs.
        truth: JPEG bytes, the photo with its annotations.
        prediction: JPEG bytes, the photo with its predictions.
        size_hw: height and width of both in pixels.
    """

    file_name: str
    problems: tuple[tuple[Kind, int], ...]
    truth: bytes
    prediction: bytes
    size_hw: tuple[int, int]


@dataclass(frozen=True, slots=True)
class UnshownPhoto:
    """A photo of the gallery that cannot be drawn: broken, or not of the annotated size.

    Attributes:
        file_name: of the data set.
        problems: in words, each with how often it occurs.
        reason: why it cannot be drawn, a sentence with its path.
    """

    file_name: str
    problems: tuple[tuple[Kind, int], ...]
    reason: str


@dataclass(frozen=True, slots=True)
class _Drawn:
    """Something to draw: its mask or None, box x0 y0 x1 y1 in pixels of the photo, class index, and words behind it."""

    rle: Rle | None
    box: tuple[float, float, float, float]
    label: int
    note: str


def worst_photos(outcomes: Sequence[PhotoOutcome], number: int = MAX_PHOTOS) -> list[int]:
    """Indices of the photos with the highest loss, the worst first; photos without a mistake never."""
    order = sorted(range(len(outcomes)), key=lambda i: -outcomes[i].loss)
    return [i for i in order[:number] if outcomes[i].loss > 0]


def draw_worst(evaluation: Evaluation) -> tuple[GalleryPhoto | UnshownPhoto, ...]:
    """The worst photos of an evaluation, drawn, the worst first; empty where its photos are not at hand."""
    if evaluation.photos is None:
        return ()
    photos: list[GalleryPhoto | UnshownPhoto] = []
    for i in worst_photos(evaluation.outcomes):
        outcome = evaluation.outcomes[i]
        try:
            photos.append(draw_photo(evaluation.data, evaluation.predictions, outcome, evaluation.photos[i]))
        except (MediaError, DataError) as error:
            photos.append(UnshownPhoto(outcome.image.file_name, _problems(outcome), str(error)))
    return tuple(photos)


def unshown_warning(photos: Sequence[GalleryPhoto | UnshownPhoto]) -> str | None:
    """A sentence about photos that could not be drawn; None where all are shown."""
    reasons = [photo.reason for photo in photos if isinstance(photo, UnshownPhoto)]
    if not reasons:
        return None
    first = ", the first" if len(reasons) > 1 else ""
    return f"{plural(len(reasons), 'photo')} of the gallery cannot be shown{first}: {reasons[0]}"


def draw_photo(data: CocoData, predictions: Predictions, outcome: PhotoOutcome, path: Path) -> GalleryPhoto:
    """Draw one photo twice: with its annotations and with its predictions.

    Raises:
        MediaError: the photo cannot be decoded.
        DataError: it is not of the annotated size.
    """
    pixels = read_image(path)
    check_size(pixels, outcome.image, path, data)
    truth = _shown(pixels)
    prediction = truth.copy()
    _draw(truth, _annotated(data, outcome), outcome.image, data)
    _draw(prediction, _predicted(data, predictions, outcome), outcome.image, data)
    left, right = encode_jpeg(truth, JPEG_QUALITY), encode_jpeg(prediction, JPEG_QUALITY)
    return GalleryPhoto(outcome.image.file_name, _problems(outcome), left, right, (truth.shape[0], truth.shape[1]))


def _problems(outcome: PhotoOutcome) -> tuple[tuple[Kind, int], ...]:
    """Kinds of mistakes in a photo, each with how often it occurs."""
    counts = {kind: sum(one is kind for one in outcome.kinds) for kind in ERROR_KINDS}
    counts[Kind.MISSED] = len(outcome.missed)
    return tuple((kind, count) for kind, count in counts.items() if count)


def _annotated(data: CocoData, outcome: PhotoOutcome) -> list[_Drawn]:
    missed = {instance.id for instance in outcome.missed}
    drawn = []
    for instance in data.instances_of[outcome.image.id]:
        x, y, width, height = instance.bbox
        label = data.label_of[instance.category_id]
        rle = None if instance.segmentation is None else garment_rle(instance, outcome.image)
        note = "missed" if instance.id in missed else "crowd" if instance.is_crowd else ""
        drawn.append(_Drawn(rle, (x, y, x + width, y + height), label, note))
    return drawn


def _predicted(data: CocoData, predictions: Predictions, outcome: PhotoOutcome) -> list[_Drawn]:
    drawn = []
    for index, kind in zip(outcome.predictions.tolist(), outcome.kinds, strict=True):
        x, y, width, height = predictions.boxes_xywh[index].tolist()
        label = data.label_of[int(predictions.category_ids[index])]
        rle = None if predictions.rles is None else predictions.rles[index]
        note = f"{predictions.scores[index]:.0%}" + ("" if kind is Kind.CORRECT else f", {kind.value}")
        drawn.append(_Drawn(rle, (x, y, x + width, y + height), label, note))
    return drawn


def _draw(picture: NDArray[np.uint8], drawn: list[_Drawn], image: Image, data: CocoData) -> None:
    """Draw into `picture`, uint8 [h, w, 3] BGR, a photo of `image` in any size."""
    if not drawn:
        return
    photo = Detections(
        np.array([one.box for one in drawn], np.float32),
        np.ones(len(drawn), np.float32),
        np.array([one.label for one in drawn], np.int32),
        np.zeros((len(drawn), 1, 1), np.float32),
        image.size_hw,
    )
    height, width = picture.shape[:2]
    scale = np.array([width / image.width, height / image.height] * 2, np.float32)
    shown = replace(photo, boxes=photo.boxes * scale, size_hw=(height, width))
    masks = [_pasted(one.rle, image.size_hw, (height, width)) for one in drawn]
    names = [printable(name) for name in data.class_names]
    Annotator(names).draw(picture, shown, masks, [one.note for one in drawn])


def _pasted(rle: Rle | None, photo_hw: tuple[int, int], shown_hw: tuple[int, int]) -> PastedMask:
    """A mask of a photo in another size."""
    if rle is None:
        return PastedMask.from_runs(np.zeros((0, 3), np.int32))
    bits = decode_rle(_counts(rle, photo_hw), photo_hw) * np.uint8(255)
    small = cv2.resize(bits, shown_hw[::-1], interpolation=cv2.INTER_AREA)
    return PastedMask.from_bits(np.asarray(small) > 127)


def _counts(rle: Rle, size_hw: tuple[int, int]) -> str | bytes:
    """Compressed counts; a file may also hold plain ones."""
    counts = rle["counts"]
    if isinstance(counts, str | bytes):
        return counts
    compressed: bytes = hotcoco.mask.frPyObjects(rle, *size_hw)["counts"]
    return compressed


def _shown(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [H, W, 3] in the size of the report."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SHOWN_SIDE / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
