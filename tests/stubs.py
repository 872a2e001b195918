"""Stand-ins that tests share: a backend that finds coloured rectangles, and pictures that hold some."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import cv2
import numpy as np

from fashionseg.backends import RawBatch
from fashionseg.model import ModelFile, ModelSpec

MASK_SIDE = 28


def spec(**changes):
    """A small model's metadata: two classes, pictures of 64..96 pixels."""
    values = {
        "class_names": ("shirt", "trousers"),
        "category_ids": (1, 7),
        "score_threshold": 0.05,
        "nms_threshold": 0.5,
        "max_detections": 4,
        "min_size": 64,
        "max_size": 96,
        "pixel_mean": (0.0, 0.0, 0.0),
        "pixel_std": (1.0, 1.0, 1.0),
        "name": "stub",
    }
    return ModelSpec(**{**values, **changes})


def model_file(**changes):
    """A `ModelFile` that only a stub backend can run."""
    data = b"stub"
    return ModelFile(Path("stub.onnx"), data, spec(**changes), hashlib.sha256(data).hexdigest())


class StubBackend:
    """Finds the bright blue (shirt) and the bright red (trousers) rectangle of each picture.

    Scores come from the pixels, so that a wrong picture or a wrong order shows. `fail` is called before each run with
    the number of the run and its pictures, and may raise. Two threads take turns in no certain order: which pictures a
    run holds does not follow from its number. What is to happen at a certain picture takes `at_picture`.
    """

    device = "cpu"
    description = "stub"
    streams = 1

    def __init__(self, spec, fail=None):
        self.spec = spec
        self.batches = []
        self.closed = False
        self._fail = fail
        self._lock = threading.Lock()

    def run(self, images, image_sizes):
        with self._lock:
            self.batches.append(images.shape)
            number = len(self.batches)
        if self._fail:
            self._fail(number, images)
        n, k = len(images), self.spec.max_detections
        raw = RawBatch(
            np.zeros(n, np.int32),
            np.zeros((n, k, 4), np.float32),
            np.zeros((n, k), np.float32),
            np.zeros((n, k), np.int32),
            np.zeros((n, k, MASK_SIDE, MASK_SIDE), np.float32),
            np.ones(n, np.int32),
        )
        for row, (image, (height, width)) in enumerate(zip(images, image_sizes, strict=True)):
            for label, channel in ((0, 0), (1, 2)):
                self._find(raw, row, image[:height, :width], label, channel)
        return raw

    def _find(self, raw, row, image, label, channel):
        others = [c for c in range(3) if c != channel]
        hits = (image[..., channel] > 150) & (image[..., others] < 100).all(-1)
        if not hits.any():
            return
        ys, xs = np.nonzero(hits)
        at = int(raw.num_detections[row])
        raw.boxes[row, at] = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
        raw.scores[row, at] = 0.9 - 0.1 * at - image.mean() / 10_000
        raw.labels[row, at] = label
        raw.masks[row, at] = 1.0
        raw.num_detections[row] += 1

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


def picture(size_hw=(80, 64), seed=0, shirt=True, trousers=True):
    """uint8 [H, W, 3] BGR: grey noise with a blue and a red rectangle."""
    height, width = size_hw
    image = np.random.default_rng(seed).integers(90, 140, (height, width, 3), np.uint8)
    if shirt:
        cv2.rectangle(image, (width // 4, height // 8), (3 * width // 4, height // 2 - 2), (230, 20, 20), -1)
    if trousers:
        cv2.rectangle(image, (width // 3, height // 2), (2 * width // 3, 7 * height // 8), (20, 20, 230), -1)
    return image


def at_picture(seed, act):
    """For a `StubBackend`: calls `act` before the run that holds `picture(seed=seed)`, whichever number it has."""
    image = picture(seed=seed)
    height, width = image.shape[:2]

    def fail(number, images):
        if any(np.array_equal(one[:height, :width], image) for one in images):
            act()

    return fail


def write_photos(folder, count, **options):
    """`count` different photos named 000.png, 001.png ...; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:03d}.png"
        cv2.imwrite(str(path), picture(seed=number, **options))
        paths.append(path)
    return paths


def run(arguments, root, fail=None, reporter=None, stop=None, **options):
    """`segment` over a stub: its summary, and the backends that were made."""
    from fashionseg.segment import SegmentOptions, segment

    made = []

    def open_backend(model):
        made.append(StubBackend(model.spec, fail))
        return made[-1]

    return segment(arguments, root, SegmentOptions(**options), reporter, stop, open_backend), made
