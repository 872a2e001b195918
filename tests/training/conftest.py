"""A tiny annotated set of painted rectangles, and settings that make any recipe small enough for a test."""

import json

import numpy as np
import pytest
from PIL import Image

from fashionseg.training.recipe import read_recipe, with_overrides
from fashionseg.training.run import TrainOptions

CLASSES = ("short_sleeved_shirt", "long_sleeved_shirt", "long_sleeved_outwear", "shorts", "trousers")
COLOURS = ((200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40), (40, 200, 200))

TINY = (
    "INPUT.MIN_SIZE_TRAIN=[64]",
    "INPUT.MAX_SIZE_TRAIN=96",
    "INPUT.MIN_SIZE_TEST=64",
    "INPUT.MAX_SIZE_TEST=96",
    "MODEL.RESNETS.STEM_OUT_CHANNELS=8",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=16",
    "MODEL.RESNETS.WIDTH_PER_GROUP=8",
    "MODEL.FPN.OUT_CHANNELS=16",
    "MODEL.ROI_BOX_HEAD.FC_DIM=32",
    "MODEL.ROI_MASK_HEAD.CONV_DIM=16",
    "MODEL.ROI_MASK_HEAD.NUM_CONV=1",
    "DATALOADER.NUM_WORKERS=0",
    "SOLVER.IMS_PER_BATCH=2",
    "SOLVER.CHECKPOINT_PERIOD=5",
    "augmentation.canvas_hw=[64, 64]",
    "semantic.canvas_hw=[64, 64]",
    "semantic.photos_per_step=2",
)

NORMALISED = ("MODEL.RESNETS.NORM=BN", "MODEL.FPN.NORM=BN")
"""Random weights need normalisation that learns; the large recipes freeze what COCO weights bring along."""


def make_set(folder, photos, seed, names=CLASSES, label_maps=False):
    """Write `photos` pictures with 0-2 rectangles each, polygons and RLE in turn; returns (json path, image folder)."""
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number in range(photos):
        height, width = (80, 60) if number % 3 else (60, 80)
        pixels = rng.integers(90, 130, (height, width, 3)).astype(np.uint8)
        labels = np.zeros((height, width), np.uint8)
        images.append({"id": number + 1, "file_name": f"{seed}_{number}.png", "width": width, "height": height})
        for item in range(number % 3):
            label = int(rng.integers(len(names)))
            w, h = int(rng.integers(14, 26)), int(rng.integers(14, 26))
            x, y = 4 + item * 28, int(rng.integers(2, height - h - 2))
            pixels[y : y + h, x : x + w] = COLOURS[label % len(COLOURS)]
            labels[y : y + h, x : x + w] = label + 1
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": label + 1,
                    "bbox": [x, y, w, h],
                    "area": w * h,
                    "iscrowd": 0,
                    "segmentation": rectangle(x, y, w, h, height, width, as_rle=bool(item)),
                }
            )
        Image.fromarray(pixels).save(folder / "images" / images[-1]["file_name"])
        if label_maps:
            Image.fromarray(labels).save(folder / "labels" / f"{seed}_{number}.png")
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    path = folder / f"set{seed}.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path, folder / "images"


def rectangle(x, y, w, h, height, width, as_rle):
    """A rectangle as one polygon or as uncompressed RLE."""
    if not as_rle:
        return [[x, y, x + w, y, x + w, y + h, x, y + h]]
    flat = np.zeros((height, width), np.uint8)
    flat[y : y + h, x : x + w] = 1
    flat = flat.ravel(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return {"size": [height, width], "counts": np.diff([0, *edges, flat.size]).tolist()}


def options(tiny_set, output, name="small", extra=(), **more):
    """A run of a few steps on a set as `make_set` gives it."""
    short = ["SOLVER.MAX_ITER=20", "SOLVER.WARMUP_ITERS=5"]
    recipe = with_overrides(read_recipe(name), [*TINY, *short, *NORMALISED, *extra])
    values = {"weights": "none", "device": "cpu", "seed": 5, "quiet": True, **more}
    return TrainOptions((tiny_set[0],), (tiny_set[1],), output, recipe, **values)


@pytest.fixture
def tiny_set(tmp_path):
    """Twelve photos: (json path, image folder)."""
    return make_set(tmp_path / "data", 12, seed=1)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """Sums of several threads differ in their last digits from run to run; losses are compared to 1e-6 here."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
