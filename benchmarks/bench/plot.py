"""The picture of a measurement: photos and frames a second of each row, and the stages' processor time of a frame.

Knows matplotlib through `fashionseg.plotting`. Knows nothing about how figures are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fashionseg.plotting import INK, MUTED, class_colors, new_axes, new_figure, plain, save_png

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes

    from fashionseg.benchmarks.bench.result import BenchResult, Figure, Row

FILE = "bench.png"
BAR = 0.34


def write_plot(result: BenchResult, folder: Path) -> Path:
    """Write OUT/bench.png; returns its path.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OutputError: it cannot be written.
    """
    figure = new_figure(11.0, 1.9 + 0.75 * len(result.rows))
    speed = new_axes(figure, "pictures a second", (1, 2, 1))
    stages = new_axes(figure, "processor time of a frame, ms", (1, 2, 2))
    _draw_speed(speed, result.rows)
    _draw_stages(stages, result.rows)
    path = folder / FILE
    save_png(figure, path)
    return path


def _draw_speed(axes: Axes, rows: Sequence[Row]) -> None:
    """Two bars for each row, the model alone and the whole pipeline: with their range, and the most there could be."""
    ends = [row.end_to_end for row in rows]
    alone = [row.pictures_per_s for row in rows]
    whole = [end.fps for end in ends if end]
    _bars(axes, [i - BAR / 2 for i in range(len(rows))], alone, "the model alone", 0)
    _bars(axes, [i + BAR / 2 for i, end in enumerate(ends) if end], whole, "decode to encode", 1)
    most = [(i - BAR / 2, 1000 * row.batch / row.floor.ms) for i, row in enumerate(rows) if row.floor]
    most += [(i + BAR / 2, end.bound_fps) for i, end in enumerate(ends) if end]
    if most:
        places, speeds = zip(*most, strict=True)
        below, above = ([place + side * BAR / 2 for place in places] for side in (-1, 1))
        axes.vlines(speeds, below, above, color=INK, linestyle="dotted", label="the most this machine could do")
    _names(axes, [row.label() for row in rows])
    _legend(axes)


def _bars(axes: Axes, places: list[float], figures: Sequence[Figure], label: str, color: int) -> None:
    values = [figure.median for figure in figures]
    below = [figure.median - figure.low for figure in figures]
    above = [figure.high - figure.median for figure in figures]
    shade = class_colors(color + 1)[-1]
    axes.barh(places, values, height=BAR, label=label, color=shade, xerr=[below, above], ecolor=INK)
    for place, value in zip(places, values, strict=True):
        axes.text(value / 2, place, f"{value:.1f}", va="center", ha="center", fontsize=9, color="white")


def _draw_stages(axes: Axes, rows: Sequence[Row]) -> None:
    """One bar for each row, its stages one after the other."""
    lefts = [0.0] * len(rows)
    names = [stage.name for row in rows if row.end_to_end for stage in row.end_to_end.stages]
    for number, name in enumerate(dict.fromkeys(names)):
        widths = [_cost(row, name) for row in rows]
        axes.barh(range(len(rows)), widths, 2 * BAR, lefts, label=name, color=class_colors(number + 1)[-1])
        lefts = [left + width for left, width in zip(lefts, widths, strict=True)]
    _names(axes, [""] * len(rows))
    if names:
        _legend(axes)


def _legend(axes: Axes) -> None:
    """Below the axes, on one line."""
    axes.legend(
        fontsize=8.5,
        frameon=False,
        labelcolor=MUTED,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.08),
        ncols=len(axes.get_legend_handles_labels()[0]),
        columnspacing=1.2,
        handlelength=1.4,
    )


def _cost(row: Row, stage: str) -> float:
    stages = row.end_to_end.stages if row.end_to_end else ()
    return sum(one.cpu_ms for one in stages if one.name == stage)


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), labels=names, fontsize=9, color=INK)
    plain(axes.get_yticklabels())
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
