"""Whole runs at tiny size: what they leave behind, how they go on after being killed, how they fail."""

import csv
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from fashionseg.errors import DataError, DeviceError, TrainingError
from fashionseg.training.recipe import read_recipe, with_overrides
from fashionseg.training.run import TrainOptions, resumed_options, train

from .conftest import CLASSES, TINY, make_set

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2

os.environ.setdefault("OMP_NUM_THREADS", "1")

NORMALISED = ("MODEL.RESNETS.NORM=BN", "MODEL.FPN.NORM=BN")
"""Random weights need normalisation that learns; the large recipes freeze what COCO weights bring along."""

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


def options(tiny_set, output, name="small", extra=(), **more):
    short = ["SOLVER.MAX_ITER=20", "SOLVER.WARMUP_ITERS=5"]
    recipe = with_overrides(read_recipe(name), [*TINY, *short, *NORMALISED, *extra])
    values = {"weights": "none", "device": "cpu", "seed": 5, "quiet": True, **more}
    return TrainOptions((tiny_set[0],), (tiny_set[1],), output, recipe, **values)


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


def test_a_loss_that_is_no_number_names_the_last_good_checkpoint(tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import network

    real, calls = network.TrainedNetwork.forward, []

    def forward(self, batch):
        calls.append(1)
        found = real(self, batch)
        return {name: value * float("nan") for name, value in found.items()} if len(calls) == 8 else found

    monkeypatch.setattr(network.TrainedNetwork, "forward", forward)
    with pytest.raises(TrainingError, match=r"stopped at step 8: the loss is no longer a number.*model_0000004\.pth"):
        train(options(tiny_set, tmp_path / "run"))


@pytest.mark.parametrize("step", [10, 20])
def test_weights_that_are_no_numbers_are_not_kept(step, tiny_set, tmp_path, monkeypatch):
    """Gradients may be infinite where the loss is not; Detectron2 looks at the loss alone."""
    import torch

    from fashionseg.training import hooks

    calls, record = [], hooks.StepSeed.before_step

    def before_step(self):
        record(self)
        calls.append(1)
        if len(calls) == step:  # its gradients come after its loss
            weight = next(p for p in self.trainer.model.parameters() if p.requires_grad)
            weight.register_hook(lambda gradient: torch.full_like(gradient, float("inf")))

    monkeypatch.setattr(hooks.StepSeed, "before_step", before_step)
    good = f"model_{step - 6:07d}.pth"
    with pytest.raises(TrainingError, match=rf"stopped at step {step}: a weight is no longer a number .*{good}; go on"):
        train(options(tiny_set, tmp_path / "run"))
    run = tmp_path / "run"
    assert (run / "last_checkpoint").read_text() == good
    assert not (run / f"model_{step - 1:07d}.pth").exists()
    assert not (run / "model_final.pth").exists()
    weights = torch.load(run / good, weights_only=True)["model"]
    assert all(value.isfinite().all() for value in weights.values())


def test_a_full_disk_names_the_last_good_checkpoint(tiny_set, tmp_path, monkeypatch):
    import torch

    real, calls = torch.save, []

    def save(content, stream, **rest):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(content, stream, **rest)

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(TrainingError, match=r"model_0000009\.pth \(No space left.*last good.*model_0000004\.pth"):
        train(options(tiny_set, tmp_path / "run"))
    assert not list((tmp_path / "run").glob("*.part"))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (RuntimeError("DataLoader worker (pid(s) 12) exited unexpectedly"), "a process that reads photos was killed"),
    ],
)
def test_no_memory_is_one_sentence(error, words, tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import network

    def forward(self, batch):
        raise error

    monkeypatch.setattr(network.TrainedNetwork, "forward", forward)
    with pytest.raises(TrainingError, match=rf"step 1: {words}.*no checkpoint was written before"):
        train(options(tiny_set, tmp_path / "run"))


@pytest.mark.parametrize("place", ["worker.build_model", "stage.build_lr_scheduler"])
@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("OutOfMemoryError", "CUDA has none left"),
        ("RuntimeError", "[enforce fail]\nDefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_no_memory_before_the_first_step_is_one_sentence(kind, text, place, tiny_set, tmp_path, monkeypatch):
    import torch

    from fashionseg.training import stage, worker

    def fail(*args, **rest):
        raise torch.cuda.OutOfMemoryError(text) if kind == "OutOfMemoryError" else RuntimeError(text)

    module, name = place.split(".")
    monkeypatch.setattr({"worker": worker, "stage": stage}[module], name, fail)
    with pytest.raises(TrainingError, match=r"^training stopped: out of memory \(.*no checkpoint was written before$"):
        train(options(tiny_set, tmp_path / "run"))


def test_no_memory_at_a_resume_names_the_checkpoint(tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import worker

    train(options(tiny_set, tmp_path / "run", extra=["SOLVER.MAX_ITER=1"]))
    monkeypatch.setattr(worker, "build_model", lambda cfg: (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(TrainingError, match=r"out of memory .*last good checkpoint is .*model_0000000\.pth; go on"):
        train(resumed_options(tmp_path / "run", device="cpu", quiet=True))


def test_what_is_no_want_of_memory_stays_what_it_is(tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import worker

    def fail(cfg):
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(worker, "build_model", fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        train(options(tiny_set, tmp_path / "run"))


def test_two_processes_train_together(tiny_set, tmp_path):
    result = train(options(tiny_set, tmp_path / "run", extra=["SOLVER.MAX_ITER=2"], gpus=2))
    assert result.final.is_file()
    assert len(rows(tmp_path / "run")) == 2


def test_results_are_the_first_machines(tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import run

    monkeypatch.setattr(run, "_launch", lambda *_: None)
    assert train(options(tiny_set, tmp_path / "run", machines=2, rank=1, dist_url="tcp://host:29500")) is None
    assert not list((tmp_path / "run").iterdir())


def test_photos_a_step_must_be_shared_evenly(monkeypatch):
    from fashionseg.training import worker

    monkeypatch.setattr(worker.comm, "get_world_size", lambda: 2)
    worker._require_even_batches(4, 0)
    with pytest.raises(TrainingError, match=r"3 photos a step cannot be shared by 2 GPUs: .*IMS_PER_BATCH=2"):
        worker._require_even_batches(3)


def test_what_cannot_start(tiny_set, tmp_path):
    with pytest.raises(TrainingError, match="no run to resume"):
        resumed_options(tmp_path / "nothing")
    for part in ("used", "used/semantic"):
        (tmp_path / part).mkdir()
        weights = tmp_path / part / "model_0000004.pth"
        weights.touch()
        (tmp_path / "used/run.json").write_text("{}")
        with pytest.raises(TrainingError, match="holds a run already"):
            train(options(tiny_set, tmp_path / "used"))
        weights.unlink()
    with pytest.raises(TrainingError, match="is damaged"):
        resumed_options(tmp_path / "used")
    with pytest.raises(TrainingError, match="neither a file, a URL, nor a name"):
        train(options(tiny_set, tmp_path / "weights", weights="nowhere.pth"))
    train(options(tiny_set, tmp_path / "weights", extra=["SOLVER.MAX_ITER=1"]))  # the same command, mended, starts
    import torch

    if not torch.cuda.is_available():
        for more in ({"device": "cuda"}, {"device": "", "gpus": 8}):
            with pytest.raises(DeviceError, match="finds no GPU"):
                train(options(tiny_set, tmp_path / "gpu", **more))


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


def test_a_machine_has_the_gpus_that_are_asked_for(tiny_set, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for more, words in (
        ({"device": "cuda", "gpus": 3}, "more than the 2 GPUs"),
        ({"device": "cpu", "gpus": 2}, "CUDA_VISIBLE_DEVICES="),
        ({"device": "cpu", "machines": 2}, "CUDA_VISIBLE_DEVICES="),
    ):
        with pytest.raises(DeviceError, match=words):
            train(options(tiny_set, tmp_path / "run", **more))


@pytest.mark.parametrize("processes", [0, 1])
def test_a_photo_broken_behind_its_header_is_one_sentence(processes, tiny_set, tmp_path):
    """Also from a loader's process, which torch reports as a traceback."""
    photo = next(tiny_set[1].glob("1_1.png"))
    photo.write_bytes(photo.read_bytes()[:60])
    with pytest.raises(DataError, match=r"stopped at step \d+: cannot use .*1_1\.png.*checkpoint") as caught:
        train(options(tiny_set, tmp_path / "run", extra=[f"DATALOADER.NUM_WORKERS={processes}"]))
    assert "\n" not in str(caught.value)


def test_a_broken_photo_is_told_before_anything_is_trained(tiny_set, tmp_path):
    val = make_set(tmp_path / "val", 4, seed=9)
    for photo in (val[1] / "9_1.png", tiny_set[1] / "1_1.png"):
        photo.write_bytes(b"no photo")
        with pytest.raises(DataError, match=photo.name):
            train(options(tiny_set, tmp_path / "run", val=val[0], val_images=val[1]))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("damage", ["header whole", "other size"])
def test_a_validation_photo_that_breaks_later_is_one_sentence(damage, tiny_set, tmp_path, monkeypatch):
    from fashionseg.training import run

    val = make_set(tmp_path / "val", 4, seed=9)
    if damage == "header whole":
        (val[1] / "9_1.png").write_bytes((val[1] / "9_1.png").read_bytes()[:60])
    else:
        (val[1] / "9_1.png").write_bytes((val[1] / "9_0.png").read_bytes())
    monkeypatch.setattr(run, "require_readable", lambda data: None)
    extra = ["SOLVER.MAX_ITER=2", "SOLVER.CHECKPOINT_PERIOD=1", "DATALOADER.NUM_WORKERS=1"]
    with pytest.raises(
        DataError, match=r"stopped at step 2: cannot use .*9_1\.png.*last good.*model_0000000"
    ) as caught:
        train(options(tiny_set, tmp_path / "run", extra=extra, val=val[0], val_images=val[1]))
    assert "\n" not in str(caught.value)
