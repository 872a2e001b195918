"""Finding inputs: files, folders and globs become an ordered list of photos and videos.

Knows paths, suffixes and the first bytes of files. Decodes nothing, and knows nothing about models or output beyond the
one folder it must not read (`exclude`).
"""

# Paths stay strings here: a folder may hold a hundred thousand files, and `Path` changes what the user wrote.
# ruff: noqa: PTH112, PTH116, PTH118, PTH119, PTH122, PTH123, PTH202, PTH206, PTH207

from __future__ import annotations

import glob
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fashionseg.media.frame import Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Kind = Literal["photo", "video"]

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"})
# fmt: off
VIDEO_SUFFIXES = frozenset({
    ".mp4", ".m4v", ".mov", ".qt", ".3gp", ".3g2", ".f4v", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".mpe",
    ".m2v", ".vob", ".m2ts", ".wmv", ".asf", ".flv", ".ogv", ".mxf", ".mjpeg", ".mjpg", ".dv", ".h264", ".264", ".hevc",
    ".h265", ".265", ".ivf", ".y4m",
})
# fmt: on
_AMBIGUOUS_SUFFIXES = frozenset({".ts", ".mts"})
"""MPEG transport streams and TypeScript share these: only the first bytes can tell."""

_SNIFF_BYTES = 400
_STILL_BRANDS = (b"heic", b"heix", b"heif", b"hevc", b"mif1", b"msf1", b"avif", b"avis")
_AUDIO_BRANDS = (b"M4A ", b"M4B ", b"M4P ")


@dataclass(frozen=True, slots=True)
class Problem:
    """An argument, or a folder below one, that yields nothing.

    Attributes:
        path: as the user wrote it, or as it was reached.
        reason: what is wrong and what to do, to be read after the path and a colon.
    """

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Found:
    """What the arguments led to.

    Attributes:
        sources: photos and videos in the order of the arguments, folders in natural order; `index` counts from 0.
        problems: arguments and folders that yield nothing, in the order met.
        skipped: files in folders and globs that are neither photo nor video, or hidden.
    """

    sources: tuple[Source, ...]
    problems: tuple[Problem, ...]
    skipped: int = 0


def find_sources(arguments: Sequence[str | Path], *, exclude: Path | None = None) -> Found:
    """Photos and videos that paths, folders and globs lead to.

    A path that exists is taken literally, whatever characters it holds; otherwise `*`, `?`, `[...]` and `**` are
    expanded. Folders are searched to the bottom, links followed, every real folder and file once. Hidden files and
    folders are left out unless named. In folders the suffix decides; a file named directly may have any suffix and is
    then judged by its first bytes.

    Args:
        arguments: as the user wrote them.
        exclude: the output folder; nothing inside it is ever read.
    """
    search = _Search(os.path.realpath(exclude) if exclude is not None else None)
    for argument in arguments:
        search.add(os.fspath(argument))
    return Found(tuple(search.sources), tuple(search.problems), search.skipped)


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key that puts "photo2" before "photo10" and ignores case; equal names keep one fixed order."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return tuple(int(part) if i % 2 else part for i, part in enumerate(parts)), name


def kind_by_suffix(name: str) -> Kind | None:
    """ "photo" or "video" by the suffix alone; None where it says nothing."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in PHOTO_SUFFIXES:
        return "photo"
    return "video" if suffix in VIDEO_SUFFIXES else None


def kind_by_content(path: str) -> Kind | None:
    """ "photo" or "video" by the first bytes of a file; None for anything else.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_SNIFF_BYTES)
    if _is_photo(head):
        return "photo"
    return "video" if _is_video(head) else None


def _is_photo(head: bytes) -> bool:
    signatures = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    is_bmp = head[:2] == b"BM" and head[6:10] == b"\0\0\0\0"
    return head.startswith(signatures) or is_bmp or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")


