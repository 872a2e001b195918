"""Small data sets and predictions of rectangles, written as one would draw them."""

import numpy as np

from fashionseg.data.coco import Category, CocoData, Image, Instance
from fashionseg.evaluation.predictions import from_results
from fashionseg.masks import PastedMask
from fashionseg.rle import encode_rle

SIZE_HW = (100, 120)
NAMES = ("shirt", "trousers", "shorts")


def rle_of(box, size_hw=SIZE_HW):
    """The run-length encoding of a rectangle x y width height."""
    x, y, width, height = box
    pasted = PastedMask.from_bits(np.ones((height, width), np.uint8), x, y)
    return {"size": list(size_hw), "counts": encode_rle(pasted, size_hw)}


def data_of(photos, names=NAMES, size_hw=SIZE_HW, path=None, **extra):
    """A data set from, per photo, a list of (category id, box) or (category id, box, attributes)."""
    images = tuple(Image(i, f"{i:03d}.png", size_hw[1], size_hw[0]) for i in range(1, len(photos) + 1))
    instances = []
    for image, garments in zip(images, photos, strict=True):
        for category, box, *rest in garments:
            attributes = dict(rest[0]) if rest else {}
            crowd = bool(attributes.pop("iscrowd", 0))
            number = len(instances) + 1
            area = box[2] * box[3]
            instances.append(Instance(number, image.id, category, box, rle_of(box, size_hw), area, crowd, attributes))
    categories = tuple(Category(i, name) for i, name in enumerate(names, 1))
    return CocoData(images, tuple(instances), categories, path=path, **extra)


def results_of(found, size_hw=SIZE_HW):
    """A COCO results list from (image id, category id, box, score)."""
    return [
        {
            "image_id": image,
            "category_id": category,
            "bbox": [float(v) for v in box],
            "score": score,
            "segmentation": rle_of(box, size_hw),
        }
        for image, category, box, score in found
    ]


def predictions_of(found, data, size_hw=SIZE_HW):
    """`Predictions` from (image id, category id, box, score)."""
    return from_results(results_of(found, size_hw), data, "made up")


BOX = (10, 10, 40, 60)
"""A garment."""

FAR = (80, 30, 30, 40)
"""Another one, elsewhere."""


def mixed(photos=12, seed=0):
    """A data set with all three classes, and predictions of every quality."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for image in range(1, photos + 1):
        garments = []
        for _ in range(rng.integers(0, 4)):
            box = (*rng.integers(0, 40, 2).tolist(), *rng.integers(8, 60, 2).tolist())
            category = int(rng.integers(1, 4))
            garments.append((category, box, {"occlusion": int(rng.integers(1, 4))}))
            for _ in range(rng.integers(0, 3)):
                moved = tuple(int(max(v + d, 1)) for v, d in zip(box, rng.integers(-6, 7, 4), strict=True))
                guess = category if rng.uniform() < 0.8 else int(rng.integers(1, 4))
                found.append((image, guess, moved, round(float(rng.uniform(0.05, 1)), 3)))
        for _ in range(rng.integers(0, 3)):
            box = (*rng.integers(0, 60, 2).tolist(), *rng.integers(5, 40, 2).tolist())
            found.append((image, int(rng.integers(1, 4)), box, round(float(rng.uniform(0.05, 0.6)), 3)))
        truth.append(garments)
    data = data_of(truth)
    return data, predictions_of(found, data)
