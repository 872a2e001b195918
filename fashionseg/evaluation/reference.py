"""Predictions of a Detectron2 checkpoint for the photos of a data set: Detectron2's own inference, from end to end.

The same resizing, the same network, the same pasting of masks as Detectron2's `DefaultPredictor` and
`COCOEvaluator`: what a model file is measured against. Needs torch and Detectron2. Knows nothing about metrics.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.errors import DeviceError, MissingExtraError, ModelError, OutOfMemoryError, is_out_of_memory
from fashionseg.evaluation.classes import categories_of
from fashionseg.evaluation.collect import PhotoPredictions, collect
from fashionseg.evaluation.latency import StageSeconds, latencies, timed
from fashionseg.evaluation.photos import check_size
from fashionseg.evaluation.runtime import ModelRun
from fashionseg.masks import PastedMask
from fashionseg.media.images import read_image
from fashionseg.rle import encode_rle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image
    from fashionseg.export.checkpoint import Checkpoint
    from fashionseg.export.classes import Classes


@dataclass(frozen=True, slots=True)
class Detector:
    """A checkpoint on a device.

    Attributes:
        checkpoint: its model is on the device, in evaluation mode.
        description: what runs it, in words.
    """

    checkpoint: Checkpoint
    description: str


def open_detector(
    path: Path,
    config: str | None = None,
    *,
    classes: Classes | None = None,
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
) -> Detector:
    """Load a checkpoint onto a device.

    Args:
        path: a `.pth` or `.pkl` file.
        config: its Detectron2 config, a file or a name of the model zoo; None for `config.yaml` beside it.
        classes: what its classes are, where the files do not say.
        device: "auto", "cpu", "cuda" or "cuda:i".
        threads: of the CPU; None leaves torch's choice.
        trust: read pickles and YAML that could run code.

    Raises:
        ModelError: no such checkpoint.
        MissingExtraError: Detectron2 is not installed.
        ExportError: config and weights are damaged, do not fit, or are not a Mask R-CNN.
        DeviceError: the device is not there, or is TensorRT.
        OutOfMemoryError: it has no room for the network.
    """
    if not path.is_file():
        raise ModelError(f"checkpoint not found: {path}")
    with _hushed():
        try:
            import detectron2  # noqa: F401
            import torch
        except ImportError as error:
            raise MissingExtraError("Detectron2", "train") from error
        from fashionseg.export.checkpoint import open_checkpoint

        chosen = _device(device, path)
        with _memory_errors(f"{chosen} has no memory for {path} (another --device may)"):
            checkpoint = open_checkpoint(path, config, classes=classes, trust=trust)
            checkpoint.model.to(chosen)
    if threads:
        torch.set_num_threads(threads)
    return Detector(checkpoint, f"Detectron2, torch {torch.__version__}, {chosen}")


def run_detector(
    detector: Detector, data: CocoData, photos: Sequence[Path], advance: Callable[[], None] = lambda: None
) -> ModelRun:
    """Run Detectron2's inference over the photos of a data set, one after the other.

    Raises:
        DataError: the model does not know a category, or a photo is not of the annotated size.
        MediaError: a photo cannot be decoded.
        OutOfMemoryError: the device has no room for a photo.
    """
    import torch
    from detectron2.data import transforms

    checkpoint = detector.checkpoint
    categories = categories_of(checkpoint.classes.names, data, str(checkpoint.path))
    rule = checkpoint.config.INPUT
    resize = transforms.ResizeShortestEdge([rule.MIN_SIZE_TEST] * 2, rule.MAX_SIZE_TEST)
    found: list[PhotoPredictions] = []
    seconds: list[StageSeconds] = []
    remedy = f"a smaller INPUT.MAX_SIZE_TEST in the config of {checkpoint.path.name} helps, or another --device"
    with torch.inference_mode(), _hushed():
        for image, path in zip(data.images, photos, strict=True):
            one: StageSeconds = {}
            with timed(one, "read"):
                pixels = read_image(path)
            check_size(pixels, image, path, data)
            with _memory_errors(f"{checkpoint.model.device} has no memory for {path} ({remedy})"):
                found.append(_predict(checkpoint, pixels, image, resize, categories, one))
            seconds.append(one)
            advance()
    return ModelRun(collect(found, str(checkpoint.path)), latencies(seconds), 0, detector.description)


def _predict(
    checkpoint: Checkpoint,
    pixels: NDArray[np.uint8],
    image: Image,
    resize: Any,
    categories: list[int | None],
    seconds: StageSeconds,
) -> PhotoPredictions:
    import torch

    with timed(seconds, "resize"):
        ordered = pixels if checkpoint.config.INPUT.FORMAT == "BGR" else pixels[:, :, ::-1]
        resized = resize.get_transform(ordered).apply_image(ordered)
        tensor = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)).astype(np.float32))
    with timed(seconds, "model"):  # pasting too: Detectron2 does both in one call
        height, width = image.size_hw
        output = checkpoint.model([{"image": tensor, "height": height, "width": width}])[0]
        instances = output["instances"].to("cpu")
    with timed(seconds, "masks"):
        labels = instances.pred_classes.tolist()
        kept = np.array([i for i, label in enumerate(labels) if categories[label] is not None], np.intp)
        bits = instances.pred_masks.numpy()[kept]
        counts = tuple(encode_rle(PastedMask.from_bits(one), image.size_hw) for one in bits)
    return PhotoPredictions(
        image.id,
        np.array([categories[labels[i]] for i in kept], np.int64),
        instances.pred_boxes.tensor.numpy()[kept].astype(np.float64),
        instances.scores.numpy()[kept].astype(np.float64),
        counts,
        image.size_hw,
    )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Without the deprecations that torch and Detectron2 announce on import and on the first photo."""
    tracing = logging.getLogger("torch.fx._symbolic_trace")
    level = tracing.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tracing.setLevel(logging.ERROR)
        try:
            yield
        finally:
            tracing.setLevel(level)


@contextlib.contextmanager
def _memory_errors(message: str) -> Iterator[None]:
    """Turn what libraries raise for want of memory into an `OutOfMemoryError` with this message."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(message) from error


def _device(device: str, path: Path) -> str:
    """torch's name of a device.

    Raises:
        DeviceError: it is not there, or is TensorRT.
    """
    import torch

    if device.startswith("trt"):
        raise DeviceError(f"{path} is a checkpoint, and TensorRT runs model files: export it, or use --device cuda")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and int(device.partition(":")[2] or 0) >= torch.cuda.device_count():
        raise DeviceError(f"device {device} was asked for, but torch sees {torch.cuda.device_count()} GPUs here")
    return device
