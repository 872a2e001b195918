"""`fashionseg bench`: models on devices with batch sizes, each measured in rounds, each time in a process of its own.

The rounds go through all rows before the next begins, so that a machine that gets slower or faster does so for all;
medians are taken over the rounds, and their spread is told. Knows the plan of a measurement; the figures come from
`model_speed.py` and `pipeline_speed.py`. Knows nothing about terminals.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import numpy as np

from fashionseg.backends.registry import (
    AUTO,
    check_device,
    check_model,
    may_run_on_gpu,
    open_backend,
    parse_device,
)
from fashionseg.benchmarks.bench.child import measure_in_child
from fashionseg.benchmarks.bench.machine import machine
from fashionseg.benchmarks.bench.result import BenchResult, EndToEnd, Figure, Floor, Row, Stage
from fashionseg.cores import usable_cores
from fashionseg.model import ModelFile, read_model
from fashionseg.segment.run import default_batch

DEFAULT_MODEL = "default"
"""The name of the embedded model."""

FEWEST_FRAMES = 24
PERCENTILES = (50, 90, 99)
PACKAGES = (
    "fashionseg",
    "numpy",
    "onnxruntime-gpu",
    "onnxruntime",
    "tensorrt",
    "opencv-python-headless",
    "av",
    "pillow",
)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure.

    Attributes:
        models: model files; "default" is the embedded one.
        devices: names as `--device` takes them.
        batches: pictures a run; None: as many as `segment` takes on the device.
        source: a video; None for a drawn one.
        data: COCO annotations, for AP; None for no AP.
        images: folder of their photos.
        repeat: rounds.
        seconds: of timed runs of each model in a round, for latency and for throughput each.
        longest_s: of a run over the video, about; the rest of it is left out.
        threads: CPU threads; None for all cores.
    """

    models: tuple[str, ...] = (DEFAULT_MODEL,)
    devices: tuple[str, ...] = ("auto",)
    batches: tuple[int, ...] | None = None
    source: Path | None = None
    data: Path | None = None
    images: Path | None = None
    repeat: int = 3
    seconds: float = 2.0
    longest_s: float = 12.0
    threads: int | None = None


class Reporter(Protocol):
    """Hears how far a measurement is."""

    def note(self, message: str) -> None:
        """One line the user should read."""

    def begin(self, steps: int) -> None:
        """The measurement begins."""

    def step(self, what: str) -> None:
        """A step begins."""


class SilentReporter:
    """A `Reporter` that says nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def begin(self, steps: int) -> None:
        """Nothing."""

    def step(self, what: str) -> None:
        """Nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A row to be measured."""

    model: str
    device: str
    batch: int

    @property
    def path(self) -> str | None:
        """The model's file; None for the embedded one."""
        return None if self.model == DEFAULT_MODEL and not Path(self.model).exists() else self.model

    def settings(self, options: BenchOptions, source: Path, **more: Any) -> dict[str, Any]:
        """For a measurement in a child process."""
        common = {"model": self.path, "device": self.device, "batch": self.batch, "threads": options.threads}
        return {**common, "source": str(source), **more}


def bench(options: BenchOptions, reporter: Reporter | None = None) -> BenchResult:
    """Measure.

    Raises:
        ModelError: a model file is missing or unusable.
        DeviceError: a device is not there.
        MediaError: the video cannot be read.
        FashionsegError: a measurement failed.
    """
    reporter = reporter or SilentReporter()
    cases = _checked_cases(options, reporter)
    evaluations = len(options.models) * len(options.devices) if options.data else 0
    reporter.begin(2 * len(cases) * options.repeat + evaluations)
    with tempfile.TemporaryDirectory() as folder:
        _build_engines(options, reporter)
        source = options.source or _drawn_clip(Path(folder), reporter)
        frames: dict[Case, int] = {}
        rounds = [
            [_measured(number, case, frames, options, source, reporter) for case in cases]
            for number in range(options.repeat)
        ]
    accuracies = _accuracies(options, reporter)
    rows = tuple(
        _row(case, [one[i] for one in rounds], accuracies.get((case.model, case.device)))
        for i, case in enumerate(cases)
    )
    words = str(options.source) if options.source else "a drawn clip of 1280 x 720"
    return BenchResult(rows, words, options.repeat, machine(options.threads or usable_cores(), *PACKAGES))


def _checked_cases(options: BenchOptions, reporter: Reporter) -> list[Case]:
    """All combinations; what cannot be measured is met here, before anything takes time."""
    from fashionseg.media.video_reader import VideoReader

    for device in options.devices:
        check_device(device)
    files = {model: read_model(Case(model, "cpu", 1).path) for model in options.models}
    for model in options.models:
        for device in options.devices:
            check_model(files[model], device)
    if options.source is not None:
        VideoReader(options.source).close()
    cases = [
        Case(model, device, batch)
        for model in options.models
        for device in options.devices
        for batch in options.batches or (_usual_batch(files[model], device, reporter),)
    ]
    if options.data is not None:
        _evaluate_options(cases[0], options)
    return cases


def _usual_batch(model: ModelFile, device: str, reporter: Reporter) -> int:
    """Pictures a run that `segment` takes: where it chooses the device itself, that of the device it gets."""
    if parse_device(device).kind != AUTO or not may_run_on_gpu(device):
        return default_batch(device)
    with open_backend(model, device, note=reporter.note) as backend:
        return default_batch(backend.device)


