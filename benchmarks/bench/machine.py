"""What a benchmark ran on: processor, memory, GPUs, threads, versions. Knows nothing about what is measured."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any


def machine(threads: int, *packages: str) -> dict[str, Any]:
    """Processor, memory, GPUs, threads used, load, system, Python, and versions of the packages that are installed.

    The load average is that of the last 1, 5 and 15 minutes, the measurement's own included: more than its threads says
    that others worked on the machine.
    """
    names = _processors()
    versions = {}
    for package in packages:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(names) or os.cpu_count(),
        "memory_gib": _memory_gib(),
        "gpus": gpu_query("name,driver_version,memory.total"),
        "threads": threads,
        "load_average": [round(load, 1) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": versions,
    }


def _processors() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)


def gpu_query(fields: str) -> list[str]:
    """A line of `nvidia-smi` for each GPU, values joined by commas; nothing where there is no such program."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={fields}", "--format=csv,noheader,nounits"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip().splitlines() if done.returncode == 0 else []


def gpu_memory_bytes(index: int) -> int | None:
    """Bytes in use, by all processes, on the GPU that CUDA calls number `index`; None where nobody tells."""
    number, lines = _number_of_gpu(index), gpu_query("memory.used")
    if number is None or number >= len(lines):
        return None
    used = lines[number].strip()
    return int(used) * 2**20 if used.isdecimal() else None  # "[N/A]" on machines whose memory is the GPU's, too


def _number_of_gpu(index: int) -> int | None:
    """Among all GPUs: CUDA_VISIBLE_DEVICES hides some from CUDA and none from `nvidia-smi`; None for names in it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return index
    names = [name.strip() for name in visible.split(",")]
    return int(names[index]) if index < len(names) and names[index].isdecimal() else None


def peak_memory_bytes() -> int | None:
    """The most memory this process has held so far; None where the system does not tell.

    `getrusage` will not do: a new process begins with the figure of the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next((line for line in status.read_text().splitlines() if line.startswith("VmHWM:")), None)
    return int(line.split()[1]) * 1024 if line else None


def report(result: dict[str, Any], path: Path | None) -> None:
    """Print a result as one JSON line, and write it to `path` where given."""
    print(json.dumps(result))
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
