"""The comparison of recipes: its quick AP is COCO's, and its recipes are the two it names, made small."""

import numpy as np
import pytest

from .conftest import make_set

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


def shifted(record, annotation, rng):
    """A garment's mask as somebody might predict it: moved a little, or of another class."""
    from pycocotools import mask as coco_mask

    segmentation, size = annotation["segmentation"], (record["height"], record["width"])
    rle = (
        segmentation if isinstance(segmentation, dict) else coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    )
    moved = np.roll(coco_mask.decode(rle), rng.integers(-6, 7, 2), (0, 1))
    encoded = coco_mask.encode(np.asfortranarray(moved))
    box = [float(x) for x in coco_mask.toBbox(encoded)]
    label = annotation["category_id"] if rng.random() < 0.8 else int(rng.integers(5))
    return {"category_id": label, "score": float(rng.random()), "segmentation": encoded, "bbox": box}


@pytest.fixture
def judged(tmp_path):
    from fashionseg.training.config import build_config
    from fashionseg.training.dataset import read_sets
    from fashionseg.training.recipe import read_recipe
    from fashionseg.training.validation import Validator

    path, folder = make_set(tmp_path, 30, seed=6)
    data = read_sets([path], [folder])
    rng = np.random.default_rng(0)
    results = [
        {"image_id": i, **shifted(record, annotation, rng)}
        for i, record in enumerate(data.records)
        for annotation in record["annotations"] * 2
    ]
    return Validator(build_config(read_recipe("small"), data, "cpu"), data), results


def test_the_quick_ap_is_that_of_coco(judged):
    from fashionseg.benchmarks.recipes import Matches
    from fashionseg.training.validation import _figures

    validator, results = judged
    expected = _figures(validator.truth, results, "segm", validator.data.class_names)["segm/AP"]
    got = Matches(validator.truth, results).ap(np.ones(30, np.int64))
    assert 5 < expected < 95
    assert got == pytest.approx(expected, abs=1e-6), f"{got} instead of {expected}"


def test_a_model_is_no_better_than_itself(judged):
    from fashionseg.benchmarks.recipes import Matches, compared

    validator, results = judged
    one = Matches(validator.truth, results)
    answer = compared({"deepfashion2": [one, one], "modern": [one, one]}, 30)
    assert (answer["difference"], answer["low"], answer["high"]) == (0, 0, 0)


def test_both_recipes_see_the_same_photos_with_the_same_network():
    from fashionseg.benchmarks.recipes import at_small_size
    from fashionseg.training.config import build_config

    old, new = (build_config(at_small_size(name, 8000), device="cpu") for name in ("deepfashion2", "modern"))
    assert old.SOLVER.MAX_ITER == new.SOLVER.MAX_ITER == 1000
    assert old.SOLVER.IMS_PER_BATCH == new.SOLVER.IMS_PER_BATCH
    assert old.SOLVER.STEPS == (600, 850)
    assert old.MODEL.RESNETS == new.MODEL.RESNETS
    assert old.INPUT.MIN_SIZE_TEST == new.INPUT.MIN_SIZE_TEST
    assert new.DATALOADER.SAMPLER_TRAIN != old.DATALOADER.SAMPLER_TRAIN
