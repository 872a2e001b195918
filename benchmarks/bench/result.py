"""What `fashionseg bench` measured: rows, their metrics by name, and bench.json.

Knows figures and files. Knows nothing about how they were measured or how they are shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from fashionseg.errors import DataError
from fashionseg.files import make_folder, write_bytes

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 2


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure measured in several rounds: its median, the least and the greatest."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Width of the range over the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Floor:
    """The least time of a run: see `fashionseg.benchmarks.bench.floor`.

    Attributes:
        flops: of a run.
        bytes: of a run.
        flops_per_s: the matrix peak.
        bytes_per_s: the copy bandwidth.
        ms: the least milliseconds of a run.
        times: the time a run really takes of the machine, over that.
    """

    flops: int
    bytes: int
    flops_per_s: float
    bytes_per_s: float
    ms: float
    times: float


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the pipeline.

    Attributes:
        name: decode, preprocess, infer, draw, write.
        threads: it has; of infer those that the backend lets run at the same time.
        busy: share of its threads' time at work, 0..1, waiting for a core included.
        cpu_ms: processor time of a frame, measured alone.
    """

    name: str
    threads: int
    busy: float
    cpu_ms: float

    @classmethod
    def of(cls, values: dict[str, Any]) -> Stage:
        """The inverse of `asdict`."""
        return cls(**values)


@dataclass(frozen=True, slots=True)
class EndToEnd:
    """A video from file to file.

    Attributes:
        fps: frames a second once the first batch is written: neither start-up nor loading the model is in it.
        frames: of the video that were used.
        bound_fps: what the cores (and the GPU) could do at most if nothing ever waited.
        limit: the stage the others wait for.
        memory_mb: peak of the process.
        stages: in order.
    """

    fps: Figure
    frames: int
    bound_fps: float
    limit: str
    memory_mb: float | None
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one device with one batch size.

    Attributes:
        model: its file, or "default".
        name: what it calls itself.
        precision: of the computation.
        device: where it ran.
        backend: library, version, threads.
        batch: pictures a run.
        input_hw: height and width of a picture as the model saw it.
        runs: how many were timed.
        latency_ms: of a run, percentiles over all rounds: "p50", "p90", "p99".
        latency_spread: range of each percentile over the rounds, over its median.
        pictures_per_s: of the model alone, as many runs at a time as `segment` has.
        startup_s: from the start of the process to the first result.
        memory_mb: peak of the process, host.
        gpu_memory_mb: that became used on the GPU; None without one.
        file_mb: size of the model file.
        floor: None where it could not be found.
        end_to_end: None where no video was run.
        ap: segm/AP on the data set, 0..1; None without one.
    """

    model: str
    name: str
    precision: str
    device: str
    backend: str
    batch: int
    input_hw: tuple[int, int]
    runs: int
    latency_ms: dict[str, float]
    latency_spread: dict[str, float]
    pictures_per_s: Figure
    startup_s: Figure
    memory_mb: float | None
    gpu_memory_mb: float | None
    file_mb: float
    floor: Floor | None = None
    end_to_end: EndToEnd | None = None
    ap: float | None = None

    def label(self) -> str:
        """A few words for people."""
        return f"{self.model}, {self.device}, {self.precision}, batch {self.batch}"

    def flat(self) -> dict[str, float | None]:
        """Every figure by the name that `--require` and `--compare` know it by."""
        end = self.end_to_end
        return {
            "fps": end.fps.median if end else None,
            "photos/s": self.pictures_per_s.median,
            "latency/p50": self.latency_ms["p50"],
            "latency/p90": self.latency_ms["p90"],
            "latency/p99": self.latency_ms["p99"],
            "startup": self.startup_s.median,
            "memory": self.memory_mb,
            "gpu-memory": self.gpu_memory_mb,
            "file-size": self.file_mb,
            "times-floor": self.floor.times if self.floor else None,
            "AP": self.ap,
        }

    @classmethod
    def of(cls, values: dict[str, Any]) -> Row:
        """The inverse of `asdict`."""
        end = values["end_to_end"]
        if end:
            stages = tuple(Stage.of(stage) for stage in end["stages"])
            end = EndToEnd(**{**end, "fps": Figure(**end["fps"]), "stages": stages})
        converted = {
            "input_hw": tuple(values["input_hw"]),
            "pictures_per_s": Figure(**values["pictures_per_s"]),
            "startup_s": Figure(**values["startup_s"]),
            "floor": Floor(**values["floor"]) if values["floor"] else None,
            "end_to_end": end,
        }
        return cls(**{**values, **converted})


UNITS = {
    "fps": "",
    "photos/s": "",
    "latency/p50": "ms",
    "latency/p90": "ms",
    "latency/p99": "ms",
    "startup": "s",
    "memory": "MB",
    "gpu-memory": "MB",
    "file-size": "MB",
    "times-floor": "",
    "AP": "",
}
"""Every metric with its unit."""

LARGER_IS_BETTER = frozenset({"fps", "photos/s", "AP"})


@dataclass(frozen=True, slots=True)
class BenchResult:
    """A whole measurement.

    Attributes:
        rows: in the order of models, devices, batches.
        source: the video, in words.
        repeat: rounds.
        machine: hardware and versions.
    """

    rows: tuple[Row, ...]
    source: str
    repeat: int
    machine: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As bench.json holds it; `metrics` repeats each row's figures by name."""
        rows = [{**asdict(row), "metrics": row.flat()} for row in self.rows]
        return {
            "benchmark": "bench",
            "format": FORMAT,
            "source": self.source,
            "repeat": self.repeat,
            "rows": rows,
            "machine": self.machine,
        }


def write_result(result: BenchResult, folder: Path) -> Path:
    """Write OUT/bench.json; returns its path."""
    path = folder / "bench.json"
    make_folder(folder)
    write_bytes(path, (json.dumps(result.to_json(), indent=1) + "\n").encode())
    return path


def read_result(path: Path) -> BenchResult:
    """Read a bench.json.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    try:
        if document["benchmark"] != "bench" or document["format"] != FORMAT:
            raise ValueError("of another kind or format")
        rows = [{key: value for key, value in row.items() if key != "metrics"} for row in document["rows"]]
        made = tuple(Row.of(row) for row in rows)
        return BenchResult(made, document["source"], document["repeat"], document["machine"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path} is not a bench.json that this release can read; measure again") from error
