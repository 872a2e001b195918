"""`train`: a whole run, from data files and a recipe to weights, metrics and curves in one folder.

Knows the order of things and what a run leaves behind. Knows nothing about screens or command lines.
"""

from __future__ import annotations

import contextlib
import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.errors import DeviceError, MissingExtraError, TrainingError
from fashionseg.files import make_folder, write_bytes
from fashionseg.training.dataset import TrainingSet, read_sets, require_readable, require_same_classes
from fashionseg.training.recipe import Recipe, read_recipe

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """What to train with what.

    Attributes:
        train: COCO files to learn from.
        images: photo folder of each of them, or one for all; none to look beside each of them.
        output: the run's folder.
        recipe: see `Recipe`.
        val: COCO file to measure on; None measures nothing.
        val_images: its photo folder; None takes the first of `images`, or looks beside `val`.
        weights: starting weights, see `checkpoints.locate_weights`; "" takes the recipe's.
        resume: go on with the run in `output`.
        seed: of everything random.
        device: "cpu", "cuda", "cuda:1"; "" takes a GPU where there is one.
        gpus: processes on this machine, one GPU each; 1 also trains on the CPU.
        machines: number of machines.
        rank: number of this machine, from 0.
        dist_url: where the processes meet, such as tcp://host:29500; "auto" on one machine.
        trust: load pickles that may run code.
        quiet: show no progress.
    """

    train: tuple[Path, ...]
    images: tuple[Path, ...]
    output: Path
    recipe: Recipe
    val: Path | None = None
    val_images: Path | None = None
    weights: str = ""
    resume: bool = False
    seed: int = 0
    device: str = ""
    gpus: int = 1
    machines: int = 1
    rank: int = 0
    dist_url: str = "auto"
    trust: bool = False
    quiet: bool = False

    def val_folder(self) -> Path | None:
        """Photo folder of the validation set; None where it is to be looked for."""
        return self.val_images or (self.images[0] if self.images else None)


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run has come to.

    Attributes:
        final: weights after the last step (averaged where the recipe averages).
        best: weights with the best validation figure; None without validation.
        metrics: figures of `best` (else none) on the validation set, in points.
        best_step: number of steps after which they were reached.
        stopped_early: whether validation ended the run.
    """

    final: Path
    best: Path | None
    metrics: dict[str, float]
    best_step: int
    stopped_early: bool


def require_extra() -> None:
    """Check that torch and Detectron2 are there.

    Raises:
        MissingExtraError: they are not.
    """
    import importlib.util

    for package in ("torch", "detectron2"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, "train")


def train(options: TrainOptions) -> TrainResult | None:
    """Train a model; everything lies in `options.output` of the first machine afterwards.

    Returns:
        What has come of it; None on the other machines.

    Raises:
        FashionsegError: data, recipe, weights or machine do not allow it, or training cannot go on.
    """
    require_extra()
    recipe = options.recipe
    data = read_sets(options.train, options.images, recipe.semantic.labels if recipe.semantic.steps else "")
    val = _read_val(options, data)
    for each in (data, val):
        if each is not None:
            require_readable(each)  # a broken photo would come to light in the midst of training
    if options.rank == 0:
        _open_folder(options)
    make_folder(options.output)
    with _hushed():
        _launch(options, data, val)
    return None if options.rank else read_result(options.output)


def _launch(options: TrainOptions, data: TrainingSet, val: TrainingSet | None) -> None:
    import torch
    from detectron2.engine import launch
    from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

    from fashionseg.training.worker import work

    _require_gpus(options, torch.cuda.device_count())
    try:
        launch(
            work,
            options.gpus,
            num_machines=options.machines,
            machine_rank=options.rank,
            dist_url=options.dist_url,
            args=(options, data, val),
        )
    except ProcessRaisedException as error:
        # The message ends with the traceback of the process, whose last line is "module.Class: what happened".
        last = str(error).strip().splitlines()[-1]
        raise TrainingError(last.partition(": ")[2] or last) from error
    except ProcessExitedException as error:
        raise TrainingError(f"a training process was killed ({error}); go on with --resume") from error
    finally:
        torch.set_flush_denormal(False)  # `work` sets it


def _require_gpus(options: TrainOptions, found: int) -> None:
    if options.device == "cpu":
        if found and options.gpus * options.machines > 1:  # Detectron2 takes NCCL where it sees one
            raise DeviceError(
                "--device cpu in several processes needs the GPUs out of sight: set CUDA_VISIBLE_DEVICES="
            )
        return
    if not found and (options.device or options.gpus > 1):
        asked = f"--device {options.device}" if options.device else f"--gpus {options.gpus}"
        raise DeviceError(f"{asked}: torch finds no GPU here; --device cpu trains without")
    if found and options.gpus > found:
        raise DeviceError(f"--gpus {options.gpus} asks for more than the {found} GPUs of this machine")


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep notices that libraries address to their own developers off the screen."""
    with warnings.catch_warnings():
        for module in ("torch", "torchvision", "detectron2", "fvcore"):
            warnings.filterwarnings("ignore", module=rf"{module}(\..*)?$")
        warnings.filterwarnings("ignore", "The value of the smallest subnormal")  # NumPy's, while `work` flushes them
        logging.getLogger("torch.fx").setLevel(logging.ERROR)
        yield


