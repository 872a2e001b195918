"""How many frames a second does `segment` make, decode to encode, and how near is that to what the cores can do?

    python -m fashionseg.benchmarks.pipeline VIDEO --json benchmarks/results/pipeline.json
    python -m fashionseg.benchmarks.pipeline VIDEO --checkpoint model_final.pth      # against Detectron2, too

On the same frames, in turns, in one process:

- ours: `segment`, file to file: drawn video, masks as COCO, journal;
- the model alone, as many runs at a time as `segment` has;
- a plain loop: OpenCV reads a frame, the model runs on all cores, our masks and drawing, OpenCV writes it;
- Detectron2: OpenCV reads, `DefaultPredictor`, `VideoVisualizer`, OpenCV writes (left out without a checkpoint).

The bound is what the cores could do if nothing ever waited: cores over the sum of the stages' processor seconds of a
frame, each measured alone in the same round. Knows nothing about how the stages do their work.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from fashionseg.backends.registry import open_backend
from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.benchmarks.bench.model_speed import throughput
from fashionseg.benchmarks.bench.stages import bound_fps, clip_end, stages_alone
from fashionseg.cores import usable_cores
from fashionseg.drawing import Annotator
from fashionseg.inference import detections_of
from fashionseg.masks import paste_masks
from fashionseg.model import ModelFile, read_model
from fashionseg.preprocess import make_batch, prepare
from fashionseg.segment import SegmentOptions, segment
from fashionseg.writers.annotated import predictions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray

CONF = 0.5
PEER_FRAMES = 48
"""Frames that Detectron2 gets in a round: it is slow."""

MODEL_SECONDS = 2.0
PACKAGES = ("numpy", "opencv-python-headless", "av", "pillow", "onnxruntime-gpu", "onnxruntime", "torch", "detectron2")


@dataclass(frozen=True, slots=True)
class Clip:
    """The video and how many of its first frames are used."""

    path: Path
    frames: int


def ours(clip: Clip, model: ModelFile) -> float:
    """Frames a second of `segment`, on the CPU like all it is compared with."""
    end = clip_end(clip.path, clip.frames)
    options = SegmentOptions(model=model.path, conf=CONF, device="cpu", encoder="x264", end=end)
    with tempfile.TemporaryDirectory() as folder:
        summary = segment([clip.path], Path(folder) / "out", options)
    return summary.frames / summary.seconds


def model_alone(clip: Clip, model: ModelFile) -> float:
    """Frames a second of the model on frames that are in memory already."""
    pictures = [prepare(frame, model.spec) for frame in itertools.islice(_frames(clip), 16)]
    batches = [make_batch([picture], model.spec.size_divisor) for picture in pictures]
    with open_backend(model, "cpu", several_runs=True, min_score=CONF) as backend:
        return throughput(backend, batches, MODEL_SECONDS)


def plain_loop(clip: Clip, model: ModelFile) -> float:
    """Frames a second of one step after the other."""
    annotator = Annotator(model.spec.class_names)
    began = time.perf_counter()
    with open_backend(model, "cpu", min_score=CONF) as backend, _Writer(clip) as writer:
        for frame in _frames(clip):
            images, sizes = make_batch([prepare(frame, model.spec)], model.spec.size_divisor)
            raw = backend.run(images, sizes)
            height, width = sizes[0].tolist()
            found = detections_of(raw, 0, (height, width)).scaled_to((frame.shape[0], frame.shape[1]))
            found = found.filtered(CONF, None)
            pasted = paste_masks(found)
            predictions_of(found, pasted)
            annotator.draw(frame, found, pasted)
            writer.write(frame)
    return writer.frames / (time.perf_counter() - began)


def detectron2(clip: Clip, checkpoint: Path) -> Callable[[], float]:
    """Frames a second of Detectron2's predictor and visualizer, as its demo joins them."""
    from detectron2.data import MetadataCatalog
    from detectron2.engine import DefaultPredictor
    from detectron2.utils.video_visualizer import VideoVisualizer
    from detectron2.utils.visualizer import ColorMode

    from fashionseg.export.checkpoint import open_checkpoint

    opened = open_checkpoint(checkpoint)
    config = opened.config.clone()
    config.MODEL.WEIGHTS, config.MODEL.DEVICE = str(checkpoint), "cpu"
    config.MODEL.ROI_HEADS.SCORE_THRESH_TEST = CONF
    predictor = DefaultPredictor(config)
    catalog = MetadataCatalog.get("fashionseg_pipeline_benchmark").set(thing_classes=list(opened.classes.names))
    short = Clip(clip.path, min(clip.frames, PEER_FRAMES))

    def run() -> float:
        visualizer = VideoVisualizer(catalog, ColorMode.IMAGE)
        began = time.perf_counter()
        with _Writer(short) as writer:
            for frame in _frames(short):
                found = predictor(frame)["instances"].to("cpu")
                drawn = visualizer.draw_instance_predictions(frame[:, :, ::-1], found)
                writer.write(cv2.cvtColor(drawn.get_image(), cv2.COLOR_RGB2BGR))
        return writer.frames / (time.perf_counter() - began)

    return run


