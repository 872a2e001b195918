"""Does a run that is killed again and again end with the same files as one that is left alone?

    python -m fashionseg.benchmarks.chaos --json benchmarks/results/chaos.json

200 drawn photos and two clips (the example with its sound; one of variable rate) are segmented with the embedded model
by `fashionseg segment`, once undisturbed, then in another folder where the process is killed with SIGKILL at 20 random
moments and the same command is given again each time. A quarter of the moments lie anywhere in the life of the process,
starting up and the midst of a video included; the others after a random number of further lines in the journal.
At every kill, what lies under a final name must be whole; at the end, JSON files must have the same bytes, videos the
same frames, and nothing may be noted twice; fails where not. A run that ends before its moment is compared too, and
the next begins in a new folder. POSIX only.
Knows nothing about how resuming works, but for the journal's lines.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fashionseg.benchmarks.bench.child import environment, python_module
from fashionseg.benchmarks.bench.machine import machine, report
from fashionseg.errors import FashionsegError, MediaError
from fashionseg.media.video_reader import VideoReader
from fashionseg.media.video_writer import PartWriter
from fashionseg.writers.folder import STATE
from fashionseg.writers.journal import read_records

if TYPE_CHECKING:
    from collections.abc import Callable


PHOTOS, KILLS = 200, 20
POLL_SECONDS = 0.005
PACKAGES = ("numpy", "opencv-python-headless", "av", "onnxruntime", "onnxruntime-gpu")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "clip.mp4"


class Chaos:
    """Kills runs of one command and compares what comes out."""

    def __init__(self, command: Callable[[Path], list[str]], work: Path, seed: int = 0) -> None:
        self._command = command
        self._work = work
        self._rng = random.Random(seed)
        self._whole = work / "undisturbed"
        self.kills: list[dict[str, Any]] = []
        self.faults: list[str] = []
        self.ended = 0
        self.seconds = 0.0
        self._lines = 0

    def run(self, kills: int) -> None:
        """An undisturbed run, then `kills` kills, then the end."""
        began = time.monotonic()
        self._finish(self._whole)
        self.seconds = time.monotonic() - began
        self._lines = _lines(self._whole)
        while len(self.kills) < kills:
            out = self._work / f"killed-{self.ended}"
            while len(self.kills) < kills and not self._killed(out, 2 * self._lines // kills):
                pass
            self._finish(out)
            self._compare(out)
            self.ended += 1

    def _killed(self, out: Path, most: int) -> bool:
        """Start, and kill after a while or after at most `most` further lines; whether it ended before that."""
        by_time = self._rng.random() < 0.25
        lines = _lines(out) + self._rng.randint(0, most)
        seconds = self._rng.uniform(0, self.seconds / 2) if by_time else self._rng.uniform(1, 2) * self.seconds
        moment = self._rng.uniform(0, 0.1)
        process = subprocess.Popen(
            self._command(out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment()
        )
        began = time.monotonic()
        while process.poll() is None and time.monotonic() < began + seconds and (by_time or _lines(out) <= lines):
            time.sleep(POLL_SECONDS)
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.kill()
        _, errors = process.communicate()
        if process.returncode == 0:
            return True
        if process.returncode != -signal.SIGKILL:
            raise FashionsegError(f"a run that was resumed ended with {process.returncode}: {errors.strip()[-500:]}")
        self.kills.append({"after_s": round(time.monotonic() - began, 2), **_state(out)})
        self.faults += [f"half-written after kill {len(self.kills)}: {path}" for path in half_written(out)]
        return False

    def _finish(self, out: Path) -> None:
        done = subprocess.run(self._command(out), capture_output=True, text=True, check=False, env=environment())
        if done.returncode:
            raise FashionsegError(f"a run ended with {done.returncode}: {done.stderr.strip()[-500:]}")

    def _compare(self, out: Path) -> None:
        self.faults += [f"{out.name}: {fault}" for fault in differences(self._whole, out)]
        self.faults += [f"{out.name}: {what} was done {times} times" for what, times in done_twice(out).items()]


def differences(whole: Path, other: Path) -> list[str]:
    """What differs between the files of two output folders: names, bytes, frames of videos."""
    names, others = _files(whole), _files(other)
    found = [f"{name} is only in one of them" for name in sorted(names ^ others)]
    for name in sorted(names & others):
        if name.suffix == ".mp4":
            if frames_of(whole / name) != frames_of(other / name):
                found.append(f"{name} has other frames")
        elif (whole / name).read_bytes() != (other / name).read_bytes():
            found.append(f"{name} has other bytes")
    return found


def _files(root: Path) -> set[Path]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path for path in found if path.parts[0] != STATE}


def frames_of(path: Path) -> list[tuple[Fraction, int]]:
    """Time and content of each frame, the content as a hash."""
    with VideoReader(path) as video:
        return [(frame.time, hash(frame.image.tobytes())) for frame in video]


def half_written(out: Path) -> list[Path]:
    """Files under a final name that are not whole."""
    return [path for path in sorted(out / name for name in _files(out)) if not _is_whole(path)] if out.is_dir() else []


def _is_whole(path: Path) -> bool:
    if path.suffix == ".jpg":
        data = path.read_bytes()
        return data.startswith(b"\xff\xd8") and data.endswith(b"\xff\xd9")
    try:
        if path.suffix == ".mp4":
            return bool(frames_of(path))
        json.loads(path.read_text())
    except (MediaError, ValueError):
        return False
    return True


def done_twice(out: Path) -> dict[str, int]:
    """Photos, videos and parts that the journal notes more than once."""
    records = [record for _, _, record in read_records(out / STATE / "journal")]
    counts = Counter(f"{r['t']} {r.get('s')} {r.get('part', '')}".strip() for r in records)
    return {what: times for what, times in counts.items() if times > 1}


def _lines(out: Path) -> int:
    """Lines of the journal."""
    journal = out / STATE / "journal"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def _state(out: Path) -> dict[str, int]:
    """How far a run had come when it was killed."""
    journal = out / STATE / "journal"
    kinds = Counter(record["t"] for _, _, record in read_records(journal)) if journal.is_file() else Counter()
    return {"photos": kinds["photo"], "parts": kinds["part"], "videos": kinds["video"]}


def make_sources(folder: Path, photos: int) -> None:
    """Drawn photos, the example clip, and a clip of variable rate made of its frames."""
    from fashionseg.data.synth import SynthOptions, write_synth

    write_synth(folder / "drawn", SynthOptions(photos, (320, 240), seed=5), processes=1)
    (folder / "drawn" / "annotations.json").unlink()
    shutil.copy(EXAMPLE, folder / "clip.mp4")
    with (
        VideoReader(EXAMPLE) as video,
        PartWriter(folder / "uneven.mp4", video.size_hw, Fraction(1, 100), Fraction(20)) as it,
    ):
        for number, frame in enumerate(video.frames(stride=2)):
            it.write(frame.image, 5 * number + (number % 3))


def main(arguments: list[str] | None = None) -> int:
    """Kill, compare, print and write the result; 1 where a file differs."""
    parser = argparse.ArgumentParser(description="Kill runs of `segment` and compare what the same command then gives.")
    parser.add_argument("--photos", type=int, default=PHOTOS, help=f"drawn photos (default {PHOTOS})")
    parser.add_argument("--kills", type=int, default=KILLS, help=f"kills at random moments (default {KILLS})")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default 0)")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_sources(work / "in", options.photos)

        def command(out: Path) -> list[str]:
            return python_module("fashionseg", "segment", str(work / "in"), "-o", str(out), "-q")

        chaos = Chaos(command, work, options.seed)
        chaos.run(options.kills)
    for fault in chaos.faults:
        print(fault, file=sys.stderr)
    print(f"{len(chaos.kills)} kills, {chaos.ended} runs brought to their end, {len(chaos.faults)} faults")
    result = {
        "benchmark": "chaos",
        "photos": options.photos,
        "clips": 2,
        "seed": options.seed,
        "undisturbed_s": round(chaos.seconds, 1),
        "kills": chaos.kills,
        "runs_brought_to_their_end": chaos.ended,
        "faults": chaos.faults,
    }
    report({**result, "machine": machine(0, *PACKAGES)}, options.json)
    return int(bool(chaos.faults))


if __name__ == "__main__":
    sys.exit(main())
