"""`report.html`: one page with everything, which needs nothing else: no network, no other file.

Knows an `Evaluation` and puts its parts in order. Knows nothing about how anything is measured or drawn. The page
forbids itself to load anything, and every name in it is escaped.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from fashionseg._version import __version__
from fashionseg.evaluation.coco_metrics import SUMMARY
from fashionseg.evaluation.gallery import UnshownPhoto, draw_worst
from fashionseg.evaluation.markup import Cell, escape, jpeg_image, number_cell, section, table, text_cell
from fashionseg.evaluation.outcomes import Kind
from fashionseg.evaluation.plots import PLOTS, figure_svg
from fashionseg.evaluation.text import (
    IOU_NAMES,
    UNKNOWN,
    milliseconds,
    points,
    score,
    shown_name,
    signed_points,
)
from fashionseg.palette import class_color
from fashionseg.wording import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.evaluation.compare import Change
    from fashionseg.evaluation.gallery import GalleryPhoto
    from fashionseg.evaluation.metrics import Metrics
    from fashionseg.evaluation.result import Evaluation

_ABOUT_KIND = {
    Kind.CLASS: "the right place, the wrong class",
    Kind.PLACE: "the right class, but IoU between 0.1 and 0.5",
    Kind.BOTH: "another class, and IoU between 0.1 and 0.5",
    Kind.DUPLICATE: "the garment was found already",
    Kind.BACKGROUND: "no garment there: IoU at most 0.1",
    Kind.MISSED: "a garment that nothing above explains",
}


def report_html(evaluation: Evaluation, gallery: Sequence[GalleryPhoto | UnshownPhoto] | None = None) -> str:
    """The whole page.

    Args:
        evaluation: what to show.
        gallery: its worst photos where they are drawn already; None to draw them here.
    """
    metrics = evaluation.metrics
    gallery = draw_worst(evaluation) if gallery is None else gallery
    parts = [
        _classes(metrics),
        _plots(metrics),
        _changes(evaluation),
        _errors(metrics),
        _gallery(evaluation, gallery),
        _slices(metrics),
        _coco(metrics),
        _latency(evaluation),
    ]
    title = evaluation.subject.name or Path(evaluation.subject.path).name
    return Template(_resource("report.html")).substitute(
        title=escape(title),
        style=_resource("report.css"),
        script=_resource("report.js"),
        header=_header(evaluation, title),
        body="\n".join(part for part in parts if part),
        version=escape(__version__),
    )


def _resource(name: str) -> str:
    return resources.files("fashionseg.evaluation").joinpath(name).read_text(encoding="utf-8")


def _header(evaluation: Evaluation, title: str) -> str:
    metrics, data, subject = evaluation.metrics, evaluation.data, evaluation.subject
    facts = [
        f"{subject.kind} {subject.path}",
        f"{data.where()}: {plural(metrics.photos, 'photo')}, {plural(sum(metrics.garments), 'garment')}, "
        f"{plural(sum(metrics.predictions), 'prediction')}",
    ]
    if subject.device:
        facts.append(subject.device)
    warnings = "".join(f'<p class="warning">{escape(text)}</p>' for text in evaluation.warnings)
    lines = "".join(f"<li>{escape(fact)}</li>" for fact in facts)
    return f"<h1>{escape(title)}</h1><ul class=facts>{lines}</ul>{warnings}<div class=tiles>{_tiles(evaluation)}</div>"


def _tiles(evaluation: Evaluation) -> str:
    metrics = evaluation.metrics
    changes = {change.name: change for change in evaluation.comparison.changes} if evaluation.comparison else {}
    tiles = []
    for iou_type in reversed(metrics.scores):
        for name in ("AP", "AP50") if iou_type == metrics.iou_type else ("AP",):
            interval = metrics.intervals[iou_type].get(name)
            about = f"95%: {points(interval.low)} to {points(interval.high)}" if interval else "points"
            value = points(metrics.scores[iou_type].overall[name])
            tiles.append(_tile(f"{IOU_NAMES[iou_type]} {name}", value, about, changes.get(f"{iou_type}/{name}")))
    name = f"{metrics.iou_type}/F1"
    tiles.append(_tile("best F1", points(metrics.flat()[name]), "mean of classes", changes.get(name)))
    tiles.append(_tile("best confidence", score(metrics.conf), "with the best mean F1", None))
    if metrics.latencies:
        total = metrics.latencies[-1]
        about = f"95%: {milliseconds(total.p95_ms)} ms"
        tiles.append(_tile("a photo", f"{milliseconds(total.median_ms)} ms", about, None))
    return "".join(tiles)


def _tile(name: str, value: str, about: str, change: Change | None) -> str:
    return (
        f"<div class=tile><span class=name>{escape(name)}</span><span class=value>{escape(value)}</span>"
        f"{_chip(change) if change else ''}<span class=about>{escape(about)}</span></div>"
    )


def _chip(change: Change) -> str:
    difference = change.new - change.old
    kind = (" up" if difference > 0 else " down") if change.is_certain else ""
    return f'<span class="chip{kind}">{escape(signed_points(difference))}</span>'


def _classes(metrics: Metrics) -> str:
    headers = [("class", ""), ("garments", "annotated"), ("predictions", "of any confidence")]
    for iou_type in metrics.scores:
        headers += [(f"{IOU_NAMES[iou_type]} {name}", "") for name in ("AP", "AP50")]
    headers += [
        ("confidence", "with the best F1 of the class"),
        ("precision", "at that confidence, IoU 0.5"),
        ("recall", "at that confidence, IoU 0.5"),
        ("F1", "at that confidence, IoU 0.5"),
    ]
    rows = [_class_row(metrics, label) for label in range(len(metrics.class_names))]
    about = "Points from 0 to 100. A click on a heading sorts."
    return section("classes", "Classes", about, table(headers, rows, "classes"))


def _class_row(metrics: Metrics, label: int) -> list[Cell]:
    garments, predictions = metrics.garments[label], metrics.predictions[label]
    cells = [
        text_cell(shown_name(metrics.class_names[label]), _css_color(label)),
        number_cell(f"{garments:,}", garments),
        number_cell(f"{predictions:,}", predictions),
    ]
    for scores in metrics.scores.values():
        values = scores.per_class[label]
        cells += [number_cell(points(values[name]), values[name], bar=name == "AP") for name in ("AP", "AP50")]
    point = metrics.points[label]
    cells.append(number_cell(score(point.score), point.score))
    cells += [number_cell(points(value), value) for value in (point.precision, point.recall)]
    cells.append(number_cell(points(point.f1), point.f1, bar=True))
    return cells


def _css_color(label: int) -> str:
    blue, green, red = class_color(label)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _plots(metrics: Metrics) -> str:
    names = [name for name in PLOTS if name != "confusion"]
    figures = "".join(f"<figure class=card>{figure_svg(PLOTS[name](metrics), name)}</figure>" for name in names)
    return section("plots", "Curves", "", f"<div class=plots>{figures}</div>")


def _changes(evaluation: Evaluation) -> str:
    comparison = evaluation.comparison
    if comparison is None:
        return ""
    headers = [(title, "") for title in ("metric", "before", "now", "change")]
    headers.append(("95% of the change", "paired bootstrap over photos"))
    rows = []
    for change in comparison.headlines(evaluation.metrics.iou_type):
        in_ms = change.name.startswith("latency/")
        shown = milliseconds if in_ms else points
        difference = change.new - change.old
        chip = escape(f"{difference:+.1f} ms") if in_ms else _chip(change)
        interval = change.interval
        spread = f"{signed_points(interval.low)} to {signed_points(interval.high)}" if interval else UNKNOWN
        rows.append(
            [
                text_cell(change.name),
                number_cell(shown(change.old), change.old),
                number_cell(shown(change.new), change.new),
                Cell(chip, difference),
                Cell(escape(spread), interval.low if interval else None),
            ]
        )
    about = f"Against {comparison.path}" + (f" ({comparison.model})." if comparison.model else ".")
    about += " Only coloured changes are known to be more than chance: their interval leaves out 0."
    return section("changes", "Changes", about, table(headers, rows, "changes"))


def _errors(metrics: Metrics) -> str:
    most = max((cost.ap50 for cost in metrics.errors), default=0.0) or 1.0
    rows = "".join(
        f"<li><span class=name>{escape(cost.kind.value)}<small>{escape(_ABOUT_KIND[cost.kind])}</small></span>"
        f'<span class=track><span style="width:{100 * max(cost.ap50, 0) / most:.1f}%"></span></span>'
        f"<span class=number>{escape(points(cost.ap50))}</span><span class=number>{cost.count:,}</span></li>"
        for cost in metrics.errors
    )
    about = (
        "Left: which class was taken for which. Right: what AP50 would gain if one kind of error were mended and "
        f"nothing else (TIDE), and how often it occurs at confidence {metrics.conf:.2f}."
    )
    head = (
        "<li class=head><span class=name>kind</span><span></span><span class=number>AP50</span>"
        "<span class=number>count</span></li>"
    )
    figure = f"<figure class=card>{figure_svg(PLOTS['confusion'](metrics), 'confusion')}</figure>"
    return section("errors", "Errors", about, f"<div class=plots>{figure}<ul class=errors>{head}{rows}</ul></div>")


def _gallery(evaluation: Evaluation, gallery: Sequence[GalleryPhoto | UnshownPhoto]) -> str:
    if evaluation.photos is None:
        return section("gallery", "Worst photos", "The photos are not at hand: name their folder with --images.", "")
    if not gallery:
        return section("gallery", "Worst photos", "There is no photo with a mistake.", "")
    about = (
        "Annotation on the left, prediction on the right, the photos with most garments missed and most confident "
        f"mistakes first. Predictions of at least {evaluation.metrics.conf:.2f}. A click enlarges."
    )
    return section("gallery", "Worst photos", about, f"<div class=gallery>{''.join(map(_photo, gallery))}</div>")


def _photo(photo: GalleryPhoto | UnshownPhoto) -> str:
    problems = "".join(
        f"<span class=chip>{escape(f'{count} {kind.value}' if count > 1 else kind.value)}</span>"
        for kind, count in photo.problems
    )
    return f"<figure class=card>{_pictures(photo)}<figcaption>{escape(photo.file_name)}{problems}</figcaption></figure>"


def _pictures(photo: GalleryPhoto | UnshownPhoto) -> str:
    """Both pictures, or the reason why there are none."""
    if isinstance(photo, UnshownPhoto):
        return f"<p class=unshown>{escape(photo.reason)}</p>"
    pictures = jpeg_image(photo.truth, photo.size_hw, f"{photo.file_name}, annotated") + jpeg_image(
        photo.prediction, photo.size_hw, f"{photo.file_name}, predicted"
    )
    return f"<button type=button class=pair aria-label=enlarge>{pictures}</button>"


def _slices(metrics: Metrics) -> str:
    if not metrics.slices:
        return ""
    headers = [("attribute", ""), ("value", ""), ("garments", ""), ("photos", "that hold one of them")]
    headers += [(f"{IOU_NAMES[key]} {name}", "") for key in metrics.scores for name in ("AP", "AP50")]
    rows = []
    for one in metrics.slices:
        row = [
            text_cell(shown_name(one.attribute)),
            text_cell(one.value),
            number_cell(f"{one.garments:,}", one.garments),
            number_cell(f"{one.photos:,}", one.photos),
        ]
        for key in metrics.scores:
            row += [number_cell(points(v), v, bar=i == 0) for i, v in enumerate((one.ap.get(key), one.ap50.get(key)))]
        rows.append(row)
    about = "Other garments of the same photos are ignored: not finding them costs nothing, finding them is no mistake."
    return section("slices", "By size and attribute", about, table(headers, rows, "slices"))


def _coco(metrics: Metrics) -> str:
    headers = [("metric", ""), ("IoU", ""), ("size", ""), ("predictions", "a photo, at most")]
    headers += [(IOU_NAMES[iou_type], "") for iou_type in metrics.scores]
    rows = []
    for line in SUMMARY:
        iou = "0.50:0.95" if line.iou is None else f"{0.5 + 0.05 * line.iou:.2f}"
        row = [
            text_cell(f"average {'recall' if line.recall else 'precision'}, {line.name}"),
            text_cell(iou),
            text_cell(("all", "small", "medium", "large")[line.area]),
            number_cell(str((1, 10, 100)[line.limit]), (1, 10, 100)[line.limit]),
        ]
        values = [scores.overall[line.name] for scores in metrics.scores.values()]
        rows.append([*row, *(number_cell(points(value), value) for value in values)])
    about = "COCO's twelve numbers, as pycocotools computes them. Small is below 32 x 32 pixels, large from 96 x 96 on."
    return section("coco", "COCO", about, table(headers, rows, "COCO"))


def _latency(evaluation: Evaluation) -> str:
    latencies = evaluation.metrics.latencies
    if not latencies:
        return ""
    rows = [
        [
            text_cell(one.stage),
            number_cell(milliseconds(one.median_ms), one.median_ms),
            number_cell(milliseconds(one.p95_ms), one.p95_ms),
        ]
        for one in latencies
    ]
    headers = [("stage", ""), ("median, ms", "a photo"), ("95%, ms", "a photo")]
    about = "Stages of different photos run at the same time, so a run takes less than their sum."
    return section("latency", "Time a photo", about, table(headers, rows, "latency"))