def _is_video(head: bytes) -> bool:
    if head[4:8] == b"ftyp":
        return head[8:12] not in _STILL_BRANDS + _AUDIO_BRANDS
    signatures = (b"\x1aE\xdf\xa3", b"FLV\x01", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"\x30\x26\xb2\x75", b"DKIF")
    quicktime = head[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip")
    avi = head[:4] == b"RIFF" and head[8:12] == b"AVI "
    return head.startswith((*signatures, b"YUV4MPEG2")) or quicktime or avi or _is_transport_stream(head)


def _is_transport_stream(head: bytes) -> bool:
    """Packets of 188 bytes that start with 0x47; of 192 bytes, with 4 bytes before it, on Blu-ray discs and cameras."""
    return any(
        len(head) > start + step and head[start] == 0x47 and head[start + step] == 0x47
        for start, step in ((0, 188), (4, 192))
    )


class _Search:
    """The state of one call of `find_sources`."""

    def __init__(self, exclude: str | None) -> None:
        self.sources: list[Source] = []
        self.problems: list[Problem] = []
        self.skipped = 0
        self._exclude = exclude
        self._seen: set[str] = set()
        self._matched = 0  # sources found, those met before included

    def add(self, argument: str) -> None:
        """Follow one argument."""
        try:
            mode = os.stat(argument).st_mode
        except (OSError, ValueError) as error:  # ValueError: a null byte in the path
            if glob.has_magic(argument):
                self._add_glob(argument)
            else:
                self._problem(argument, _missing_reason(argument, error))
            return
        if stat.S_ISDIR(mode):
            self._add_folder(argument)
        elif stat.S_ISREG(mode):
            self._add_named_file(argument)
        else:
            self._problem(argument, "not a regular file; give a photo, a video or a folder")

    def _add_named_file(self, path: str) -> None:
        real = os.path.realpath(path)
        if self._is_excluded(real):
            self._problem(path, "lies in the output folder, which is never read; choose another with -o")
            return
        try:
            kind = _kind(path, sniff=True)
        except OSError as error:
            self._problem(path, f"cannot be read: {error.strerror}")
            return
        if kind is None:
            self._problem(path, _neither_reason(path))
            return
        self._append(path, os.path.basename(path), kind, real)

    def _add_folder(self, folder: str) -> None:
        if self._is_excluded(os.path.realpath(folder)):
            self._problem(folder, "is the output folder, which is never read; choose another with -o")
            return
        before = self._state()
        self._walk(folder, "")
        self._expect_more(folder, "no photo or video in this folder", before)

    def _add_glob(self, pattern: str) -> None:
        base = _fixed_part(pattern) or os.curdir
        found = sorted(glob.glob(pattern, recursive=True), key=_path_key)
        before = self._state()
        for path in found:
            name = _inside(os.path.relpath(path, base))
            if os.path.isdir(path):
                if "**" not in pattern and not self._is_excluded(os.path.realpath(path)):
                    self._walk(path, name)
            else:
                self._add_found_file(path, name, os.path.realpath(path))
        if not found:
            self._problem(pattern, "no such file, and nothing matches it as a pattern")
        self._expect_more(pattern, "matches no photo or video", before)

    def _walk(self, top: str, top_name: str) -> None:
        """Everything below a folder, depth first, without recursion: a path may be a thousand folders deep."""
        visited: set[str] = set()
        pending = [self._scan(top, top_name, os.path.realpath(top), visited)]
        while pending:
            folder = next(pending[-1], None)
            if folder is None:
                pending.pop()
            else:
                pending.append(self._scan(*folder, visited))

    def _scan(self, folder: str, folder_name: str, real: str, visited: set[str]) -> Iterator[tuple[str, str, str]]:
        """Take the files of one folder in natural order; yield path, name and real path of each folder in between."""
        if real in visited or self._is_excluded(real):
            return
        visited.add(real)
        try:
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: natural_key(entry.name))
        except OSError as error:
            self._problem(folder, f"cannot read this folder: {error.strerror}")
            return
        for entry in ordered:
            name = f"{folder_name}/{entry.name}" if folder_name else entry.name
            real_entry = os.path.realpath(entry.path) if entry.is_symlink() else os.path.join(real, entry.name)
            if entry.name.startswith("."):
                self.skipped += 1
            elif _is_folder(entry):
                yield entry.path, name, real_entry
            else:
                self._add_found_file(entry.path, name, real_entry)

    def _add_found_file(self, path: str, name: str, real: str) -> None:
        """A file met in a folder or by a glob: silently passed over where it is neither photo nor video."""
        if self._is_excluded(real):
            return
        try:
            kind = _kind(path, sniff=not os.path.splitext(path)[1])
        except OSError:  # it cannot be opened to find out what it is, and its name does not say that it is one of ours
            kind = None
        if kind is None:
            self.skipped += 1
            return
        try:
            is_file = stat.S_ISREG(os.stat(real).st_mode)
        except OSError as error:
            self._problem(path, f"cannot be opened: {error.strerror}")
            return
        if is_file:
            self._append(path, name, kind, real)
        else:
            self.skipped += 1

    def _append(self, path: str, name: str, kind: Kind, real: str) -> None:
        self._matched += 1
        if real not in self._seen:
            self._seen.add(real)
            self.sources.append(Source(len(self.sources), Path(path), name, kind))

    def _state(self) -> tuple[int, int, int]:
        return self._matched, len(self.problems), self.skipped

    def _expect_more(self, path: str, reason: str, before: tuple[int, int, int]) -> None:
        """Report an argument that led to nothing, unless what stood in the way has been reported already."""
        matched, problems, skipped = before
        if self._matched == matched and len(self.problems) == problems:
            others = self.skipped - skipped
            files = "1 other file" if others == 1 else f"{others} other files"
            self._problem(path, f"{reason} ({files} skipped)" if others else reason)

    def _is_excluded(self, real: str) -> bool:
        return self._exclude is not None and (real == self._exclude or real.startswith(self._exclude + os.sep))

    def _problem(self, path: str, reason: str) -> None:
        self.problems.append(Problem(path, reason))


