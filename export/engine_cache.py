"""The user's own engines: `--device trt` with an ONNX file builds once, and finds the engine again the next time.

Everything an engine depends on is in its name: model file, library and its version, GPU, profiles, RoIAlign.
Knows files and locks. Knows nothing about TensorRT's API.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import filelock

from fashionseg.backends.trt_library import load_library
from fashionseg.engine_file import json_path, read_engine
from fashionseg.errors import FashionsegError, ModelError
from fashionseg.export.engine import build_engine, find_target
from fashionseg.export.engine_build import offered_roi_align
from fashionseg.export.engine_folder import cache_folder, own_folder
from fashionseg.export.steps import NotedSteps
from fashionseg.files import output_errors

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fashionseg.export.engine import EngineOptions, Target
    from fashionseg.model import ModelFile

GRAPH_VERSION = 1
"""Raised when this release makes another engine of the same model file, so that old ones are not found any more."""

LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class CachedEngine:
    """An engine in the cache.

    Attributes:
        path: of it.
        nbytes: of both of its files.
        modified: when it was built, in seconds since 1970.
        engine: what it says, or None where it is damaged.
    """

    path: Path
    nbytes: int
    modified: float
    engine: ModelFile | None


@dataclass(slots=True)
class Cleared:
    """What was removed: engines and bytes, timings included; and how many engines are in use and stay."""

    engines: int = 0
    nbytes: int = 0
    busy: int = 0


def cache_key(model: ModelFile, target: Target, options: EngineOptions, roi_align: str) -> str:
    """All that an engine depends on, as hexadecimal digits."""
    parts = {
        "graph": GRAPH_VERSION,
        "model": model.sha256,
        "precision": model.spec.precision,
        "library": target.library,
        "version": target.version,
        "gpu": asdict(target.gpu) if target.gpu else None,
        "profiles": [asdict(profile) for profile in options.profiles(model.spec)],
        "workspace": options.workspace,
        "version_compatible": options.version_compatible,
        "roi_align": roi_align,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def cached_engine(
    model: ModelFile,
    options: EngineOptions,
    note: Callable[[str], None] = lambda _: None,
    stop: threading.Event | None = None,
) -> ModelFile:
    """The engine of a model file for this machine: from the cache, or built now. Other processes wait meanwhile.

    Args:
        model: an ONNX model file.
        options: what engine.
        note: told when one is built, which takes minutes, or waited for.
        stop: set from anywhere to give up.

    Raises:
        KeyboardInterrupt: it was given up.
        MissingExtraError, DeviceError: TensorRT or its GPU is missing.
        ExportError, OutputError: it cannot be built or written.
    """
    target = find_target(options)
    style = options.roi_align or offered_roi_align(load_library(target.library))
    key = cache_key(model, target, options, style)
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", model.path.stem)[:40]
    path = own_folder() / f"{name}-{model.spec.precision}-{key[:16]}.engine"
    with _locked(path, note, stop):
        found = _valid(path, note)
        if found is not None:
            return found
        note(f"there is no engine for {model.path} on this GPU yet: it is built once and kept in {path.parent}")
        return build_engine(model, path, options, NotedSteps(note), stop)


def _valid(path: Path, note: Callable[[str], None]) -> ModelFile | None:
    """The engine at `path`; None where there is none, or a damaged one, which is told and built anew."""
    if not path.exists():
        return None
    try:
        return read_engine(path)
    except ModelError as error:
        note(f"the cached engine is damaged and built anew: {error}")
        return None


@contextlib.contextmanager
def _locked(path: Path, note: Callable[[str], None], stop: threading.Event | None) -> Iterator[None]:
    lock = filelock.FileLock(f"{path}.lock")
    with output_errors(path):
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            note("another process is building this engine: waiting for it")
            _wait(lock, stop)
    try:
        yield
    finally:
        lock.release()


def _wait(lock: filelock.BaseFileLock, stop: threading.Event | None) -> None:
    while True:
        if stop is not None and stop.is_set():
            raise KeyboardInterrupt
        try:
            lock.acquire(timeout=LOCK_POLL_SECONDS)
        except filelock.Timeout:
            continue
        return


def list_engines() -> list[CachedEngine]:
    """What the cache holds, newest first."""
    return sorted(map(_entry, _files("*.engine")), key=lambda one: -one.modified)


def _entry(path: Path) -> CachedEngine:
    try:
        engine = read_engine(path)
    except FashionsegError:
        engine = None
    files = [one.stat() for one in (path, json_path(path)) if one.exists()]
    return CachedEngine(path, sum(one.st_size for one in files), max(one.st_mtime for one in files), engine)


def clear_engines() -> Cleared:
    """Remove engines and timings; those that another process is building or waiting for stay."""
    cleared = Cleared()
    for engine in list_engines():
        try:
            with filelock.FileLock(f"{engine.path}.lock", timeout=0):
                cleared.nbytes += sum(_remove(one) for one in (engine.path, json_path(engine.path)))
                cleared.engines += 1
        except filelock.Timeout:
            cleared.busy += 1
    for path in _files("*.timings"):
        cleared.nbytes += _remove(path)
    return cleared


def _files(pattern: str) -> list[Path]:
    folder = cache_folder() / "engines"
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _remove(path: Path) -> int:
    """Remove a file; returns its bytes."""
    with output_errors(path):
        try:
            size = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
    return size
