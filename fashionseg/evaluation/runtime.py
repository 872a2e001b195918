"""Predictions of a model file (ONNX or an engine) for the photos of a data set. Needs no torch.

The photos go through the code that `segment` uses: decode, resize, run, scale, paste, encode, one photo a run as
Detectron2 does, so the figures are those of what users get. Only the score threshold is the model's own: AP wants the
low scores too. Knows nothing about metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.evaluation.classes import categories_of
from fashionseg.evaluation.collect import PhotoPredictions, collect
from fashionseg.evaluation.latency import StageSeconds, latencies, timed
from fashionseg.evaluation.photos import check_size
from fashionseg.inference import detections_of
from fashionseg.masks import paste_masks
from fashionseg.media.images import read_image
from fashionseg.pipeline import Pipeline
from fashionseg.preprocess import make_batch, prepare
from fashionseg.rle import encode_rle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.backends import Backend, RawBatch
    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image
    from fashionseg.evaluation.latency import StageLatency
    from fashionseg.evaluation.predictions import Predictions

WORKERS = 2
"""Threads that decode and resize, and as many that paste and encode, beside the one that runs the model."""


@dataclass(frozen=True, slots=True)
class ModelRun:
    """What a model gave for a data set.

    Attributes:
        predictions: of all photos.
        latencies: of each stage.
        inexact: photos for which the graph's non-maximum suppression may differ from the exact one.
        device: what ran it, in words.
    """

    predictions: Predictions
    latencies: tuple[StageLatency, ...]
    inexact: int
    device: str


@dataclass(frozen=True, slots=True)
class _Photo:
    """A photo on its way: pixels resized (uint8 [h, w, 3], BGR), then the model's raw outputs."""

    image: Image
    seconds: StageSeconds
    resized: NDArray[np.uint8]
    raw: RawBatch | None = None


def run_model(
    backend: Backend, data: CocoData, photos: Sequence[Path], origin: str, advance: Callable[[], None] = lambda: None
) -> ModelRun:
    """Run a model over the photos of a data set.

    Args:
        backend: runs the model file.
        data: whose categories and image ids the predictions get.
        photos: the file of each image of `data`.
        origin: name of the model in errors and reports.
        advance: called after each photo.

    Raises:
        DataError: the model does not know a category, or a photo is not of the annotated size.
        MediaError: a photo cannot be decoded.
        FashionsegError: the backend failed.
    """
    categories = categories_of(backend.spec.class_names, data, origin)
    found: list[PhotoPredictions] = []
    seconds: list[StageSeconds] = []
    inexact = 0
    with Pipeline() as pipeline:
        files = zip(data.images, photos, strict=True)
        ready = pipeline.map("read", lambda one: _read(*one, data, backend), files, WORKERS)
        for photo, exact, one in pipeline.map(
            "encode", lambda one: _encode(one, categories), (_run(one, backend) for one in ready), WORKERS
        ):
            found.append(photo)
            seconds.append(one)
            inexact += not exact
            advance()
    return ModelRun(collect(found, origin), latencies(seconds), inexact, backend.description)


def _read(image: Image, path: Path, data: CocoData, backend: Backend) -> _Photo:
    seconds: StageSeconds = {}
    with timed(seconds, "read"):
        pixels = read_image(path)
    check_size(pixels, image, path, data)
    with timed(seconds, "resize"):
        resized = prepare(pixels, backend.spec)
    return _Photo(image, seconds, resized)


def _run(photo: _Photo, backend: Backend) -> _Photo:
    with timed(photo.seconds, "model"):
        raw = backend.run(*make_batch([photo.resized], backend.spec.size_divisor))
    return replace(photo, raw=raw)


def _encode(photo: _Photo, categories: list[int | None]) -> tuple[PhotoPredictions, bool, StageSeconds]:
    """The photo's predictions, whether its non-maximum suppression was exact, and its seconds."""
    raw, size_hw = photo.raw, photo.image.size_hw
    assert raw is not None
    with timed(photo.seconds, "masks"):
        height, width = photo.resized.shape[:2]
        detections = detections_of(raw, 0, (height, width)).scaled_to(size_hw)
        known = np.array([categories[label] is not None for label in detections.labels.tolist()], np.bool_)
        detections = detections.select(known)
        counts = tuple(encode_rle(pasted, size_hw) for pasted in paste_masks(detections))
    predictions = PhotoPredictions(
        photo.image.id,
        np.array([categories[label] for label in detections.labels.tolist()], np.int64),
        detections.boxes.astype(np.float64),
        detections.scores.astype(np.float64),
        counts,
        size_hw,
    )
    return predictions, bool(raw.nms_exact[0]), photo.seconds
