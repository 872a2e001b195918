"""One thing that was looked at."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what.
        ok: True: works; False: does not, and something is lost; None: not there, and need not be.
        text: what was found.
        remedy: the command or step that adds it; empty where nothing needs doing.
    """

    topic: str
    ok: bool | None
    text: str
    remedy: str = ""


def version_of(*distributions: str) -> str | None:
    """The version of the first of these packages that is installed."""
    for distribution in distributions:
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
