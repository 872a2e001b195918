"""`curves.png`: losses, learning rate and validation figures of a run, drawn from its `metrics.csv`.

Knows that file and matplotlib. Knows nothing about training.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.plotting import MUTED, new_axes, new_figure, save_png

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ACCURACY = {"bbox/AP": "box AP", "bbox/AP50": "box AP50", "segm/AP": "mask AP", "segm/AP50": "mask AP50"}
"""Columns of figures on the validation set, and their names for people."""

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
    from matplotlib.ticker import MaxNLocator

    columns = read_columns(source)
    if not columns:
        return
    figure = new_figure(12.5, 4)
    titles = ("losses", "learning rate", "validation, points")
    losses, rate, accuracy = (new_axes(figure, title, (1, 3, at)) for at, title in enumerate(titles, start=1))
    step = columns["step"]
    for name, values in columns.items():
        if "loss" in name:
            _line(losses, step, _smoothed(values), name.removeprefix("loss_").replace("_", " "))
        elif name in ACCURACY and (known := np.isfinite(values)).any():
            accuracy.plot(step[known], values[known], marker="o", markersize=3, label=ACCURACY[name])
    _line(rate, step, columns["lr"], "")
    for axes in (losses, rate, accuracy):
        axes.set_xlabel("step", color=MUTED)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        if axes is not rate and axes.lines:
            axes.legend(fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)
    if not accuracy.lines:
        accuracy.text(
            0.5, 0.5, "nothing was measured: no --val", ha="center", color=MUTED, transform=accuracy.transAxes
        )
    save_png(figure, target)


def _line(axes: Any, x: NDArray[np.float64], y: NDArray[np.float64], label: str) -> None:
    axes.plot(x[-len(y) :], y, label=label, linewidth=2 if label == "total loss" else 1)


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    window = max(1, min(_SMOOTHING, len(values) // 10))
    return np.convolve(np.nan_to_num(values), np.ones(window) / window, mode="valid")
