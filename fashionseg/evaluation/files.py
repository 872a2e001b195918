"""The files of an evaluation: `report.html`, plots, `metrics.json`, `predictions.json`; whole or not at all.

Knows names and formats of files. Knows nothing about what is in them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from fashionseg.evaluation.gallery import draw_worst, unshown_warning
from fashionseg.evaluation.plots import PLOTS
from fashionseg.evaluation.report import report_html
from fashionseg.files import make_folder, write_bytes
from fashionseg.json_text import json_bytes
from fashionseg.plotting import figure_png, new_figure

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.evaluation.result import Evaluation


def prepare_folder(folder: Path) -> None:
    """Make the folder, and refuse to start where plots cannot be drawn.

    Raises:
        OutputError: it cannot be made.
        MissingExtraError: matplotlib is not installed.
    """
    new_figure(1, 1)
    make_folder(folder)


def write_files(evaluation: Evaluation, folder: Path) -> Evaluation:
    """Write everything into `folder`; the report last, so that where it is, all is.

    Returns:
        The evaluation as written: with a warning about worst photos that cannot be shown, where there are any.

    Raises:
        OutputError: a file cannot be written.
    """
    gallery = draw_worst(evaluation)
    warning = unshown_warning(gallery)
    if warning:
        evaluation = replace(evaluation, warnings=(*evaluation.warnings, warning))
    results = evaluation.predictions.to_results()
    write_bytes(folder / "predictions.json", json_bytes(results))
    _write_text(folder / "metrics.json", json.dumps(evaluation.to_json(), indent=1, ensure_ascii=False) + "\n")
    for name, plot in PLOTS.items():
        write_bytes(folder / f"{name}.png", figure_png(plot(evaluation.metrics)))
    _write_text(folder / "report.html", report_html(evaluation, gallery))
    return evaluation


def _write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode("utf-8", "replace"))
