"""A Mask R-CNN small enough for tests, with random weights that find things; needs Detectron2."""

from __future__ import annotations

import numpy as np

from fashionseg.benchmarks.random_rcnn import r50_fpn_config, random_mask_rcnn

CLASSES = 5

TINY = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.FPN.OUT_CHANNELS": 16,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 32,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 16,
    "MODEL.ROI_MASK_HEAD.NUM_CONV": 1,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 200,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 60,
    "MODEL.ANCHOR_GENERATOR.SIZES": [[16], [32], [64], [128], [256]],
    "INPUT.MIN_SIZE_TEST": 128,
    "INPUT.MAX_SIZE_TEST": 224,
    "TEST.DETECTIONS_PER_IMAGE": 20,
}


def config(**changes):
    """A tiny config; `changes` name keys with "__" for ".", such as MODEL__FPN__NORM="GN"."""
    cfg = r50_fpn_config(CLASSES)
    keys = {**TINY, **{key.replace("__", "."): value for key, value in changes.items()}}
    cfg.merge_from_list([entry for pair in keys.items() for entry in pair])
    return cfg


def model(cfg, seed=0, detections=12):
    """A model of `cfg` that finds about `detections` objects in the first of `pictures()`."""
    return random_mask_rcnn(cfg, pictures()[0], detections, seed)


def pictures():
    """Three pictures of different sizes: uint8 [h, w, 3], coloured blotches, in sizes that `config` leaves alone."""
    rng = np.random.default_rng(3)
    found = []
    for height, width in ((128, 190), (160, 128), (128, 128)):
        coarse = rng.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3))
        blotches = coarse.repeat(16, 0).repeat(16, 1)[:height, :width]
        found.append((blotches * 0.8 + rng.integers(0, 50, (height, width, 3))).astype(np.uint8))
    return found
