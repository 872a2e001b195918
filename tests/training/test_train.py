"""Whole runs at tiny size: what they leave behind, how they go on after being killed."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fashionseg.errors import TrainingError
from fashionseg.training.recipe import with_overrides
from fashionseg.training.run import resumed_options, train

from .conftest import CLASSES, make_set, options

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2

os.environ.setdefault("OMP_NUM_THREADS", "1")


KILLED_RUN = """
import os, signal, sys
from pathlib import Path
from fashionseg.training import hooks, run
from fashionseg.training.recipe import read_recipe

written = hooks.MetricsCsv.after_step

def after_step(self):
    written(self)
    if self.trainer.iter + 1 == 12:
        os.kill(os.getpid(), signal.SIGKILL)

hooks.MetricsCsv.after_step = after_step
train, images, output, recipe = (Path(a) for a in sys.argv[1:])
rest = {"weights": "none", "device": "cpu", "seed": 5, "quiet": True}
run.train(run.TrainOptions((train,), (images,), output, read_recipe(recipe), **rest))
"""


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def losses(folder):
    table = rows(folder)
    names = ["total_loss", *(n for n in table[0] if n.startswith("loss_"))]
    return np.array([[float(row[name]) for name in names] for row in table])


def metadata_of(folder):
    return json.loads((folder / "metadata.json").read_text())


@pytest.mark.parametrize("name", ["deepfashion2", "small"])
def test_a_run_killed_at_step_12_goes_on_from_10_with_the_same_losses(name, tiny_set, tmp_path):
    whole = options(tiny_set, tmp_path / "whole", name)
    train(whole)
    expected = losses(tmp_path / "whole")
    assert len(expected) == 20

    (tmp_path / "mine.toml").write_text(whole.recipe.to_toml())
    command = [sys.executable, "-c", KILLED_RUN, tiny_set[0], tiny_set[1], tmp_path / "killed", tmp_path / "mine.toml"]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = rows(tmp_path / "killed")
    assert len(before) == 12

    train(resumed_options(tmp_path / "killed", device="cpu", quiet=True))
    got = losses(tmp_path / "killed")
    after = rows(tmp_path / "killed")
    assert [int(row["step"]) for row in after] == list(range(1, 21))
    assert after[:10] == before[:10], "with the times they took: these steps were not done again"
    assert after[10:12] != before[10:12], "these were"
    difference = np.abs(got - expected)
    assert difference[10:].max() <= 1e-6, f"largest {difference.max()}, by step {difference.max(axis=1)}"


def test_a_run_leaves_everything_that_is_promised(tiny_set, tmp_path):
    import torch

    val = make_set(tmp_path / "val", 6, seed=9)
    labelled = make_set(tmp_path / "labelled", 8, seed=4, label_maps=True)
    result = train(
        options(
            labelled,
            tmp_path / "run",
            extra=["SOLVER.MAX_ITER=6", "semantic.steps=4", "semantic.warmup=1", "TEST.EVAL_PERIOD=3"],
            val=val[0],
            val_images=val[1],
        )
    )
    run = tmp_path / "run"
    for name in ("config.yaml", "recipe.toml", "run.json", "log.txt", "metrics.csv", "curves.png", "metadata.json"):
        assert (run / name).stat().st_size > 0, name
    assert list(run.glob("events.out.tfevents.*"))
    assert not list(run.rglob("*.part")) + list(run.rglob("*.tmp"))
    assert len(rows(run)) == 6
    assert len(rows(run / "semantic")) == 4
    assert [row["step"] for row in rows(run) if row["segm/AP"]] == ["3", "6"]
    assert result.final == run / "model_final.pth"
    assert metadata_of(run)["metrics_of"] == result.best.name
    assert "segm/AP50" in result.metrics
    metadata = metadata_of(run)
    assert metadata["class_names"][0] == "short_sleeved_shirt"
    assert metadata["category_ids"] == [1, 2, 3, 4, 5]
    weights = torch.load(result.final, weights_only=True)
    assert weights["class_names"] == metadata["class_names"]
    assert not any(key.startswith("semantic") for key in weights["model"])
    assert (run / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_final_weights_are_the_averaged_ones(tiny_set, tmp_path):
    import torch

    train(options(tiny_set, tmp_path / "run", extra=["SOLVER.MAX_ITER=3", "ema.decay=0.9"]))
    final = torch.load(tmp_path / "run/model_final.pth", weights_only=True)["model"]
    last = torch.load(tmp_path / "run/model_0000002.pth", weights_only=True)
    assert all(torch.equal(value, last["ema"]["average"][key]) for key, value in final.items())
    assert not all(torch.equal(value, last["model"][key]) for key, value in final.items())


def test_best_score_and_patience_survive_a_resume(tiny_set, tmp_path):
    more = {"val": tiny_set[0], "val_images": tiny_set[1]}
    extra = ["SOLVER.MAX_ITER=5", "TEST.EVAL_PERIOD=5", "validation.patience=2"]
    train(options(tiny_set, tmp_path / "run", extra=extra, **more))
    first = metadata_of(tmp_path / "run")
    longer = resumed_options(tmp_path / "run", device="cpu", quiet=True)
    longer = replace(longer, recipe=with_overrides(longer.recipe, ["SOLVER.MAX_ITER=30", "SOLVER.BASE_LR=1e-12"]))
    train(longer)
    second = metadata_of(tmp_path / "run")
    assert second["best_step"] >= first["best_step"] > 0
    assert second["stopped_early"], "random weights that stay as they are cannot become better"
    table = rows(tmp_path / "run")
    assert len(table) < 30
    assert [row["step"] for row in table if row["segm/AP"]] == [str(n) for n in range(5, len(table) + 1, 5)]
    assert (tmp_path / "run" / f"model_{len(table) - 1:07d}.pth").is_file()
    assert "Traceback" not in (tmp_path / "run/log.txt").read_text()
    train(longer)
    assert metadata_of(tmp_path / "run")["stopped_early"], "patience has run out"
    assert rows(tmp_path / "run") == table


def test_checkpoints_are_chosen_by_a_figure_that_will_be_there(tiny_set, tmp_path):
    val = make_set(tmp_path / "val", 2, seed=9)  # one garment in all
    shown = CLASSES[json.loads(val[0].read_text())["annotations"][0]["category_id"] - 1]
    for label in ("skirt", *set(CLASSES) - {shown}):
        extra = [f"validation.metric=segm/AP-{label}"]
        with pytest.raises(TrainingError, match=rf"metric segm/AP-{label}: .*set9.json shows {shown}, and no {label}"):
            train(options(tiny_set, tmp_path / "run", extra=extra, val=val[0], val_images=val[1]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_settings_given_at_a_resume_are_in_force(optimizer, tiny_set, tmp_path):
    """From the step it goes on at, as if they had been so from the start."""
    import torch

    train(options(tiny_set, tmp_path / "run", extra=["SOLVER.MAX_ITER=2", f"optimizer.name={optimizer}"]))
    resumed = resumed_options(tmp_path / "run", device="cpu", quiet=True)
    changes = ["SOLVER.MAX_ITER=4", "SOLVER.BASE_LR=0.0005", "SOLVER.WEIGHT_DECAY=0.01", "SOLVER.WARMUP_ITERS=0"]
    train(replace(resumed, recipe=with_overrides(resumed.recipe, changes)))
    rates = {0.0005} | ({0.0005 * resumed.recipe.optimizer.backbone_factor} if optimizer == "adamw" else set())
    saved = torch.load(tmp_path / "run/model_0000003.pth", weights_only=True)["trainer"]
    groups = saved["optimizer"]["param_groups"]
    assert {group["weight_decay"] for group in groups} == {0.01, 0.0}
    assert {group["initial_lr"] for group in groups} == rates
    half_way = float(rows(tmp_path / "run")[2]["lr"])
    assert min(abs(half_way - rate / 2) for rate in rates) < 1e-9, half_way
    other = with_overrides(resumed.recipe, ["optimizer.name=" + {"sgd": "adamw", "adamw": "sgd"}[optimizer]])
    with pytest.raises(TrainingError, match=r"the optimiser of .*model_0000003\.pth is another one"):
        train(replace(resumed, recipe=other))
    train(resumed)  # past its last step: nothing is left to do
    assert len(rows(tmp_path / "run")) == 4


def test_old_checkpoints_are_removed(tiny_set, tmp_path):
    train(options(tiny_set, tmp_path / "run", extra=["SOLVER.CHECKPOINT_PERIOD=1", "SOLVER.MAX_ITER=5"]))
    assert sorted(p.name for p in (tmp_path / "run").glob("model_0*.pth")) == [
        "model_0000002.pth",
        "model_0000003.pth",
        "model_0000004.pth",
    ]


@pytest.mark.parametrize("names", [("shirt", "hat"), ("a", "b", "c", "d", "e")])
def test_fine_tuning_on_other_classes_starts_their_heads_anew(names, tiny_set, tmp_path):
    """Other in number, or as many but others: boxes and masks of a class mean nothing for another class."""
    import torch

    still = ["SOLVER.MAX_ITER=1", "SOLVER.BASE_LR=1e-12"]
    first = train(options(tiny_set, tmp_path / "first", extra=still)).final
    others = make_set(tmp_path / "others", 4, seed=3, names=names)
    second = train(options(others, tmp_path / "second", extra=still, weights=str(first), seed=6)).final
    before, after = (torch.load(path, weights_only=True)["model"] for path in (first, second))
    head = "roi_heads.box_predictor.cls_score.weight"
    assert after[head].shape[0] == len(names) + 1
    assert after[head].shape != before[head].shape or not torch.allclose(after[head], before[head], atol=1e-6)
    assert torch.allclose(after["roi_heads.box_head.fc1.weight"], before["roi_heads.box_head.fc1.weight"], atol=1e-6)


def test_two_processes_train_together(tiny_set, tmp_path):
    result = train(options(tiny_set, tmp_path / "run", extra=["SOLVER.MAX_ITER=2"], gpus=2))
    assert result.final.is_file()
    assert len(rows(tmp_path / "run")) == 2


def test_results_are_the_first_machines(tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import run

    monkeypatch.setattr(run, "_launch", lambda *_: None)
    assert train(options(tiny_set, tmp_path / "run", machines=2, rank=1, dist_url="tcp://host:29500")) is None
    assert not list((tmp_path / "run").iterdir())


def test_layers_that_start_from_random_weights_are_named(tiny_set, tmp_path, capsys):
    first = train(options(tiny_set, tmp_path / "first", extra=["SOLVER.MAX_ITER=1"])).final
    other = make_set(tmp_path / "other", 6, seed=3, names=("coat", "hat", "shoe"))
    for number, (data, more) in enumerate([(tiny_set, []), (other, []), (tiny_set, ["MODEL.FPN.OUT_CHANNELS=24"])]):
        extra = ["SOLVER.MAX_ITER=1", *more]
        train(options(data, tmp_path / str(number), extra=extra, weights=str(first), quiet=False))
    texts = [line.partition(" fits but for ")[2] for line in capsys.readouterr().err.splitlines() if " fits " in line]
    assert len(texts) == 2, "nothing to say where all fits"
    assert texts[0].startswith("roi_heads.box_predictor, roi_heads.mask_head.predictor: ")
    assert texts[1].startswith("backbone.fpn_lateral2, backbone.fpn_lateral3,")
    assert ", proposal_generator" in texts[1] and "backbone.bottom_up" not in texts[1]
