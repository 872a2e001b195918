"""Which library computes COCO metrics: hotcoco or faster-coco-eval, with pycocotools as the reference.

    python -m fashionseg.benchmarks.evaluate                                     # 5,000 drawn-up photos, three rounds
    python -m fashionseg.benchmarks.evaluate --data val.json --predictions predictions.json   # equality on real ones

The photos of the first form are made up from a seed: one to three garments each as polygons (DeepFashion2's form),
about ten predictions each as compressed run-length encodings, some shifted garments, some anywhere. What is timed is
what a user waits for once both files are parsed: index, load results, evaluate, accumulate, summarise. The three
run interleaved in one process; medians. The last line is JSON.

Measured in November 2026 on two shared cores, Python 3.11 (`results/evaluate.json` holds the whole answer; the
figures are times as fast as pycocotools, 3.6 s for boxes and 4.3 s for masks):

    ======================  ==========  =====  =====  ====================================
    library                 licence     box    mask   largest difference from pycocotools
    ======================  ==========  =====  =====  ====================================
    pycocotools 2.0.11      BSD-2          1      1
    faster-coco-eval 1.8.0  Apache-2.0   8.7    1.8   2e-16
    hotcoco 1.3.0           MIT         43.4   17.7   0
    ======================  ==========  =====  =====  ====================================

The choice is hotcoco: the arrays are those of pycocotools to the last bit, it needs only numpy, one abi3 wheel serves
every Python from 3.10 on (Linux x86-64 and aarch64, macOS both, Windows x86-64), and TIDE's error kinds, the
confusion matrix and the paired bootstrap over photos come with it. faster-coco-eval needs only numpy too, but a wheel
per Python version.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib
import importlib.metadata
import io
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.benchmarks.bench.machine import machine, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

LIBRARIES = {"pycocotools": "pycocotools", "hotcoco": "hotcoco", "faster-coco-eval": "faster_coco_eval"}
IOU_TYPES = ("bbox", "segm")
SIDE_HW = (1000, 750)
CLASSES = 5
TOLERANCE = 1e-6


def generated_set(photos: int, seed: int = 0) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ground truth (a COCO document) and predictions (a COCO results list) made up from a seed."""
    rng = np.random.default_rng(seed)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image_id in range(1, photos + 1):
        images.append({"id": image_id, "file_name": f"{image_id}.jpg", "height": SIDE_HW[0], "width": SIDE_HW[1]})
        outlines = [_outline(rng) for _ in range(rng.integers(1, 4))]
        for outline in outlines:
            category = int(rng.integers(1, CLASSES + 1))
            annotations.append(_annotation(len(annotations) + 1, image_id, category, outline))
            results += [_shifted(rng, image_id, category, outline) for _ in range(rng.integers(1, 5))]
        for _ in range(rng.integers(2, 8)):
            results.append(_result(image_id, int(rng.integers(1, CLASSES + 1)), _outline(rng), rng.uniform(0.05, 0.7)))
    categories = [{"id": i, "name": f"class {i}"} for i in range(1, CLASSES + 1)]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def _outline(rng: np.random.Generator) -> NDArray[np.float64]:
    """A wobbly closed outline inside the photo: float64 [24, 2], x y in pixels."""
    radius = np.exp(rng.uniform(np.log(15), np.log(240), 2))
    centre = rng.uniform(radius, np.array(SIDE_HW[::-1]) - radius)
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    wobble = rng.uniform(0.75, 1.0, 24)
    outline: NDArray[np.float64] = centre + radius * wobble[:, None] * np.stack([np.cos(angle), np.sin(angle)], 1)
    return outline


def _annotation(number: int, image_id: int, category: int, outline: NDArray[np.float64]) -> dict[str, Any]:
    import hotcoco

    rle = hotcoco.mask.fr_poly(outline.ravel().tolist(), *SIDE_HW)
    return {
        "id": number,
        "image_id": image_id,
        "category_id": category,
        "iscrowd": 0,
        "bbox": _box(outline),
        "area": float(hotcoco.mask.area(rle)),
        "segmentation": [outline.ravel().tolist()],
    }


def _shifted(rng: np.random.Generator, image_id: int, category: int, outline: NDArray[np.float64]) -> dict[str, Any]:
    size = outline.max(0) - outline.min(0)
    moved = outline + rng.normal(0, 0.08, 2) * size + rng.normal(0, 0.02, outline.shape) * size
    moved = moved.clip(0, np.array(SIDE_HW[::-1]))
    if rng.uniform() < 0.15:
        category = int(rng.integers(1, CLASSES + 1))
    return _result(image_id, category, moved, rng.uniform(0.2, 1.0))


