"""`curves.png`: losses, learning rate and validation figures of a run, drawn from its `metrics.csv`.

Knows that file and matplotlib. Knows nothing about training.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_SMOOTHING = 50
"""Points of the running mean, at most a tenth of the run."""


def read_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a `metrics.csv` by name, float64 [rows]; NaN where a cell is empty."""
    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = list(rows[0]) if rows else []
    return {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}


def draw_curves(source: Path, target: Path) -> None:
    """Draw `source` (metrics.csv) into `target` (PNG)."""
    from matplotlib.figure import Figure

    columns = read_columns(source)
    if not columns:
        return
    figure = Figure(figsize=(12, 4), layout="constrained")
    losses, rate, accuracy = figure.subplots(1, 3)
    step = columns["step"]
    for name, values in columns.items():
        if "loss" in name:
            _line(losses, step, _smoothed(values), name.removeprefix("loss_"))
        elif name in ("bbox/AP", "segm/AP", "bbox/AP50", "segm/AP50"):
            known = np.isfinite(values)
            if known.any():
                accuracy.plot(step[known], values[known], marker="o", markersize=3, label=name)
    _line(rate, step, columns["lr"], "learning rate")
    for axes, title in ((losses, "losses"), (rate, "learning rate"), (accuracy, "validation, points")):
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    with replacing(target) as beside:
        figure.savefig(beside, format="png", dpi=110)


def _line(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], label: str) -> None:
    axes.plot(x[-len(y) :], y, label=label, linewidth=2 if label == "total_loss" else 1)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window = max(1, min(_SMOOTHING, len(values) // 10))
    return np.convolve(np.nan_to_num(values), np.ones(window) / window, mode="valid")
