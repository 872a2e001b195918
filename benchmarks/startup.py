"""How long does a user wait for the first answer?

    python -m fashionseg.benchmarks.startup --json benchmarks/results/startup.json
    python -m fashionseg.benchmarks.startup --photo photo.jpg
    python -m fashionseg.benchmarks.startup --fresh . --json ...     # an environment made and installed into, too

`fashionseg --help`, and `fashionseg segment` of one photo with the embedded model, from the start of the process to its
end, in turns; medians. Beside them the interpreter alone, which nobody can do without. `--fresh` makes a virtual
environment, installs a checkout or a wheel into it with all it depends on, and segments the photo: once, as this is
minutes of downloads where the package index is far away. Knows nothing about what a command does meanwhile.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.cores import usable_cores
from fashionseg.errors import FashionsegError

if TYPE_CHECKING:
    from collections.abc import Sequence

PHOTO_HW = (900, 600)
MOST_S = {"help": 0.2, "segment": 1.5, "fresh": 90.0}
"""Seconds that each may take; the script fails where one takes longer."""

PACKAGES = ("fashionseg", "numpy", "onnxruntime-gpu", "onnxruntime", "opencv-python-headless", "pillow", "click")


def seconds_of(command: Sequence[str | Path], folder: Path) -> float:
    """Seconds from the start of a command to its end.

    Raises:
        FashionsegError: it failed.
    """
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise FashionsegError(f"{command[0]} ended with exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return seconds


def measure(command: Sequence[str], photo: Path, repeats: int) -> dict[str, list[float]]:
    """Seconds of every run of every way, in turns; one run of each before, unmeasured."""
    ways: dict[str, Sequence[str]] = {
        "python": [sys.executable, "-c", "pass"],
        "help": [*command, "--help"],
        "segment": [*command, "segment", str(photo), "-q", "-o", "out", "--restart"],
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(repeats + 1):
            for name, way in ways.items():
                seconds = seconds_of(way, Path(folder))
                if turn:
                    found[name].append(seconds)
    return found


def fresh(package: str, photo: Path) -> dict[str, float]:
    """Seconds of a new virtual environment, of installing `package` into it, and of a first run there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.perf_counter()
        venv.create(folder / "env", with_pip=True)
        made = time.perf_counter() - began
        scripts = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
        install: list[str | Path] = [scripts / "python", "-m", "pip", "install", "--quiet", package]
        installed = seconds_of(install, Path.cwd())
        first = seconds_of([scripts / "fashionseg", "segment", photo, "-q", "-o", "out"], folder)
    return {"environment": made, "install": installed, "first_photo": first, "total": made + installed + first}


def own_command() -> list[str]:
    """`fashionseg` of the environment that runs this."""
    script = Path(sys.executable).with_name("fashionseg")
    return [str(script)] if script.exists() else [sys.executable, "-m", "fashionseg"]


def _drawn_photo(folder: Path) -> Path:
    import numpy as np

    from fashionseg.data.synth.scene import draw_scene
    from fashionseg.media.images import encode_jpeg

    path = folder / "photo.jpg"
    path.write_bytes(encode_jpeg(draw_scene(np.random.default_rng(1), PHOTO_HW).image))
    return path


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line; 1 where a way takes longer than it may."""
    parser = argparse.ArgumentParser(description="Seconds from the start of a command to its end.")
    parser.add_argument("--photo", type=Path, help="a photo (default: a drawn one of 600 x 900)")
    parser.add_argument("--repeats", type=int, default=9, help="runs of each way (default 9)")
    parser.add_argument("--fresh", metavar="PACKAGE", help="a checkout or a wheel to install into a new environment")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        photo = options.photo.resolve() if options.photo else _drawn_photo(Path(folder))
        found = measure(own_command(), photo, options.repeats)
        new = fresh(options.fresh, photo) if options.fresh else None
    medians = {name: statistics.median(values) for name, values in found.items()}
    for name, seconds in medians.items():
        print(f"{name:8} {seconds:6.3f} s   ({min(found[name]):.3f} to {max(found[name]):.3f})")
    if new:
        print("fresh    " + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in new.items()))
        medians["fresh"] = new["total"]
    result: dict[str, Any] = {
        "benchmark": "startup",
        "seconds": {name: round(seconds, 3) for name, seconds in medians.items()},
        "runs": {name: [round(value, 3) for value in values] for name, values in found.items()},
        "fresh": new and {name: round(seconds, 1) for name, seconds in new.items()},
        "most": MOST_S,
    }
    report({**result, "machine": machine(usable_cores(), *PACKAGES)}, options.json)
    return int(any(medians[name] > most for name, most in MOST_S.items() if name in medians))


if __name__ == "__main__":
    sys.exit(main())
