"""Does a night's run over ten thousand photos, some of them bad, end well?

    python -m fashionseg.benchmarks.soak --json benchmarks/results/soak.json

1,000 and 10,000 photos of several formats and sizes, every twentieth bad in one of ten ways, are segmented by
`fashionseg segment` itself with a stub in the model's place; each run in a process of its own. Fails unless both end
with exit code 3, `failures.json` names exactly the bad photos, the larger run takes at most 1.05 times the memory of
the smaller, no handle stays open (in the second half there are moments with as few open files as in the first), and the
journal grows with the photos.
Knows nothing about models.
"""

from __future__ import annotations

import argparse
import io
import json
import struct
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.benchmarks.bench.child import measure_in_child
from fashionseg.benchmarks.bench.machine import machine, peak_memory_bytes, report
from fashionseg.benchmarks.scale import StubBackend
from fashionseg.cores import usable_cores
from fashionseg.segment import SegmentOptions, segment
from fashionseg.writers.folder import STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from fashionseg.model import ModelFile

PHOTOS = (1_000, 10_000)
BAD_EVERY = 20
GARMENTS = 6
MOST_MEMORY = 1.05
JOURNAL_TOLERANCE = 0.05
SAMPLE_SECONDS = 0.1
SIZES_HW = ((240, 320), (320, 240), (90, 90), (400, 300))
PACKAGES = ("numpy", "opencv-python-headless", "pillow")