def _build_engines(options: BenchOptions, reporter: Reporter) -> None:
    """Let TensorRT build what it needs before anything is timed: it takes minutes, once."""
    for device in options.devices:
        if parse_device(device).kind == "trt":
            for model in options.models:
                open_backend(read_model(Case(model, device, 1).path), device, note=reporter.note).close()


def _drawn_clip(folder: Path, reporter: Reporter) -> Path:
    from fashionseg.benchmarks.bench.clip import write_panning_clip

    reporter.note("no --source given: a clip of 1280 x 720 is drawn for the measurement")
    path = folder / "drawn.mp4"
    write_panning_clip(path)
    return path


def _measured(
    number: int, case: Case, frames: dict[Case, int], options: BenchOptions, source: Path, reporter: Reporter
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A case once: the model alone, then the whole pipeline; `frames` of the video as the first round decides."""
    where = f"round {number + 1} of {options.repeat}: {case.model}, {case.device}, batch {case.batch}"
    reporter.step(f"{where}, model")
    alone = measure_in_child("bench.model_speed", case.settings(options, source, seconds=options.seconds, floor=True))
    wanted = int(options.longest_s * alone["pictures_per_s"])
    count = frames.setdefault(case, max(FEWEST_FRAMES, 4 * case.batch, wanted))
    reporter.step(f"{where}, video")
    video = measure_in_child("bench.pipeline_speed", case.settings(options, source, frames=count, alone=number == 0))
    return alone, video


def _row(case: Case, rounds: list[tuple[dict[str, Any], dict[str, Any]]], accuracy: float | None) -> Row:
    models = [model for model, _ in rounds]
    first = models[0]
    latencies = [np.array(model["latencies_ms"]) for model in models]
    samples = np.concatenate(latencies)
    return Row(
        model=case.model,
        name=first["name"],
        precision=first["precision"],
        device=first["device"],
        backend=first["backend"],
        batch=case.batch,
        input_hw=tuple(first["input_hw"]),
        runs=len(samples),
        latency_ms={f"p{p}": float(np.percentile(samples, p)) for p in PERCENTILES},
        latency_spread={
            f"p{p}": figure([float(np.percentile(one, p)) for one in latencies]).spread for p in PERCENTILES
        },
        pictures_per_s=figure([model["pictures_per_s"] for model in models]),
        startup_s=figure([model["startup_s"] for model in models]),
        memory_mb=_megabytes([model["memory_bytes"] for model in models]),
        gpu_memory_mb=_megabytes([model["gpu_memory_bytes"] for model in models]),
        file_mb=first["file_bytes"] / 1e6,
        floor=_floor(models),
        end_to_end=_end_to_end([video for _, video in rounds]),
        ap=accuracy,
    )


def figure(values: list[float]) -> Figure:
    """The figure of several rounds."""
    return Figure(median(values), min(values), max(values))


def _megabytes(sizes: list[int | None]) -> float | None:
    known = [size for size in sizes if size is not None]
    return max(known) / 1e6 if known else None


def _floor(models: list[dict[str, Any]]) -> Floor | None:
    """The floor with the best machine of all rounds: neighbours only ever make it slower."""
    floors = [model["floor"] for model in models]
    if None in floors:
        return None
    flops_per_s = max(one["flops_per_s"] for one in floors)
    bytes_per_s = max(one["bytes_per_s"] for one in floors)
    flops, size = floors[0]["flops"], floors[0]["bytes"]
    ms = 1000 * max(flops / flops_per_s, size / bytes_per_s)
    run_ms = 1000 * models[0]["batch"] / median([model["pictures_per_s"] for model in models])
    return Floor(flops, size, flops_per_s, bytes_per_s, ms, run_ms / ms)


def _end_to_end(videos: list[dict[str, Any]]) -> EndToEnd:
    alone = videos[0]["alone"]
    stages = tuple(
        Stage(clock["stage"], clock["threads"], median([_busy(video, i) for video in videos]), cpu_ms)
        for i, (clock, cpu_ms) in enumerate(zip(videos[0]["stages"], alone["cpu_ms"].values(), strict=True))
    )
    limit = max(stages, key=lambda stage: stage.busy).name
    fps = figure([video["fps"] for video in videos])
    memory = _megabytes([video["memory_bytes"] for video in videos])
    return EndToEnd(fps, videos[0]["frames"], alone["bound_fps"], limit, memory, stages)


def _busy(video: dict[str, Any], stage: int) -> float:
    busy: float = video["stages"][stage]["busy"]
    return busy


def _evaluate_options(case: Case, options: BenchOptions) -> Any:
    """Also finds out whether the data set and its photos are there."""
    from fashionseg.data.coco import read_coco
    from fashionseg.evaluation.photos import photo_paths
    from fashionseg.evaluation.run import EvaluateOptions

    assert options.data is not None
    photo_paths(read_coco(options.data), options.images)
    path = Path(case.model)
    return EvaluateOptions(path, data=options.data, images=options.images, device=case.device, threads=options.threads)


def _accuracies(options: BenchOptions, reporter: Reporter) -> dict[tuple[str, str], float | None]:
    """segm/AP by model and device."""
    if options.data is None:
        return {}
    from fashionseg.evaluation.run import evaluate

    found: dict[tuple[str, str], float | None] = {}
    for model in options.models:
        for device in options.devices:
            reporter.step(f"{model}, {device}, AP")
            evaluation = evaluate(_evaluate_options(Case(model, device, 1), options))
            found[model, device] = evaluation.metrics.flat().get("segm/AP")
    return found
