"""Does it learn? From random weights on drawn pictures, within minutes on two cores. Run with `pytest -m slow`."""

import time

import pytest

from fashionseg.training.recipe import read_recipe, with_overrides
from fashionseg.training.run import TrainOptions, train

pytest.importorskip("detectron2")
pytestmark = [pytest.mark.detectron2, pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = (
    # A plain ResNet-18: on two cores it learns more a minute than fifty narrow layers.
    "MODEL.RESNETS.DEPTH=18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS=64",
    "MODEL.ANCHOR_GENERATOR.SIZES=[[24, 36], [48, 66], [84, 112]]",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE=32",
    "MODEL.ROI_MASK_HEAD.CONV_DIM=64",
    "MODEL.ROI_MASK_HEAD.NUM_CONV=1",
    "INPUT.MIN_SIZE_TEST=104",
    # Backbone and FPN first: a photo costs a third of what it costs the detector.
    "semantic.steps=400",
    "semantic.photos_per_step=8",
    "semantic.canvas_hw=[192, 96]",
    "semantic.learning_rate=0.002",
    "semantic.warmup=20",
    "semantic.ema_decay=0.98",
    # Short schedules want a short warm-up and averages that forget soon.
    "SOLVER.BASE_LR=0.003",
    "SOLVER.MAX_ITER=700",
    "SOLVER.WARMUP_ITERS=30",
    "SOLVER.CHECKPOINT_PERIOD=250",
    "TEST.EVAL_PERIOD=0",
    "optimizer.backbone_factor=1.0",
    "ema.decay=0.99",
    "augmentation.canvas_hw=[192, 96]",
    "augmentation.scale=[0.9, 1.2]",
    "augmentation.rotation=4",
    "augmentation.brightness=0.2",
    "augmentation.contrast=0.2",
    "augmentation.hue=20",
    "augmentation.saturation=0.3",
    "augmentation.cutout=0",
)
GOAL_AP50 = 80.0
LIMIT_S = 600.0


def test_from_random_weights_to_mask_ap50_of_80_in_ten_minutes(tmp_path):
    from fashionseg.data.synth import SynthOptions, write_synth

    for name, count, seed in (("train", 200, 1), ("val", 50, 2)):
        write_synth(tmp_path / name, SynthOptions(count, (320, 160), seed, people=1, plain=True), processes=2)
    options = TrainOptions(
        train=(tmp_path / "train/annotations.json",),
        images=(tmp_path / "train/images",),
        output=tmp_path / "run",
        recipe=with_overrides(read_recipe("small"), SETTINGS),
        val=tmp_path / "val/annotations.json",
        val_images=tmp_path / "val/images",
        weights="none",
        device="cpu",
        quiet=True,
    )
    started = time.monotonic()
    metrics = train(options).metrics
    seconds = time.monotonic() - started
    print({name: round(value, 1) for name, value in metrics.items()}, f"{seconds:.0f} s")
    assert metrics["segm/AP50"] >= GOAL_AP50
    assert seconds <= LIMIT_S
