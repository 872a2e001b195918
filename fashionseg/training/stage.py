"""One stage of training: optimiser, schedule and hooks around Detectron2's trainer, from any step on.

Knows how a network, a loader and a folder become trained weights. Knows nothing about recipes' files, data files
or the network's inside.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from detectron2.engine import AMPTrainer, SimpleTrainer, create_ddp_model, hooks
from detectron2.solver import build_lr_scheduler, build_optimizer, get_default_optimizer_params
from detectron2.solver.build import maybe_add_gradient_clipping
from detectron2.utils import comm
from detectron2.utils.events import TensorboardXWriter

from fashionseg.errors import DataError, TrainingError, is_out_of_memory
from fashionseg.training.checkpoints import DivergedError, SafeCheckpointer, kept
from fashionseg.training.ema import ExponentialAverage
from fashionseg.training.hooks import Checkpoint, EarlyStop, MetricsCsv, ShareStatistics, StepSeed, UpdateAverage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_TENSORBOARD_PERIOD = 20

_LOADER_DIED = ("DataLoader worker (pid", "unable to write to file </torch_", "unable to open shared memory object")
"""What torch says where a loader's process was killed, or /dev/shm is full."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage is made of.

    Attributes:
        network: module whose forward pass takes a batch and gives losses by name.
        saved: the module whose weights are saved under "model" (part of `network`, or it).
        averaged: the module whose weights are averaged (part of `network`, or it).
        cfg: Detectron2 config; its `SOLVER.*` rules this stage.
        optimizer: "sgd" or "adamw".
        backbone_factor: learning rate of the backbone relative to the rest ("adamw").
        ema_decay: of the weights' average; 0 for none.
        loader: gives the batches from a step on.
        folder: where checkpoints, metrics and events go.
        keep: periodic checkpoints to keep; 0 keeps all.
        float16: train in float16 with a gradient scaler (GPUs without bfloat16).
        extra: more checkpointable parts by name.
    """

    network: torch.nn.Module
    saved: torch.nn.Module
    averaged: torch.nn.Module
    cfg: Any
    optimizer: str
    backbone_factor: float
    ema_decay: float
    loader: Callable[[int], Iterable[Any]]
    folder: Path
    keep: int
    float16: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class StageRun:
    """A stage that is ready to run, or has run.

    Attributes:
        trainer: Detectron2's.
        checkpointer: writes and reads its checkpoints.
        average: of the weights, or None.
        start: the step it begins with; > 0 after a resume.
        stopped_early: whether validation ended it, or ends it after this step.
    """

    trainer: Any
    checkpointer: SafeCheckpointer
    average: ExponentialAverage | None
    start: int = 0
    stopped_early: bool = False


def prepare(stage: Stage, resume: bool, more_hooks: Callable[[StageRun], list[Any]]) -> StageRun:
    """Build trainer, optimiser, schedule and hooks, and go back to the newest checkpoint if asked to.

    Raises:
        TrainingError: the checkpoint's optimiser is another one.
    """
    cfg = stage.cfg
    optimizer = _optimizer(stage)
    average = ExponentialAverage(stage.averaged, stage.ema_decay) if stage.ema_decay else None
    kind = AMPTrainer if stage.float16 else SimpleTrainer
    trainer = kind(_distributed(stage), [], optimizer)
    trainer.scheduler = build_lr_scheduler(cfg, optimizer)
    parts = {"trainer": trainer, **({"ema": average} if average else {}), **stage.extra}
    run = StageRun(trainer, SafeCheckpointer(stage.saved, stage.folder, **parts), average)
    trainer.register_hooks([StepSeed(cfg.SEED), hooks.IterationTimer(), ShareStatistics(stage.network)])
    if average:
        trainer.register_hooks([UpdateAverage(average)])
    trainer.register_hooks([hooks.LRScheduler(), *more_hooks(run)])
    if comm.is_main_process():
        trainer.register_hooks(_recorders(stage))
    period = cfg.SOLVER.CHECKPOINT_PERIOD
    trainer.register_hooks([Checkpoint(run.checkpointer, period, stage.keep, lambda: run.stopped_early)])
    if resume and run.checkpointer.has_checkpoint():
        _go_back(run, stage)
    trainer.reset_data_loader(lambda: stage.loader(run.start))
    return run


def _go_back(run: StageRun, stage: Stage) -> None:
    """Load the newest checkpoint; learning rate, weight decay and the like stay those of the config."""
    schedule = run.trainer.scheduler
    settings = [{k: v for k, v in group.items() if k != "params"} for group in run.trainer.optimizer.param_groups]
    base_rates = schedule.base_lrs
    newest = run.checkpointer.get_checkpoint_file()
    try:
        run.start = int(run.checkpointer.load(newest)["iteration"]) + 1
    except ValueError as error:  # torch's, where weights are grouped otherwise
        raise _another_optimizer(newest) from error
    _lay_out(run.trainer.optimizer, _on_cpu(stage))
    groups = run.trainer.optimizer.param_groups
    if ("betas" in groups[0]) != ("betas" in settings[0]):
        raise _another_optimizer(newest)
    schedule.base_lrs = base_rates
    if run.start < stage.cfg.SOLVER.MAX_ITER:  # else there is nothing to go on with, and no rate
        for group, own, rate in zip(groups, settings, schedule.get_lr(), strict=True):
            group.update(own, lr=rate)
    run.checkpointer.last_good = stage.folder / newest.rsplit("/", 1)[-1]


def _lay_out(optimizer: torch.optim.Optimizer, on_cpu: bool) -> None:
    """Give loaded moments the memory layout of their weights, and leave counts of steps on the CPU.

    A fused optimiser goes through memory in its order, whatever the strides; a checkpoint may come from a run with
    `channels_last` the other way, or from another kind of device.
    """
    for weight, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.shape == weight.shape and value.stride() != weight.stride():
                state[name] = torch.empty_like(weight, dtype=value.dtype).copy_(value)
            elif name == "step" and not on_cpu:
                state[name] = value.cpu()


def _another_optimizer(checkpoint: str) -> TrainingError:
    return TrainingError(
        f"the optimiser of {checkpoint} is another one: go on with the optimizer.* it was trained with, and with a "
        "SOLVER.WEIGHT_DECAY_NORM and SOLVER.BIAS_LR_FACTOR that tell the same weights apart"
    )


def execute(run: StageRun, steps: int) -> None:
    """Train up to `steps`, or until validation ends it; nothing where it has come to its end already.

    Raises:
        TrainingError: the loss or a weight is no number, or memory or the disk is full; the last good checkpoint is
            named.
        DataError: a photo cannot be used; the last good checkpoint is named.
    """
    if run.stopped_early or run.start >= steps:
        return
    try:
        run.trainer.train(run.start, steps)
    except EarlyStop:
        return  # `run.stopped_early` tells it, and all hooks have written down the step
    except (FloatingPointError, MemoryError, RuntimeError, OSError, DataError) as error:
        reason = explanation(error)
        if reason is None:
            raise
        kind = DataError if isinstance(error, DataError) else TrainingError
        left = kept(run.checkpointer.last_good)
        raise kind(f"stopped at step {run.trainer.iter + 1}: {reason}; {left}") from error


def explanation(error: Exception) -> str | None:
    """What went wrong and what helps, for the failures that a user can do something about; None for others."""
    if isinstance(error, FloatingPointError):
        what = "a weight" if isinstance(error, DivergedError) else "the loss"
        return f"{what} is no longer a number (a lower SOLVER.BASE_LR helps)"
    if isinstance(error, DataError):
        return str(error)
    if isinstance(error, OSError):
        return f"{error.strerror or error}" + (f" ({error.filename})" if error.filename else "")
    if is_out_of_memory(error):
        return "out of memory (a smaller SOLVER.IMS_PER_BATCH or photo size helps)"
    if any(text in str(error) for text in _LOADER_DIED):
        return (
            "a process that reads photos was killed, mostly for want of memory (a smaller DATALOADER.NUM_WORKERS helps)"
        )
    return None


def _on_cpu(stage: Stage) -> bool:
    return bool(stage.cfg.MODEL.DEVICE == "cpu")


def _distributed(stage: Stage) -> Any:
    """The network, wrapped where several processes train it together."""
    return create_ddp_model(stage.network, broadcast_buffers=False, **({"device_ids": None} if _on_cpu(stage) else {}))


def _optimizer(stage: Stage) -> torch.optim.Optimizer:
    solver = stage.cfg.SOLVER
    if stage.optimizer == "sgd":
        plain: torch.optim.Optimizer = build_optimizer(stage.cfg, stage.network)
        return plain
    groups = get_default_optimizer_params(
        stage.network,
        base_lr=solver.BASE_LR,
        weight_decay=solver.WEIGHT_DECAY,
        weight_decay_norm=solver.WEIGHT_DECAY_NORM,
        lr_factor_func=lambda name: stage.backbone_factor if "backbone." in name else 1.0,
    )
    kind = maybe_add_gradient_clipping(stage.cfg, torch.optim.AdamW)
    # On a CPU one pass over the weights instead of six. On a GPU a fused optimiser would clip before it unscales, and
    # None is what torch takes for "as fast as you can".
    adamw: torch.optim.Optimizer = kind(groups, lr=solver.BASE_LR, fused=_on_cpu(stage) or None)
    return adamw


def _recorders(stage: Stage) -> list[Any]:
    events = hooks.PeriodicWriter([TensorboardXWriter(str(stage.folder))], period=_TENSORBOARD_PERIOD)
    return [MetricsCsv(stage.folder / "metrics.csv", stage.cfg.SOLVER.IMS_PER_BATCH), events]
