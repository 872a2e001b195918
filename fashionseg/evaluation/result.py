"""`Evaluation`: one finished evaluation, from which screen, report and files are made.

Knows nothing about how it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg._version import __version__

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.coco import CocoData
    from fashionseg.evaluation.compare import Comparison
    from fashionseg.evaluation.metrics import Metrics
    from fashionseg.evaluation.outcomes import PhotoOutcome
    from fashionseg.evaluation.predictions import Predictions


@dataclass(frozen=True, slots=True)
class Subject:
    """What was evaluated.

    Attributes:
        kind: "predictions", "model file" or "checkpoint".
        path: as the user named it.
        sha256: of the file, hexadecimal.
        name: the model's own name, for people; empty where it has none.
        device: what ran it, in words; empty where nothing ran.
    """

    kind: str
    path: str
    sha256: str
    name: str = ""
    device: str = ""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A finished evaluation.

    Attributes:
        subject: what was evaluated.
        data: on which data set.
        data_sha256: of its annotation file.
        photos: file of each photo; None where they are not at hand (predictions need none).
        predictions: what was found.
        metrics: all numbers.
        outcomes: what became of each photo, in order of the data set.
        comparison: with an earlier evaluation, where one was named.
        warnings: sentences the user should read.
    """

    subject: Subject
    data: CocoData
    data_sha256: str
    photos: tuple[Path, ...] | None
    predictions: Predictions
    metrics: Metrics
    outcomes: tuple[PhotoOutcome, ...]
    comparison: Comparison | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `metrics.json`."""
        document = self.metrics.to_json()
        document["fashionseg"] = __version__
        document["model"] = {
            "kind": self.subject.kind,
            "path": self.subject.path,
            "name": self.subject.name,
            "sha256": self.subject.sha256,
            "device": self.subject.device,
        }
        document["data"] = {"path": str(self.data.path or ""), "sha256": self.data_sha256}
        document["warnings"] = list(self.warnings)
        if self.comparison:
            document["compared_with"] = {
                "path": str(self.comparison.path),
                "changes": {change.name: change.new - change.old for change in self.comparison.changes},
                "intervals_95": {
                    change.name: [change.interval.low, change.interval.high]
                    for change in self.comparison.changes
                    if change.interval
                },
            }
        return document
