"""Fuzz the readers: damaged files by the hundred thousand, each reader in a child process that may crash.

    python tests/fuzz/run.py --inputs 100000 --json benchmarks/results/fuzz.json

What a reader may do with a file is take it or refuse it with the project's own error. Another exception, a crash, and a
file that takes longer than `PATIENCE_SECONDS` are faults; the file is kept, and number and seed make it again.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import mmap
import os
import pickle
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 60
MEMORY_BYTES = 6 * 2**30
_STATE = struct.Struct("<qqq")
"""Of a child: number of the present input (-1: none yet), how many it took, how many it refused."""


def find(name: str) -> Any:
    """A reader by name, or as MODULE:NAME."""
    module, _, attribute = name.rpartition(":")
    if module:
        return getattr(importlib.import_module(module), attribute)
    return importlib.import_module("fuzz.readers").READERS[name]


def child(name: str, seed: int, first: int, last: int, folder: Path) -> None:
    """Read inputs number `first` to `last - 1`."""
    _limit_memory()
    reader = find(name)
    seeds = pickle.loads((folder / "seeds").read_bytes())
    path = folder / reader.name
    with (folder / "state").open("r+b") as file, mmap.mmap(file.fileno(), _STATE.size) as state:
        taken = refused = 0
        for number in range(first, last):
            path.write_bytes(made(reader, seeds, seed, number))
            state[:] = _STATE.pack(number, taken, refused)
            try:
                reader.read(path)
                taken += 1
            except reader.errors:
                refused += 1
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                _keep(folder, path, number, _where(error))
        state[:] = _STATE.pack(last, taken, refused)


def made(reader: Any, seeds: list[bytes], seed: int, number: int) -> bytes:
    """Input `number`: the same for the same seed."""
    data: bytes = reader.damage(seeds, random.Random(f"{seed}/{number}"))
    return data


def _where(error: Exception) -> str:
    """The error and the last calls that led to it."""
    calls = traceback.extract_tb(error.__traceback__)[-4:]
    places = [f"{Path(call.filename).name}:{call.lineno} {call.name}" for call in calls]
    return f"{type(error).__name__}: {error}"[:300] + f" ({' > '.join(places)})"


def _limit_memory() -> None:
    with contextlib.suppress(ImportError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _keep(folder: Path, path: Path, number: int, reason: str) -> None:
    shutil.copyfile(path, folder / f"unhandled-{number}")
    with (folder / "unhandled.jsonl").open("a") as file:
        file.write(json.dumps({"number": number, "reason": reason}) + "\n")


class Supervisor:
    """Has a child read inputs, begins another where one died, and counts."""

    def __init__(self, name: str, folder: Path, seed: int = 0, patience: float = PATIENCE_SECONDS) -> None:
        self.name, self.folder, self.seed, self.patience = name, folder, seed, patience
        self.reader = find(name)
        self.taken = self.refused = self.done = 0
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "seeds").write_bytes(pickle.dumps(self.reader.seeds()))
        (folder / "unhandled.jsonl").touch()

    def run(self, inputs: int, seconds: float = float("inf")) -> dict[str, Any]:
        """Until `inputs` are read or `seconds` are over; the figures."""
        began = time.monotonic()
        while self.done < inputs and time.monotonic() - began < seconds:
            self._one_child(inputs, began + seconds)
        faults = [json.loads(line) for line in (self.folder / "unhandled.jsonl").read_text().splitlines()]
        return {
            "reader": self.name,
            "inputs": self.done,
            "taken": self.taken,
            "refused": self.refused,
            "unhandled": len(faults),
            "seconds": round(time.monotonic() - began, 1),
            "faults": faults[:20],
        }

    def _one_child(self, last: int, until: float) -> None:
        state = self.folder / "state"
        state.write_bytes(_STATE.pack(-1, 0, 0))
        numbers = map(str, (self.seed, self.done, last))
        words = [sys.executable, __file__, "--child", self.name, *numbers, str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
        log = self.folder / "errors"  # a pipe would fill up with what native libraries say, and the child would wait
        with log.open("wb") as file, subprocess.Popen(words, env=environment, stdout=file, stderr=file) as process:
            hung = self._watch(process, state, until)
            process.kill()
        errors = log.read_bytes()[-2000:].decode(errors="replace")
        number, taken, refused = _STATE.unpack(state.read_bytes())
        died = process.returncode not in (0, -signal.SIGKILL)
        if died and not 0 <= number < last:
            raise RuntimeError(f"the child of {self.name} ended badly: {errors}")
        self.taken += taken
        self.refused += refused
        self.done = max(number, self.done)
        if hung or died:
            reason = f"hung for {self.patience} s" if hung else f"ended with {process.returncode}: {errors}"
            _keep(self.folder, self.folder / self.reader.name, number, reason)
            self.done += 1

    def _watch(self, process: Any, state: Path, until: float) -> bool:
        """Until the child ends or the time is over; whether it hangs over an input."""
        number, since = -1, time.monotonic()
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(min(0.2, self.patience / 4))
            now = _STATE.unpack(state.read_bytes())[0]
            if now != number:
                number, since = now, time.monotonic()
            elif number >= 0 and time.monotonic() - since > self.patience:
                return True
        return False


def _fuzzed(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """The figures of one reader; its faults are kept."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        row = Supervisor(name, Path(folder), options.seed).run(options.inputs)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for path in Path(folder).glob("unhandled-*"):
                shutil.copyfile(path, options.keep / f"{name}-{path.name.removeprefix('unhandled-')}")
    return {**row, "seed": options.seed}


def _write(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    """Print and write the figures so far; those of other readers that the file holds stay."""
    from fashionseg.benchmarks.bench.machine import machine, report

    ours = {row["reader"] for row in rows}
    before = json.loads(options.json.read_text())["rows"] if options.json and options.json.exists() else []
    packages = ("opencv-python-headless", "pillow", "av", "onnx", "protobuf", "click")
    all_rows = [*(row for row in before if row["reader"] not in ours), *rows]
    report({"benchmark": "fuzz", "rows": all_rows, "machine": machine(1, *packages)}, options.json)


def main() -> int:
    """Fuzz, print and write the figures; 1 where a reader has a fault."""
    sys.path.insert(0, str(TESTS))
    if sys.argv[1:2] == ["--child"]:
        name, seed, first, last, folder = sys.argv[2:]
        child(name, int(seed), int(first), int(last), Path(folder))
        return 0
    parser = argparse.ArgumentParser(description="Fuzz the readers of strangers' files.")
    parser.add_argument("--readers", nargs="*", help="default: all")
    parser.add_argument("--inputs", type=int, default=100_000, help="of each reader (default 100000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files that a reader has a fault with")
    parser.add_argument("--json", type=Path, help="also write the result to this file")
    options = parser.parse_args()
    names = options.readers or list(importlib.import_module("fuzz.readers").READERS)
    rows = []
    for name in names:
        rows.append(_fuzzed(name, options))
        print({key: value for key, value in rows[-1].items() if key != "faults"}, file=sys.stderr, flush=True)
        for fault in rows[-1]["faults"]:
            print(f"input {fault['number']}: {fault['reason']}", file=sys.stderr, flush=True)
        _write(rows, options)
    return int(any(row["unhandled"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
