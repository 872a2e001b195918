"""What a conversion did: counts, and every file it could not use with the reason.

Knows nothing about formats.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fashionseg.files import write_bytes

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.data.records import Problem

MAX_LISTED = 100_000
"""Problems listed with their place; beyond this they are only counted, so that a report stays small."""


@dataclass(slots=True)
class Report:
    """Grows while a conversion runs.

    Attributes:
        photos_read: annotation files seen.
        photos_kept: photos in the result.
        instances: kept, of each category name.
        left_out: photos left out for a reason that is no fault, by reason.
        instances_left_out: what was left out of photos that are kept, by reason.
        problem_counts: by kind.
        problems: place, kind and text of each.
    """

    photos_read: int = 0
    photos_kept: int = 0
    instances: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    instances_left_out: Counter[str] = field(default_factory=Counter)
    problem_counts: Counter[str] = field(default_factory=Counter)
    problems: list[Problem] = field(default_factory=list)

    def add_problems(self, problems: list[Problem]) -> None:
        """Count and list problems."""
        self.problem_counts.update(problem.kind for problem in problems)
        self.problems += problems[: max(MAX_LISTED - len(self.problems), 0)]

    @property
    def has_problems(self) -> bool:
        """Whether anything could not be used."""
        return bool(self.problem_counts)

    def to_json(self, **options: Any) -> dict[str, Any]:
        """The report as JSON can hold it; `options` say how the conversion was asked for."""
        return {
            "options": options,
            "photos_read": self.photos_read,
            "photos_kept": self.photos_kept,
            "instances": dict(self.instances),
            "photos_left_out": dict(self.left_out),
            "instances_left_out": dict(self.instances_left_out),
            "problem_counts": dict(self.problem_counts),
            "problems": [{"place": p.place, "kind": p.kind, "text": p.text} for p in self.problems],
            "problems_not_listed": self.problem_counts.total() - len(self.problems),
        }

    def write(self, path: Path, **options: Any) -> None:
        """Write the report as a JSON file.

        Raises:
            OutputError: the file cannot be written.
        """
        write_bytes(path, json.dumps(self.to_json(**options), ensure_ascii=False, indent=1).encode())


def report_path(out: Path) -> Path:
    """Where the report of a conversion into `out` lies: beside it."""
    return out.with_name(f"{out.stem}.report.json")
