"""Time and memory of `fashionseg data convert deepfashion2` on generated annotations in the official layout.

    python -m fashionseg.benchmarks.convert                         191,961 files, as many as the released training set
    python -m fashionseg.benchmarks.convert --files 20000 --keep /tmp/df2

Annotation files are as large as real ones (1.6 garments, 294-landmark layout, polygons of 20 to 90 points). Photos are
links to a few small JPEG files with photo-sized headers, as only headers are read. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.cores import usable_cores
from fashionseg.data.convert.classes import DEEPFASHION2_NAMES, deepfashion2_classes
from fashionseg.data.convert.deepfashion2 import Filters
from fashionseg.data.convert.deepfashion2_set import Options, convert_deepfashion2
from fashionseg.data.parallel import ordered_map

RELEASED_FILES = 191_961
LANDMARKS = (25, 33, 31, 39, 15, 15, 10, 14, 8, 29, 37, 19, 19)
"""Landmarks of each category, from evaluation/deepfashion2_to_coco.py of switchablenorms/DeepFashion2."""

CATEGORY_SHARES = (0.23, 0.12, 0.002, 0.043, 0.052, 0.006, 0.117, 0.176, 0.098, 0.055, 0.025, 0.057, 0.019)
PHOTO_SIZES = ((468, 624), (468, 702), (600, 800), (468, 468), (750, 1000))
LINKS_PER_PHOTO = 20_000
"""Hard links to one file; file systems allow some ten thousand."""


def annotation(rng: np.random.Generator, number: int, size_wh: tuple[int, int]) -> dict[str, Any]:
    """One annotation file in the official layout."""
    document: dict[str, Any] = {"source": str(rng.choice(["user", "shop"])), "pair_id": number // 6 + 1}
    for item in range(1, 1 + int(rng.choice([1, 2, 3], p=[0.45, 0.47, 0.08]))):
        document[f"item{item}"] = _item(rng, size_wh)
    return document


def _item(rng: np.random.Generator, size_wh: tuple[int, int]) -> dict[str, Any]:
    width, height = size_wh
    category = int(rng.choice(13, p=CATEGORY_SHARES))
    centre = rng.uniform(0.35, 0.65, 2) * size_wh
    radius = rng.uniform(0.10, 0.32, 2) * size_wh
    polygons = []
    for _ in range(int(rng.choice([1, 2, 3], p=[0.75, 0.18, 0.07]))):
        angle = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(20, 90))))
        wave = 1 + 0.15 * np.sin(3 * angle + rng.uniform(0, 6))
        points = centre + radius * np.stack([np.cos(angle), np.sin(angle)], 1) * wave[:, None]
        polygons.append(np.round(np.clip(points, 0, size_wh), 2).ravel().tolist())
        centre, radius = centre + rng.normal(0, 10, 2), radius * 0.3
    x, y = np.concatenate([p[::2] for p in polygons]), np.concatenate([p[1::2] for p in polygons])
    marks = np.stack([rng.integers(0, width, LANDMARKS[category]), rng.integers(0, height, LANDMARKS[category]),
                      rng.integers(0, 3, LANDMARKS[category])], 1)  # fmt: skip
    return {
        "segmentation": polygons,
        "scale": int(rng.choice([1, 2, 3], p=[0.26, 0.51, 0.23])),
        "viewpoint": int(rng.choice([1, 2, 3], p=[0.09, 0.76, 0.15])),
        "zoom_in": int(rng.choice([1, 2, 3], p=[0.52, 0.33, 0.15])),
        "landmarks": marks.ravel().tolist(),
        "style": int(rng.integers(0, 3)),
        "bounding_box": [int(x.min()), int(y.min()), int(np.ceil(x.max())), int(np.ceil(y.max()))],
        "category_id": category + 1,
        "occlusion": int(rng.choice([1, 2, 3], p=[0.47, 0.48, 0.05])),
        "category_name": DEEPFASHION2_NAMES[category].replace("_", " "),
    }


def generate(root: Path, files: int, processes: int) -> None:
    """Write `files` annotation files and their photos below `root`."""
    (root / "annos").mkdir(parents=True)
    (root / "image").mkdir()
    chunks = [(root, start, min(start + 1000, files)) for start in range(0, files, 1000)]
    for _ in ordered_map(_generate_chunk, chunks, processes):
        pass


def _generate_chunk(chunk: tuple[Path, int, int]) -> int:
    import cv2

    root, start, end = chunk
    rng = np.random.default_rng(start)
    for index in range(start, end):
        size_wh = PHOTO_SIZES[(index // LINKS_PER_PHOTO + index) % len(PHOTO_SIZES)]
        photo = root / f"photo-{index // LINKS_PER_PHOTO}-{size_wh[0]}x{size_wh[1]}-{start}.jpg"
        if not photo.exists():
            cv2.imwrite(str(photo), np.full((size_wh[1], size_wh[0], 3), 128, np.uint8))
        name = f"{index + 1:06d}"
        os.link(photo, root / "image" / f"{name}.jpg")
        (root / "annos" / f"{name}.json").write_text(json.dumps(annotation(rng, index, size_wh)))
    return end - start


class MemoryWatch:
    """Highest resident memory of this process and its children together, in MiB (Linux)."""

    def __init__(self) -> None:
        self.peak = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.2):
            self.peak = max(self.peak, sum(map(_resident, [os.getpid(), *_children(os.getpid())])))


def _children(process: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{process}/task").iterdir():
        direct = [int(word) for word in (task / "children").read_text().split()]
        found += [*direct, *(below for child in direct for below in _children_of_live(child))]
    return found


def _children_of_live(process: int) -> list[int]:
    return _children(process) if Path(f"/proc/{process}/task").exists() else []


def _resident(process: int) -> float:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    except OSError:
        return 0.0


CASES = {
    "source project": ("five", Filters(frozenset({1}), frozenset({2}), frozenset({1, 2}))),
    "five, all levels": ("five", Filters()),
    "thirteen, all levels": ("thirteen", Filters()),
}


def main(arguments: list[str] | None = None) -> int:
    """Generate, convert, print a table and one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=RELEASED_FILES)
    parser.add_argument("--processes", type=int, default=usable_cores())
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="generate here, or reuse what is here")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    args = parser.parse_args(arguments)
    folder = args.keep or Path(tempfile.mkdtemp(prefix="fashionseg-df2-"))
    try:
        root = folder / "train"
        if not root.exists():
            started = time.perf_counter()
            generate(root, args.files, args.processes)
            print(f"generated {args.files:,} files in {time.perf_counter() - started:.0f} s")
        size = sum(entry.stat().st_size for entry in os.scandir(root / "annos"))
        results = {name: _measure(root, folder, name, args) for name in CASES}
    finally:
        if args.keep is None:
            shutil.rmtree(folder)
    result = {"benchmark": "convert", "files": args.files, "annotation_mib": round(size / 2**20), "cases": results}
    report({**result, "machine": machine(args.processes, "numpy")}, args.json)
    return 0


def _cpu_seconds() -> float:
    """Processor time of this process and its finished children: what the work costs, however busy the machine is."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _measure(root: Path, folder: Path, name: str, args: argparse.Namespace) -> dict[str, float]:
    classes, filters = CASES[name]
    seconds, peaks, converted = [], [], None
    before = _cpu_seconds()
    for _ in range(args.repeat):
        started = time.perf_counter()
        with MemoryWatch() as memory:
            converted = convert_deepfashion2(
                root, folder / "out.json", Options(deepfashion2_classes(classes), filters), processes=args.processes
            )
        seconds.append(time.perf_counter() - started)
        peaks.append(memory.peak)
    assert converted is not None
    result = {
        "seconds": round(statistics.median(seconds), 1),
        "cpu_seconds": round((_cpu_seconds() - before) / args.repeat, 1),
        "peak_mib": round(max(peaks)),
        "photos": converted.photos_kept,
        "instances": converted.instances.total(),
        "out_mib": round((folder / "out.json").stat().st_size / 2**20),
    }
    print(f"{name:22} {result}")
    return result


if __name__ == "__main__":
    sys.exit(main())
