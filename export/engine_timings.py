"""TensorRT's timing caches: what it measured in earlier builds, so that the next ones are short.

One file for each library, version and GPU, in the user's cache. They only save time: without, a build takes longer.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import filelock

from fashionseg.errors import OutputError
from fashionseg.export.engine_folder import own_folder
from fashionseg.files import output_errors, write_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fashionseg.export.engine import Target


def timings_path(target: Target) -> Path:
    """Where the timings of a library on a GPU lie.

    Raises:
        OutputError: there is no cache folder to be had.
    """
    words = f"{target.library} {target.version} {target.gpu}"
    return own_folder() / f"{hashlib.sha256(words.encode()).hexdigest()[:16]}.timings"


def read_timings(target: Target, note: Callable[[str], None]) -> bytes:
    """The timings; empty where there are none. `note` is told where they cannot be read."""
    try:
        path = timings_path(target)
        with output_errors(path):
            return path.read_bytes() if path.exists() else b""
    except OutputError as error:
        note(f"the build begins without the timings of earlier ones: {error}")
        return b""


def write_timings(target: Target, data: bytes, note: Callable[[str], None]) -> None:
    """Keep the timings of a build, which include those it began with. `note` is told where they cannot be kept."""
    if not data:
        return
    try:
        path = timings_path(target)
        with output_errors(path), filelock.FileLock(f"{path}.lock"):
            write_bytes(path, data)
    except OutputError as error:
        note(f"the timings of this build are not kept: {error}")
