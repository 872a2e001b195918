"""Opens a Detectron2 checkpoint: config, weights that fit it, and what is written beside it.

Nothing in a checkpoint or config is executed unless the caller trusts it: a `.pth` is loaded weights-only, a `.pkl` by
`fashionseg/unpickle.py`, YAML without tags. Needs torch and Detectron2. Knows nothing about graphs or ONNX.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import yaml  # type: ignore[import-untyped, unused-ignore]
from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.config import CfgNode, get_cfg
from detectron2.modeling import build_model

from fashionseg.errors import ExportError
from fashionseg.export.classes import Classes, find_classes, read_metadata
from fashionseg.unpickle import read_arrays

if TYPE_CHECKING:
    from pathlib import Path

CONFIG_NAME = "config.yaml"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Detectron2 model with its weights, ready to run.

    Attributes:
        path: the checkpoint file.
        sha256: of the file, hexadecimal.
        model: Detectron2's `GeneralizedRCNN`, on the CPU, in evaluation mode.
        config: its `CfgNode`.
        classes: names and category ids.
        metadata: what a training run wrote beside it; empty where there is none.
    """

    path: Path
    sha256: str
    model: Any
    config: Any
    classes: Classes
    metadata: dict[str, Any]


def open_checkpoint(
    path: Path, config: str | None = None, *, classes: Classes | None = None, trust: bool = False
) -> Checkpoint:
    """Open a checkpoint. Whether it can be exported is another question: see `support.py`.

    Args:
        path: a `.pth` or `.pkl` file.
        config: a config file or a name of Detectron2's model zoo; None for `config.yaml` beside the checkpoint.
        classes: names and ids, where the caller knows better than the files.
        trust: read pickles and YAML that could run code.

    Raises:
        ExportError: a file is missing or damaged, would run code, or does not fit.
    """
    if not path.is_file():
        raise ExportError(f"checkpoint not found: {path}")
    cfg = read_config(path, config, trust=trust)
    content = read_weights(path, trust=trust)
    model = _build(cfg, path)
    _load(model, content, path)
    metadata = read_metadata(path)
    told = [(str(path), content), (f"metadata.json beside {path}", metadata)]
    if classes is not None:
        told.insert(0, ("--classes", {"class_names": classes.names, "category_ids": classes.category_ids}))
    number = int(cfg.MODEL.ROI_HEADS.NUM_CLASSES)
    return Checkpoint(path, _sha256(path), model, cfg, find_classes(number, told, path), metadata)


def read_config(checkpoint: Path, config: str | None, *, trust: bool = False) -> CfgNode:
    """Detectron2's config of a checkpoint, for the CPU; see `open_checkpoint`.

    Raises:
        ExportError: there is none, or it is not one of Detectron2's.
    """
    path = _config_path(checkpoint, config)
    cfg = get_cfg()
    try:
        cfg.merge_from_file(path, allow_unsafe=trust)  # Detectron2's default would run code in YAML tags
    except KeyError as error:
        raise ExportError(
            f"the config {path} has a key that Detectron2 does not know ({error.args[0]}): a project of its own cannot "
            "be exported"
        ) from error
    except yaml.constructor.ConstructorError as error:
        raise ExportError(
            f"the config {path} holds YAML tags that would run code; if you trust where it comes from, use --trust"
        ) from error
    except (ValueError, TypeError, AssertionError, AttributeError, RecursionError, OSError, yaml.YAMLError) as error:
        raise ExportError(f"{path} is not a Detectron2 config: {_first_line(error)}") from error
    cfg.MODEL.DEVICE, cfg.MODEL.WEIGHTS = "cpu", ""
    return cfg


def _config_path(checkpoint: Path, config: str | None) -> str:
    from pathlib import Path

    if config is None:
        for beside in (checkpoint.with_suffix(".yaml"), checkpoint.with_name(CONFIG_NAME)):
            if beside.is_file():
                return str(beside)
        raise ExportError(
            f"no {CONFIG_NAME} beside {checkpoint}: name it with --config-file, a file or a name of Detectron2's "
            "model zoo such as COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"
        )
    if Path(config).is_file():
        return config
    try:
        return str(model_zoo.get_config_file(config.removesuffix(".yaml") + ".yaml"))
    except RuntimeError:
        raise ExportError(f"no config {config}: neither a file nor a name of Detectron2's model zoo") from None