def _result(image_id: int, category: int, outline: NDArray[np.float64], score: float) -> dict[str, Any]:
    import hotcoco

    rle = hotcoco.mask.fr_poly(outline.ravel().tolist(), *SIDE_HW)
    segmentation = {"size": list(SIDE_HW), "counts": rle["counts"].decode("ascii")}
    return {
        "image_id": image_id,
        "category_id": category,
        "bbox": _box(outline),
        "score": float(score),
        "segmentation": segmentation,
    }


def _box(outline: NDArray[np.float64]) -> list[float]:
    low, high = outline.min(0), outline.max(0)
    return [float(value) for value in (*low, *(high - low))]


def run_library(
    name: str, truth: dict[str, Any], results: list[dict[str, Any]], iou_type: str
) -> tuple[float, dict[str, NDArray[np.float64]]]:
    """Seconds, and the arrays `stats`, `precision`, `recall`, `scores` that one library computes.

    `results` without boxes where masks are compared, as Detectron2 does: else COCO takes box areas for mask sizes.
    """
    module = importlib.import_module(LIBRARIES[name])
    if name == "pycocotools":
        make_data: Callable[[], Any] = importlib.import_module("pycocotools.coco").COCO
        make_eval = importlib.import_module("pycocotools.cocoeval").COCOeval
    else:
        make_data, make_eval = module.COCO, module.COCOeval if name == "hotcoco" else module.COCOeval_faster
    truth, results = copy.deepcopy(truth), copy.deepcopy(results)  # two of the three write into what they are given
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.perf_counter()
        if name == "hotcoco":
            data = module.COCO(truth)
        else:
            data = make_data()
            data.dataset = truth
            data.createIndex()
        evaluation = make_eval(data, data.loadRes(results), iou_type)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        seconds = time.perf_counter() - start
    found = {"stats": np.asarray(evaluation.stats, np.float64)[:12]}
    found |= {key: np.asarray(evaluation.eval[key], np.float64) for key in ("precision", "recall", "scores")}
    return seconds, found


def compare(truth: dict[str, Any], results: list[dict[str, Any]], rounds: int) -> list[dict[str, Any]]:
    """One row per library and IoU type: median seconds, ratio to pycocotools, largest difference from it."""
    rows = []
    for iou_type in IOU_TYPES:
        given = [{k: v for k, v in r.items() if k != "bbox" or iou_type == "bbox"} for r in results]
        seconds: dict[str, list[float]] = {name: [] for name in LIBRARIES}
        arrays = {}
        for _ in range(rounds):
            for name in LIBRARIES:
                took, arrays[name] = run_library(name, truth, given, iou_type)
                seconds[name].append(took)
        unit = statistics.median(seconds["pycocotools"])
        for name in LIBRARIES:
            median = statistics.median(seconds[name])
            apart = {key: _apart(arrays[name][key], value) for key, value in arrays["pycocotools"].items()}
            rows.append(
                {
                    "library": f"{name} {importlib.metadata.version(name)}",
                    "iou_type": iou_type,
                    "seconds": round(median, 3),
                    "times_pycocotools": round(unit / median, 1),
                    "largest_difference": apart,
                    "equal": max(apart.values()) <= TOLERANCE,
                }
            )
    return rows


def _apart(found: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    return float(np.abs(found.reshape(expected.shape) - expected).max())


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="COCO metrics libraries compared.")
    parser.add_argument("--photos", type=int, default=5000, help="photos to make up")
    parser.add_argument("--seed", type=int, default=0, help="of the made-up photos")
    parser.add_argument("--rounds", type=int, default=3, help="times each library runs")
    parser.add_argument("--data", type=Path, help="real ground truth instead (COCO JSON)")
    parser.add_argument("--predictions", type=Path, help="real predictions for --data (COCO results)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    if options.data:
        truth = json.loads(options.data.read_text())
        results = json.loads(options.predictions.read_text())
    else:
        truth, results = generated_set(options.photos, options.seed)
    print(f"{len(truth['images'])} photos, {len(truth['annotations'])} garments, {len(results)} predictions")
    rows = compare(truth, results, options.rounds)
    for row in rows:
        print(
            f"{row['library']:24s} {row['iou_type']:5s} {row['seconds']:8.3f} s  {row['times_pycocotools']:6.1f} x  "
            f"largest difference {max(row['largest_difference'].values()):.3g}"
        )
    result = {"benchmark": "evaluate", "photos": len(truth["images"]), "rounds": options.rounds, "rows": rows}
    report({**result, "machine": machine(1, "numpy", *LIBRARIES)}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
