"""`fashionseg train`: train a Mask R-CNN with Detectron2. Parses options, calls `fashionseg.training`, prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command(no_args_is_help=True)
@click.option(
    "--recipe", default="small", show_default=True, help="Recipe: deepfashion2, modern, small, or a TOML file."
)
@click.option(
    "--train",
    "train_files",
    multiple=True,
    type=click.Path(path_type=Path),
    help="COCO file to learn from; may be given several times.",
)
@click.option(
    "--val", type=click.Path(path_type=Path), help="COCO file to measure on and to choose the best checkpoint by."
)
@click.option(
    "--images", multiple=True, type=click.Path(path_type=Path), help="Photo folder; once, or once for each --train."
)
@click.option("--val-images", type=click.Path(path_type=Path), help="Photo folder of --val, where it differs.")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder of the run.")
@click.option(
    "--weights",
    default="",
    help="Starting weights: a file, URL, detectron2://..., model-zoo name, default, none.  [default: the recipe's]",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a key of Detectron2 (upper case) or of the recipe.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in the output folder.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True, help="Seed of everything random."
)
@click.option("--device", default="", help="cpu, cuda or cuda:N.  [default: a GPU if there is one]")
@click.option(
    "--gpus", type=click.IntRange(1), default=1, show_default=True, help="Processes on this machine, one GPU each."
)
@click.option("--machines", type=click.IntRange(1), default=1, show_default=True, help="Number of machines.")
@click.option("--rank", type=click.IntRange(0), default=0, show_default=True, help="Number of this machine, from 0.")
@click.option(
    "--dist-url", default="auto", show_default=True, help="Where the processes meet, such as tcp://host:29500."
)
@click.option("--trust", is_flag=True, help="Load weights from pickles that may run code.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
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
    """Train a garment segmentation model.

    \b
    fashionseg train --recipe small --train train.json --val val.json --images photos/ -o runs/mine
    fashionseg train --recipe modern --train train.json --val val.json --images photos/ -o runs/big --gpus 8
    fashionseg train -o runs/mine --resume
    """
    from fashionseg.training.recipe import read_recipe, with_overrides
    from fashionseg.training.run import TrainOptions, resumed_options
    from fashionseg.training.run import train as run_training

    machine = {name: rest[name] for name in ("device", "gpus", "machines", "rank", "dist_url", "trust", "quiet")}
    if resume:
        _refuse_given("recipe", "train_files", "val", "images", "val_images", "weights", "seed")
        options = resumed_options(output, **machine)
    else:
        if not train_files or not images:
            raise click.UsageError("--train and --images are needed (or --resume with -o)")
        options = TrainOptions(
            train_files,
            images,
            output,
            read_recipe(recipe),
            rest["val"],
            rest["val_images"],
            rest["weights"],
            seed=rest["seed"],
            **machine,
        )
    from dataclasses import replace

    result = run_training(replace(options, recipe=with_overrides(options.recipe, assignments)))
    _report(result, options, as_json)


def _refuse_given(*names: str) -> None:
    """With --resume, what the run is about is known already."""
    context = click.get_current_context()
    given = [n for n in names if context.get_parameter_source(n) is click.core.ParameterSource.COMMANDLINE]
    if given:
        flags = ", ".join("--" + name.replace("_files", "").replace("_", "-") for name in given)
        raise click.UsageError(f"--resume takes {flags} from the run; only --set and machine options may be given")


def _report(result: Any, options: Any, as_json: bool) -> None:
    import json

    from rich.console import Console

    model = result.best or result.final
    if as_json:
        click.echo(json.dumps({"final": str(result.final), "best": str(result.best or ""), "metrics": result.metrics}))
    if options.quiet:
        return
    console = Console(stderr=True)
    for task in ("bbox", "segm"):
        if f"{task}/AP" in result.metrics:
            figures = "  ".join(f"{n} {result.metrics[f'{task}/{n}']:.1f}" for n in ("AP", "AP50", "AP75"))
            console.print(f"{task}: {figures}  (step {result.best_step})", highlight=False)
    console.print(f"trained: {model}\nnext:", highlight=False)
    if options.val:
        console.print(f"  fashionseg evaluate {model} --data {options.val}", highlight=False, soft_wrap=True)
    console.print(f"  fashionseg export {model} -o {options.output / 'model.onnx'}", highlight=False, soft_wrap=True)