def _frames(clip: Clip) -> Iterator[NDArray[np.uint8]]:
    """uint8 [H, W, 3], BGR, read by OpenCV."""
    capture = cv2.VideoCapture(str(clip.path))
    try:
        for _ in range(clip.frames):
            good, frame = capture.read()
            if not good:
                return
            yield frame  # type: ignore[misc]  # OpenCV's stubs do not know the type of pixels
    finally:
        capture.release()


class _Writer:
    """OpenCV's video writer with its usual codec, into a temporary folder."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._writer: Any = None
        self.frames = 0

    def __enter__(self) -> _Writer:
        self._folder: AbstractContextManager[str] = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.__enter__()) / "out.mp4"
        return self

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Encode a frame."""
        if self._writer is None:
            height, width = frame.shape[:2]
            code = cv2.VideoWriter.fourcc(*"mp4v")
            self._writer = cv2.VideoWriter(str(self._path), code, 24, (width, height))
        self._writer.write(frame)
        self.frames += 1

    def __exit__(self, *exc_info: Any) -> None:
        if self._writer is not None:
            self._writer.release()
        self._folder.__exit__(*exc_info)


def measure(clip: Clip, model: ModelFile, checkpoint: Path | None, rounds: int) -> dict[str, Any]:
    """Frames a second of every way: median and all rounds; the bound, and ours as a part of it."""
    ways: dict[str, Callable[[], float]] = {
        "ours": lambda: ours(clip, model),
        "bound": lambda: bound(clip, model),
        "model_alone": lambda: model_alone(clip, model),
        "plain_loop": lambda: plain_loop(clip, model),
    }
    skipped = {}
    if checkpoint is None:
        skipped["detectron2"] = "no --checkpoint given"
    else:
        try:
            ways["detectron2"] = detectron2(clip, checkpoint)
        except ImportError as error:
            skipped["detectron2"] = f"not installed ({error})"
    plain_loop(Clip(clip.path, 4), model)  # warm-up
    figures: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            figures[name].append(way())
    return {
        "fps": {name: round(statistics.median(values), 2) for name, values in figures.items()},
        "rounds": {name: [round(value, 2) for value in values] for name, values in figures.items()},
        "ours_over": {name: _ratio(figures["ours"], values) for name, values in figures.items() if name != "ours"},
        "skipped": skipped,
    }


def bound(clip: Clip, model: ModelFile) -> float:
    """Frames a second that the cores could do if nothing ever waited."""
    with open_backend(model, "cpu", several_runs=True, min_score=CONF) as backend:
        return bound_fps(stages_alone(clip.path, backend, frames=clip.frames, conf=CONF), usable_cores())


def _ratio(ours: list[float], other: list[float]) -> float:
    """The median of the rounds' ratios."""
    return round(statistics.median(a / b for a, b in zip(ours, other, strict=True)), 3)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description="Frames a second of a video, decode to encode, on the CPU.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--model", type=Path, help="model file (default: the embedded one)")
    parser.add_argument("--checkpoint", type=Path, help="the Detectron2 checkpoint of the same model, for Detectron2")
    parser.add_argument("--frames", type=int, default=247, help="of the video, from its first (default 247)")
    parser.add_argument("--rounds", type=int, default=3, help="of all ways in turn (default 3)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    found = measure(Clip(options.video, options.frames), read_model(options.model), options.checkpoint, options.rounds)
    for name, fps in found["fps"].items():
        ratio = found["ours_over"].get(name)
        print(f"{name:12} {fps:7.2f} frames/s" + (f"   ours is {ratio:.2f} times that" if ratio else ""))
    for name, reason in found["skipped"].items():
        print(f"{name}: left out, {reason}")
    result = {"benchmark": "pipeline", "video": options.video.name, "frames": options.frames, **found}
    report({**result, "machine": machine(usable_cores(), *PACKAGES)}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
