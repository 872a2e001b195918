"""The journal of a run: what is finished, so that a run that was stopped or killed goes on where it was.

An append-only file of one record a line: eight hexadecimal digits of CRC-32, a space, JSON. A record that is torn or
damaged ends the journal: it and what follows is cut off and done again. The journal also holds the predictions, so the
final COCO files are written from it and are the same for an interrupted run and an undisturbed one.

Knows nothing about pictures or models.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import zlib
from typing import TYPE_CHECKING, Any

from fashionseg.errors import OutputError
from fashionseg.files import flush_folder, output_errors

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Record = dict[str, Any]

SYNC_SECONDS = 2.0
"""How often the journal is flushed to the disk: what a power failure may cost. A killed process loses nothing."""


class Journal:
    """An open journal; a context manager. `replay` first, then `append`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._folders: set[Path] = set()
        self._synced = time.monotonic()
        with output_errors(path):
            self._file = path.open("ab+", buffering=0)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.sync()
        finally:
            self._file.close()

    def replay(self) -> Iterator[tuple[int, Record]]:
        """Each good record with its offset in bytes; a damaged one and all after it are cut off."""
        with output_errors(self.path):
            good = 0
            for offset, end, record in read_records(self.path):
                good = end
                yield offset, record
            if good < self.path.stat().st_size:
                self._file.truncate(good)

    def append(self, record: Record, folder: Path | None = None) -> int:
        """Add a record, which survives the death of this process; returns its offset.

        Args:
            record: what JSON can hold.
            folder: where the record's output was renamed to; made durable before the journal is.
        """
        line = encode_record(record)
        with output_errors(self.path):
            offset = self._file.seek(0, os.SEEK_END)
            written = self._file.write(line)
            if written != len(line):
                with contextlib.suppress(OSError):
                    self._file.truncate(offset)
                raise OutputError(f"cannot write {self.path}: no space left on the disk")
        if folder is not None:
            self._folders.add(folder)
        if time.monotonic() - self._synced > SYNC_SECONDS:
            self.sync()
        return offset

    def sync(self) -> None:
        """Make everything so far durable."""
        with output_errors(self.path):
            for folder in self._folders:
                flush_folder(folder)
            self._folders.clear()
            os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def record_at(self, offset: int) -> Record:
        """The record at an offset given by `append` or `replay`."""
        with output_errors(self.path), self.path.open("rb") as file:
            file.seek(offset)
            record = decode_record(file.readline())
        if record is None:
            raise OutputError(f"{self.path} was changed by something else while the run went on; use --restart")
        return record


def encode_record(record: Record) -> bytes:
    """One line of the journal."""
    text = json.dumps(record, separators=(",", ":")).encode()  # ASCII: lone surrogates of odd file names survive
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode_record(line: bytes) -> Record | None:
    """The record of a line, or None where the line is torn or damaged."""
    if len(line) < 12 or line[8:9] != b" " or not line.endswith(b"\n"):
        return None
    text = line[9:-1]
    try:
        if int(line[:8], 16) != zlib.crc32(text):
            return None
        record = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def read_records(path: Path) -> Iterator[tuple[int, int, Record]]:
    """Good records with the offsets where they begin and end, up to the first damaged one."""
    offset = 0
    with path.open("rb") as file:
        for line in file:
            record = decode_record(line)
            if record is None:
                return
            yield offset, offset + len(line), record
            offset += len(line)
