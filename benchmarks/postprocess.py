"""What do the parts after the network cost: pasting masks, run-length encoding, drawing?

One 1080p frame with six garments, made from a seed, one thread; three ways, interleaved in one process:

- ours: `paste_masks`, `encode_rle`, `Annotator`;
- Detectron2's: `paste_masks_in_image`, pycocotools on the full frames as its `COCOEvaluator` does, `VideoVisualizer`;
- supervision's: masks resized into their boxes with OpenCV, pycocotools on the full frames, its `CompactMask` and its
  mask, box and label annotators.

What is timed is CPU time of the whole process: neighbours on the machine do not count, hidden threads do.
A way whose packages are not installed is left out with a word. Ours must set the pixels Detectron2 sets and write the
bytes pycocotools writes; the script fails where it does not. Run it with

    python -m fashionseg.benchmarks.postprocess [--json benchmarks/results/postprocess.json]

It knows nothing about models, files or video.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.detections import Detections
from fashionseg.drawing import Annotator
from fashionseg.masks import paste_masks
from fashionseg.rle import decode_rle, encode_rle

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SIZE_HW = (1080, 1920)
SEED = 7
CLASSES = ("short_sleeved_shirt", "long_sleeved_shirt", "long_sleeved_outwear", "shorts", "trousers")
BOXES = (  # three people side by side, one garment above and one below
    (212.4, 180.8, 561.7, 548.2, 1),
    (258.1, 520.6, 520.9, 1024.3, 4),
    (758.6, 96.3, 1189.2, 681.5, 2),
    (842.7, 600.1, 1117.4, 1071.8, 4),
    (1392.2, 213.9, 1703.5, 560.4, 0),
    (1421.8, 540.7, 1688.3, 788.6, 3),
)
REQUIRED_IOU = 0.995
PACKAGES = ("numpy", "opencv-python-headless", "pillow", "torch", "detectron2", "pycocotools", "supervision")


@dataclass(frozen=True, slots=True)
class Result:
    """What one way made of the frame: its three stages' seconds and its masks.

    Attributes:
        seconds: of pasting, encoding, drawing.
        counts: COCO run-length encodings, as text.
    """

    seconds: tuple[float, float, float]
    counts: list[str]


def make_frame() -> tuple[NDArray[np.uint8], Detections]:
    """The frame, uint8 [1080, 1920, 3] BGR, and its six garments."""
    rng = np.random.default_rng(SEED)
    coarse = rng.integers(60, 200, (5, 8, 3)).astype(np.uint8)
    smooth = np.asarray(cv2.resize(coarse, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC), np.uint8)
    frame = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
    boxes = np.array([box[:4] for box in BOXES], np.float32)
    labels = np.array([box[4] for box in BOXES], np.int32)
    scores = np.array([0.98, 0.95, 0.93, 0.88, 0.81, 0.64], np.float32)
    masks = np.stack([_garment(rng) for _ in BOXES])
    return frame, Detections(boxes, scores, labels, masks, SIZE_HW)


def _garment(rng: np.random.Generator) -> NDArray[np.float32]:
    """float32 [28, 28]: a body that fills most of its box, with wavy and soft edges, as a mask head gives."""
    y, x = np.mgrid[-1:1:28j, -1:1:28j]
    waves = cv2.GaussianBlur(rng.normal(size=(28, 28)), (0, 0), 2.0)
    height = 0.62 - np.abs(x) ** 3 - 0.6 * np.abs(y) ** 6 + 1.2 * waves
    mask: NDArray[np.float32] = (1 / (1 + np.exp(-12 * height))).astype(np.float32)
    return mask


def ours() -> Callable[[NDArray[np.uint8], Detections], Result]:
    """fashionseg."""
    annotator = Annotator(CLASSES)

    def run(frame: NDArray[np.uint8], detections: Detections) -> Result:
        start = time.process_time()
        pasted = paste_masks(detections)
        after_paste = time.process_time()
        counts = [encode_rle(mask, detections.size_hw) for mask in pasted]
        after_rle = time.process_time()
        annotator.draw(frame, detections, pasted)
        return _timed(start, after_paste, after_rle, counts)

    return run


def detectron2() -> Callable[[NDArray[np.uint8], Detections], Result]:
    """Detectron2 with pycocotools."""
    import pycocotools.mask
    import torch
    from detectron2.data import MetadataCatalog
    from detectron2.layers import paste_masks_in_image
    from detectron2.structures import Boxes, Instances
    from detectron2.utils.video_visualizer import VideoVisualizer

    torch.set_num_threads(1)
    catalog = MetadataCatalog.get("fashionseg_postprocess_benchmark").set(thing_classes=list(CLASSES))
    visualizer = VideoVisualizer(catalog)

    def run(frame: NDArray[np.uint8], detections: Detections) -> Result:
        start = time.process_time()
        boxes = Boxes(torch.from_numpy(detections.boxes))
        masks = paste_masks_in_image(torch.from_numpy(detections.masks), boxes, detections.size_hw)
        after_paste = time.process_time()
        rles = [
            pycocotools.mask.encode(np.array(mask[:, :, None].numpy(), order="F", dtype=np.uint8))[0] for mask in masks
        ]
        after_rle = time.process_time()
        instances = Instances(detections.size_hw)
        instances.pred_boxes = boxes
        instances.scores = torch.from_numpy(detections.scores)
        instances.pred_classes = torch.from_numpy(detections.labels)
        instances.pred_masks = masks
        visualizer.draw_instance_predictions(frame[:, :, ::-1], instances).get_image()
        return _timed(start, after_paste, after_rle, [rle["counts"].decode() for rle in rles])

    return run


def supervision() -> Callable[[NDArray[np.uint8], Detections], Result]:
    """supervision with OpenCV and pycocotools."""
    import pycocotools.mask
    import supervision as sv
    from supervision.detection.compact_mask import CompactMask  # draws in half the time of full masks

    annotators = (sv.MaskAnnotator(), sv.BoxAnnotator())
    tags = sv.LabelAnnotator()

    def run(frame: NDArray[np.uint8], detections: Detections) -> Result:
        start = time.process_time()
        masks = _resized_into_boxes(detections)
        after_paste = time.process_time()
        rles = [pycocotools.mask.encode(np.asfortranarray(mask)) for mask in masks]
        after_rle = time.process_time()
        found = sv.Detections(
            xyxy=detections.boxes,
            mask=CompactMask.from_dense(masks.view(np.bool_), detections.boxes, detections.size_hw),
            confidence=detections.scores,
            class_id=detections.labels.astype(int),
        )
        for annotator in annotators:
            frame = annotator.annotate(frame, found)
        texts = [
            f"{CLASSES[label]} {score:.2f}" for label, score in zip(detections.labels, detections.scores, strict=True)
        ]
        tags.annotate(frame, found, labels=texts)
        return _timed(start, after_paste, after_rle, [rle["counts"].decode() for rle in rles])

    return run


def _resized_into_boxes(detections: Detections) -> NDArray[np.uint8]:
    """uint8 [n, H, W], 0 or 1: each mask resized to its rounded box, the quick way many projects go."""
    masks = np.zeros((len(detections), *detections.size_hw), np.uint8)
    for full, mask, box in zip(masks, detections.masks, np.rint(detections.boxes).astype(int).tolist(), strict=True):
        x0, y0, x1, y1 = box
        full[y0:y1, x0:x1] = cv2.resize(mask, (x1 - x0, y1 - y0)) >= 0.5
    return masks


def _timed(start: float, after_paste: float, after_rle: float, counts: list[str]) -> Result:
    end = time.process_time()
    return Result((after_paste - start, after_rle - after_paste, end - after_rle), counts)


WAYS = {"fashionseg": ours, "detectron2": detectron2, "supervision": supervision}


def measure(repeats: int) -> dict[str, Any]:
    """Median milliseconds of each way, and how its masks compare with ours."""
    frame, detections = make_frame()
    ways = {}
    skipped = {}
    for name, prepare in WAYS.items():
        try:
            ways[name] = prepare()
        except ImportError as error:
            skipped[name] = f"not installed ({error})"
    runs: dict[str, list[Result]] = {name: [] for name in ways}
    for repeat in range(repeats + 2):
        for name, way in ways.items():
            result = way(frame.copy(), detections)
            if repeat >= 2:  # the first two warm caches up
                runs[name].append(result)
    mine = runs["fashionseg"][0].counts
    return {
        "ways": {name: _summary(results, mine) for name, results in runs.items()},
        "skipped": skipped,
        "rle_equal": _pycocotools_agrees(mine),
    }


def _summary(results: list[Result], mine: list[str]) -> dict[str, Any]:
    stages = [statistics.median(result.seconds[i] for result in results) * 1e3 for i in range(3)]
    totals = sorted(sum(result.seconds) * 1e3 for result in results)
    return {
        "paste_ms": round(stages[0], 3),
        "rle_ms": round(stages[1], 3),
        "draw_ms": round(stages[2], 3),
        "total_ms": round(statistics.median(totals), 3),
        "total_ms_p10_p90": [round(totals[len(totals) // 10], 3), round(totals[-1 - len(totals) // 10], 3)],
        "mean_iou_with_ours": round(float(np.mean(_ious(results[0].counts, mine))), 6),
    }


def _ious(ones: list[str], others: list[str]) -> list[float]:
    ious = []
    for one, other in zip(ones, others, strict=True):
        a, b = decode_rle(one, SIZE_HW).astype(bool), decode_rle(other, SIZE_HW).astype(bool)
        ious.append((a & b).sum() / (a | b).sum())
    return ious


def _pycocotools_agrees(counts: list[str]) -> bool | None:
    try:
        import pycocotools.mask
    except ImportError:
        return None
    masks = [decode_rle(text, SIZE_HW) for text in counts]
    return counts == [pycocotools.mask.encode(np.asfortranarray(mask))["counts"].decode() for mask in masks]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line; 1 where masks or encodings are not those of the references."""
    parser = argparse.ArgumentParser(description="Paste, encode and draw one 1080p frame with six garments.")
    parser.add_argument("--repeats", type=int, default=60, help="runs of each way (default 60)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    result = {"benchmark": "postprocess", **measure(options.repeats), "machine": machine(1, *PACKAGES)}
    ways = result["ways"]
    print(f"{'':12}{'paste':>9}{'RLE':>9}{'draw':>9}{'total':>9} ms   times ours   mean IoU with ours")
    for name, row in ways.items():
        row["times_ours"] = round(row["total_ms"] / ways["fashionseg"]["total_ms"], 1)
        numbers = "".join(f"{row[key]:9.2f}" for key in ("paste_ms", "rle_ms", "draw_ms", "total_ms"))
        print(f"{name:12}{numbers}      {row['times_ours']:8.1f}   {row['mean_iou_with_ours']:.5f}")
    for name, reason in result["skipped"].items():
        print(f"{name}: left out, {reason}")
    report(result, options.json)
    same = ways.get("detectron2", {"mean_iou_with_ours": 1.0})["mean_iou_with_ours"] >= REQUIRED_IOU
    return 0 if same and result["rle_equal"] is not False else 1


if __name__ == "__main__":
    sys.exit(main())
