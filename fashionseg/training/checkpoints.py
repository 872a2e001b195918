"""Checkpoints: written beside and renamed, read without running what is in them.

Knows files of weights: Detectron2's `.pth` and `.pkl`, model-zoo names, URLs. Knows nothing about steps or data.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.utils.file_io import PathManager

from fashionseg.errors import TrainingError
from fashionseg.unpickle import read_arrays

_CLASS_LAYERS = ("box_predictor.", "mask_head.predictor.")
"""Layers with one row a class."""

_ARRAYS = (torch.Tensor, np.ndarray)


class DivergedError(FloatingPointError):
    """Weights are no longer finite numbers, and not worth keeping."""


class SafeCheckpointer(DetectionCheckpointer):
    """Detectron2's checkpointer; a file appears whole or not at all, and no pickle may run code.

    Attributes:
        last_good: the newest checkpoint written or read, for messages.
    """

    def __init__(
        self,
        model: Any,
        folder: Path,
        *,
        trust: bool = False,
        class_names: tuple[str, ...] = (),
        **checkpointables: Any,
    ) -> None:
        """Args:
        model: whose weights are saved and loaded.
        folder: where checkpoints are written.
        trust: read files that may run code.
        class_names: where given, layers of a checkpoint that were trained for other classes are left out.
        checkpointables: more parts with `state_dict` and `load_state_dict`, by name.
        """
        super().__init__(model, str(folder), **checkpointables)
        self._trust, self._class_names = trust, class_names
        self.last_good: Path | None = None

    def save(self, name: str, **kwargs: Any) -> None:
        """Write `name`.pth with model, checkpointables and `kwargs`, and remember it as the newest.

        Raises:
            DivergedError: weights are not finite; nothing is written.
            TrainingError: the file cannot be written.
        """
        if not self.save_to_disk:
            return
        state = {key: value.state_dict() for key, value in self.checkpointables.items()}
        path = Path(self.save_dir) / f"{name}.pth"
        write_checkpoint(path, {"model": self.model.state_dict(), **state, **kwargs}, self.last_good)
        self.tag_last_checkpoint(path.name)
        self.last_good = path

    def tag_last_checkpoint(self, last_filename_basename: str) -> None:
        """Remember a file name in `last_checkpoint`."""
        beside = Path(self.save_dir) / ".last_checkpoint.part"
        beside.write_text(last_filename_basename, encoding="utf-8")
        beside.replace(Path(self.save_dir) / "last_checkpoint")

    def _load_file(self, filename: str) -> dict[str, Any]:
        content = self._read(filename)
        known = tuple(content.get("class_names", ()))
        if self._class_names and known and known != self._class_names:
            weights = content["model"]
            content["model"] = {k: v for k, v in weights.items() if not any(part in k for part in _CLASS_LAYERS)}
        return content

    def _read(self, filename: str) -> dict[str, Any]:
        if filename.endswith(".pkl"):
            return _read_pickle(Path(filename), self._trust)
        return read_checkpoint(Path(filename), trust=self._trust)


def write_checkpoint(path: Path, content: dict[str, Any], last_good: Path | None) -> None:
    """Write a checkpoint beside, flush and rename it.

    Raises:
        DivergedError: a weight under "model" is not finite; nothing is written.
        TrainingError: disk full or not writable; `last_good` is named.
    """
    for name, value in content["model"].items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise DivergedError(f"{path.name}: {name} is not finite")
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:
        beside.unlink(missing_ok=True)
        raise TrainingError(f"cannot write the checkpoint {path} ({_reason(error)}); {kept(last_good)}") from error


def kept(last_good: Path | None) -> str:
    """What is left after a failure, for the end of a message."""
    if last_good is None:
        return "no checkpoint was written before"
    return f"the last good checkpoint is {last_good}; go on with --resume"


def newest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that `--resume` goes on from, of the stage in a folder; None where there is none."""
    try:
        path = folder / (folder / "last_checkpoint").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return None
    return path if path.is_file() else None


