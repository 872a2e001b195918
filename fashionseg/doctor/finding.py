"""One thing that was looked at, and ways to look."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from dataclasses import dataclass

IMPORT_TIMEOUT_S = 120


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


def model_runs_on(device: str) -> str:
    """Run the embedded model on a blank picture; the description of what ran it.

    Raises:
        FashionsegError: the device cannot be used, or the run failed.
    """
    import numpy as np

    from fashionseg.backends.registry import open_backend
    from fashionseg.model import read_model

    with open_backend(read_model(), device) as backend:
        side = backend.spec.size_divisor
        backend.run(np.zeros((1, side, side, 3), np.uint8), np.array([[side, side]], np.int32))
        return backend.description


def import_problem(*modules: str) -> str:
    """Why these modules cannot be imported, the first after which the others come; empty where they can.

    In a process of its own: libraries that do not fit together may end it.
    """
    command = [sys.executable, "-P", "-c", f"import {', '.join(modules)}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"importing it takes more than {IMPORT_TIMEOUT_S} s"
    if not done.returncode:
        return ""
    return (done.stderr.strip().splitlines() or [f"importing it ends Python with exit code {done.returncode}"])[-1]