def read_result(folder: Path) -> TrainResult:
    """What the run in a folder has come to.

    Raises:
        TrainingError: it has not ended.
    """
    try:
        values = json.loads((folder / "metadata.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise TrainingError(f"{folder} holds no finished run: go on with --resume") from None
    best = folder / "model_best.pth"
    return TrainResult(
        folder / "model_final.pth",
        best if best.is_file() else None,
        values["metrics"],
        values["best_step"],
        values["stopped_early"],
    )


def _read_val(options: TrainOptions, data: TrainingSet) -> TrainingSet | None:
    if options.val is None:
        return None
    folder = options.val_folder()
    val = read_sets([options.val], [folder] if folder else [])
    require_same_classes(data, val)
    _require_figure(options.recipe.validation.metric, val)
    return val


def _require_figure(metric: str, val: TrainingSet) -> None:
    """Refuse to choose checkpoints by the figure of a class that the validation set does not show."""
    _, of_class, label = metric.partition("/")[2].partition("-")
    shown = [name for name, number in zip(val.class_names, val.instances(), strict=True) if number]
    if of_class and label not in shown:
        raise TrainingError(f"validation.metric {metric}: {val.source} shows {', '.join(shown)}, and no {label}")


def _open_folder(options: TrainOptions) -> None:
    """Make the run's folder and write down what it is about; refuse to write over another run."""
    state = options.output / "run.json"
    if _has_begun(options.output) and not options.resume:
        raise TrainingError(f"{options.output} holds a run already: go on with --resume or name another folder with -o")
    if options.resume and not state.exists():
        raise TrainingError(f"there is no run to resume in {options.output}: start it without --resume")
    make_folder(options.output)
    write_bytes(options.output / "recipe.toml", options.recipe.to_toml().encode())
    write_bytes(state, (json.dumps(_to_json(options), indent=2) + "\n").encode())


def _has_begun(folder: Path) -> bool:
    """Whether a run has left weights; one that could not start (wrong weights, a wrong key) is begun anew."""
    return any(any(folder.glob(pattern)) for pattern in ("model_*.pth", "semantic/model_*.pth"))


def _to_json(options: TrainOptions) -> dict[str, Any]:
    return {
        "train": [str(p.resolve()) for p in options.train],
        "images": [str(p.resolve()) for p in options.images],
        "val": None if options.val is None else str(options.val.resolve()),
        "val_images": None if options.val_images is None else str(options.val_images.resolve()),
        "weights": options.weights,
        "seed": options.seed,
    }


def resumed_options(output: Path, **machine: Any) -> TrainOptions:
    """Options of the run in a folder, to go on with it; `machine` holds those that may differ (device, gpus, ...).

    Raises:
        TrainingError: there is no run in the folder.
    """
    try:
        values = json.loads((output / "run.json").read_text(encoding="utf-8"))
        return TrainOptions(
            train=tuple(Path(p) for p in values["train"]),
            images=tuple(Path(p) for p in values["images"]),
            output=output,
            recipe=read_recipe(output / "recipe.toml"),
            val=Path(values["val"]) if values["val"] else None,
            val_images=Path(values["val_images"]) if values["val_images"] else None,
            weights=values["weights"],
            seed=values["seed"],
            resume=True,
            **machine,
        )
    except FileNotFoundError:
        raise TrainingError(f"there is no run to resume in {output}: start it without --resume") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{output / 'run.json'} is damaged: {error}") from error
