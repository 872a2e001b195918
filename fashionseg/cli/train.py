"""`fashionseg train`: train a Mask R-CNN with Detectron2. Parses options, calls `fashionseg.training`, prints."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from fashionseg.cli.options import PATH, json_option, quiet_option

if TYPE_CHECKING:
    from pathlib import Path

    from fashionseg.training.run import TrainOptions, TrainResult

_ABOUT_THE_RUN = ("recipe", "train_files", "val", "images", "val_images", "weights", "seed")
"""Options that a resumed run knows already."""


def _device(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", value):
        raise click.BadParameter(f"{value!r}: use auto, cpu, cuda or cuda:N")
    return "" if value == "auto" else value


@click.command(no_args_is_help=True)
@click.option(
    "--recipe",
    default="small",
    show_default=True,
    metavar="NAME|FILE",
    help="deepfashion2 (the source project's), modern (better), small (for CPUs and quick starts), or a TOML file.",
)
@click.option(
    "--train",
    "train_files",
    multiple=True,
    type=PATH,
    metavar="FILE",
    help="COCO file to learn from; may be given several times.",
)
@click.option("--val", type=PATH, metavar="FILE", help="COCO file to measure on; chooses the best checkpoint.")
@click.option(
    "--images",
    multiple=True,
    type=PATH,
    metavar="DIR",
    help="Photo folder: one for all, or one for each --train. Default: images/ beside FILE, or there.",
)
@click.option("--val-images", type=PATH, metavar="DIR", help="Photo folder of --val. Default: the first --images.")
@click.option("-o", "--output", required=True, type=PATH, metavar="RUN", help="Folder of the run.")
@click.option(
    "--weights",
    default="",
    metavar="W",
    help="Starting weights: a file, a URL, detectron2://..., a model-zoo name, default (the embedded model's), none. "
    "Default: the recipe's.",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of Detectron2 (SOLVER.BASE_LR=0.002) or of the recipe (ema.decay=0.99).",
)
@click.option("--resume", is_flag=True, help="Go on with the run in RUN from its newest checkpoint.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, metavar="N", help="Of everything random. Default: 0."
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]", callback=_device, help="Where to train."
)
@click.option(
    "--gpus",
    type=click.IntRange(1),
    default=1,
    metavar="N",
    help="Processes on this machine, one GPU each. Default: 1.",
)
@click.option("--machines", type=click.IntRange(1), default=1, metavar="N", help="Number of machines. Default: 1.")
@click.option("--rank", type=click.IntRange(0), default=0, metavar="N", help="Number of this machine, from 0.")
@click.option(
    "--dist-url", default="auto", metavar="URL", help="Where several machines meet, such as tcp://host:29500."
)
@click.option("--trust", is_flag=True, help="Load weights from pickles, which may run code.")
@json_option
@quiet_option
def train(
    recipe: str,
    train_files: tuple[Path, ...],
    images: tuple[Path, ...],
    output: Path,
    assignments: tuple[str, ...],
    resume: bool,
    as_json: bool,
    **rest: Any,
) -> None:
    """Train or fine-tune a Mask R-CNN with Detectron2.

    \b
    fashionseg train --train train.json --val val.json --images photos/ -o runs/mine
    fashionseg train --recipe modern --train train.json --val val.json --images photos/ -o runs/big --gpus 8
    fashionseg train -o runs/mine --resume

    RUN holds checkpoints, model_best.pth, model_final.pth, config.yaml, recipe.toml, metrics.csv, curves.png and
    TensorBoard events afterwards.
    """
    from fashionseg.training.recipe import read_recipe, with_overrides
    from fashionseg.training.run import TrainOptions, resumed_options
    from fashionseg.training.run import train as run_training

    machine = {name: rest[name] for name in ("device", "gpus", "machines", "rank", "dist_url", "trust", "quiet")}
    _check_machines(**machine)
    if resume:
        _refuse_given(_ABOUT_THE_RUN)
        options = resumed_options(output, **machine)
    else:
        if not train_files:
            raise click.UsageError("--train is needed (or --resume with -o)")
        about = {name: rest[name] for name in ("val", "val_images", "weights", "seed")}
        options = TrainOptions(train_files, images, output, read_recipe(recipe), **about, **machine)
    options = replace(options, recipe=with_overrides(options.recipe, assignments))
    try:
        result = run_training(options)
    except KeyboardInterrupt:
        if (output / "run.json").exists():
            _show_command("train", "-o", str(output), "--resume", before="go on with:")
        raise
    if result is not None:
        _report(result, options, as_json)
    elif not options.quiet:
        click.echo(f"trained: the results are in {output} of the first machine", err=True)


def _check_machines(machines: int, rank: int, dist_url: str, **_others: Any) -> None:
    if rank >= machines:
        raise click.UsageError(f"--rank {rank} is not below --machines {machines}")
    if machines > 1 and dist_url == "auto":
        raise click.UsageError("several machines need --dist-url, such as tcp://host:29500")


def _refuse_given(names: tuple[str, ...]) -> None:
    context = click.get_current_context()
    given = [n for n in names if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    if given:
        flags = ", ".join("--" + name.removesuffix("_files").replace("_", "-") for name in given)
        raise click.UsageError(f"--resume takes {flags} from the run; only --set and machine options may be given")


def _report(result: TrainResult, options: TrainOptions, as_json: bool) -> None:
    """Figures, and what to do next."""
    model = result.best or result.final
    if as_json:
        best = None if result.best is None else str(result.best)
        click.echo(json.dumps({"final": str(result.final), "best": best, "metrics": result.metrics}))
    if options.quiet:
        return
    if result.stopped_early:
        click.echo("stopped early: validation did not become better", err=True)
    for task, name in (("bbox", "boxes"), ("segm", "masks")):
        if f"{task}/AP" in result.metrics:
            figures = "  ".join(f"{key} {result.metrics[f'{task}/{key}']:.1f}" for key in ("AP", "AP50", "AP75"))
            click.echo(f"{name}: {figures}  (best checkpoint, step {result.best_step})", err=True)
    click.echo(f"trained: {model}\nnext:", err=True)
    if options.val:
        folder = options.val_folder()
        photos = ["--images", str(folder)] if folder else []
        _show_command("evaluate", str(model), "--data", str(options.val), *photos)
    _show_command("export", str(model), "-o", str(options.output / "model.onnx"))


def _show_command(*words: str, before: str = " ") -> None:
    """A command to copy into a shell."""
    click.echo(f"{before} {shlex.join(['fashionseg', *words])}", err=True)
