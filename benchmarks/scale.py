"""Do time and memory of `segment` depend on how much there is to do?

    python -m fashionseg.benchmarks.scale --json benchmarks/results/scale.json

Videos of 1, 10 and 60 minutes (2 frames a second, 320 x 180, made here) with 100 garments on every frame, then 100,
1,000 and 10,000 photos of 320 x 240 with 6; each run in a process of its own, so that its peak memory is its own. A
stub stands in for the model: what is measured is everything around it. Fails where a 60-minute video takes over 1.05
times the memory of a 1-minute one, or its frames differ in time by more than 5%.

Time counts from the first finished picture to the last file; start-up stands apart. Runs take turns, shortest first,
and the best of the rounds counts for time: neighbours on a machine only slow it down. Beside it stands the processor
time, which they disturb less.
Knows nothing about models.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends import RawBatch
from fashionseg.benchmarks.bench.child import measure_in_child
from fashionseg.benchmarks.bench.machine import machine, peak_memory_bytes, report
from fashionseg.cores import usable_cores
from fashionseg.media.images import encode_jpeg
from fashionseg.media.video_writer import PartWriter
from fashionseg.segment import SegmentOptions, SilentReporter, segment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.media.frame import Source
    from fashionseg.model import ModelFile, ModelSpec

MINUTES = (1, 10, 60)
PHOTOS = (100, 1_000, 10_000)
RATE = Fraction(2)
"""Frames a second: an hour then takes some minutes, and a minute has more frames than a part of the output, whose
predictions are held until it is closed."""

VIDEO_HW, PHOTO_HW = (180, 320), (240, 320)
GARMENTS = {"video": 100, "photos": 6}
MOST_MEMORY, MOST_TIME = 1.05, 1.05
PACKAGES = ("numpy", "opencv-python-headless", "av", "pillow")
VARIANTS = 16
"""Different outputs that the stub repeats."""


class StubBackend:
    """Finds the same number of garments in every picture: 5% to 30% of its sides, wavy, in places from a seed."""

    device = "cpu"
    description = "stub"
    streams = 2

    def __init__(self, spec: ModelSpec, garments: int) -> None:
        self.spec = spec
        rng = np.random.default_rng(0)
        corners = rng.uniform(0, 0.7, (VARIANTS, garments, 2))
        sides = rng.uniform(0.05, 0.3, (VARIANTS, garments, 2))
        self._boxes = np.concatenate([corners, corners + sides], axis=2).astype(np.float32)
        self._labels = rng.integers(0, len(spec.class_names), (VARIANTS, garments)).astype(np.int32)
        self._masks = np.stack([_blob(rng, spec.mask_side) for _ in range(garments)])
        self._scores = np.linspace(0.95, 0.55, garments, dtype=np.float32)

    def run(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
        """See `fashionseg.backends.Backend`; which boxes depends on the pixels alone."""
        count, garments = len(images), len(self._scores)
        variants = images[:, 0, 0].sum(axis=1, dtype=np.int64) % VARIANTS
        scale = np.concatenate([image_sizes[:, ::-1], image_sizes[:, ::-1]], axis=1).astype(np.float32)
        return RawBatch(
            np.full(count, garments, np.int32),
            self._boxes[variants] * scale[:, None],
            np.tile(self._scores, (count, 1)),
            self._labels[variants],
            np.broadcast_to(self._masks, (count, *self._masks.shape)),
            np.ones(count, np.int32),
        )

    def close(self) -> None:
        """Nothing to free."""

    def __enter__(self) -> StubBackend:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _blob(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """float32 [side, side], 0..1: a disc with a wavy edge."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    angle = np.arctan2(y, x)
    radius = 0.75 + 0.15 * np.sin(rng.integers(2, 7) * angle + rng.uniform(0, 6))
    blob: NDArray[np.float32] = np.clip((radius - np.hypot(x, y)) * 8 + 0.5, 0, 1).astype(np.float32)
    return blob


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Segment `sources` with a stub that finds `garments` in each picture (see `bench/child.py`)."""
    garments = settings["garments"]

    def open_backend(model: ModelFile) -> StubBackend:
        return StubBackend(model.spec, garments)

    watch = _Watch()
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        options = SegmentOptions(device="cpu")
        summary = segment(settings["sources"], out, options, watch, open_backend=open_backend)
        seconds, cpu = time.perf_counter() - watch.first, time.process_time() - watch.first_cpu
        written = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    return {
        "pictures": summary.frames,
        "startup_s": summary.seconds - seconds,
        "ms_a_picture": 1000 * seconds / (summary.frames - 1),
        "cpu_ms_a_picture": 1000 * cpu / (summary.frames - 1),
        "memory_bytes": peak_memory_bytes(),
        "written_bytes": written,
    }


class _Watch(SilentReporter):
    """When the first picture was finished: time, and processor time of the process."""

    first = 0.0
    first_cpu = 0.0

    def advance(self, source: Source, detections: int) -> None:
        if not self.first:
            self.first, self.first_cpu = time.perf_counter(), time.process_time()


def make_video(path: Path, minutes: int) -> None:
    """A video whose picture drifts; what is on it does not matter to the stub."""
    height, width = VIDEO_HW
    rng = np.random.default_rng(1)
    texture = np.repeat(np.repeat(rng.integers(40, 200, (height // 4, width, 3), np.uint8), 4, 0), 2, 1)
    with PartWriter(path, VIDEO_HW, 1 / RATE, RATE, preset="ultrafast") as writer:
        for index in range(int(60 * minutes * RATE)):
            left = index % width
            writer.write(np.ascontiguousarray(texture[:, left : left + width]), index)


def make_photos(folder: Path, count: int) -> None:
    """`count` photos of a few kinds."""
    folder.mkdir()
    rng = np.random.default_rng(2)
    height, width = PHOTO_HW
    pictures = [np.repeat(np.repeat(rng.integers(0, 255, (height // 8, width // 8, 3), np.uint8), 8, 0), 8, 1)] * 8
    files = [encode_jpeg(picture + np.uint8(3 * number)) for number, picture in enumerate(pictures)]
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(files[number % len(files)])


def _cases(folder: Path, minutes: list[int], photos: list[int]) -> list[tuple[str, int, Path]]:
    cases = []
    for length in minutes:
        cases.append(("video", length, folder / f"{length}.mp4"))
        make_video(cases[-1][2], length)
    for count in photos:
        cases.append(("photos", count, folder / str(count)))
        make_photos(cases[-1][2], count)
    return cases


def run(minutes: list[int], photos: list[int], rounds: int) -> list[dict[str, Any]]:
    """A row for each length and number."""
    with tempfile.TemporaryDirectory() as folder:
        cases = _cases(Path(folder), minutes, photos)
        found: dict[tuple[str, int], list[dict[str, Any]]] = {(kind, size): [] for kind, size, _ in cases}
        for _ in range(rounds):
            for kind, size, path in cases:
                settings = {"sources": [str(path)], "garments": GARMENTS[kind]}
                found[kind, size].append(measure_in_child("scale", settings))
                print(kind, size, found[kind, size][-1], file=sys.stderr)
    return [_row(kind, size, results) for (kind, size), results in found.items()]


def _row(kind: str, size: int, results: list[dict[str, Any]]) -> dict[str, Any]:
    times = [one["ms_a_picture"] for one in results]
    sizes = [one["memory_bytes"] / 1e6 for one in results]
    return {
        "kind": kind,
        "size": size,
        "pictures": results[0]["pictures"],
        "ms_a_picture": round(min(times), 3),
        "ms_a_picture_rounds": [round(ms, 3) for ms in times],
        "cpu_ms_a_picture": round(min(one["cpu_ms_a_picture"] for one in results), 3),
        "memory_mb": round(max(sizes), 1),
        "memory_mb_rounds": [round(size, 1) for size in sizes],
        "startup_s": round(min(one["startup_s"] for one in results), 3),
        "written_mb": round(results[0]["written_bytes"] / 1e6, 1),
    }


def ratios(rows: list[dict[str, Any]], kind: str) -> dict[str, float]:
    """Memory and time a picture of the largest over the smallest."""
    mine = sorted((row for row in rows if row["kind"] == kind), key=lambda row: row["size"])
    if len(mine) < 2:
        return {}
    first, last = mine[0], mine[-1]
    return {key: round(last[key] / first[key], 3) for key in ("memory_mb", "ms_a_picture", "cpu_ms_a_picture")}


def main(arguments: list[str] | None = None) -> int:
    """Measure, print a table and one JSON line; 1 where a long video takes more memory or time a frame."""
    parser = argparse.ArgumentParser(description="Time and memory against the length of a video, the number of photos.")
    parser.add_argument("--minutes", type=int, nargs="*", default=list(MINUTES), help="of videos (default 1 10 60)")
    parser.add_argument("--photos", type=int, nargs="*", default=list(PHOTOS), help="numbers (default 100 1000 10000)")
    parser.add_argument("--rounds", type=int, default=2, help="of all runs in turn (default 2)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    rows = run(options.minutes, options.photos, options.rounds)
    for row in rows:
        what = f"{row['size']} min" if row["kind"] == "video" else f"{row['size']:,} photos"
        times = f"{row['ms_a_picture']:8.2f} ms a picture ({row['cpu_ms_a_picture']:.2f} ms of a processor)"
        print(f"{what:>14}: {times}, peak {row['memory_mb']:.0f} MB")
    longest = {kind: ratios(rows, kind) for kind in GARMENTS}
    result = {"benchmark": "scale", "rows": rows, "largest_over_smallest": longest}
    report({**result, "machine": machine(usable_cores(), *PACKAGES)}, options.json)
    video = longest["video"]
    return int(bool(video) and (video["memory_mb"] > MOST_MEMORY or abs(video["ms_a_picture"] - 1) > MOST_TIME - 1))


if __name__ == "__main__":
    sys.exit(main())
