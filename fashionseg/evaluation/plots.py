"""The plots of an evaluation: as PNG files, and as SVG that takes the colours of a page.

Knows metrics and how they are plotted. Knows nothing about pages or folders.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.evaluation.matching import GRID
from fashionseg.evaluation.text import IOU_NAMES, points, shown_name
from fashionseg.palette import class_color, relative_luminance
from fashionseg.plotting import GRID as FAINT
from fashionseg.plotting import INK, MUTED, new_axes, new_figure, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from fashionseg.evaluation.metrics import Metrics

ACCENT, SOFT, WRONG = "#3457d5", "#9db2f5", "#e5484d"

_PAGE_COLORS = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    FAINT: "var(--line)",
    ACCENT: "var(--accent)",
    SOFT: "var(--accent-soft)",
}
"""Colours of figures that a page replaces by its own, so that it can be light or dark."""

_WIDTH = 6.4
_MOST_NUMBERS = 24
_RECALLS = np.linspace(0, 1, 101)


def ap_per_class(metrics: Metrics) -> Figure:
    """Bars of AP of each class, boxes and masks side by side."""
    series = {IOU_NAMES[key]: [values["AP"] for values in one.per_class] for key, one in metrics.scores.items()}
    return _bars(metrics.class_names, series, "AP per class, points")


def f1_per_class(metrics: Metrics) -> Figure:
    """Bars of the best F1 of each class."""
    series = {IOU_NAMES[metrics.iou_type]: [point.f1 for point in metrics.points]}
    return _bars(metrics.class_names, series, f"Best F1 per class ({_matched(metrics)}), points")


def pr(metrics: Metrics) -> Figure:
    """Precision over recall at IoU 0.5, one line a class; the area below each is its AP50."""
    rows = metrics.scores[metrics.iou_type].precision[0].T
    figure, axes = _square(f"Precision over recall ({_matched(metrics)})", "recall", "precision")
    _lines(axes, metrics.class_names, _RECALLS, np.where(rows < 0, np.nan, rows))
    _legend(figure, axes)
    return figure


def f1(metrics: Metrics) -> Figure:
    """F1 over the score that predictions are kept from, one line a class, and their mean."""
    figure, axes = _square(f"F1 over confidence ({_matched(metrics)})", "confidence", "F1")
    rows = metrics.curves.f1
    _lines(axes, metrics.class_names, GRID, rows)
    measured = rows[~np.isnan(rows).any(axis=1)]
    if len(measured):
        axes.plot(GRID, measured.mean(axis=0), color=INK, linewidth=2.4, label="mean")
        axes.axvline(metrics.conf, color=INK, linewidth=1, linestyle=(0, (2, 3)))
        place = (metrics.conf, 1.0)
        axes.annotate(f"{metrics.conf:.2f}", place, (4, -11), textcoords="offset points", color=INK, fontsize=9)
    _legend(figure, axes)
    return figure


def confusion(metrics: Metrics) -> Figure:
    """Annotated classes in rows, predicted ones in columns; a cell is as opaque as its share of the row."""
    names = [*map(shown_name, metrics.class_names), "background"]
    side = max(_WIDTH, 0.42 * len(names) + 2.4)
    figure = new_figure(side, side * 0.82)
    axes = new_axes(figure, f"Confusion at confidence {metrics.conf:.2f}")
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(len(names) - 0.5, -0.5), aspect="equal")
    _cells(axes, metrics.confusion)
    axes.set_xticks(range(len(names)), names, rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(names)), names)
    _label(axes, "predicted", "annotated")
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure


PLOTS: dict[str, Callable[[Metrics], Figure]] = {
    "ap_per_class": ap_per_class,
    "f1_per_class": f1_per_class,
    "pr": pr,
    "f1": f1,
    "confusion": confusion,
}
"""Every plot by the name of its PNG file."""


def figure_svg(figure: Figure, name: str) -> str:
    """A figure as an `<svg>` element whose text and lines follow the page's CSS variables.

    Args:
        figure: whose texts are escaped by matplotlib.
        name: unique in the page.
    """
    import matplotlib as mpl

    buffer = io.StringIO()
    save: Any = figure.savefig
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):  # text stays text; ids are the figure's own
        save(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    for color, variable in _PAGE_COLORS.items():
        svg = svg.replace(color, variable)
    # What would reach beyond the figure: a style sheet, fonts, ids that every figure has, a fixed size.
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;]*; ", "", svg)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    head, tail = svg.split(">", 1)
    return re.sub(r' (width|height|xmlns(:xlink)?)="[^"]*"', "", head) + ' role="img">' + tail


def _matched(metrics: Metrics) -> str:
    return f"{IOU_NAMES[metrics.iou_type]}, IoU 0.5"


def _square(title: str, x_label: str, y_label: str) -> tuple[Figure, Axes]:
    figure = new_figure(_WIDTH, _WIDTH * 0.78)
    axes = new_axes(figure, title)
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    _label(axes, x_label, y_label)
    return figure, axes


def _label(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=9.5, color=MUTED)
    axes.set_ylabel(y_label, fontsize=9.5, color=MUTED)
    plain([*axes.get_xticklabels(), *axes.get_yticklabels()])


def _bars(names: Sequence[str], series: dict[str, list[float | None]], title: str) -> Figure:
    """Horizontal bars, the first class on top, values 0..1 written in points at their ends."""
    figure = new_figure(_WIDTH, 1.4 + 0.55 * max(3, len(names)))
    axes = new_axes(figure, title)
    thick = 0.8 / max(len(series), 1.6)
    colors = [SOFT, ACCENT] if len(series) > 1 else [ACCENT]
    for number, (label, values) in enumerate(series.items()):
        places = np.arange(len(names)) + (number - (len(series) - 1) / 2) * thick
        lengths = [100 * (value or 0.0) for value in values]
        axes.barh(places, lengths, thick * 0.9, color=colors[number], label=label)
        for place, length, value in zip(places, lengths, values, strict=True):
            axes.text(length + 1.2, place, points(value), va="center", fontsize=9, color=INK)
    axes.set_yticks(range(len(names)), list(map(shown_name, names)), fontsize=9.5, color=INK)
    plain(axes.get_yticklabels())
    axes.invert_yaxis()
    axes.set_xlim(0, 108)
    axes.grid(visible=False, axis="y")
    if len(series) > 1:
        axes.legend(loc="lower right", frameon=False, fontsize=9, labelcolor=INK)
    return figure


def _lines(axes: Axes, names: Sequence[str], x: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    for label, (name, row) in enumerate(zip(names, rows, strict=True)):
        if not np.isnan(row).all():
            axes.plot(x, row, color=_line_color(label), linewidth=1.8, label=shown_name(name))


def _legend(figure: Figure, axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        options: Any = {"loc": "outside lower center", "ncols": 3, "frameon": False, "fontsize": 9, "labelcolor": INK}
        plain(figure.legend(handles, labels, **options).get_texts())


def _cells(axes: Axes, counts: NDArray[np.int64]) -> None:
    """A square per cell, with its count where there are not too many."""
    from matplotlib.patches import Rectangle

    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    for row, column in np.ndindex(*counts.shape):
        if row == column == len(counts) - 1:
            continue  # background taken for background is no event
        value, color = float(share[row, column]), ACCENT if row == column else WRONG
        corner = (column - 0.47, row - 0.47)
        axes.add_patch(Rectangle(corner, 0.94, 0.94, facecolor=color, alpha=0.06 + 0.84 * value, linewidth=0))
        if len(counts) <= _MOST_NUMBERS and counts[row, column]:
            ink = "#ffffff" if value > 0.55 else INK
            axes.text(column, row, f"{counts[row, column]}", ha="center", va="center", color=ink, fontsize=9)


def _line_color(label: int) -> str:
    """The class's colour, darkened until it stands out from white."""
    color = class_color(label)
    while relative_luminance(color) > 0.4:
        color = (int(color[0] * 0.9), int(color[1] * 0.9), int(color[2] * 0.9))
    blue, green, red = color
    return f"#{red:02x}{green:02x}{blue:02x}"