def read_checkpoint(path: Path, *, trust: bool = False) -> dict[str, Any]:
    """A `.pth` file's content; a bare table of weights is wrapped as {"model": ...}.

    Args:
        path: a file of tensors and plain values alone.
        trust: there may be more in it, whose reading may run code.

    Raises:
        TrainingError: missing, damaged, no checkpoint, or one that would run code and is not trusted.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=not trust)
    except FileNotFoundError:
        raise TrainingError(f"checkpoint not found: {path}") from None
    except Exception as error:  # a damaged pickle may raise whatever its parts do
        if isinstance(error, pickle.UnpicklingError) and not trust:
            raise TrainingError(
                f"{path} holds more than weights, or is damaged; if you trust where it comes from, use --trust"
            ) from error
        raise TrainingError(f"{path} is not a checkpoint: {_reason(error)}") from error
    return _with_model(content, path)


def locate_weights(name: str) -> str:
    """Path or URL of starting weights.

    Args:
        name: "none" (random weights), "default" (the embedded model's), a file, a URL, `detectron2://...`, or a
            name of Detectron2's model zoo such as COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.

    Returns:
        What Detectron2's checkpointer loads; "" for none.

    Raises:
        TrainingError: no such weights.
    """
    if name == "none":
        return ""
    if name == "default":
        return str(_default_weights())
    if Path(name).is_file() or "://" in name:
        return name
    try:
        url: str = model_zoo.get_checkpoint_url(name.removesuffix(".yaml") + ".yaml")
    except RuntimeError:
        raise TrainingError(
            f"no weights {name!r}: neither a file, a URL, nor a name of Detectron2's model zoo"
        ) from None
    return url


def fetch_weights(source: str) -> str:
    """The local path of weights from `locate_weights`, downloaded if need be.

    Raises:
        TrainingError: the download failed.
    """
    try:
        path: str = PathManager.get_local_path(source) if source else ""
    except Exception as error:
        raise TrainingError(f"cannot fetch the weights {source}: {_reason(error)}") from error
    return path


def _default_weights() -> Path:
    from fashionseg.model import default_model_path

    path = default_model_path().with_suffix(".pth")
    if not path.is_file():
        raise TrainingError(f"the embedded weights {path} are not installed: use --weights none or a file")
    return path


def _read_pickle(path: Path, trust: bool) -> dict[str, Any]:
    """A model-zoo `.pkl`, in the form `DetectionCheckpointer` wants: only arrays can be inside, unless trusted."""
    content = _unpickled(path) if trust else read_arrays(path)
    content = _with_model(content, path, key="blobs" if "blobs" in content else "model")
    if "__author__" in content:
        return content
    weights = {k: v for k, v in content["model"].items() if not k.endswith("_momentum")}
    return {"model": weights, "__author__": "Caffe2", "matching_heuristics": True}


def _unpickled(path: Path) -> dict[str, Any]:
    try:
        content = pickle.loads(path.read_bytes(), encoding="latin1")  # noqa: S301 - the user said --trust
    except Exception as error:
        raise TrainingError(f"{path} is not a checkpoint: {_reason(error)}") from error
    return content if isinstance(content, dict) else {}


def _with_model(content: Any, path: Path, key: str = "model") -> dict[str, Any]:
    if not isinstance(content, dict) or not content:
        raise TrainingError(f"{path} is not a checkpoint: it holds no weights")
    wrapped = dict(content) if "model" in content else {"model": content.get(key, content)}
    weights = wrapped["model"]
    if isinstance(weights, dict):  # in place: torch keeps versions of layers in an attribute of the table
        for name in [k for k, v in weights.items() if not isinstance(k, str) or not isinstance(v, _ARRAYS)]:
            del weights[name]
    if not isinstance(weights, dict) or not weights:
        raise TrainingError(f"{path} is not a checkpoint: it holds no weights")
    return wrapped


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, KeyError):  # of torch's reader, with a byte for its text
        return "its format is unknown"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
