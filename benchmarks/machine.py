"""What a benchmark ran on: processor, threads, versions. Knows nothing about what is measured."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"
"""Where results of record lie."""


def machine(threads: int, *packages: str) -> dict[str, Any]:
    """Processor, threads used, Python, and versions of the packages that are installed."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(names),
        "threads": threads,
        "python": platform.python_version(),
        "versions": versions,
    }


def report(result: dict[str, Any], path: Path | None) -> None:
    """Print a result as one JSON line, and write it to `path` where given."""
    print(json.dumps(result))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
