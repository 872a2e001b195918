"""Where the user's engines lie. The folder belongs to the user alone, since an engine is code."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fashionseg.errors import OutputError
from fashionseg.files import output_errors


def cache_folder() -> Path:
    """`FASHIONSEG_CACHE`, or `~/.cache/fashionseg` (`XDG_CACHE_HOME` is heeded). It need not exist."""
    chosen = os.environ.get("FASHIONSEG_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fashionseg"


def own_folder() -> Path:
    """The folder of engines, made if need be.

    Raises:
        OutputError: it cannot be made, or is somebody else's.
    """
    folder = cache_folder() / "engines"
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_owner(folder)
    return folder


def _check_owner(folder: Path) -> None:
    if os.name != "posix":
        return
    found = folder.stat()
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OutputError(
            f"the engine cache {folder} belongs to somebody else or can be written by others, and an engine is code: "
            "name another folder in FASHIONSEG_CACHE, or remove it"
        )
