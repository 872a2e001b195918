"""Files that appear whole or not at all, and never outside their folder.

Knows how to write beside, flush and rename, and how to turn the operating system's errors into `OutputError`.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from typing import TYPE_CHECKING

from fashionseg.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


_numbers = itertools.count()
"""Numbers of temporary files, so that no two threads share one."""


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `OutputError` that names `path` and the reason."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"cannot write {path}: {reason[:1].lower()}{reason[1:]}") from error


@contextlib.contextmanager
def replacing(path: Path, beside: Path | None = None) -> Iterator[Path]:
    """A temporary path to write to, which becomes `path` when the block ends well and is removed when it does not.

    The file is flushed to the disk before it is renamed; call `flush_folder` to make the new name durable too.

    Args:
        path: the final name.
        beside: folder of the temporary file, on the same file system; default: that of `path`.

    Raises:
        OutputError: the disk is full, the folder is gone or read-only.
    """
    temporary = (beside or path.parent) / f".{os.getpid()}-{next(_numbers)}.tmp"
    with output_errors(path):
        try:
            yield temporary
            flush(temporary)
            os.replace(temporary, path)  # noqa: PTH105 - looked up by name in tests that record the order of calls
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise


def write_bytes(path: Path, data: bytes, beside: Path | None = None) -> None:
    """Write a whole file atomically; see `replacing`."""
    with replacing(path, beside) as temporary:
        temporary.write_bytes(data)


def flush(path: Path) -> None:
    """Make the contents of a file durable."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Make the names in a folder durable (a no-op where the system cannot)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, inside: Path | None = None) -> None:
    """Create a folder and its parents; with `inside`, refuse one that a link leads out of `inside`.

    Raises:
        OutputError: it cannot be made, is a file, or leaves `inside`.
    """
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if inside is not None and not folder.resolve().is_relative_to(inside.resolve()):
            raise OutputError(f"{folder} is a link that leads out of the output folder {inside}; remove it")
