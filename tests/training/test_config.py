"""Recipes as Detectron2 configs."""

import pytest

from fashionseg.errors import TrainingError
from fashionseg.training.dataset import read_sets
from fashionseg.training.recipe import read_recipe, with_overrides

from .conftest import make_set

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2

TABLE = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.BACKBONE.FREEZE_AT": 2,
    "MODEL.RESNETS.DEPTH": 50,
    "MODEL.MASK_ON": True,
    "MODEL.ROI_HEADS.NUM_CLASSES": 5,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
    "SOLVER.IMS_PER_BATCH": 4,
    "SOLVER.BASE_LR": 0.001,
    "SOLVER.MAX_ITER": 271740,
    "SOLVER.STEPS": (163044, 230979),
    "SOLVER.GAMMA": 0.1,
    "SOLVER.LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "SOLVER.CHECKPOINT_PERIOD": 13587,
}
"""The source project's recipe: mask_rcnn_R_50_FPN_3x with these keys, and nothing else changed."""


def lookup(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


def flat(cfg, prefix=""):
    for key, value in cfg.items():
        if hasattr(value, "items"):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def test_deepfashion2_equals_the_source_projects_table_key_by_key():
    from detectron2 import model_zoo
    from detectron2.config import get_cfg

    from fashionseg.training.config import build_config

    cfg = build_config(read_recipe("deepfashion2"), device="cpu")
    assert {key: lookup(cfg, key) for key in TABLE} == TABLE

    zoo = get_cfg()
    zoo.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml"))
    ours, theirs = dict(flat(cfg)), dict(flat(zoo))
    set_by_a_run = {"MODEL.DEVICE", "MODEL.WEIGHTS", "OUTPUT_DIR", "SEED"}
    different = {key for key in ours if ours[key] != theirs[key]} - set_by_a_run
    assert different <= set(TABLE), f"changed beyond the table: {sorted(different - set(TABLE))}"
    assert ours.keys() == theirs.keys()


def test_deepfashion2_drops_its_learning_rate_where_the_source_project_did():
    import torch
    from detectron2.solver import build_lr_scheduler

    from fashionseg.training.config import build_config

    cfg = build_config(read_recipe("deepfashion2"), device="cpu")
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=cfg.SOLVER.BASE_LR)
    schedule = build_lr_scheduler(cfg, optimizer)
    rates = [schedule._multiplier(step / cfg.SOLVER.MAX_ITER) for step in (163043, 163045, 230978, 230980)]
    assert rates == pytest.approx([1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize("name", ["deepfashion2", "modern", "small"])
def test_every_recipe_builds_a_config_and_a_network(name, tiny_set):
    from detectron2.modeling import build_model

    from fashionseg.training.config import build_config

    from .conftest import TINY

    recipe = with_overrides(read_recipe(name), TINY)
    cfg = build_config(recipe, read_sets([tiny_set[0]], [tiny_set[1]]), device="cpu", seed=3)
    assert cfg.SEED == 3
    assert cfg.INPUT.MASK_FORMAT == "bitmask", "the set holds RLE masks"
    assert cfg.is_frozen()
    build_model(cfg)


def test_small_is_the_network_of_the_embedded_model():
    """`train --weights default` must be able to load it: 5.87 million parameters."""
    from detectron2.modeling import build_model

    from fashionseg.training.config import build_config

    model = build_model(
        build_config(with_overrides(read_recipe("small"), ["MODEL.ROI_HEADS.NUM_CLASSES=5"]), device="cpu")
    )
    assert round(sum(value.numel() for value in model.state_dict().values()) / 1e6, 2) == 5.87


@pytest.mark.parametrize(
    ("assignment", "fragment"),
    [
        ("SOLVER.gamma=0.5", "no config key SOLVER.gamma"),
        ("SOLVER.NOTHING.AT.ALL=1", "no config key SOLVER.NOTHING.AT.ALL"),
        ("NONSENSE=1", "no config key NONSENSE"),
        ("SOLVER.MAX_ITER=0", "SOLVER.MAX_ITER must be positive"),
        ("DATALOADER.SAMPLER_TRAIN=Other", "must be one of TrainingSampler, RepeatFactorTrainingSampler"),
        ("MODEL.WEIGHTS=model.pth", "MODEL.WEIGHTS is not set in a recipe: use --weights"),
        ("SEED=3", "use --seed"),
        ("INPUT.CROP.ENABLED=true", "INPUT.CROP.ENABLED cannot be true here: augmentation.method"),
        ("TEST.AUG.ENABLED=true", "TEST.AUG.ENABLED cannot be true here"),
        ("SOLVER.MAX_ITER=many", "SOLVER.MAX_ITER cannot be 'many'"),
    ],
)
def test_a_wrong_detectron2_key_is_one_sentence(assignment, fragment):
    from fashionseg.training.config import build_config

    with pytest.raises(TrainingError) as caught:
        build_config(with_overrides(read_recipe("small"), [assignment]), device="cpu")
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_recipe_for_another_number_of_classes_is_refused(tmp_path):
    from fashionseg.training.config import build_config

    path, folder = make_set(tmp_path, 3, seed=1, names=("shirt", "hat"))
    data = read_sets([path], [folder])
    with pytest.raises(TrainingError, match=r"for 5 classes, .* has 2"):
        build_config(read_recipe("deepfashion2"), data, device="cpu")
    assert build_config(read_recipe("small"), data, device="cpu").MODEL.ROI_HEADS.NUM_CLASSES == 2
