"""Predictions of a Detectron2 checkpoint for the photos of a data set: Detectron2's own inference, from end to end.

The same resizing, the same network, the same pasting of masks as Detectron2's `DefaultPredictor` and
`COCOEvaluator`: what a model file is measured against. Needs torch and Detectron2. Knows nothing about metrics.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.errors import DataError, MissingExtraError, ModelError
from fashionseg.evaluation.classes import categories_of
from fashionseg.evaluation.collect import PhotoPredictions, collect
from fashionseg.evaluation.latency import StageSeconds, latencies, timed
from fashionseg.evaluation.photos import check_size
from fashionseg.evaluation.runtime import ModelRun
from fashionseg.masks import PastedMask
from fashionseg.media.images import read_image
from fashionseg.rle import encode_rle

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fashionseg.data.coco import CocoData
    from fashionseg.data.records import Image

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True, slots=True)
class Detector:
    """A Detectron2 model in evaluation mode.

    Attributes:
        network: Detectron2's `GeneralizedRCNN`.
        cfg: its config.
        class_names: of each contiguous class index.
        path: the checkpoint.
        description: what runs it, in words.
    """

    network: Any
    cfg: Any
    class_names: tuple[str, ...]
    path: Path
    description: str


def open_detector(
    path: Path,
    config: Path | None,
    data: CocoData,
    *,
    device: str = "auto",
    threads: int | None = None,
    trust: bool = False,
) -> Detector:
    """Load a checkpoint.

    Args:
        path: a `.pth` or `.pkl` file.
        config: its Detectron2 config; None for `config.yaml` beside it.
        data: whose categories, in order of id, are the classes where the checkpoint does not say.
        device: "auto", "cpu", "cuda" or "cuda:i".
        threads: of the CPU; None leaves torch's choice.
        trust: load a pickle that could run code.

    Raises:
        MissingExtraError: Detectron2 is not installed.
        ModelError: no config, weights that do not fit it, or a config without masks.
        DataError: the number of classes is not that of `data`, and nothing says which they are.
    """
    if not path.is_file():
        raise ModelError(f"checkpoint not found: {path}")
    try:
        import detectron2  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("Detectron2", "train") from error
    from fashionseg.training.checkpoints import read_checkpoint

    cfg = _config(config or path.with_name(CONFIG_NAME), path, device)
    network = _network(cfg, path, trust)
    names = _class_names(read_checkpoint(path) if path.suffix != ".pkl" and not trust else {}, path)
    number = cfg.MODEL.ROI_HEADS.NUM_CLASSES
    if names is None and number != len(data.categories):
        raise DataError(
            f"{path} has {number} classes and does not name them, {data.where()} has {len(data.categories)}: "
            "evaluate it on data of its own classes"
        )
    names = names or data.class_names
    if len(names) != number:
        raise ModelError(f"{path} names {len(names)} classes but its config has {number}")
    import torch

    if threads:
        torch.set_num_threads(threads)
    return Detector(network, cfg, tuple(names), path, f"Detectron2, torch {torch.__version__}, {cfg.MODEL.DEVICE}")


def run_detector(
    detector: Detector, data: CocoData, photos: Sequence[Path], advance: Callable[[], None] = lambda: None
) -> ModelRun:
    """Run Detectron2's inference over the photos of a data set, one after the other.

    Raises:
        DataError: the model does not know a category, or a photo is not of the annotated size.
        MediaError: a photo cannot be decoded.
    """
    import torch
    from detectron2.data import transforms

    categories = categories_of(detector.class_names, data, str(detector.path))
    rule = detector.cfg.INPUT
    resize = transforms.ResizeShortestEdge([rule.MIN_SIZE_TEST] * 2, rule.MAX_SIZE_TEST)
    found: list[PhotoPredictions] = []
    seconds: list[StageSeconds] = []
    with torch.inference_mode():
        for image, path in zip(data.images, photos, strict=True):
            one: StageSeconds = {}
            with timed(one, "read"):
                pixels = read_image(path)
            check_size(pixels, image, path, data)
            found.append(_predict(detector, pixels, image, resize, categories, one))
            seconds.append(one)
            advance()
    return ModelRun(collect(found, str(detector.path)), latencies(seconds), 0, detector.description)


def _predict(
    detector: Detector,
    pixels: NDArray[np.uint8],
    image: Image,
    resize: Any,
    categories: list[int | None],
    seconds: StageSeconds,
) -> PhotoPredictions:
    import torch

    with timed(seconds, "resize"):
        bgr = pixels if detector.cfg.INPUT.FORMAT == "BGR" else pixels[:, :, ::-1]
        resized = resize.get_transform(bgr).apply_image(bgr)
        tensor = torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1)).astype(np.float32))
    with timed(seconds, "model"):  # with pasting: Detectron2 does both in one call
        height, width = image.size_hw
        output = detector.network([{"image": tensor, "height": height, "width": width}])[0]["instances"]
        instances = output.to("cpu")
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


def _config(path: Path, checkpoint: Path, device: str) -> Any:
    import torch
    from detectron2.config import get_cfg
    from yaml import YAMLError  # type: ignore[import-untyped]

    if not path.is_file():
        raise ModelError(f"{checkpoint} has no config: there is no {path}; name it with --config")
    cfg = get_cfg()
    try:
        cfg.merge_from_file(str(path))
    except (KeyError, ValueError, AssertionError, TypeError, OSError, YAMLError) as error:
        raise ModelError(f"{path} is not a Detectron2 config: {str(error).splitlines()[0]}") from error
    if not cfg.MODEL.MASK_ON:
        raise ModelError(f"{path} is the config of a model without masks; fashionseg measures Mask R-CNN")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if chosen.startswith("trt"):
        raise ModelError(f"{checkpoint} is a checkpoint: TensorRT runs model files; export it, or use --device cuda")
    cfg.MODEL.DEVICE = chosen
    return cfg


def _network(cfg: Any, path: Path, trust: bool) -> Any:
    """Build the network of the config, and load weights that must fit it."""
    from detectron2.modeling import build_model

    from fashionseg.training.checkpoints import SafeCheckpointer

    network = build_model(cfg).eval()
    checkpointer = SafeCheckpointer(network, path.parent, trust=trust)
    wrong = checkpointer._load_model(checkpointer._load_file(str(path)))
    if wrong.missing_keys or wrong.incorrect_shapes:
        name = (wrong.missing_keys or [wrong.incorrect_shapes[0][0]])[0]
        raise ModelError(f"{path} does not fit its config: {name} is missing or of another shape")
    return network


def _class_names(checkpoint: dict[str, Any], path: Path) -> tuple[str, ...] | None:
    """Class names from the checkpoint or from `metadata.json` beside it; None where neither says."""
    names = checkpoint.get("class_names")
    beside = path.with_name("metadata.json")
    if names is None and beside.is_file():
        try:
            names = json.loads(beside.read_bytes()).get("class_names")
        except (ValueError, AttributeError, OSError) as error:
            raise ModelError(f"{beside} is damaged: {error}") from error
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path} has damaged class names")
    return tuple(names)
