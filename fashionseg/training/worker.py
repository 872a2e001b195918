"""The part of a run that every process does: build the network, run the stages, leave weights and figures.

Knows recipes, data sets and stages. Knows nothing about command lines; what is shown meanwhile is `display.py`'s.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import torch
from detectron2.modeling import build_model
from detectron2.utils import comm

from fashionseg.errors import TrainingError
from fashionseg.files import write_bytes
from fashionseg.training.checkpoints import (
    SafeCheckpointer,
    fetch_weights,
    kept,
    locate_weights,
    newest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from fashionseg.training.config import build_config, uses_mixed_precision
from fashionseg.training.curves import draw_curves
from fashionseg.training.display import Progress, say
from fashionseg.training.hooks import Validate
from fashionseg.training.labelmaps import garment_frequencies, label_frequencies, loss_weights
from fashionseg.training.mapping import training_loader, training_mapper
from fashionseg.training.network import SemanticHead, SemanticNetwork, TrainedNetwork
from fashionseg.training.roi_align import use_matrix_roi_align
from fashionseg.training.sampling import learnable
from fashionseg.training.stage import Stage, StageRun, execute, explanation, prepare
from fashionseg.training.validation import Validator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fashionseg.training.dataset import TrainingSet
    from fashionseg.training.run import TrainOptions

_FINAL = "model_final.pth"
_BEST = "model_best.pth"


def work(options: TrainOptions, data: TrainingSet, val: TrainingSet | None) -> None:
    """Run all stages in this process (one of `options.gpus` times `options.machines`).

    Raises:
        FashionsegError: training cannot start or go on.
    """
    _log_to(options.output)
    try:
        _work(options, data, val)
    except (FloatingPointError, MemoryError, RuntimeError, OSError) as error:  # outside of steps
        reason = explanation(error)
        if reason is None:
            raise
        newest = newest_checkpoint(options.output) or newest_checkpoint(options.output / "semantic")
        raise TrainingError(f"training stopped: {reason}; {kept(newest)}") from error


def _work(options: TrainOptions, data: TrainingSet, val: TrainingSet | None) -> None:
    recipe = options.recipe
    cfg = build_config(recipe, data, options.device, options.seed, str(options.output))
    _require_even_batches(cfg.SOLVER.IMS_PER_BATCH, recipe.semantic.photos_per_step if recipe.semantic.steps else 0)
    on_cpu = cfg.MODEL.DEVICE == "cpu"
    # Means of squares get tiny, and then cost ten times as much. Holds for this thread and those it starts from now on.
    torch.set_flush_denormal(on_cpu)
    torch.manual_seed(options.seed)
    detector = build_model(cfg)
    if on_cpu:
        use_matrix_roi_align(detector)
    if not (options.resume and (options.output / "last_checkpoint").is_file()):
        name = options.weights or recipe.weights
        anew = load_weights(detector, name, options.output, options.trust, data.class_names)
        if anew and not options.quiet and comm.is_main_process():
            say(f"{name} fits but for {', '.join(anew)}: there, training starts from random weights")
    if comm.is_main_process():
        write_bytes(options.output / "config.yaml", cfg.dump().encode())
    head = _semantic_stage(options, cfg, data, detector) if recipe.semantic.steps else None
    _detector_stage(options, cfg, data, val, detector, head if recipe.semantic.keep else None)


def load_weights(
    detector: torch.nn.Module, name: str, folder: Path, trust: bool, class_names: tuple[str, ...] = ()
) -> list[str]:
    """Load starting weights; layers of another shape or for other classes start anew.

    Returns:
        Names of the layers that start anew, or of the modules of which all do; empty without starting weights.

    Raises:
        TrainingError: no such weights, or none of them fits.
    """
    path = fetch_weights(locate_weights(name))
    if not path:
        return []
    before = {key: value.clone() for key, value in detector.state_dict().items()}
    SafeCheckpointer(detector, folder, trust=trust, class_names=class_names).load(path, checkpointables=[])
    loaded = {key: not torch.equal(value, before[key]) for key, value in detector.state_dict().items()}
    if not any(loaded.values()):
        raise TrainingError(f"the weights {name} fit no layer of this model: choose the recipe they were trained with")
    return _untouched({key: changed for key, changed in loaded.items() if before[key].ndim > 1})


def _untouched(loaded: dict[str, bool]) -> list[str]:
    """The shortest prefixes of names under which nothing was loaded."""
    found = set()
    for name in (key for key, changed in loaded.items() if not changed):
        parts = name.split(".")
        prefixes = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        found.add(next(p for p in prefixes if not any(loaded[k] for k in loaded if f"{k}.".startswith(f"{p}."))))
    return sorted(found)


def _semantic_stage(options: TrainOptions, cfg: Any, data: TrainingSet, detector: Any) -> SemanticHead:
    """Teach backbone and FPN per-pixel labels; leaves the averaged weights in them."""
    rule, folder = options.recipe.semantic, options.output / "semantic"
    folder.mkdir(exist_ok=True)
    head: SemanticHead = SemanticHead(
        cfg.MODEL.FPN.OUT_CHANNELS,
        torch.from_numpy(loss_weights(label_frequencies(data.records))),
        torch.from_numpy(loss_weights(garment_frequencies(data.records, len(data.class_names)))),
    )
    head.to(detector.device)
    precision = uses_mixed_precision(cfg)
    network = SemanticNetwork(detector, head, precision == "bfloat16", options.recipe.channels_last)
    if (folder / _FINAL).is_file():
        network.load_state_dict(read_checkpoint(folder / _FINAL)["model"])
        return head
    stage_cfg = _semantic_solver(cfg, rule)
    mapper = training_mapper(stage_cfg, options.recipe, rule.canvas_hw)
    stage = Stage(
        network=network,
        saved=network,
        averaged=network,
        cfg=stage_cfg,
        optimizer="adamw",
        backbone_factor=1.0,
        ema_decay=rule.ema_decay,
        loader=lambda start: training_loader(stage_cfg, data.records, mapper, rule.photos_per_step, start),
        folder=folder,
        keep=1,
        float16=precision == "float16",
    )
    run = prepare(stage, options.resume, lambda run: _shown(options, run, "semantic", rule.photos_per_step))
    execute(run, rule.steps)
    _keep_average(run, network)
    if comm.is_main_process():
        write_checkpoint(folder / _FINAL, {"model": network.state_dict()}, run.checkpointer.last_good)
    comm.synchronize()
    return head


def _semantic_solver(cfg: Any, rule: Any) -> Any:
    """The config with the solver of the semantic stage."""
    stage_cfg = cfg.clone()
    stage_cfg.defrost()
    stage_cfg.SOLVER.IMS_PER_BATCH = rule.photos_per_step
    stage_cfg.SOLVER.BASE_LR = rule.learning_rate
    stage_cfg.SOLVER.WEIGHT_DECAY = rule.weight_decay
    stage_cfg.SOLVER.WARMUP_ITERS = rule.warmup
    stage_cfg.SOLVER.MAX_ITER = rule.steps
    stage_cfg.SOLVER.LR_SCHEDULER_NAME = "WarmupCosineLR"
    stage_cfg.freeze()
    return stage_cfg


def _detector_stage(
    options: TrainOptions,
    cfg: Any,
    data: TrainingSet,
    val: TrainingSet | None,
    detector: Any,
    head: SemanticHead | None,
) -> None:
    recipe, solver = options.recipe, cfg.SOLVER
    precision = uses_mixed_precision(cfg)
    network = TrainedNetwork(detector, head, recipe.semantic.keep, precision == "bfloat16", recipe.channels_last)
    mapper, records = training_mapper(cfg, recipe, recipe.augmentation.canvas_hw), learnable(cfg, data.records)
    stage = Stage(
        network=network,
        saved=detector,
        averaged=detector,
        cfg=cfg,
        optimizer=recipe.optimizer.name,
        backbone_factor=recipe.optimizer.backbone_factor,
        ema_decay=recipe.ema.decay,
        loader=lambda start: training_loader(cfg, records, mapper, solver.IMS_PER_BATCH, start),
        folder=options.output,
        keep=recipe.keep_checkpoints,
        float16=precision == "float16",
        extra={"semantic": head} if head else {},
    )
    judge: list[Validate] = []

    def more_hooks(run: StageRun) -> list[Any]:
        if val is not None:
            judge.append(_validation(options, cfg, val, detector, run, data))
        return [*judge, *_shown(options, run, "detector", solver.IMS_PER_BATCH, judge)]

    run = prepare(stage, options.resume, more_hooks)
    execute(run, solver.MAX_ITER)
    _keep_average(run, detector)
    if comm.is_main_process():
        _finish(options, detector, data, run, judge[0] if judge else None)
    comm.synchronize()


def _validation(
    options: TrainOptions, cfg: Any, val: TrainingSet, detector: Any, run: StageRun, data: TrainingSet
) -> Validate:
    validator, rule = Validator(cfg, val), options.recipe.validation

    def measure(watch: Callable[[int, int], None] | None) -> dict[str, float]:
        if run.average is None:
            return validator.measure(detector, watch)
        with run.average.applied():
            return validator.measure(detector, watch)

    def save_best() -> None:
        if comm.is_main_process():
            state = run.average.average() if run.average else detector.state_dict()
            write_checkpoint(options.output / _BEST, _weights_file(state, data), run.checkpointer.last_good)

    def stop() -> None:
        run.stopped_early = True

    return Validate(measure, save_best, rule.metric, cfg.TEST.EVAL_PERIOD, rule.patience, stop)


def _shown(
    options: TrainOptions, run: StageRun, title: str, photos: int, judge: list[Validate] | None = None
) -> list[Any]:
    if options.quiet or not comm.is_main_process():
        return []
    return [Progress(title, photos, run.checkpointer, judge or [])]


def _keep_average(run: StageRun, module: torch.nn.Module) -> None:
    """Leave the averaged weights in the module, for good."""
    if run.average is not None:
        module.load_state_dict(run.average.average())


def _finish(options: TrainOptions, detector: Any, data: TrainingSet, run: StageRun, judge: Validate | None) -> None:
    output = options.output
    write_checkpoint(output / _FINAL, _weights_file(detector.state_dict(), data), run.checkpointer.last_good)
    if judge is not None and judge.best is None and (output / _BEST).exists():
        (output / _BEST).unlink()
    metadata = {
        "class_names": list(data.class_names),
        "category_ids": list(data.category_ids),
        "dataset": data.source,
        "recipe": options.recipe.name,
        "metrics": judge.best_figures if judge else {},
        "metrics_of": _BEST,
        "best_step": judge.best_step if judge else 0,
        "stopped_early": run.stopped_early,
    }
    draw_curves(output / "metrics.csv", output / "curves.png")
    write_bytes(output / "metadata.json", (json.dumps(metadata, indent=2, ensure_ascii=False) + "\n").encode())


def _weights_file(state: dict[str, torch.Tensor], data: TrainingSet) -> dict[str, Any]:
    """A checkpoint of weights alone, with the classes inside."""
    weights = {key: value.detach().contiguous() for key, value in state.items()}
    return {"model": weights, "class_names": list(data.class_names), "category_ids": list(data.category_ids)}


def _require_even_batches(*photos_per_step: int) -> None:
    world = comm.get_world_size()
    for photos in photos_per_step:
        if photos % world:
            better = max(world, photos // world * world)
            raise TrainingError(
                f"{photos} photos a step cannot be shared by {world} GPUs: --set SOLVER.IMS_PER_BATCH={better}"
            )


def _log_to(folder: Path) -> None:
    """Detectron2's messages go into the run's log and not to the screen."""
    rank = comm.get_rank()
    handler = logging.FileHandler(folder / (f"log.rank{rank}.txt" if rank else "log.txt"), encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s: %(message)s"))
    for name in ("detectron2", "fvcore", "iopath"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
