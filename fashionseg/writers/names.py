"""Names of the files a run writes: readable, unique, and never outside the output folder.

Pure text: knows nothing about the disk.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fashionseg.media.frame import Source

MAX_PART_BYTES = 200
"""Longest name of a file or folder in bytes; file systems allow 255, and suffixes are added."""

MAX_NAME_BYTES = 1000
"""Longest relative path in bytes; systems allow 4096 together with the output folder."""

_SUFFIX = {"photo": ".jpg", "video": ".mp4"}
_OURS = frozenset({".fashionseg", "predictions.json", "images.json", "failures.json"})
"""What a run keeps in its output folder beside the annotated media: no folder there may have such a name."""


def output_names(sources: Sequence[Source], *, frames: bool = False) -> list[str]:
    """Relative path of the annotated file of each source, with "/" between parts.

    A photo becomes `.jpg`, a video `.mp4`. Where two sources would get the same name (also where case is ignored, as
    some file systems do), each keeps its own suffix (`a.png.jpg`); if that is still not enough, a number is added. No
    file gets the name of a folder that others lie in, and the folder of a video's frames (its name without suffix)
    counts as taken.

    Args:
        sources: all inputs of a run.
        frames: frames of videos are written, so that their folders may hold nothing else.
    """
    plain = [_safe(source.name) for source in sources]
    wanted = [_without_suffix(name) for name in plain]
    clashes = _clashes([_key(w, s) for w, s in zip(wanted, sources, strict=True)])
    stems = [p if index in clashes else w for index, (p, w) in enumerate(zip(plain, wanted, strict=True))]
    folders = {_fold(str(folder)) for name in plain for folder in PurePosixPath(name).parents}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    names = []
    for stem, source in zip(stems, sources, strict=True):
        suffix = _SUFFIX[source.kind]
        unique = stem
        while not _free(unique, suffix, taken, folders, frames=frames):
            numbers[stem] += 1
            unique = f"{stem}-{numbers[stem] + 1}"
        taken |= _claims(unique, suffix)
        names.append(unique + suffix)
    return names


def frames_folder(output: str) -> str:
    """The folder of a video's frames, beside its output."""
    return str(PurePosixPath(output).with_suffix(""))


def _claims(stem: str, suffix: str) -> set[str]:
    names = {_fold(stem + suffix)}
    if suffix == ".mp4":
        names.add(_fold(stem))
    return names


def _free(stem: str, suffix: str, taken: set[str], folders: set[str], *, frames: bool) -> bool:
    claims = _claims(stem, suffix)
    alone = claims if frames else {_fold(stem + suffix)}
    return not (claims & taken or alone & folders)


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
    """`name` without parts that climb or start at the root, meet the run's own files, or are too long for a system."""
    parts = [part for part in name.replace("\\", "_").replace("\0", "_").split("/") if part not in ("", ".", "..")]
    safe = [_shortened(part) for part in parts] or ["unnamed"]
    if len(_bytes("/".join(safe))) > MAX_NAME_BYTES:
        safe = [f"deep-{_digest('/'.join(safe[:-1]))}", safe[-1]]
    if safe[0].casefold() in _OURS:
        safe[0] = "_" + safe[0]
    return "/".join(safe)


def _shortened(part: str) -> str:
    if not PurePosixPath(part).stem.strip("."):
        return "_" + part  # "...mp4" without its suffix would be ".."
    data = _bytes(part)
    if len(data) <= MAX_PART_BYTES:
        return part
    digest = _digest(part)
    suffix = PurePosixPath(part).suffix[:10]
    room = MAX_PART_BYTES - len(digest) - len(_bytes(suffix)) - 1
    return f"{data[:room].decode('utf-8', 'ignore')}-{digest}{suffix}"


def _digest(name: str) -> str:
    return hashlib.sha256(_bytes(name)).hexdigest()[:12]


def _bytes(name: str) -> bytes:
    """At least as many bytes as the file system stores; lone surrogates stand for bytes that are no UTF-8."""
    return name.encode("utf-8", "surrogatepass")