def _kind(path: str, *, sniff: bool) -> Kind | None:
    by_suffix = kind_by_suffix(path)
    if by_suffix is not None:
        return by_suffix
    ambiguous = os.path.splitext(path)[1].lower() in _AMBIGUOUS_SUFFIXES
    return kind_by_content(path) if sniff or ambiguous else None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads round in a circle
        return False


def _fixed_part(pattern: str) -> str:
    """The folder part of a glob before its first wildcard; names are relative to it."""
    parts = pattern.split(os.sep)
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return os.sep.join(parts[:first]) or (os.sep if first > 0 else "")


def _inside(name: str) -> str:
    """A relative path with "/" between its parts and without leading "..", whatever the pattern went through."""
    return "/".join(part for part in name.split(os.sep) if part != os.pardir)


def _path_key(path: str) -> list[tuple[tuple[str | int, ...], str]]:
    return [natural_key(part) for part in path.split(os.sep)]


def _missing_reason(argument: str, error: OSError | ValueError) -> str:
    if re.match(r"[a-z][a-z0-9+.-]+://", argument, re.IGNORECASE):
        return "is an address, and fashionseg opens no network connection; download it first"
    if isinstance(error, FileNotFoundError) or not isinstance(error, OSError):
        return "no such file or folder"
    return f"cannot be opened: {error.strerror}"


def _neither_reason(path: str) -> str:
    if os.path.getsize(path) == 0:
        return "is empty (0 bytes)"
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS:
        return "is a HEIF or AVIF picture, which is not supported; convert it to JPEG or PNG"
    return "is neither a photo (JPEG, PNG, WebP, BMP, TIFF, GIF) nor a video"
