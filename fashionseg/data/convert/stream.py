"""A COCO file written while it is made: photos and annotations pass through, memory holds what choosing needs.

Annotations arrive as JSON text and are staged in a temporary file; the final file is put together from it, in order,
with all photos or a chosen part of them. Knows nothing about the format they come from.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fashionseg.files import make_folder, output_errors, replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from fashionseg.data.records import Category


@dataclass(frozen=True, slots=True)
class StagedPhoto:
    """A photo whose annotations lie in the staging file.

    Attributes:
        image: the COCO image as JSON.
        category_ids: of its annotations, in order.
        offset: of its annotations in the staging file, bytes.
        length: of them, bytes.
    """

    image: str
    category_ids: tuple[int, ...]
    offset: int
    length: int


class CocoStream:
    """Collects photos one by one and writes the COCO file at the end. A context manager: it owns a temporary file."""

    def __init__(self, out: Path) -> None:
        """Stage beside `out`, so that the disk that must hold the result holds the stage too.

        Raises:
            OutputError: the folder cannot be made or written.
        """
        make_folder(out.parent)
        self._out = out
        with output_errors(out):
            self._stage: IO[bytes] = tempfile.TemporaryFile(dir=out.parent)  # noqa: SIM115 - closed by close()
        self._offset = 0
        self.photos: list[StagedPhoto] = []

    def __enter__(self) -> CocoStream:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the staging file."""
        self._stage.close()

    def add(self, image: str, annotations: Sequence[tuple[int, str]]) -> None:
        """Stage a photo.

        Args:
            image: the COCO image as JSON.
            annotations: category id, and the COCO annotation as JSON, of each instance.

        Raises:
            OutputError: the disk is full.
        """
        data = ",\n".join(text for _, text in annotations).encode()
        with output_errors(self._out):
            self._stage.write(data)
        self.photos.append(StagedPhoto(image, tuple(c for c, _ in annotations), self._offset, len(data)))
        self._offset += len(data)

    def write(self, categories: Sequence[Category], info: dict[str, Any], keep: Collection[int] | None = None) -> None:
        """Write the COCO file with all photos, or with those whose positions are in `keep`; it appears whole.

        Raises:
            OutputError: the file cannot be written.
        """
        chosen = [photo for i, photo in enumerate(self.photos) if keep is None or i in keep]
        with replacing(self._out) as beside, beside.open("wb") as file:
            file.write(b'{"info":' + json.dumps(info, ensure_ascii=False).encode())
            file.write(b',\n"categories":' + json.dumps([c.to_json() for c in categories], ensure_ascii=False).encode())
            file.write(b',\n"images":[\n')
            _join(file, (photo.image.encode() for photo in chosen))
            file.write(b'\n],\n"annotations":[\n')
            _join(file, (self._read(photo) for photo in chosen if photo.length))
            file.write(b"\n]}\n")

    def _read(self, photo: StagedPhoto) -> bytes:
        self._stage.seek(photo.offset)
        return self._stage.read(photo.length)


def _join(file: IO[bytes], parts: Any) -> None:
    for number, part in enumerate(parts):
        if number:
            file.write(b",\n")
        file.write(part)
