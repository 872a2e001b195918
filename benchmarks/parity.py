"""Does the ONNX file say what Detectron2 says? Detection by detection, and in points of AP.

    python -m fashionseg.benchmarks.parity model_final.pth --data val.json --json benchmarks/results/parity.json

Three questions: the checkpoint on every photo of a COCO set, one by one and in batches of four photos of different
sizes; AP of boxes and masks of both sides, each from photo to COCO results on its own way; and an R50-FPN with random
weights whose heads are scaled so that many boxes come out, for 5 and for 80 classes.
Needs torch and Detectron2. The last line is JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.benchmarks.random_rcnn import random_r50_fpn
from fashionseg.export.checkpoint import Checkpoint, open_checkpoint
from fashionseg.export.exporter import ExportOptions, build
from fashionseg.export.matching import Tolerance
from fashionseg.export.parity import Check, compare
from fashionseg.media.images import read_image
from fashionseg.model import ModelFile, read_model
from fashionseg.preprocess import prepare

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

RANDOM_CLASSES = (5, 80)
RANDOM_NAMES = tuple(f"random R50-FPN, {classes} classes" for classes in RANDOM_CLASSES)

AP_TOLERANCE = 0.05
"""Points of AP (0..100)."""


def agreement_of(
    opened: Checkpoint, folder: Path, pictures: Sequence[NDArray[np.uint8]], tolerance: Tolerance
) -> tuple[ModelFile, list[Check]]:
    """Export a checkpoint into `folder` and compare it with Detectron2 on pictures (uint8 [H, W, 3], BGR)."""
    proto, _ = build(opened, ExportOptions())
    path = folder / f"{opened.path.stem}.onnx"
    path.write_bytes(proto.SerializeToString())
    file = read_model(path)
    return file, list(compare(opened.model, file, [prepare(one, file.spec) for one in pictures], tolerance))


def average_precision(model: Path, data: Path, images: Path | None) -> dict[str, float]:
    """AP of a model file or a checkpoint on a COCO set, in points."""
    from fashionseg.evaluation.run import EvaluateOptions, evaluate

    numbers = evaluate(EvaluateOptions(model=model, data=data, images=images, device="cpu")).metrics.flat()
    return {key: 100 * value for key in ("bbox/AP", "segm/AP") if (value := numbers[key]) is not None}


def measure(checkpoint: Path, data: Path, images: Path | None, random_photos: int) -> dict[str, Any]:
    """All three questions; see the module's text."""
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.photos import photo_paths

    tolerance = Tolerance()
    photos = [read_image(path) for path in photo_paths(read_coco(data), images)]
    result: dict[str, Any] = {"benchmark": "parity", "photos": len(photos), "tolerance": asdict(tolerance)}
    with tempfile.TemporaryDirectory() as folder:
        file, checks = agreement_of(open_checkpoint(checkpoint), Path(folder), photos, tolerance)
        result["checkpoint"] = [_row(check) for check in checks]
        ours = average_precision(file.path, data, images)
        theirs = average_precision(checkpoint, data, images)
        for classes in RANDOM_CLASSES:
            opened = random_r50_fpn(photos[0], classes)
            _, checks = agreement_of(opened, Path(folder), photos[:random_photos], tolerance)
            result[f"random R50-FPN, {classes} classes"] = [_row(check) for check in checks]
    result["ap"] = {"onnx": ours, "detectron2": theirs}
    result["ap_difference"] = {key: round(abs(ours[key] - theirs[key]), 4) for key in ours}
    matched = all(row["matched_share"] >= tolerance.matched for _, row in _rows(result))
    result["passed"] = matched and max(result["ap_difference"].values()) <= AP_TOLERANCE
    return result


def _rows(result: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [(part, row) for part in ("checkpoint", *RANDOM_NAMES) for row in result[part]]


def _row(check: Check) -> dict[str, Any]:
    pair = check.agreement
    most = max(pair.wanted, pair.found)
    share = pair.matched / most if most else 0.0
    return {
        "name": check.name,
        "pictures": check.pictures,
        **asdict(pair),
        "matched_share": share,
        "inexact": check.inexact,
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description="ONNX against Detectron2, detection by detection and in AP.")
    parser.add_argument("checkpoint", type=Path, help="a Detectron2 checkpoint with its config.yaml beside it")
    parser.add_argument("--data", type=Path, required=True, help="COCO annotations to measure on")
    parser.add_argument("--images", type=Path, help="folder of the photos (default: found from the annotations)")
    parser.add_argument("--random-photos", type=int, default=8, help="photos for the random R50-FPN (default 8)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    result = measure(options.checkpoint, options.data, options.images, options.random_photos)
    print(f"{'':44}{'pictures':>9}{'objects':>9}{'matched':>10}{'box px':>10}{'score':>10}{'mask':>10}")
    for part, row in _rows(result):
        errors = "".join(f"{row[key]:10.1e}" for key in ("box", "score", "mask"))
        name = f"{part}, {row['name']}"
        print(f"{name:44}{row['pictures']:9}{row['wanted']:9}{row['matched_share']:10.3%}{errors}")
    print(f"AP, points: {result['ap']}")
    result["machine"] = machine(0, "torch", "torchvision", "detectron2", "onnx", "onnxruntime-gpu", "numpy", "pillow")
    report(result, options.json)
    return 0 if result["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