def read_weights(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """A checkpoint as Detectron2's checkpointer takes it: "model" and what was saved beside it.

    Raises:
        CheckpointError, ExportError: damaged, no checkpoint, or one that would run code and is not trusted.
    """
    if path.suffix == ".pkl":
        return _zoo_form(_unpickled(path) if trust else read_arrays(path), path)
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust)
    except pickle.UnpicklingError as error:
        remedy = "" if trust else "; if you trust where it comes from, use --trust"
        raise ExportError(f"{path} is damaged or holds more than weights{remedy}") from error
    except OSError as error:
        raise ExportError(f"cannot read the checkpoint {path}: {error.strerror or error}") from error
    except KeyError as error:  # torch's reader, with a byte for its text
        raise ExportError(f"{path} is damaged or not a checkpoint: its format is unknown") from error
    except Exception as error:  # a damaged or trusted pickle may raise whatever its parts do
        raise ExportError(f"{path} is damaged or not a checkpoint: {_first_line(error)}") from error
    return _table(content if isinstance(content, dict) and "model" in content else {"model": content}, path)


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        content = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301 - the user said --trust
    except Exception as error:
        raise ExportError(f"{path} is damaged or not a checkpoint: {_first_line(error)}") from error
    return content if isinstance(content, dict) else {"model": content}


def _zoo_form(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Detectron2's model-zoo table as it is; Caffe2's is marked, so that its names are matched to Detectron2's."""
    if "model" in content:
        return _table(content, path)
    weights = content.get("blobs", content)
    weights = {k: v for k, v in weights.items() if not str(k).endswith("_momentum")} if weights else weights
    return _table({"model": weights, "matching_heuristics": True}, path)


def _table(content: dict[str, Any], path: Path) -> dict[str, Any]:
    weights = content["model"]
    if not isinstance(weights, dict) or not weights or not all(isinstance(key, str) for key in weights):
        raise ExportError(f"{path} is not a checkpoint: it holds no table of weights")
    content = {**content, "model": {key: value for key, value in weights.items() if hasattr(value, "shape")}}
    if not content["model"]:
        raise ExportError(f"{path} is not a checkpoint: it holds no table of weights")
    return content


def _build(cfg: CfgNode, path: Path) -> Any:
    try:
        return build_model(cfg).eval()
    except KeyError as error:
        raise ExportError(
            f"the config of {path} names {error.args[0]}: a project of its own cannot be exported"
        ) from error
    except (
        AssertionError,
        ValueError,
        TypeError,
        RuntimeError,
        AttributeError,
        IndexError,
        NotImplementedError,
    ) as error:
        raise ExportError(
            f"Detectron2 cannot build the model of {path} from its config: {_first_line(error)}"
        ) from error


class _Loader(DetectionCheckpointer):
    """Detectron2's checkpointer for weights that were read already, strict about what does not fit."""

    def __init__(self, model: Any, content: dict[str, Any], path: Path) -> None:
        super().__init__(model, save_to_disk=False)
        self._content, self._path = content, path

    def _load_file(self, filename: str) -> dict[str, Any]:
        return dict(self._content)

    def _log_incompatible_keys(self, incompatible: Any) -> None:
        for name, found, wanted in incompatible.incorrect_shapes:
            raise ExportError(f"{self._path} does not fit its config: {name} is {found}, the config wants {wanted}")
        for name in incompatible.missing_keys:
            raise ExportError(f"{self._path} does not fit its config: it has no weights for {name}")


def _load(model: Any, content: dict[str, Any], path: Path) -> None:
    _Loader(model, content, path).load(str(path), checkpointables=[])
    for name, parameter in model.state_dict().items():
        if parameter.is_floating_point() and not bool(torch.isfinite(parameter).all()):
            raise ExportError(f"{path} holds weights that are not finite numbers ({name}): its training has diverged")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
