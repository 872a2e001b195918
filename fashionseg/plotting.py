"""The look of all plots, and saving them.

matplotlib is imported when the first figure is made, and used through its object interface alone: no display, no
global state, safe in threads. Knows nothing about what is plotted.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from fashionseg.errors import MissingExtraError
from fashionseg.files import make_folder, write_bytes
from fashionseg.palette import class_color

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

DPI = 144
INK, MUTED, GRID = "#1f2430", "#6b7280", "#e5e7eb"


def new_figure(width_in: float, height_in: float) -> Figure:
    """An empty figure, size in inches, in the project's style, that can be saved without a display.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("matplotlib", "plots") from None
    figure = Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def new_axes(figure: Figure, title: str = "", place: tuple[int, int, int] = (1, 1, 1)) -> Axes:
    """Axes of a figure, styled: title at the left, a light grid behind, no frame above and to the right.

    Args:
        figure: see `new_figure`.
        title: of the axes.
        place: rows, columns and number from 1, where the figure has several axes.
    """
    axes = figure.add_subplot(*place)
    axes.set_axisbelow(True)
    axes.grid(color=GRID, linewidth=0.8)
    axes.tick_params(colors=MUTED, labelsize=9, length=0)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    if title:
        plain([axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold", pad=10)])
    return axes


def plain(texts: Iterable[Text]) -> None:
    """Show texts as they are: in names from files `$` is no mathematics."""
    for text in texts:
        text.set_parse_math(False)


def bar_chart(
    names: Sequence[str],
    values: Sequence[float],
    title: str,
    value_label: str,
    *,
    percent: bool = False,
    colors: Sequence[str] | None = None,
) -> Figure:
    """Horizontal bars, one for each name from top to bottom, each with its value written at its end.

    Args:
        names: of classes; shown as they are but for "_".
        values: one for each name; NaN is shown as "-".
        title: of the plot.
        value_label: of the axis.
        percent: the axis ends at 100 and values have one decimal; else whole numbers.
        colors: of the bars; default: the class colours.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = new_figure(7.2, 1.3 + 0.42 * max(len(names), 1))
    axes = new_axes(figure, title)
    finite = [0.0 if value != value else float(value) for value in values]
    axes.barh(range(len(names)), finite, height=0.66, color=list(colors or class_colors(len(names))))
    axes.set_yticks(range(len(names)), labels=[name.replace("_", " ") for name in names], fontsize=9.5, color=INK)
    axes.set_xlabel(value_label, fontsize=9.5, color=MUTED)
    plain([*axes.get_yticklabels(), axes.xaxis.label])
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    end = 100.0 if percent else max([*finite, 1.0])
    axes.set_xlim(0, end * 1.12)
    for row, (value, length) in enumerate(zip(values, finite, strict=True)):
        text = "-" if value != value else f"{value:.1f}" if percent else f"{value:,.0f}"
        axes.text(length + end * 0.012, row, text, va="center", fontsize=9.5, color=INK)
    return figure


def class_colors(number: int) -> list[str]:
    """Hexadecimal colours of the first classes: those the pictures are drawn with."""
    return ["#{2:02x}{1:02x}{0:02x}".format(*class_color(label)) for label in range(number)]


def figure_png(figure: Figure) -> bytes:
    """The figure as PNG."""
    buffer = io.BytesIO()
    save: Any = figure.savefig
    save(buffer, format="png", dpi=DPI, metadata={"Software": "fashionseg"})
    return buffer.getvalue()


def save_png(figure: Figure, path: Path) -> None:
    """Write the figure as PNG; the file appears whole or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    make_folder(path.parent)
    write_bytes(path, figure_png(figure))
