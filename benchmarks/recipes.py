"""Is `modern` better than `deepfashion2`? Both at small size: same network, starting weights, photos seen, input size.

    python -m fashionseg.benchmarks.recipes --train train.json --val val.json --images photos/ -o runs/compare

Each recipe is trained until its schedule ends, once per seed, and its final weights are measured on the validation
set. The difference of mask AP is that of the means over the seeds; its interval comes from a bootstrap over photos,
in which both recipes and all seeds are judged on the same drawn photos (paired). The last line is JSON.

A run that is there already is not trained again, so the script can be stopped and started at will.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.cores import usable_cores
from fashionseg.training.recipe import Recipe, read_recipe, with_overrides
from fashionseg.training.run import TrainOptions, resumed_options, train

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECIPES = ("deepfashion2", "modern")
PHOTOS_PER_STEP = 8
SHORT, LONG, LONGEST, WIDE = 240, 384, 426, 256
ROUNDS = 1000
CONFIDENCE = 0.95
RECALLS = np.linspace(0, 1, 101)


def at_small_size(name: str, photos: int) -> Recipe:
    """A recipe on the network of `small`, for so many photos; its learning rate scaled with the batch."""
    recipe, steps = read_recipe(name), photos // PHOTOS_PER_STEP
    keys = recipe.detectron2_keys()
    factor = PHOTOS_PER_STEP / keys["SOLVER.IMS_PER_BATCH"]
    part = steps / keys["SOLVER.MAX_ITER"]
    network = {k: v for k, v in read_recipe("small").detectron2_keys().items() if k.split(".")[0] in ("MODEL", "INPUT")}
    ours = {
        **network,
        "DATALOADER.NUM_WORKERS": 0,
        "INPUT.MIN_SIZE_TRAIN": [round(SHORT * side / 800) for side in (640, 672, 704, 736, 768, 800)],
        "INPUT.MAX_SIZE_TRAIN": LONGEST,
        "MODEL.BACKBONE.FREEZE_AT": keys["MODEL.BACKBONE.FREEZE_AT"],
        "SOLVER.IMS_PER_BATCH": PHOTOS_PER_STEP,
        "SOLVER.BASE_LR": keys["SOLVER.BASE_LR"] * factor,
        "SOLVER.MAX_ITER": steps,
        "SOLVER.STEPS": [round(step * part) for step in keys.get("SOLVER.STEPS", [])],
        "SOLVER.WARMUP_ITERS": min(keys.get("SOLVER.WARMUP_ITERS", 1000), steps // 10),
        "SOLVER.CHECKPOINT_PERIOD": 200,
        "TEST.EVAL_PERIOD": 0,
    }
    small = with_overrides(replace(recipe, base=""), [f"{key}={value!r}" for key, value in ours.items()])
    return with_overrides(small, [f"augmentation.canvas_hw=[{LONG}, {WIDE}]", "validation.patience=0"])


def trained(arguments: argparse.Namespace, name: str, seed: int) -> list[dict[str, Any]]:
    """COCO results on the validation set of a recipe's final weights, trained if they are not there yet."""
    output = arguments.output / f"{name}-{seed}"
    if not (output / "metadata.json").is_file():
        if (output / "run.json").is_file():
            train(resumed_options(output, device=arguments.device))
        else:
            recipe = at_small_size(name, arguments.photos)
            places = {"weights": arguments.weights, "seed": seed, "device": arguments.device}
            train(TrainOptions((arguments.train,), (arguments.images,), output, recipe, **places))
    return predicted(arguments, output)


def predicted(arguments: argparse.Namespace, run: Path) -> list[dict[str, Any]]:
    """COCO results on the validation set of a run's final weights."""
    from detectron2.modeling import build_model

    from fashionseg.training.config import build_config
    from fashionseg.training.worker import load_weights

    validator = validator_of(arguments)
    detector = build_model(build_config(read_recipe(run / "recipe.toml"), validator.data, arguments.device))
    load_weights(detector, str(run / "model_final.pth"), run, trust=False)
    results: list[dict[str, Any]] = validator.predict(detector)
    return results


