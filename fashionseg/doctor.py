"""What this machine can run, found out by trying, with the command that adds what is missing.

Knows libraries, drivers and codecs. Changes nothing and opens no network connection.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg._version import __version__
from fashionseg.errors import FashionsegError

if TYPE_CHECKING:
    from collections.abc import Callable

TRAIN_REMEDY = 'see "Train" in the README: torch first, then Detectron2 with --no-build-isolation'


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what.
        ok: True: works; False: does not, and something is lost; None: not there, and need not be.
        text: what was found.
        remedy: the command or step that adds it; empty where nothing needs doing.
    """

    topic: str
    ok: bool | None
    text: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Look at everything; never raises."""
    return [finding for check in _CHECKS for finding in _guarded(check)]


def _guarded(check: Callable[[], list[Finding]]) -> list[Finding]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - a broken installation is a finding
        return [Finding(check.__name__.strip("_").replace("_", " "), False, f"{type(error).__name__}: {error}")]


def _machine() -> list[Finding]:
    from fashionseg.backends.onnxrt import usable_cores

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

    both = [name for name in ("onnxruntime", "onnxruntime-gpu") if _version(name)]
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
    return [*findings, Finding("ONNX Runtime", True, f"{onnxruntime.__version__}, CPU works")]


def _default_model() -> list[Finding]:
    from fashionseg.model import read_model

    try:
        spec = read_model().spec
    except FashionsegError as error:
        return [Finding("default model", False, str(error), "reinstall fashionseg")]
    return [Finding("default model", True, f"{spec.name}: {', '.join(spec.class_names)}")]


def _gpu() -> list[Finding]:
    from fashionseg.backends.registry import gpu_present

    if not gpu_present():
        return [Finding("GPU", None, "no NVIDIA GPU on this machine; models run on the CPU")]
    return [Finding("GPU", True, _gpu_names()), *_cuda_provider()]


def _gpu_names() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "an NVIDIA device, but no nvidia-smi: its driver may be missing"
    fields = "--query-gpu=name,driver_version,memory.total"
    done = subprocess.run(
        [program, fields, "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=False
    )
    return "; ".join(done.stdout.strip().splitlines()) or done.stderr.strip() or "nvidia-smi says nothing"


def _cuda_provider() -> list[Finding]:
    from fashionseg.backends.registry import open_backend
    from fashionseg.model import read_model

    try:
        with open_backend(read_model(), "cuda") as backend:
            return [Finding("CUDA", True, backend.description)]
    except FashionsegError as error:
        return [Finding("CUDA", False, str(error), "pip install 'fashionseg[cuda]'")]


def _tensorrt() -> list[Finding]:
    version = _version("tensorrt") or _version("tensorrt-cu12") or _version("tensorrt-cu13")
    if version:
        return [Finding("TensorRT", True, version)]
    return [Finding("TensorRT", None, "not installed", "pip install 'fashionseg[tensorrt]'")]


def _training() -> list[Finding]:
    torch, detectron2 = _version("torch"), _version("detectron2")
    found = ", ".join(f"{name} {v}" for name, v in (("torch", torch), ("Detectron2", detectron2)) if v)
    if torch and detectron2:
        return [Finding("training", True, found)]
    return [Finding("training", None, f"{found or 'torch and Detectron2 are not installed'}", TRAIN_REMEDY)]


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
    return [*findings, *_nvenc(codecs)]


def _nvenc(codecs: Any) -> list[Finding]:
    from fashionseg.backends.registry import gpu_present

    if not gpu_present() or "h264_nvenc" not in codecs:
        return []
    import av

    try:
        context = av.CodecContext.create("h264_nvenc", "w")
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.open()
    except (av.FFmpegError, OSError, ValueError):
        return [Finding("NVENC", None, "the GPU has no usable encoder; video is encoded on the CPU")]
    return [Finding("NVENC", True, "h264_nvenc")]


def _images() -> list[Finding]:
    import cv2
    import PIL

    return [Finding("photos", True, f"OpenCV {cv2.__version__}, Pillow {PIL.__version__}")]


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


_CHECKS = (_machine, _default_model, _onnx_runtime, _gpu, _tensorrt, _images, _video, _training)
