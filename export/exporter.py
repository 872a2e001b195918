"""Export from end to end: checkpoint in, proven model file out, or nothing.

Joins the rooms: `checkpoint.py` opens, `graph.py` rebuilds, `write.py` traces, `rules.py` judges, `parity.py` proves.
Needs torch and Detectron2, which are imported when an export begins.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

from fashionseg.errors import ExportError, MissingExtraError
from fashionseg.files import write_bytes
from fashionseg.model import ModelSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.export.checkpoint import Checkpoint
    from fashionseg.export.classes import Classes
    from fashionseg.export.parity import Proof
    from fashionseg.model import ModelFile

MAX_DETECTIONS = 1000


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What to export and what to write into the file.

    Attributes:
        config: config file or name of Detectron2's model zoo; None for `config.yaml` beside the checkpoint.
        classes: names and category ids; None takes what the checkpoint says, or a well-known data set of as many.
        max_detections: K, rows of each output; None for the config's.
        weights: how weights are stored; "fp16" rounds them and halves the file. Computed is in float32.
        name: for people; "" for the checkpoint's file name.
        dataset: what it was trained on; "" for what a training run wrote.
        licence: of the weights.
        metrics: measured accuracy in points, such as {"segm/AP": 33.8}; beside what a training run wrote.
        trust: read pickles and YAML that could run code.
    """

    config: str | None = None
    classes: Classes | None = None
    max_detections: int | None = None
    weights: Literal["fp32", "fp16"] = "fp32"
    name: str = ""
    dataset: str = ""
    licence: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    trust: bool = False


@dataclass(frozen=True, slots=True)
class Exported:
    """A model file that was made of a checkpoint and proven.

    Attributes:
        model: it; `model.path` is where it was or will be written.
        proof: how it agrees with Detectron2.
        seconds: the whole took.
    """

    model: ModelFile
    proof: Proof
    seconds: float


def export_checkpoint(
    checkpoint: Path,
    output: Path,
    options: ExportOptions | None = None,
    pictures: Sequence[NDArray[np.uint8]] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Exported:
    """Turn a Detectron2 checkpoint into a model file.

    Args:
        checkpoint: `.pth` or `.pkl`.
        output: the `.onnx` file; appears whole and proven or not at all, and replaces one of the same name.
        options: what and how; default `ExportOptions()`.
        pictures: uint8 [H, W, 3], BGR, to prove it with; none for built-in ones.
        note: told what is being done.

    Raises:
        MissingExtraError: Detectron2 is not installed.
        ExportError: the checkpoint cannot be exported.
        QualityError: the file does not say what Detectron2 says.
        OutputError: the file cannot be written.
    """
    exported = exported_model(checkpoint, output, options, pictures, note)
    write_bytes(output, exported.model.data)
    return exported


def exported_model(
    checkpoint: Path,
    output: Path,
    options: ExportOptions | None = None,
    pictures: Sequence[NDArray[np.uint8]] = (),
    note: Callable[[str], None] = lambda _: None,
) -> Exported:
    """As `export_checkpoint`, in memory alone; `output` names it in messages."""
    with _hushed():
        _require_detectron2()
        return _export(checkpoint, output, options or ExportOptions(), pictures, note)


def _export(
    checkpoint: Path,
    output: Path,
    options: ExportOptions,
    pictures: Sequence[NDArray[np.uint8]],
    note: Callable[[str], None],
) -> Exported:
    from fashionseg.export.checkpoint import open_checkpoint
    from fashionseg.export.parity import built_in_pictures, prove
    from fashionseg.export.rules import check_rules
    from fashionseg.export.support import check_supported
    from fashionseg.export.write import as_model_file

    started = time.perf_counter()
    note(f"reading {checkpoint}")
    opened = open_checkpoint(checkpoint, options.config, classes=options.classes, trust=options.trust)
    check_supported(opened.model, checkpoint)
    note("tracing the graph")
    proto, spec = build(opened, options)
    check_rules(proto, str(output))
    model = as_model_file(proto, spec, output)
    note("comparing with Detectron2")
    proof = prove(opened.model, model, pictures or built_in_pictures(), output)
    return Exported(model, proof, time.perf_counter() - started)


def build(opened: Checkpoint, options: ExportOptions) -> tuple[Any, ModelSpec]:
    """The ONNX model of an opened checkpoint, metadata inside, and its metadata.

    `opened.model` stays what the file is compared with: it gets the number of detections of the file and, with float16
    weights, rounded weights.
    """
    from fashionseg.export.graph import BatchedRCNN
    from fashionseg.export.write import round_weights, set_metadata, store_weights_as_float16, trace

    if options.weights == "fp16":
        round_weights(opened.model, opened.path)
    rows = _detections(opened, options)
    opened.model.roi_heads.box_predictor.test_topk_per_image = rows
    network = BatchedRCNN(opened.model, rows)
    proto = trace(network)
    if options.weights == "fp16":
        store_weights_as_float16(proto)
    spec = _spec(opened, options, network)
    set_metadata(proto, spec)
    return proto, spec


def _detections(opened: Checkpoint, options: ExportOptions) -> int:
    rows = options.max_detections or int(opened.config.TEST.DETECTIONS_PER_IMAGE)
    if not 0 < rows <= MAX_DETECTIONS:
        raise ExportError(
            f"{opened.path} asks for {rows} detections a picture; choose 1 to {MAX_DETECTIONS} with --max-detections"
        )
    return rows


def _spec(opened: Checkpoint, options: ExportOptions, network: Any) -> ModelSpec:
    cfg, written = opened.config, opened.metadata
    # The graph takes BGR, whatever the network takes.
    order = slice(None, None, -1) if cfg.INPUT.FORMAT == "RGB" else slice(None)
    return ModelSpec(
        class_names=opened.classes.names,
        category_ids=opened.classes.category_ids,
        score_threshold=float(cfg.MODEL.ROI_HEADS.SCORE_THRESH_TEST),
        nms_threshold=float(cfg.MODEL.ROI_HEADS.NMS_THRESH_TEST),
        max_detections=network.detector.limit,
        min_size=int(cfg.INPUT.MIN_SIZE_TEST),
        max_size=int(cfg.INPUT.MAX_SIZE_TEST),
        pixel_mean=_triple(cfg.MODEL.PIXEL_MEAN[order]),
        pixel_std=_triple(cfg.MODEL.PIXEL_STD[order]),
        size_divisor=int(opened.model.backbone.size_divisibility),
        mask_side=2 * network.masks.pooler.size,
        weights=options.weights,
        name=options.name or opened.path.stem,
        checkpoint_sha256=opened.sha256,
        config=cfg.dump(),
        dataset=options.dataset or PurePath(str(written.get("dataset", ""))).name,
        metrics=_metrics(written, opened.path.name) | dict(options.metrics),
        licence=options.licence,
    )


def _triple(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = map(float, values)
    return first, second, third


def _metrics(written: Mapping[str, Any], checkpoint: str) -> dict[str, float]:
    """The figures that a training run measured of this very checkpoint."""
    figures = written.get("metrics")
    if not isinstance(figures, dict) or written.get("metrics_of") != checkpoint:
        return {}
    return {str(k): float(v) for k, v in figures.items() if isinstance(v, int | float) and v == v}


def _require_detectron2() -> None:
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Detectron2", "train") from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without what torch and Detectron2 say on import and while tracing: deprecations, advice, progress."""
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "torch.fx._symbolic_trace", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
