"""What this machine can run, found out by trying, with the command that adds what is missing.

Knows libraries and codecs; what there is of a GPU is in `gpu.py`. Changes nothing and opens no network connection.
"""

from __future__ import annotations

import os
import platform
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fashionseg._version import __version__
from fashionseg.doctor import gpu
from fashionseg.doctor.finding import Finding, import_problem, model_runs_on, version_of
from fashionseg.errors import TRAIN_INSTALL, FashionsegError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Finding", "examine"]


def examine() -> list[Finding]:
    """Look at everything; never raises."""
    with ThreadPoolExecutor(1) as pool:
        ahead = {check: pool.submit(_guarded, check) for check in _CHECKS if check in _ELSEWHERE}
        return [one for check in _CHECKS for one in (ahead[check].result() if check in ahead else _guarded(check))]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation is a finding
        return [Finding(check.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}")]


def _machine() -> list[Finding]:
    from fashionseg.cores import usable_cores

    text = f"fashionseg {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    memory = _memory_gib()
    cores = f"{usable_cores()} usable cores" + (f", {memory:.0f} GiB of memory" if memory else "")
    return [Finding("machine", True, f"{text}; {cores}")]


def _memory_gib() -> float | None:
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


def _onnx_runtime() -> list[Finding]:
    import onnxruntime

    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if version_of(name)]
    findings = []
    if len(both) == 2:
        findings.append(
            Finding(
                "ONNX Runtime",
                False,
                "both onnxruntime and onnxruntime-gpu are installed, which hides CUDA",
                "pip uninstall onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu",
            )
        )
    try:
        model_runs_on("cpu")
    except FashionsegError as error:
        return [*findings, Finding("ONNX Runtime", False, str(error), "pip install --force-reinstall onnxruntime-gpu")]
    return [*findings, Finding("ONNX Runtime", True, f"{onnxruntime.__version__}, runs the embedded model on the CPU")]


def _default_model() -> list[Finding]:
    from fashionseg.model import read_model

    try:
        spec = read_model().spec
    except FashionsegError as error:
        return [Finding("default model", False, str(error), "reinstall fashionseg")]
    return [Finding("default model", True, f"{spec.name}: {', '.join(spec.class_names)}")]


def _training() -> list[Finding]:
    torch, detectron2 = version_of("torch"), version_of("detectron2")
    found = ", ".join(f"{name} {v}" for name, v in (("torch", torch), ("Detectron2", detectron2)) if v)
    if not torch or not detectron2:
        return [Finding("training", None, f"{found or 'torch and Detectron2 are not installed'}", TRAIN_INSTALL)]
    problem = import_problem("torch", "detectron2._C")
    if problem:
        return [Finding("training", False, f"{found}, which do not work together: {problem}", TRAIN_INSTALL)]
    return [Finding("training", True, found)]


def _video() -> list[Finding]:
    import av

    codecs = av.codecs_available
    decoders = [name for name in ("h264", "hevc", "vp9", "av1", "mpeg4", "mjpeg", "prores") if name in codecs]
    findings = [Finding("video", True, f"PyAV {av.__version__}; reads {', '.join(decoders)} and more")]
    if "libx264" in codecs:
        findings.append(Finding("H.264 encoder", True, "libx264"))
    else:
        findings.append(
            Finding("H.264 encoder", False, "this build of PyAV has no libx264", "pip install --upgrade av")
        )
    return findings


def _images() -> list[Finding]:
    import cv2
    import PIL

    return [Finding("photos", True, f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}")]


_CHECKS = (
    _machine,
    _default_model,
    _onnx_runtime,
    gpu.gpu,
    gpu.tensorrt,
    _images,
    _video,
    gpu.video,
    _training,
)

_ELSEWHERE = (_training,)
"""Checks that wait for a process of their own: begun first, the others go on meanwhile."""
