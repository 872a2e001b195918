"""The tables of an evaluation on a terminal.

Knows rich and the layout: COCO's twelve lines for box and mask, AP per category side by side as Detectron2 prints it,
then what helps to choose a threshold and to find what to mend. Knows nothing about how numbers are made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table
from rich.text import Text

from fashionseg.evaluation.coco_metrics import SUMMARY
from fashionseg.evaluation.text import (
    IOU_NAMES,
    UNKNOWN,
    milliseconds,
    points,
    printable,
    score,
    shown_name,
    signed_points,
)
from fashionseg.wording import plural

if TYPE_CHECKING:
    from fashionseg.evaluation.compare import Comparison
    from fashionseg.evaluation.metrics import Metrics
    from fashionseg.evaluation.result import Evaluation

PAIRS = 3
"""Categories side by side in a table of AP per category."""

AREAS = ("all", "small", "medium", "large")
LIMITS = (1, 10, 100)


def tables(evaluation: Evaluation, width: int) -> list[Table]:
    """All tables for a terminal of `width` characters, in the order they are read."""
    metrics = evaluation.metrics
    shown = [coco_table(metrics), *(category_table(metrics, iou_type, width) for iou_type in metrics.scores)]
    shown += [threshold_table(metrics), error_table(metrics)]
    if any(one.attribute != "size" for one in metrics.slices):
        shown.append(slice_table(metrics))
    if metrics.latencies:
        shown.append(latency_table(metrics))
    if evaluation.comparison:
        shown.append(change_table(evaluation.comparison, metrics.iou_type))
    return shown


def coco_table(metrics: Metrics) -> Table:
    """COCO's twelve lines, boxes and masks side by side, in points, AP with its 95% interval."""
    garments = plural(sum(metrics.garments), "garment")
    table = _table(f"COCO, {plural(metrics.photos, 'photo')}, {garments}", "metric", "IoU", "area", text=3)
    table.add_column("max", justify="right")
    for iou_type in metrics.scores:
        table.add_column(IOU_NAMES[iou_type], justify="right")
        table.add_column("95%", justify="right", style="dim")
    for line in SUMMARY:
        iou = "0.50:0.95" if line.iou is None else f"{0.5 + 0.05 * line.iou:.2f}"
        cells = [line.name, iou, AREAS[line.area], str(LIMITS[line.limit])]
        for iou_type, scores in metrics.scores.items():
            interval = metrics.intervals[iou_type].get(line.name)
            spread = f"{points(interval.low)}..{points(interval.high)}" if interval else ""
            cells += [points(scores.overall[line.name]), spread]
        table.add_row(*cells, style="bold" if line.name == "AP" else None)
    return table


def category_table(metrics: Metrics, iou_type: str, width: int = 100) -> Table:
    """AP per category in points, as many side by side as fit into `width` characters, three at most."""
    number = len(metrics.class_names)
    longest = max((len(shown_name(name)) for name in metrics.class_names), default=0)
    pairs = max(1, min(PAIRS, number, width // (longest + 12)))
    table = _table(f"Per-category {IOU_NAMES[iou_type]} AP", text=0)
    for _ in range(pairs):
        table.add_column("category")
        table.add_column("AP", justify="right")
    values = metrics.scores[iou_type].per_class
    cells = [(Text(shown_name(name)), points(one["AP"])) for name, one in zip(metrics.class_names, values, strict=True)]
    cells += [(Text(), "")] * (-number % pairs)
    for start in range(0, len(cells), pairs):
        table.add_row(*(part for cell in cells[start : start + pairs] for part in cell))
    return table


def threshold_table(metrics: Metrics) -> Table:
    """Precision, recall and F1 of each class at its best threshold."""
    title = f"At the best threshold of each class ({IOU_NAMES[metrics.iou_type]}, IoU 0.5)"
    table = _table(title, "category", text=1)
    for header in ("garments", "threshold", "precision", "recall", "F1"):
        table.add_column(header, justify="right")
    for name, garments, point in zip(metrics.class_names, metrics.garments, metrics.points, strict=True):
        numbers = (points(point.precision), points(point.recall), points(point.f1))
        table.add_row(Text(shown_name(name)), f"{garments:,}", score(point.score), *numbers)
    table.caption = f"best for all classes together: --conf {metrics.conf:.2f}"
    return table


def error_table(metrics: Metrics) -> Table:
    """What each kind of error costs."""
    table = _table("Errors (TIDE)", "kind", text=1)
    table.add_column("AP50 lost", justify="right")
    table.add_column(f"count at {metrics.conf:.2f}", justify="right")
    for cost in metrics.errors:
        table.add_row(cost.kind.value, points(cost.ap50), f"{cost.count:,}")
    return table


def slice_table(metrics: Metrics) -> Table:
    """AP by size and attribute."""
    table = _table("By size and attribute", "attribute", "value", text=2)
    table.add_column("garments", justify="right")
    for iou_type in metrics.scores:
        table.add_column(f"{IOU_NAMES[iou_type]} AP", justify="right")
    for one in metrics.slices:
        ap = (points(one.ap.get(iou_type)) for iou_type in metrics.scores)
        table.add_row(shown_name(one.attribute), Text(printable(one.value)), f"{one.garments:,}", *ap)
    return table


def latency_table(metrics: Metrics) -> Table:
    """Milliseconds a photo of each stage."""
    table = _table("Time a photo, ms", "stage", text=1)
    table.add_column("median", justify="right")
    table.add_column("95%", justify="right")
    for one in metrics.latencies:
        table.add_row(one.stage, milliseconds(one.median_ms), milliseconds(one.p95_ms))
    return table


def change_table(comparison: Comparison, iou_type: str) -> Table:
    """Then and now, with the 95% interval of the difference where it is known."""
    table = _table(f"Change from {printable(str(comparison.path))}", "metric", text=1)
    for header in ("before", "now", "change", "95%"):
        table.add_column(header, justify="right")
    for change in comparison.headlines(iou_type):
        in_ms = change.name.startswith("latency/")
        shown = milliseconds if in_ms else points
        difference = change.new - change.old
        style = ("green" if difference > 0 else "red") if change.is_certain else None
        spread = UNKNOWN
        if change.interval:
            spread = f"{signed_points(change.interval.low)}..{signed_points(change.interval.high)}"
        text = f"{difference:+.1f}" if in_ms else signed_points(difference)
        name = Text(printable(change.name))
        table.add_row(name, shown(change.old), shown(change.new), Text(text, style or ""), spread)
    return table


def _table(title: str, *columns: str, text: int) -> Table:
    """A table in our style whose first `text` columns are given here and left-aligned."""
    style: Any = {"title_justify": "left", "caption_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    table = Table(title=Text(title, "bold"), **style)
    for header in columns[:text]:
        table.add_column(header)
    return table
