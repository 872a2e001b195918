"""Measures in a child process: start-up and peak memory are those of a fresh process, and nothing is left over.

`measure_in_child("bench.model_speed", settings)` calls `measure(settings)` of the module
`fashionseg.benchmarks.bench.model_speed` there; settings and result are JSON. Knows nothing about what is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import fashionseg
from fashionseg import errors
from fashionseg.errors import FashionsegError

EXIT_INTERRUPTED = 130


def measure_in_child(module: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The result of `fashionseg.benchmarks.MODULE.measure(settings)` in a new process.

    The settings get "spawned", the time of `time.monotonic` when the process was started.

    Raises:
        FashionsegError: what it raised there, or it ended without a result.
    """
    command, pipe = python_module("fashionseg.benchmarks.bench.child", module), subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment()) as process:
        sent = json.dumps({**settings, "spawned": time.monotonic()}).encode()
        try:
            output, complaints = process.communicate(sent)
        except BaseException:
            process.kill()
            raise
    return _result(module, process.returncode, output.decode(), complaints.decode(errors="replace"))


def python_module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package in `environment()`.

    -P: modules that happen to lie in the current folder, such as an `av.py`, are not run instead of ours.
    """
    return [sys.executable, "-P", "-m", name, *arguments]


def environment() -> dict[str, str]:
    """This process's environment, in which a new Python finds the very package that runs here, installed or not."""
    folders = [str(Path(fashionseg.__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, folders))}


def _result(module: str, code: int, output: str, complaints: str) -> dict[str, Any]:
    lines = output.strip().splitlines()
    if code == EXIT_INTERRUPTED:
        raise KeyboardInterrupt
    if code or not lines:
        last = (complaints.strip().splitlines() or [f"exit code {code}"])[-1]
        what = f"was killed by signal {-code} (out of memory?)" if code < 0 else f"failed: {last}"
        raise FashionsegError(f"the measurement {module} {what}")
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        kind = getattr(errors, answer["kind"], FashionsegError)
        raise (FashionsegError if kind is errors.MissingExtraError else kind)(answer["error"])
    return answer


def main() -> int:
    """Read settings from standard input, measure, print the result as one line of JSON."""
    module, settings = sys.argv[1], json.load(sys.stdin)
    try:
        answer = import_module(f"fashionseg.benchmarks.{module}").measure(settings)
    except FashionsegError as error:
        answer = {"error": str(error), "kind": type(error).__name__}
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
