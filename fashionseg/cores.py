"""How many cores there are to use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Cores this process may use: those of its affinity where the system knows one, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