def validator_of(arguments: argparse.Namespace) -> Any:
    """The validation set, ready to measure on at the small size."""
    from fashionseg.training.config import build_config
    from fashionseg.training.dataset import read_sets
    from fashionseg.training.validation import Validator

    data = read_sets([arguments.val], [arguments.images])
    return Validator(build_config(read_recipe("small"), data, arguments.device), data)


class Matches:
    """Matches of one model's masks with the ground truth, from which AP of any choice of photos is quickly computed."""

    def __init__(self, truth: Any, results: list[dict[str, Any]]) -> None:
        from pycocotools.cocoeval import COCOeval

        with contextlib.redirect_stdout(io.StringIO()):
            evaluation = COCOeval(truth, truth.loadRes(results), "segm")
            evaluation.evaluate()
        classes, areas, photos = (len(evaluation.params.catIds), len(evaluation.params.areaRng), len(truth.imgs))
        by_class = [evaluation.evalImgs[(c * areas) * photos :][:photos] for c in range(classes)]
        self._classes = [self._columns(found) for found in by_class]

    @staticmethod
    def _columns(found: list[Any]) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.int64]]:
        """Photo of each prediction, best score first; hits bool [ious, predictions]; garments of each photo."""
        here = [(i, f) for i, f in enumerate(found) if f is not None]
        garments = np.zeros(len(found), np.int64)
        for i, f in here:
            garments[i] = int(np.sum(np.asarray(f["gtIgnore"]) == 0))
        if not here:
            return np.zeros(0, np.intp), np.zeros((10, 0), np.bool_), garments
        scores = np.concatenate([f["dtScores"] for _, f in here])
        order = np.argsort(-scores, kind="stable")
        photo = np.concatenate([np.full(len(f["dtScores"]), i, np.intp) for i, f in here])[order]
        return photo, np.concatenate([f["dtMatches"] > 0 for _, f in here], axis=1)[:, order], garments

    def ap(self, times: NDArray[np.int64]) -> float:
        """Mask AP in points where photo i counts `times[i]` times, int64 [photos]."""
        values = []
        for photo, hits, garments in self._classes:
            total = int((garments * times).sum())
            if not total:
                continue
            weight = times[photo]
            right = np.cumsum(hits * weight, axis=1)
            precision = right / np.maximum(np.cumsum(weight), 1)
            envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            for row in range(len(hits)):
                at = np.searchsorted(right[row] / total, RECALLS, side="left")
                padded = np.append(envelope[row], 0.0)
                values.append(padded[at].mean())
        return 100 * float(np.mean(values)) if values else 0.0


def compared(models: dict[str, list[Matches]], photos: int) -> dict[str, Any]:
    """Mean AP of each recipe and their difference with its interval."""
    every = np.ones(photos, np.int64)
    rng = np.random.default_rng(0)
    aps = {name: [round(m.ap(every), 2) for m in found] for name, found in models.items()}

    def difference(times: NDArray[np.int64]) -> float:
        old, new = (np.mean([m.ap(times) for m in models[name]]) for name in RECIPES)
        return float(new - old)

    draws = [difference(np.bincount(rng.integers(photos, size=photos), minlength=photos)) for _ in range(ROUNDS)]
    low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return {"segm_AP": aps, "difference": round(difference(every), 2), "low": round(low, 2), "high": round(high, 2)}


def main(arguments: list[str] | None = None) -> int:
    """Train what is missing, compare, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name in ("--train", "--val", "--images", "--output"):
        parser.add_argument(name, *(["-o"] if name == "--output" else []), type=Path, required=True)
    parser.add_argument("--weights", default="default", help="starting weights of both (default: the embedded ones)")
    parser.add_argument("--photos", type=int, default=8000, help="photos that each run sees (default: 8000)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each recipe (default: 3)")
    parser.add_argument("--device", default="", help="cpu or cuda (default: a GPU if there is one)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    truth = validator_of(options).truth
    models = {name: [Matches(truth, trained(options, name, seed)) for seed in range(options.seeds)] for name in RECIPES}
    found = compared(models, len(truth.imgs))
    for name, values in found["segm_AP"].items():
        print(f"{name:14} mask AP {', '.join(f'{value:.2f}' for value in values)}")
    print(f"difference {found['difference']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})")
    details = machine(usable_cores(), "torch", "detectron2", "hotcoco", "numpy")
    report({"benchmark": "recipes", "photos_seen": options.photos, **found, "machine": details}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
