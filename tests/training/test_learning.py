"""Does it learn? From random weights on drawn pictures, within minutes on two cores. Run with `pytest -m slow`."""

import time

import pytest

from fashionseg.training.recipe import read_recipe, with_overrides
from fashionseg.training.run import TrainOptions, train

pytest.importorskip("detectron2")
pytestmark = [pytest.mark.detectron2, pytest.mark.slow, pytest.mark.timeout(1800)]

SETTINGS = (
    "semantic.steps=350",
    "semantic.canvas_hw=[192, 128]",
    "augmentation.canvas_hw=[256, 192]",
    "augmentation.scale=[0.9, 1.4]",
    "augmentation.rotation=4",
    "INPUT.MIN_SIZE_TEST=208",
    "SOLVER.BASE_LR=0.0015",
    "SOLVER.MAX_ITER=500",
    "SOLVER.CHECKPOINT_PERIOD=250",
    "TEST.EVAL_PERIOD=0",
    "optimizer.backbone_factor=1.0",
    "ema.decay=0.99",
)
GOAL_AP50 = 80.0
LIMIT_S = 600.0


def test_from_random_weights_to_mask_ap50_of_80_in_ten_minutes(tmp_path):
    from fashionseg.data.synth import SynthOptions, write_synth

    write_synth(tmp_path / "train", SynthOptions(200, (320, 240), seed=1), processes=2)
    write_synth(tmp_path / "val", SynthOptions(50, (320, 240), seed=2), processes=2)
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
