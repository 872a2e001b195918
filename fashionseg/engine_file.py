"""The engine file: a TensorRT plan as TensorRT wrote it, and beside it a JSON file that says what it is.

`model.engine` is the plan alone, so NVIDIA's own tools (`trtexec --loadEngine`) read it; `model.engine.json` holds what
a plan does not tell: which library and GPU it was built for, from which ONNX file, for which sizes and batches, and the
model's metadata. An engine runs nowhere else, and a plan is code: it is loaded where the user names it, or from the
user's own cache, and never without its JSON file.
Knows the two files. Knows nothing about TensorRT: `backends/trt.py` runs engines, `export/engine.py` builds them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.errors import ModelError
from fashionseg.files import flush_folder, write_bytes
from fashionseg.model import ENGINE_SUFFIXES, ModelFile, ModelSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FORMAT_VERSION = 1
"""Version of the JSON file that this release writes and reads."""

MAX_JSON_BYTES = 16 * 2**20
LIBRARIES = ("tensorrt", "tensorrt_rtx")


@dataclass(frozen=True, slots=True)
class Profile:
    """Inputs that an engine takes.

    Attributes:
        size_hw: height and width in pixels of input `images`; smaller pictures are padded to it.
        batch: least, best and largest number of pictures a run.
    """

    size_hw: tuple[int, int]
    batch: tuple[int, int, int]

    def __post_init__(self) -> None:
        least, best, largest = self.batch
        if not 0 < least <= best <= largest or min(self.size_hw) < 1:
            raise ModelError(f"an engine cannot have a profile of batch {self.batch} and size {self.size_hw}")

    def __str__(self) -> str:
        height, width = self.size_hw
        return f"{height}x{width}, batch {':'.join(map(str, self.batch))}"


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """What an engine was built with and for.

    Attributes:
        library: "tensorrt" or "tensorrt_rtx".
        library_version: of that library; an engine runs on this version alone unless it is `version_compatible`.
        gpu: name of the GPU it was built on; "" where it was built ahead of time, without one.
        compute_capability: of that GPU, such as "9.0"; "" likewise.
        onnx_sha256: of the model file it was built from.
        plan_sha256: of the plan.
        profiles: inputs it takes, in the order of its optimization profiles; at least one.
        roi_align: how RoIAlign is computed: "plugin" or "grid".
        version_compatible: it runs on other versions of the same major version too.
    """

    library: str
    library_version: str
    gpu: str
    compute_capability: str
    onnx_sha256: str
    plan_sha256: str
    profiles: tuple[Profile, ...]
    roi_align: str
    version_compatible: bool

    def __post_init__(self) -> None:
        if self.library not in LIBRARIES or not self.profiles:
            raise ModelError(f"an engine of {self.library!r} with {len(self.profiles)} profiles is none of ours")

    def mismatch(self, library_version: str, gpu: str, compute_capability: str) -> str | None:
        """Why this engine cannot run with that library on that GPU, as a clause; None where it can."""
        name = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}[self.library]
        if not self._accepts(library_version):
            return f"it was built by {name} {self.library_version}, and {library_version} is installed here"
        if self.compute_capability and (self.gpu, self.compute_capability) != (gpu, compute_capability):
            return (
                f"it was built for {self.gpu} (compute capability {self.compute_capability}), and this is {gpu} "
                f"({compute_capability})"
            )
        return None

    def _accepts(self, version: str) -> bool:
        if self.version_compatible:
            return version.split(".")[0] == self.library_version.split(".")[0]
        return version == self.library_version


def json_path(path: Path) -> Path:
    """Where the JSON file of an engine lies."""
    return path.with_name(f"{path.name}.json")


def is_engine(path: Path) -> bool:
    """Whether a model file is an engine, by its name."""
    return path.suffix.lower() in ENGINE_SUFFIXES


def write_engine(path: Path, plan: bytes, info: EngineInfo, spec: ModelSpec) -> ModelFile:
    """Write an engine's two files. Where the second cannot be written, the first does not match it and is refused.

    Raises:
        OutputError: a file cannot be written.
    """
    values = {"format_version": FORMAT_VERSION, **asdict(info), "model": spec.to_properties()}
    write_bytes(json_path(path), (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode())
    write_bytes(path, plan)
    flush_folder(path.parent)
    return ModelFile(path, plan, spec, info.plan_sha256, info)


def read_engine(path: Path) -> ModelFile:
    """Read and verify an engine; its plan is not run yet.

    Raises:
        ModelError: a file is missing, damaged, of a newer format, or the two do not belong together.
    """
    plan = _read(path, path, None)
    values = _values(path)
    try:
        profiles = tuple(map(_profile, values["profiles"]))
        info = EngineInfo(
            library=str(values["library"]),
            library_version=str(values["library_version"]),
            gpu=str(values["gpu"]),
            compute_capability=str(values["compute_capability"]),
            onnx_sha256=str(values["onnx_sha256"]),
            plan_sha256=str(values["plan_sha256"]),
            profiles=profiles,
            roi_align=str(values["roi_align"]),
            version_compatible=values["version_compatible"] is True,
        )
        properties = {str(key): str(text) for key, text in values["model"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(f"{json_path(path)} is damaged ({error}): build the engine anew") from error
    if hashlib.sha256(plan).hexdigest() != info.plan_sha256:
        raise ModelError(f"{path} is not the engine that {json_path(path).name} beside it describes: build it anew")
    return ModelFile(path, plan, ModelSpec.from_properties(properties, str(json_path(path))), info.plan_sha256, info)


def _values(path: Path) -> dict[str, Any]:
    where = json_path(path)
    text = _read(where, path, MAX_JSON_BYTES)
    try:
        values = json.loads(text)
        version = values["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{where} is damaged ({error}): build the engine anew") from error
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise ModelError(
            f"{where} has format {version}, this fashionseg reads up to {FORMAT_VERSION}: build the engine anew"
        )
    found: dict[str, Any] = values
    return found


def _read(path: Path, engine: Path, limit: int | None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise ModelError(f"{path} has more than {limit} bytes: not the JSON file of an engine")
        return path.read_bytes()
    except FileNotFoundError:
        if path == engine:
            raise ModelError(f"model file not found: {path}") from None
        raise ModelError(
            f"{engine} has no {path.name} beside it, which says what it runs on: build it with "
            "`fashionseg export --trt`, or move both files together"
        ) from None
    except OSError as error:
        raise ModelError(f"cannot read the engine {path}: {error.strerror}") from error


def _profile(values: dict[str, Any]) -> Profile:
    return Profile(_integers(values["size_hw"], 2), _integers(values["batch"], 3))


def _integers(values: Sequence[Any], count: int) -> Any:
    if not isinstance(values, list) or len(values) != count or not all(type(value) is int for value in values):
        raise ValueError(f"{values!r} are not {count} whole numbers")
    return tuple(values)


def describe_engine(model: ModelFile) -> dict[str, Any]:
    """What an engine says about itself, for people and for JSON."""
    if model.engine is None:
        raise ModelError(f"{model.path} is no engine")
    values = asdict(model.engine)
    del values["plan_sha256"]
    return {
        "file": str(model.path),
        "bytes": len(model.data),
        "sha256": model.sha256,
        **values,
        "profiles": [str(profile) for profile in model.engine.profiles],
        **asdict(model.spec),
    }
