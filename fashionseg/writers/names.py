"""Names of the files a run writes: readable, unique, and never outside the output folder.

Pure text: knows nothing about the disk.
"""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.media.frame import Source

MAX_PART_BYTES = 200
"""Longest name of a file or folder in bytes; file systems allow 255, and suffixes are added."""

_SUFFIX = {"photo": ".jpg", "video": ".mp4"}


def output_names(sources: Sequence[Source]) -> list[str]:
    """Relative path of the annotated file of each source, with "/" between parts.

    A photo becomes `.jpg`, a video `.mp4`. Where two sources would get the same name (also where case is ignored, as
    some file systems do), each keeps its own suffix (`a.png.jpg`); if that is still not enough, a number is added. The
    folder of a video's frames (its name without suffix) counts as taken.
    """
    plain = [_safe(source.name) for source in sources]
    wanted = [_without_suffix(name) for name in plain]
    clashes = _clashes([_key(w, s) for w, s in zip(wanted, sources, strict=True)])
    taken: set[str] = set()
    names = []
    for index, source in enumerate(sources):
        suffix = _SUFFIX[source.kind]
        stem = plain[index] if index in clashes else wanted[index]
        unique, number = stem, 1
        while not _free(unique, suffix, taken):
            number += 1
            unique = f"{stem}-{number}"
        taken |= _claims(unique, suffix)
        names.append(unique + suffix)
    return names


def _claims(stem: str, suffix: str) -> set[str]:
    names = {_fold(stem + suffix)}
    if suffix == ".mp4":
        names.add(_fold(stem))
    return names


def _free(stem: str, suffix: str, taken: set[str]) -> bool:
    return not (_claims(stem, suffix) & taken)


def _key(stem: str, source: Source) -> str:
    return _fold(stem + _SUFFIX[source.kind])


def _clashes(keys: list[str]) -> set[int]:
    seen: dict[str, list[int]] = {}
    for index, key in enumerate(keys):
        seen.setdefault(key, []).append(index)
    return {index for group in seen.values() if len(group) > 1 for index in group}


def _fold(name: str) -> str:
    """Equal for names that some file system takes for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def _without_suffix(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix else name


def _safe(name: str) -> str:
    """`name` without parts that climb or start at the root, hidden state, or too long for a file system."""
    parts = [part for part in name.replace("\\", "_").replace("\0", "_").split("/") if part not in ("", ".", "..")]
    return "/".join(_shortened(part) for part in parts) or "unnamed"


def _shortened(part: str) -> str:
    if part.casefold() == ".fashionseg":
        return "_fashionseg"
    data = part.encode("utf-8", "surrogateescape")
    if len(data) <= MAX_PART_BYTES:
        return part
    digest = hashlib.sha256(data).hexdigest()[:12]
    suffix = PurePosixPath(part).suffix[:10]
    room = MAX_PART_BYTES - len(digest) - len(suffix.encode("utf-8", "surrogateescape")) - 1
    return f"{data[:room].decode('utf-8', 'ignore')}-{digest}{suffix}"
