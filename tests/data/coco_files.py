"""Small COCO files and DeepFashion2 folders that the tests of `fashionseg.data` make."""

import json

import cv2
import numpy as np

from fashionseg.data.coco import read_coco

CATEGORIES = [{"id": 1, "name": "shirt"}, {"id": 2, "name": "trousers"}]


def square(x, y, side):
    """A polygon."""
    return [float(v) for v in (x, y, x + side, y, x + side, y + side, x, y + side)]


def document(images=2, **changes):
    """A valid COCO document: each photo 40 x 30 pixels with a shirt of 10 x 10 and trousers of 6 x 6."""
    found = {
        "info": {"version": "1"},
        "images": [
            {"id": k, "file_name": f"{k}.jpg", "width": 40, "height": 30, "pair_id": (k + 1) // 2}
            for k in range(1, images + 1)
        ],
        "annotations": [
            {
                "id": 2 * k + n,
                "image_id": k,
                "category_id": n,
                "bbox": [5, 5, side, side],
                "area": side * side,
                "iscrowd": 0,
                "segmentation": [square(5, 5, side)],
                "occlusion": n,
            }
            for k in range(1, images + 1)
            for n, side in ((1, 10), (2, 6))
        ],
        "categories": CATEGORIES,
    }
    return found | changes


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_photos(folder, content, seed=0):
    """Photos of the sizes that a COCO document gives, no two alike."""
    rng = np.random.default_rng(seed)
    for image in content["images"]:
        path = folder / image["file_name"]
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 255, (image["height"], image["width"], 3), np.uint8)
        assert cv2.imwrite(str(path), pixels)
    return folder


def item(category=1, box=(10, 10, 50, 60), **changes):
    """An item of DeepFashion2's layout: a rectangle a little smaller than its box."""
    x1, y1, x2, y2 = box
    return {
        "segmentation": [[x1 + 1, y1 + 1, x2 - 1.5, y1 + 1, x2 - 1.5, y2 - 2, x1 + 1, y2 - 2]],
        "scale": 2,
        "viewpoint": 2,
        "zoom_in": 1,
        "landmarks": [1, 2, 2] * 25,
        "style": 1,
        "bounding_box": list(box),
        "category_id": category,
        "occlusion": 1,
        "category_name": "x",
    } | changes


def deepfashion2(root, photos, size_hw=(120, 90)):
    """A folder with annos/ and image/; `photos` maps numbers to lists of items, or to raw text for a broken file."""
    for folder in ("annos", "image"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, items in photos.items():
        name = f"{number:06d}"
        cv2.imwrite(str(root / "image" / f"{name}.jpg"), np.full((*size_hw, 3), 90, np.uint8))
        if isinstance(items, str):
            text = items
        else:
            parts = {f"item{k}": one for k, one in enumerate(items, 1)}
            text = json.dumps({"source": "user", "pair_id": number // 2, **parts})
        (root / "annos" / f"{name}.json").write_text(text)
    return root


def loaded(folder, name, content):
    """The data set of a COCO document, written to a file and read."""
    return read_coco(write(folder / name, content))
