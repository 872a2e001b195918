"""The words of a run of `segment`: options, plan, progress, failures, summary.

Knows nothing about how a run is done.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fashionseg.writers.coco import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator
    from fractions import Fraction
    from pathlib import Path

    from fashionseg.media.frame import Source
    from fashionseg.pipeline import StageClock

SAVE_CHOICES = ("video", "frames", "images", "predictions")
HIDE_CHOICES = ("boxes", "labels", "masks")

GPU_BATCH = 8
"""Pictures a run on a GPU where the user says nothing. On a CPU a batch gains nothing: 1."""


@dataclass(frozen=True, slots=True)
class SegmentOptions:
    """What the user may choose; see `fashionseg segment --help`.

    Attributes:
        model: path of a model file; None for the embedded one.
        conf: keep detections with a score of at least this, 0..1.
        classes: keep these classes, by name or category id; empty for all.
        batch: pictures a run; None chooses by device.
        device: see `fashionseg.backends.registry.parse_device`.
        threads: of the CPU for the model; None for all cores.
        save: among `SAVE_CHOICES`.
        hide: among `HIDE_CHOICES`.
        vid_stride: of a video, take every so-manieth frame.
        start: of a video, seconds to begin at.
        end: of a video, seconds to end at.
        encoder: "auto", "x264" or "nvenc".
        gt: COCO ground truth whose image and category ids to use.
        restart: begin anew in a folder that holds another run.
    """

    model: Path | None = None
    conf: float = 0.5
    classes: tuple[str, ...] = ()
    batch: int | None = None
    device: str = "auto"
    threads: int | None = None
    save: frozenset[str] = frozenset({"video", "images", "predictions"})
    hide: frozenset[str] = frozenset()
    vid_stride: int = 1
    start: Fraction | None = None
    end: Fraction | None = None
    encoder: str = "auto"
    gt: Path | None = None
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that failed: its path, the reason in one sentence, and for a video the frames finished before."""

    path: str
    reason: str
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run would do.

    Attributes:
        sources: photos and videos in order.
        outputs: relative path of the annotated file of each.
        failures: arguments that lead to nothing.
        root: the output folder.
    """

    sources: tuple[Source, ...]
    outputs: tuple[str, ...]
    failures: tuple[Failure, ...]
    root: Path


@dataclass(slots=True)
class Summary:
    """What a run did.

    Attributes:
        plan: what there was to do.
        tally: what the output folder holds now, what was done before included; empty where the run was interrupted.
        failures: inputs that failed in this run, in order.
        interrupted: stopped before the end; the same command goes on.
        frames: photos and frames of this run alone.
        seconds: wall time of this run, from the plan to the last file.
        timings: seconds by kind of work, summed over threads.
        clocks: per stage of the pipeline.
        inexact: pictures for which the graph's non-maximum suppression did not converge.
        class_names: by contiguous class index.
        resumed: something was done before.
        model: name of the model.
        backend: what ran it, in words; empty where nothing ran.
    """

    plan: Plan
    tally: Tally = field(default_factory=Tally)
    failures: list[Failure] = field(default_factory=list)
    interrupted: bool = False
    frames: int = 0
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    clocks: list[StageClock] = field(default_factory=list)
    inexact: int = 0
    class_names: tuple[str, ...] = ()
    resumed: bool = False
    model: str = ""
    backend: str = ""


class Reporter(Protocol):
    """Hears what happens in a run; all calls come from the thread that called `segment`, except `note`."""

    def note(self, message: str) -> None:
        """One line the user should read."""

    def begin(self, plan: Plan, done: int) -> None:
        """The run begins; `done` inputs were finished by an earlier run."""

    def source(self, source: Source, frames: int | None, first: int) -> None:
        """Work on an input begins; `frames` as its file says (None: unknown), the first `first` are done already."""

    def advance(self, source: Source, detections: int) -> None:
        """A photo or frame is finished."""

    def failed(self, failure: Failure) -> None:
        """An input failed. One of which frames are kept is `finished` too, now or by an earlier run."""

    def finished(self, source: Source, output: Path | None) -> None:
        """An input is finished."""


class SilentReporter:
    """A `Reporter` that says nothing."""

    def note(self, message: str) -> None:
        """Nothing."""

    def begin(self, plan: Plan, done: int) -> None:
        """Nothing."""

    def source(self, source: Source, frames: int | None, first: int) -> None:
        """Nothing."""

    def advance(self, source: Source, detections: int) -> None:
        """Nothing."""

    def failed(self, failure: Failure) -> None:
        """Nothing."""

    def finished(self, source: Source, output: Path | None) -> None:
        """Nothing."""


class Timings:
    """Seconds by kind of work, added to from many threads."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def __call__(self, kind: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            with self._lock:
                self.seconds[kind] = self.seconds.get(kind, 0.0) + spent
