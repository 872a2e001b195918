"""What there is of an NVIDIA GPU: driver, CUDA, cuDNN, ONNX Runtime's provider, TensorRT, NVENC and NVDEC."""

from __future__ import annotations

import contextlib
import ctypes
import io
import shutil
import subprocess
import sys
from typing import Literal

from fashionseg.backends import registry
from fashionseg.doctor.finding import Finding, model_runs_on, version_of
from fashionseg.errors import FashionsegError, MissingExtraError

CUDA_REMEDY = "pip install 'fashionseg[cuda]'"
TENSORRT_REMEDY = "pip install 'fashionseg[tensorrt]'"
DRIVER_REMEDY = "install NVIDIA's driver (Debian, Ubuntu: apt install nvidia-driver), then restart"


def gpu() -> list[Finding]:
    """The GPU, its driver, and what ONNX Runtime needs of CUDA; one line where there is no GPU."""
    if not registry.gpu_present():
        return [Finding("GPU", None, "no NVIDIA GPU on this machine; models run on the CPU")]
    return [Finding("GPU", True, _gpu_names()), _driver(), *_cuda_libraries(), *_cuda_provider()]


def _gpu_names() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "an NVIDIA device, but no nvidia-smi: its driver may be missing"
    fields = "--query-gpu=name,driver_version,memory.total"
    done = subprocess.run(
        [program, fields, "--format=csv,noheader"], capture_output=True, text=True, timeout=20, check=False
    )
    return "; ".join(done.stdout.strip().splitlines()) or done.stderr.strip() or "nvidia-smi says nothing"


def _driver() -> Finding:
    driver = _load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    if driver is None:
        return Finding("driver", False, "CUDA's part of NVIDIA's driver does not load", DRIVER_REMEDY)
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) or not number.value:
        return Finding("driver", False, "NVIDIA's driver does not tell its version", DRIVER_REMEDY)
    return Finding("driver", True, f"runs CUDA up to {number.value // 1000}.{number.value % 1000 // 10}")


def _cuda_libraries() -> list[Finding]:
    """The libraries of CUDA and cuDNN that this build of ONNX Runtime is made for."""
    import onnxruntime

    major = str(getattr(onnxruntime, "cuda_version", "") or "").split(".")[0]
    if not major or sys.platform == "win32":
        return []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints advice of its own
        onnxruntime.preload_dlls()
    wanted = (
        ("CUDA runtime", f"libcudart.so.{major}", ("nvidia-cuda-runtime", f"nvidia-cuda-runtime-cu{major}")),
        ("cuDNN", "libcudnn.so.9", (f"nvidia-cudnn-cu{major}",)),
    )
    return [_library(topic, file, version_of(*packages)) for topic, file, packages in wanted]


def _library(topic: str, file: str, version: str | None) -> Finding:
    if _load(file) is None:
        return Finding(topic, False, f"{file} is not to be found", CUDA_REMEDY)
    return Finding(topic, True, f"{file}, {f'version {version}' if version else 'of the system'}")


def _load(file: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(file)
    except OSError:
        return None


def _cuda_provider() -> list[Finding]:
    try:
        return [Finding("CUDA", True, f"{model_runs_on('cuda')}: the embedded model runs")]
    except FashionsegError as error:
        return [Finding("CUDA", False, str(error), CUDA_REMEDY)]


def tensorrt() -> list[Finding]:
    """TensorRT, TensorRT-RTX where it is installed, and the CUDA bindings that both need."""
    findings = [_tensorrt("tensorrt")]
    if version_of("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"):
        findings.append(_tensorrt("tensorrt_rtx"))
    if any(finding.ok for finding in findings):
        version = version_of("cuda-bindings")
        text = f"cuda-bindings {version}" if version else "cuda-python is not installed: engines cannot run"
        findings.append(Finding("CUDA for Python", bool(version), text, "" if version else TENSORRT_REMEDY))
    return findings


def _tensorrt(library: Literal["tensorrt", "tensorrt_rtx"]) -> Finding:
    from fashionseg.backends.trt_library import NAMES, load_library
    from fashionseg.export.engine_build import offered_roi_align

    name = NAMES[library]
    try:
        module = load_library(library)
    except MissingExtraError:
        return Finding(name, None, "not installed", TENSORRT_REMEDY)
    except FashionsegError as error:
        return Finding(name, False, str(error), TENSORRT_REMEDY)
    by = "its plugin" if offered_roi_align(module) == "plugin" else "plain operators"
    return Finding(name, True, f"{module.__version__}; RoIAlign by {by}")


def video() -> list[Finding]:
    """The video encoder and decoder of the GPU; nothing where there is no GPU."""
    from fashionseg.media.encoders import nvenc_works

    if not registry.gpu_present():
        return []
    if nvenc_works():
        encoder = Finding("NVENC", True, "h264_nvenc encodes video where the model runs on the GPU")
    else:
        encoder = Finding("NVENC", None, "the GPU or its driver has no usable encoder; x264 encodes on the CPU")
    there = _load("nvcuvid.dll" if sys.platform == "win32" else "libnvcuvid.so.1") is not None
    found = "found" if there else "the driver brings no decoder"
    return [encoder, Finding("NVDEC", None, f"{found}; video is decoded on the CPU all the same")]