def good_photos() -> list[tuple[str, bytes]]:
    """Suffix and contents of sound photos: formats, sizes, grey, alpha, turned by EXIF."""
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6
    rng = np.random.default_rng(3)
    found = []
    for height, width in SIZES_HW:
        coarse = rng.integers(0, 255, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
        pixels = np.repeat(np.repeat(coarse, 8, 0), 8, 1)[:height, :width]
        photo = Image.fromarray(pixels)
        for suffix, kind, mode, options in (
            (".jpg", "JPEG", "RGB", {"exif": turned}),
            (".jpg", "JPEG", "L", {}),
            (".png", "PNG", "RGBA", {}),
            (".webp", "WEBP", "RGB", {}),
        ):
            file = io.BytesIO()
            photo.convert(mode).save(file, kind, **options)
            found.append((suffix, file.getvalue()))
    return found


def bad_photos(good: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Suffix and contents of photos that nobody can read, each for another reason."""
    jpeg, png = good[0][1], good[2][1]
    damaged = bytearray(png)
    damaged[len(png) // 2] ^= 0xFF
    return [
        (".jpg", b""),
        (".jpg", jpeg[: len(jpeg) // 2]),
        (".jpg", jpeg[:3]),
        (".png", png[: len(png) // 2]),
        (".png", bytes(damaged)),
        (".png", _claiming(60_000, 60_000)),
        (".png", _claiming(3_000, 3_000)),
        (".jpg", b"<!doctype html><title>404</title>" * 9),
        (".webp", bytes(4000)),
        (".png", b"\0\0\0\x20ftypheic" + bytes(300)),
    ]


def _claiming(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(900))) + chunk(b"IEND", b"")
    )


def make_photos(folder: Path, count: int) -> set[str]:
    """Write `count` photos; the paths of the bad ones."""
    good = good_photos()
    bad = bad_photos(good)
    names = set()
    for number in range(count):
        is_bad = number % BAD_EVERY == 7
        suffix, data = bad[number // BAD_EVERY % len(bad)] if is_bad else good[number % len(good)]
        path = folder / f"{number // 500:03d}" / f"{number:06d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if is_bad:
            names.add(str(path))
    return names


class _Watch:
    """Counts this process's open files now and then."""

    def __init__(self, progress: Callable[[], int]) -> None:
        self._progress = progress
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.samples: list[tuple[int, int]] = []

    def __enter__(self) -> _Watch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.samples.append((self._progress(), sum(1 for _ in Path("/proc/self/fd").iterdir())))


def measure(settings: dict[str, Any]) -> dict[str, Any]:
    """Segment a folder with a stub for a model (see `bench/child.py`)."""
    done = [0]

    class Counting(StubBackend):
        def run(self, images: Any, image_sizes: Any) -> Any:
            done[0] += len(images)
            return super().run(images, image_sizes)

    def open_backend(model: ModelFile) -> Counting:
        return Counting(model.spec, GARMENTS)

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        began = time.perf_counter()
        with _Watch(lambda: done[0]) as watch:
            segment([settings["folder"]], out, SegmentOptions(device="cpu"), open_backend=open_backend)
        seconds = time.perf_counter() - began
        failures = json.loads((out / "failures.json").read_text())
        images = json.loads((out / "images.json").read_text())["images"]
        journal = (out / STATE / "journal").stat().st_size
    midway = [(at, handles) for at, handles in watch.samples if 0 < at < done[0]]
    halves = [[handles for at, handles in midway if (at > done[0] / 2) == late] for late in (False, True)]
    return {
        "failed": [failure["path"] for failure in failures],
        "photos": len(images),
        "seconds": seconds,
        "memory_bytes": peak_memory_bytes(),
        "journal_bytes": journal,
        "handles_least": [min(half, default=0) for half in halves],
        "handles_most": [max(half, default=0) for half in halves],
    }


def row(count: int) -> dict[str, Any]:
    """One run over `count` photos."""
    with tempfile.TemporaryDirectory() as name:
        bad = make_photos(Path(name), count)
        found = measure_in_child("soak", {"folder": name})
    return {
        "photos": count,
        "bad": len(bad),
        "finished": found["photos"],
        "exactly_the_bad_ones_failed": sorted(found["failed"]) == sorted(bad),
        "memory_mb": round(found["memory_bytes"] / 1e6, 1),
        "journal_bytes_a_photo": round(found["journal_bytes"] / count, 1),
        "handles_least_by_half": found["handles_least"],
        "handles_most_by_half": found["handles_most"],
        "seconds": round(found["seconds"], 1),
    }


def faults(rows: list[dict[str, Any]]) -> list[str]:
    """What is not as it should be."""
    found = []
    for one in rows:
        name = f"{one['photos']} photos"
        if not one["exactly_the_bad_ones_failed"] or one["finished"] != one["photos"] - one["bad"]:
            found.append(f"{name}: {one['finished']} finished, and other than the {one['bad']} bad ones failed")
        early, late = one["handles_least_by_half"]
        if late > early:
            found.append(f"{name}: never fewer than {late} files open in the second half, {early} in the first")
    first, last = rows[0], rows[-1]
    if last["memory_mb"] > MOST_MEMORY * first["memory_mb"]:
        found.append(f"memory {first['memory_mb']} MB, then {last['memory_mb']} MB")
    if abs(last["journal_bytes_a_photo"] / first["journal_bytes_a_photo"] - 1) > JOURNAL_TOLERANCE:
        found.append(f"journal {first['journal_bytes_a_photo']}, then {last['journal_bytes_a_photo']} bytes a photo")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run, print and write the result; 1 where something is not as it should be."""
    parser = argparse.ArgumentParser(description="Segment many photos, some of them bad, and look at what it takes.")
    parser.add_argument("--photos", type=int, nargs="+", default=list(PHOTOS), help="numbers (default 1000 10000)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    rows = []
    for count in options.photos:
        rows.append(row(count))
        print(rows[-1], file=sys.stderr)
    found = faults(rows)
    for fault in found:
        print(fault, file=sys.stderr)
    ratio = round(rows[-1]["memory_mb"] / rows[0]["memory_mb"], 3)
    result = {"benchmark": "soak", "rows": rows, "largest_over_smallest_memory": ratio, "faults": found}
    report({**result, "machine": machine(usable_cores(), *PACKAGES)}, options.json)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
