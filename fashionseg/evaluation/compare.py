"""`--compare OLD.json`: the change from an earlier `metrics.json`, and whether it is more than chance.

Where the earlier run's `predictions.json` lies beside its `metrics.json` and belongs to the same photos, the change of
AP gets a paired bootstrap interval over photos. Knows the layout of `metrics.json`. Knows nothing about models.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.errors import DataError
from fashionseg.evaluation.bootstrap import paired_difference
from fashionseg.evaluation.coco_metrics import IOU_TYPES, CocoProblem
from fashionseg.evaluation.metrics import METRICS_FORMAT
from fashionseg.evaluation.predictions import read_predictions

if TYPE_CHECKING:
    from collections.abc import Collection

    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.bootstrap import Interval
    from fashionseg.evaluation.metrics import Metrics
    from fashionseg.evaluation.predictions import Predictions

HEADLINES = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR100", "F1")
MAX_FILE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Change:
    """One metric then and now, 0..1 (latency: milliseconds); the interval is that of the difference."""

    name: str
    old: float
    new: float
    interval: Interval | None = None

    @property
    def is_certain(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        return self.interval is not None and (self.interval.low > 0 or self.interval.high < 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """All changes from an earlier run.

    Attributes:
        path: the earlier `metrics.json`.
        model: what it calls its model.
        changes: metrics that both runs measured, in the order of `metrics.json`.
        warning: why the two may not be comparable; None where nothing speaks against it.
    """

    path: Path
    model: str
    changes: tuple[Change, ...]
    warning: str | None

    def headlines(self, iou_type: str) -> list[Change]:
        """The changes to show: COCO's numbers, F1, AP of each class for one IoU type, latency."""
        return [change for change in self.changes if _is_headline(change.name, iou_type)]


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier `metrics.json`, read and checked.

    Attributes:
        path: where it lies.
        metrics: its numbers by name.
        model: what it calls its model.
        data_sha256: of the annotation file it was measured on.
        predictions: from the `predictions.json` beside it; None where there are none to be had or on other data.
        warning: why the two may not be comparable, or why there is no interval; None where nothing speaks against it.
    """

    path: Path
    metrics: dict[str, float]
    model: str
    data_sha256: str
    predictions: Predictions | None = None
    warning: str | None = None


def read_earlier(path: str | Path) -> Earlier:
    """Read a `metrics.json`.

    Raises:
        DataError: no such file, or not one of `fashionseg evaluate`.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{path} is not a metrics.json: it is larger than {MAX_FILE_BYTES >> 20} MiB")
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"file to compare with not found: {path}") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    metrics = document.get("metrics") if isinstance(document, dict) else None
    if not isinstance(metrics, dict) or document.get("format") != METRICS_FORMAT:
        raise DataError(f"{path} is not a metrics.json of this version of fashionseg evaluate")
    numbers = {str(k): float(v) for k, v in metrics.items() if isinstance(v, int | float)}
    return Earlier(path, numbers, _text(document, "model", "path"), _text(document, "data", "sha256"))


def read_earlier_predictions(earlier: Earlier, data: CocoData, data_sha256: str) -> Earlier:
    """Add the predictions beside an earlier `metrics.json`, or a warning where they are of no use."""
    if earlier.data_sha256 != data_sha256:
        text = f"{earlier.path} was measured on other data: the change is not the model's alone"
        return replace(earlier, warning=text)
    beside = earlier.path.with_name("predictions.json")
    if not beside.is_file():
        return earlier
    try:
        return replace(earlier, predictions=read_predictions(beside, data))
    except DataError as error:
        return replace(earlier, warning=f"the change from {earlier.path} has no interval: {error}")


def require_common(earlier: Earlier, names: Collection[str]) -> None:
    """Refuse an earlier run that measured none of these metrics.

    Raises:
        DataError: none in common.
    """
    if earlier.metrics.keys().isdisjoint(names):
        raise DataError(_nothing_in_common(earlier))


def compare(earlier: Earlier, metrics: Metrics, data: CocoData, predictions: Predictions) -> Comparison:
    """The change of every metric that both runs measured; a warning where there is none."""
    now = {name: value for name, value in metrics.flat().items() if value is not None}
    found = _intervals(earlier, data, predictions)
    both = [name for name in now if name in earlier.metrics]
    changes = tuple(Change(name, earlier.metrics[name], now[name], found.get(name)) for name in both)
    warning = earlier.warning if changes else _nothing_in_common(earlier)
    return Comparison(earlier.path, earlier.model, changes, warning)


def _nothing_in_common(earlier: Earlier) -> str:
    return f"{earlier.path} has no metric in common with this run: other classes, or boxes against masks"


def _intervals(earlier: Earlier, data: CocoData, predictions: Predictions) -> dict[str, Interval]:
    old = earlier.predictions
    if old is None:
        return {}
    problem = CocoProblem(data, predictions)
    types = problem.iou_types if old.rles is not None else problem.iou_types[:1]
    return {
        f"{iou_type}/{name}": interval
        for iou_type in types
        for name, interval in paired_difference(problem, iou_type, old).items()
    }


def _is_headline(name: str, iou_type: str) -> bool:
    parts = name.split("/", 2)
    if parts[0] in IOU_TYPES:
        return parts[1] in HEADLINES if len(parts) == 2 else parts[:2] == [iou_type, "AP"]
    return name in ("latency/model_ms", "latency/total_ms")


def _text(document: dict[str, Any], *keys: str) -> str:
    value: Any = document
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""
