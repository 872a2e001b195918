"""Runs that cannot start or go on: one sentence each, with the last good checkpoint where there is one."""

import os

import pytest

from fashionseg.errors import DataError, DeviceError, TrainingError
from fashionseg.training.run import resumed_options, train

from .conftest import make_set, options

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2

os.environ.setdefault("OMP_NUM_THREADS", "1")


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
