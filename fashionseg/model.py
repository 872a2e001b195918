"""The model file: one `.onnx` with everything needed to use it inside, and the embedded default model.

Knows the metadata (`ModelSpec`), how it is written into and read from an ONNX file, and how such a file is
checked before anything runs it. Knows nothing about running it: that is `backends/`.

A model file is data from a stranger. It is parsed with limits, it may not point at files outside itself, and
nothing in it is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, fields
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import onnx

    from fashionseg.engine_file import EngineInfo

FORMAT_VERSION = 1
"""Version of tensors and metadata that this release writes and reads (see `ModelSpec`)."""

MAX_FILE_BYTES = 2 * 1024**3
"""Protocol buffers end at 2 GiB; a larger file is not an ONNX file of ours."""

MAX_PROPERTY_BYTES = 1024**2
MAX_CLASSES = 10_000

_PREFIX = "fashionseg."
_DEFAULT_MODEL = "default.onnx"

ENGINE_SUFFIXES = frozenset({".engine", ".plan"})
"""A file of such a name is a TensorRT engine (`engine_file.py`)."""

INPUTS = ("images", "image_sizes")
OUTPUTS = ("boxes", "labels", "masks", "nms_exact", "num_detections", "scores")
"""Output names in the order of the file (sorted, as Detectron2's `TracingAdapter` flattens them)."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model file says about itself.

    Attributes:
        class_names: name of each contiguous class index.
        category_ids: COCO category id of each contiguous class index.
        score_threshold: detections below this score were cut inside the graph.
        nms_threshold: IoU above which the graph suppresses a box of the same class.
        max_detections: K, rows of each output of an image.
        min_size: short side in pixels that a photo is resized to.
        max_size: longest the long side may become, in pixels.
        resize_filter: "bilinear-antialias" is Pillow's bilinear filter, which Detectron2's `ResizeShortestEdge`
            uses.
        pixel_mean: per channel, in `channel_order`, subtracted inside the graph.
        pixel_std: per channel, in `channel_order`; divided by inside the graph.
        channel_order: order of the last axis of input `images`; always "BGR".
        size_divisor: height and width of input `images` are multiples of this.
        mask_side: m of output `masks` [N, K, m, m].
        precision: of the computation: "fp32", "fp16" or "int8".
        weights: how weights are stored: "fp32", "fp16" or "int8" (those of quantized layers).
        name: short name for people.
        checkpoint_sha256: of the Detectron2 checkpoint the file was made from.
        config: the Detectron2 config it was made with, as YAML.
        dataset: what it was trained on and measured on, in words.
        metrics: measured accuracy, such as {"segm/AP": 33.8}, in points (0..100).
        licence: SPDX expression or words.
        format_version: version of this format.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    score_threshold: float
    nms_threshold: float
    max_detections: int
    min_size: int
    max_size: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    resize_filter: str = "bilinear-antialias"
    channel_order: str = "BGR"
    size_divisor: int = 32
    mask_side: int = 28
    precision: str = "fp32"
    weights: str = "fp32"
    name: str = ""
    checkpoint_sha256: str = ""
    config: str = ""
    dataset: str = ""
    metrics: dict[str, float] = field(default_factory=dict)
    licence: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        problems = [text for wrong, text in self._checks() if wrong]
        if problems:
            raise ModelError(f"the model's metadata is not usable: {'; '.join(problems)}")

    def _checks(self) -> list[tuple[bool, str]]:
        return [
            (not 0 < len(self.class_names) <= MAX_CLASSES, f"{len(self.class_names)} classes"),
            (len(self.class_names) != len(self.category_ids), "class names and category ids differ in number"),
            (len(set(self.category_ids)) != len(self.category_ids), "a category id is used twice"),
            (not 0 < self.min_size <= self.max_size <= 16384, f"sizes {self.min_size}..{self.max_size}"),
            (not 0 < self.max_detections <= 10_000, f"{self.max_detections} detections an image"),
            (not 0 < self.size_divisor <= 1024, f"size divisor {self.size_divisor}"),
            (not 0 < self.mask_side <= 512, f"mask side {self.mask_side}"),
            (not 0 <= self.score_threshold <= 1, f"score threshold {self.score_threshold}"),
            (self.channel_order != "BGR", f"channel order {self.channel_order!r}"),
            (self.resize_filter not in RESIZE_FILTERS, f"resize filter {self.resize_filter!r}"),
        ]

    def category_id(self, label: int) -> int:
        """COCO category id of a contiguous class index."""
        return self.category_ids[label]

    def labels_of(self, names_or_ids: list[str]) -> frozenset[int]:
        """Contiguous class indices of classes given by name or by category id.

        Raises:
            ModelError: one of them is not a class of this model.
        """
        known = {name: i for i, name in enumerate(self.class_names)}
        known |= {str(category): i for i, category in enumerate(self.category_ids)}
        unknown = [name for name in names_or_ids if name not in known]
        if unknown:
            raise ModelError(
                f"the model has no class {', '.join(map(repr, unknown))}; its classes: {', '.join(self.class_names)}"
            )
        return frozenset(known[name] for name in names_or_ids)

    def to_properties(self) -> dict[str, str]:
        """ONNX metadata properties, one per attribute, values as JSON."""
        return {_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in asdict(self).items()}

    @classmethod
    def from_properties(cls, properties: dict[str, str], where: str) -> ModelSpec:
        """The inverse of `to_properties`; `where` names the file in errors.

        Raises:
            ModelError: not a fashionseg model, of a newer format, or with damaged metadata.
        """
        ours = {key.removeprefix(_PREFIX): value for key, value in properties.items() if key.startswith(_PREFIX)}
        if "format_version" not in ours:
            raise ModelError(
                f"{where} is an ONNX file but not a fashionseg model: it has no fashionseg metadata. "
                "Make one from a Detectron2 checkpoint with: fashionseg export CHECKPOINT -o model.onnx"
            )
        values = _parse_properties(ours, where)
        version = values["format_version"]
        if not isinstance(version, int) or version > FORMAT_VERSION:
            raise ModelError(
                f"{where} has model format {version}, this fashionseg reads up to {FORMAT_VERSION}: "
                "install a newer fashionseg"
            )
        try:
            return cls(**_coerced(values))
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise ModelError(f"{where} has damaged fashionseg metadata: {error}") from error


RESIZE_FILTERS = frozenset({"bilinear-antialias"})


def _parse_properties(ours: dict[str, str], where: str) -> dict[str, Any]:
    known = {f.name for f in fields(ModelSpec)}
    values: dict[str, Any] = {}
    for key, text in ours.items():
        if len(text) > MAX_PROPERTY_BYTES:
            raise ModelError(f"{where} has a metadata property {key[:80]!r} of {len(text)} characters: refused")
        if key not in known:
            continue
        try:
            values[key] = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{where} has damaged fashionseg metadata in {key!r}: {error}") from error
    return values


def _coerced(values: dict[str, Any]) -> dict[str, Any]:
    """JSON values turned into the types of `ModelSpec`, so that a wrong type fails here and not deep in a run."""
    convert: dict[str, Any] = {
        "class_names": lambda v: tuple(str(x) for x in _listed(v)),
        "category_ids": lambda v: tuple(int(x) for x in _listed(v)),
        "pixel_mean": _triple,
        "pixel_std": _triple,
        "metrics": lambda v: {str(k): float(x) for k, x in v.items()},
    }
    for name in ("score_threshold", "nms_threshold"):
        convert[name] = float
    for name in ("max_detections", "min_size", "max_size", "size_divisor", "mask_side", "format_version"):
        convert[name] = int
    return {key: convert.get(key, str)(value) for key, value in values.items()}


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_CLASSES:
        raise ValueError("expected a list of classes")
    return value


def _triple(value: Any) -> tuple[float, float, float]:
    blue, green, red = (float(x) for x in value)
    return blue, green, red


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A model file that was read and checked.

    Attributes:
        path: where it lies.
        data: its bytes, exactly as verified; backends load these and not the path, so that a file swapped
            meanwhile is never run.
        spec: its metadata.
        sha256: of `data`, hexadecimal.
        engine: what it was built for, where it is a TensorRT engine; None for ONNX.
    """

    path: Path
    data: bytes
    spec: ModelSpec
    sha256: str
    engine: EngineInfo | None = None


def default_model_path() -> Path:
    """Where the embedded default model lies."""
    return Path(str(resources.files("fashionseg") / "models" / _DEFAULT_MODEL))


def read_model(path: str | Path | None = None) -> ModelFile:
    """Read and verify a model file, ONNX or engine; the embedded default model where `path` is None.

    Raises:
        ModelError: no such file, not an ONNX file, not a fashionseg model, of a newer format, or one whose
            weights lie in other files; or an engine without its JSON file.
    """
    where = default_model_path() if path is None else Path(path)
    if where.suffix.lower() in ENGINE_SUFFIXES:
        from fashionseg.engine_file import read_engine

        return read_engine(where)
    data = _read_bytes(where)
    proto = parse_onnx(data, str(where))
    _check_names(proto, str(where))
    spec = ModelSpec.from_properties({p.key: p.value for p in proto.metadata_props}, str(where))
    _check_tensors(proto, str(where))
    return ModelFile(where, data, spec, hashlib.sha256(data).hexdigest())


def parse_onnx(data: bytes, where: str) -> onnx.ModelProto:
    """Parse ONNX bytes without touching any other file.

    Raises:
        ModelError: not an ONNX file, or one with external data.
    """
    import onnx
    from google.protobuf.message import DecodeError

    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{where} is not an ONNX file: {error}") from error
    if not proto.graph.node or not proto.graph.output:
        raise ModelError(f"{where} is not an ONNX file: it holds no graph")
    outside = next(
        (t for t in _tensors(proto) if t.data_location == onnx.TensorProto.EXTERNAL or t.external_data), None
    )
    if outside is not None:
        raise ModelError(
            f"{where} keeps weights ({outside.name}) in another file; fashionseg models hold everything in one"
        )
    return proto


def _tensors(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every tensor of a file: weights, and those in attributes of nodes, in graphs inside them and in functions."""
    graphs = [proto.graph]
    nodes = [node for function in proto.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes.extend(graph.node)
        for node in nodes:
            for attribute in node.attribute:
                yield from (attribute.t, *attribute.tensors)
                for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                    yield from (sparse.values, sparse.indices)
                graphs.extend((attribute.g, *attribute.graphs) if attribute.HasField("g") else attribute.graphs)
        nodes = []


def describe(model: ModelFile) -> dict[str, Any]:
    """What a model file says about itself, for people and for JSON: metadata, tensors, size, operators."""
    if model.engine is not None:
        from fashionseg.engine_file import describe_engine

        return describe_engine(model)
    import onnx

    proto = parse_onnx(model.data, str(model.path))
    graph = proto.graph
    weights = [tensor for tensor in graph.initializer if len(tensor.dims) > 1]
    return {
        "file": str(model.path),
        "bytes": len(model.data),
        "sha256": model.sha256,
        **asdict(model.spec),
        "opset": max((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), default=0),
        "nodes": len(graph.node),
        "parameters": sum(math.prod(tensor.dims) for tensor in weights),
        "inputs": {value.name: _shape_text(value, onnx) for value in graph.input},
        "outputs": {value.name: _shape_text(value, onnx) for value in graph.output},
    }


def _shape_text(value: Any, onnx: Any) -> str:
    tensor = value.type.tensor_type
    sides = [str(dim.dim_param or dim.dim_value or "?") for dim in tensor.shape.dim]
    kinds = onnx.TensorProto.DataType
    kind = kinds.Name(tensor.elem_type).lower() if tensor.elem_type in kinds.values() else "unknown type"
    return f"{kind} [{', '.join(sides)}]"


def _read_bytes(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{path} has {size} bytes, more than an ONNX file can hold: not a model file")
        return path.read_bytes()
    except FileNotFoundError:
        raise ModelError(f"model file not found: {path}") from None
    except IsADirectoryError:
        raise ModelError(f"{path} is a folder, not a model file") from None
    except OSError as error:
        raise ModelError(f"cannot read the model file {path}: {error.strerror}") from error


def _check_names(proto: onnx.ModelProto, where: str) -> None:
    """Names are text: bytes that are no UTF-8 come through the parser as they are."""
    texts: list[Any] = [text for entry in proto.metadata_props for text in (entry.key, entry.value)]
    texts += [value.name for value in (*proto.graph.input, *proto.graph.output)]
    if not all(isinstance(text, str) for text in texts):
        raise ModelError(f"{where} has damaged fashionseg metadata: it is not UTF-8")


def _check_tensors(proto: onnx.ModelProto, where: str) -> None:
    inputs = {i.name for i in proto.graph.input}
    outputs = {o.name for o in proto.graph.output}
    missing = [name for name in INPUTS if name not in inputs] + [name for name in OUTPUTS if name not in outputs]
    if missing:
        raise ModelError(f"{where} lacks the tensors {', '.join(missing)} that a fashionseg model has")
