"""Recipes as text: parsing, overrides, writing back; none of it needs torch."""

import subprocess
import sys

import pytest

from fashionseg.errors import TrainingError
from fashionseg.training.recipe import read_recipe, recipe_names, with_overrides


@pytest.mark.parametrize("name", ["deepfashion2", "modern", "small"])
def test_a_recipe_survives_being_written_and_read(name, tmp_path):
    recipe = read_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml(), encoding="utf-8")
    assert read_recipe(tmp_path / "again.toml") == recipe
    assert recipe.summary


def test_all_recipes_are_listed():
    assert recipe_names() == ["deepfashion2", "modern", "small"]


def test_recipes_need_no_torch():
    code = (
        "import sys; from fashionseg.training.recipe import read_recipe; from fashionseg.training import dataset, run; "
        "read_recipe('modern'); print(sorted({'torch', 'detectron2', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_deepfashion2_says_what_the_source_project_said():
    keys = read_recipe("deepfashion2").detectron2_keys()
    assert keys == {
        "MODEL.BACKBONE.FREEZE_AT": 2,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 128,
        "MODEL.ROI_HEADS.NUM_CLASSES": 5,
        "SOLVER.IMS_PER_BATCH": 4,
        "SOLVER.BASE_LR": 0.001,
        "SOLVER.MAX_ITER": 271740,
        "SOLVER.STEPS": [163044, 230979],
        "SOLVER.GAMMA": 0.1,
        "SOLVER.CHECKPOINT_PERIOD": 13587,
    }


def test_overrides_reach_both_kinds_of_keys():
    recipe = with_overrides(
        read_recipe("small"),
        [
            "SOLVER.BASE_LR=0.002",
            "SOLVER.STEPS=(10, 20)",
            "ema.decay=0.5",
            "semantic.canvas_hw=[64, 96]",
            "weights=none",
        ],
    )
    keys = recipe.detectron2_keys()
    assert keys["SOLVER.BASE_LR"] == 0.002
    assert keys["SOLVER.STEPS"] == [10, 20]
    assert recipe.ema.decay == 0.5
    assert recipe.semantic.canvas_hw == (64, 96)
    assert recipe.weights == "none"


@pytest.mark.parametrize(
    ("assignment", "fragment"),
    [
        ("SOLVER.BASE_LR", "KEY=VALUE"),
        ("=1", "KEY=VALUE"),
        ("emma.decay=0.9", "unknown key 'emma'"),
        ("ema.rate=0.9", "unknown key 'rate'"),
        ("ema.decay=fast", "must be a number"),
        ("ema.decay=1.5", "ema.decay must be in 0..1"),
        ("channels_last=1", "true or false"),
        ("augmentation.method=magic", "must be one of detectron2, warp"),
        ("augmentation.scale=[2.0, 1.0]", "low, high"),
        ("augmentation.canvas_hw=[8, 8]", "too small"),
        ("optimizer.name=lion", "must be one of sgd, adamw"),
        ("validation.metric=accuracy", "segm/AP"),
        ("validation.metric=segm/APm", "segm/AP-CLASS"),
        ("validation.metric=segm/AP75-shorts", "segm/AP-CLASS"),
        ("validation.metric=bbox/AP-", "segm/AP-CLASS"),
        ("semantic.learning_rate=0", "must be positive"),
        ("name.first=x", "not a table"),
        ("keep_checkpoints=-1", "must not be negative"),
    ],
)
def test_a_wrong_override_is_one_sentence(assignment, fragment):
    with pytest.raises(TrainingError, match=r".*") as caught:
        with_overrides(read_recipe("small"), [assignment])
    assert fragment in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("name = ", "is not a TOML file"),
        ("colour = 1", "unknown key 'colour'"),
        ("[ema]\nspeed = 1", "unknown key 'speed'"),
        ("ema = 3", "ema must be a table"),
        ("[augmentation]\nscale = [1]", "two numbers"),
    ],
)
def test_a_wrong_recipe_file_is_one_sentence(text, fragment, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TrainingError) as caught:
        read_recipe(path)
    assert fragment in str(caught.value)
    assert "mine.toml" in str(caught.value)


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(TrainingError, match="deepfashion2, modern, small"):
        read_recipe("moderm")


def test_a_recipe_file_is_named_after_itself(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("summary = 'x'", encoding="utf-8")
    assert read_recipe(path).name == "mine"
