"""Hooks of the training loop: seeds, averages, validation with early stopping, checkpoints, metrics.csv.

Knows Detectron2's hook protocol. Knows nothing about how loaders, models or optimisers are built, or about screens.
"""

from __future__ import annotations

import csv
import math
from typing import IO, TYPE_CHECKING, Any

import torch
from detectron2.engine import HookBase
from detectron2.utils import comm
from fvcore.common.checkpoint import PeriodicCheckpointer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fashionseg.training.checkpoints import SafeCheckpointer
    from fashionseg.training.ema import ExponentialAverage

_SEED_STRIDE = 1_000_003


class EarlyStop(BaseException):
    """Validation has not become better for long enough; no `Exception`, whose traceback Detectron2 would log."""


class StepSeed(HookBase):
    """Seeds torch before each step from seed, rank and step, so that a resumed run draws the same numbers."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def before_train(self) -> None:
        """Start the loader now: doing so draws a number, which must not fall into the first step."""
        _ = self.trainer._data_loader_iter

    def before_step(self) -> None:
        """Seed this step."""
        torch.manual_seed((self._seed * _SEED_STRIDE + self.trainer.iter) * 1009 + comm.get_rank())


class ShareStatistics(HookBase):
    """Gives all processes the mean of their batch normalisation's running statistics.

    Each sees its own photos; without this, a measurement would mix networks, and a checkpoint hold those of one.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        layers = [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        self._statistics = [b for layer in layers for b in (layer.running_mean, layer.running_var) if b is not None]

    def after_step(self) -> None:
        """Average over the processes."""
        world = comm.get_world_size()
        if world == 1 or not self._statistics:
            return
        together = torch.cat([buffer.flatten() for buffer in self._statistics])
        torch.distributed.all_reduce(together)
        parts = (together / world).split([buffer.numel() for buffer in self._statistics])
        torch._foreach_copy_(self._statistics, [p.view_as(b) for p, b in zip(parts, self._statistics, strict=True)])


class UpdateAverage(HookBase):
    """Keeps the exponential average of the weights."""

    def __init__(self, average: ExponentialAverage) -> None:
        self._average = average

    def after_step(self) -> None:
        """Take this step in."""
        self._average.update()


class Validate(HookBase):
    """Measures every so often and at the end, keeps the best weights, and tells when to stop early.

    Attributes:
        best: highest value of the metric so far, in points; None before the first measurement.
        best_step: number of steps after which it was reached.
        best_figures: all figures measured then.
        watch: told during a measurement how much of it is done, and of how much; for whoever shows it.
    """

    def __init__(
        self,
        measure: Callable[[Callable[[int, int], None] | None], dict[str, float]],
        save_best: Callable[[], None],
        metric: str,
        period: int,
        patience: int,
        stop: Callable[[], None],
    ) -> None:
        """Args:
        measure: gives all figures; is told whom to tell how far it is.
        save_best: keeps the present weights as the best.
        metric: the figure that decides.
        period: steps between measurements; 0 measures at the end alone.
        patience: calls `stop` after so many measurements without a better one; 0 never.
        stop: asks for the end of training after this step.
        """
        self.watch: Callable[[int, int], None] | None = None
        self._measure, self._save_best = measure, save_best
        self._metric, self._period, self._patience, self._stop = metric, period, patience, stop
        self.best: float | None = None
        self.best_step = 0
        self.best_figures: dict[str, float] = {}
        self._without_gain = 0

    def after_step(self) -> None:
        """Measure if it is time."""
        done = self.trainer.iter + 1
        if done != self.trainer.max_iter and (not self._period or done % self._period):
            return
        figures = self._measure(self.watch)
        self.trainer.storage.put_scalars(smoothing_hint=False, **figures)
        value = figures.get(self._metric, math.nan)
        if math.isfinite(value) and (self.best is None or value > self.best):
            self.best, self.best_step, self._without_gain = value, done, 0
            self.best_figures = figures
            self._save_best()
        else:
            self._without_gain += 1
        if done != self.trainer.max_iter:
            self._stop_if_in_vain()

    def _stop_if_in_vain(self) -> None:
        if self._patience and self._without_gain >= self._patience:
            self._stop()

    def state_dict(self) -> dict[str, Any]:
        """For the checkpoint."""
        return {"best_step": self.best_step, "without_gain": self._without_gain, "figures": self.best_figures}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From the checkpoint; where `patience` has run out already, nothing more is to be done."""
        self.best_step, self._without_gain, self.best_figures = (
            state["best_step"],
            state["without_gain"],
            state["figures"],
        )
        self.best = self.best_figures.get(self._metric)
        self._stop_if_in_vain()


class Checkpoint(HookBase):
    """Writes a checkpoint every `period` steps and after the last one; keeps the newest few.

    Registered last: where `is_over` says that this step was the last one, it ends the training.
    """

    def __init__(self, checkpointer: SafeCheckpointer, period: int, keep: int, is_over: Callable[[], bool]) -> None:
        self._writer = PeriodicCheckpointer(checkpointer, period, max_to_keep=keep or None)
        self._folder, self._is_over = checkpointer.save_dir, is_over

    def before_train(self) -> None:
        """Take the checkpoints of an earlier part of the run into account."""
        from pathlib import Path

        self._writer.recent_checkpoints = sorted(str(p) for p in Path(self._folder).glob("model_[0-9]*.pth"))

    def after_step(self) -> None:
        """Write if it is time.

        Raises:
            EarlyStop: training is over before its last step.
        """
        step, is_over = self.trainer.iter, self._is_over()
        if (is_over or step + 1 == self.trainer.max_iter) and (step + 1) % self._writer.period:
            self._writer.save(f"model_{step:07d}", iteration=step)
        elif comm.is_main_process():
            self._writer.step(step)
        if is_over:
            raise EarlyStop


class MetricsCsv(HookBase):
    """One row a step in `metrics.csv`: step, learning rate, losses, times, and figures of validation where measured.

    A row is on disk when its step is over. Rows that a resumed run does again are dropped first.
    """

    FIGURES = tuple(f"{task}/{figure}" for task in ("bbox", "segm") for figure in ("AP", "AP50", "AP75"))

    def __init__(self, path: Path, photos_per_step: int) -> None:
        self._path, self._photos = path, photos_per_step
        self._columns: list[str] = []
        self._stream: IO[str] | None = None

    def before_train(self) -> None:
        """Drop the rows after the step the run goes on from."""
        if not self._path.is_file():
            return
        with self._path.open(newline="", encoding="utf-8") as stream:
            reader = csv.DictReader(stream)
            rows = [
                row for row in reader if (row["step"] or "").isdigit() and int(row["step"]) <= self.trainer.start_iter
            ]
            self._columns = list(reader.fieldnames or [])
        if not rows:
            self._columns = []
        beside = self._path.with_name(f".{self._path.name}.part")
        with beside.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, self._columns)
            if rows:
                writer.writeheader()
            writer.writerows(rows)
        beside.replace(self._path)

    def after_step(self) -> None:
        """Write this step's row."""
        step = self.trainer.iter
        latest = {name: value for name, (value, at) in self.trainer.storage.latest().items() if at == step}
        if self._stream is None:
            losses = sorted(name for name in latest if name.startswith("loss_"))
            self._columns = self._columns or ["step", "lr", "total_loss", *losses, "photos_per_second", *self.FIGURES]
            fresh = not self._path.is_file() or self._path.stat().st_size == 0
            self._stream = self._path.open("a", newline="", encoding="utf-8", buffering=1)
            if fresh:
                csv.writer(self._stream).writerow(self._columns)
        if len(losses := [n for n in latest if n.startswith("loss_")]) == 1:
            latest.setdefault("total_loss", latest[losses[0]])
        latest |= {"step": step + 1, "photos_per_second": self._photos / max(latest.get("time", math.inf), 1e-9)}
        csv.writer(self._stream).writerow([_cell(latest.get(column)) for column in self._columns])

    def after_train(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
