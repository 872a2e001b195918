"""Which backend runs a model on which device: `open_backend`.

Knows device names and what this machine has. A device that is asked for and cannot be had is an error that says what is
missing; only `auto` chooses by itself, and it says so when it passes over a GPU.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fashionseg.errors import DeviceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from fashionseg.backends import Backend
    from fashionseg.model import ModelFile

AUTO = "auto"


@dataclass(frozen=True, slots=True)
class Device:
    """A device by name.

    Attributes:
        kind: "auto" or one of `KINDS`, such as "cpu", "cuda" (ONNX Runtime on an NVIDIA GPU) or "trt" (TensorRT).
        index: which of them, from 0; 0 for a kind without numbers.
    """

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return f"{self.kind}:{self.index}" if self.kind != AUTO and KINDS[self.kind].indexed else self.kind


@dataclass(frozen=True, slots=True)
class Request:
    """What the caller of `open_backend` wants beyond a device; see there."""

    threads: int | None
    several_runs: bool
    min_score: float
    note: Callable[[str], None]
    stop: threading.Event | None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of device, by which a backend is chosen.

    Attributes:
        open: loads a model file onto the device of a number (0 for a kind without numbers).
        indexed: there may be several: "cuda:1".
        needs_gpu: an NVIDIA GPU, whose absence is told before anything else.
    """

    open: Callable[[ModelFile, int, Request], Backend]
    indexed: bool = False
    needs_gpu: bool = False


def parse_device(text: str) -> Device:
    """A device from "auto", "cpu", "cuda", "cuda:1", "trt", "trt:1", or "0" (which means "cuda:0").

    Raises:
        ValueError: none of these.
    """
    if text.isascii() and text.isdigit():
        return Device("cuda", int(text))
    name, colon, index = text.partition(":")
    if not colon and (name == AUTO or name in KINDS):
        return Device(name)
    if name in KINDS and KINDS[name].indexed and re.fullmatch("[0-9]{1,3}", index):
        return Device(name, int(index))
    *names, last = [AUTO, *(word for one, kind in KINDS.items() for word in [one, f"{one}:1"][: 1 + kind.indexed])]
    raise ValueError(f"{text!r} is not a device: use {', '.join(names)} or {last}")


def device_metavar() -> str:
    """What `--help` says that a device may be."""
    return "|".join([AUTO, *(f"{name}[:i]" if kind.indexed else name for name, kind in KINDS.items())])


def gpu_present() -> bool:
    """Whether this machine shows an NVIDIA GPU, usable or not."""
    return any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists() or _nvidia_on_windows()


def _nvidia_on_windows() -> bool:
    return Path("C:/Windows/System32/nvcuda.dll").exists()


def may_run_on_gpu(device: str | Device) -> bool:
    """Whether a device is a GPU, or may become one because this machine shows one."""
    kind = (parse_device(device) if isinstance(device, str) else device).kind
    return gpu_present() if kind == AUTO else KINDS[kind].needs_gpu


def check_device(device: str | Device) -> None:
    """Refuse a device that this machine plainly lacks, before any work is begun.

    Raises:
        DeviceError: a GPU was asked for, and there is none.
    """
    wanted = parse_device(device) if isinstance(device, str) else device
    if wanted.kind != AUTO and KINDS[wanted.kind].needs_gpu and not gpu_present():
        raise DeviceError(
            f"device {wanted} was asked for, but this machine shows no NVIDIA GPU; use --device cpu, "
            "or see `fashionseg doctor`"
        )


def open_backend(
    model: ModelFile,
    device: str | Device = "auto",
    *,
    threads: int | None = None,
    several_runs: bool = False,
    min_score: float = 0.0,
    note: Callable[[str], None] | None = None,
    stop: threading.Event | None = None,
) -> Backend:
    """Load `model` onto a device.

    Args:
        model: a verified model file.
        device: see `parse_device`; "auto" takes a GPU where one works, else the CPU, and TensorRT for an engine.
        threads: of the CPU; None lets the backend choose.
        several_runs: several threads will call `run`, and pictures a second matter more than the time of each: the
            backend may allow runs at the same time (`Backend.streams`), each with fewer threads.
        min_score: nobody reads detections that score less: the backend may leave them out, and does less on a CPU.
        note: receives a line when "auto" passes over a GPU that is present but cannot be used, and when an engine is
            built first, which takes minutes.
        stop: set from anywhere to give up building that engine.

    Raises:
        KeyboardInterrupt: `stop` was set.
        DeviceError: the device is not there or cannot be used.
        ModelError: the device cannot load the model.
    """
    wanted = check_model(model, device)
    tell, request = note or _silence, Request(threads, several_runs, min_score, note or _silence, stop)
    if wanted.kind != AUTO:
        return KINDS[wanted.kind].open(model, wanted.index, request)
    if gpu_present():
        try:
            return KINDS["cuda"].open(model, 0, request)
        except DeviceError as error:
            tell(f"a GPU is present but not used: {error}")
    return KINDS["cpu"].open(model, 0, request)


def _silence(message: str) -> None:
    """Nobody listens."""


def check_model(model: ModelFile, device: str | Device) -> Device:
    """The device that `open_backend` would use, where that is plain: an engine runs on TensorRT alone.

    Raises:
        DeviceError: this machine plainly lacks it, or the model does not run there.
    """
    wanted = parse_device(device) if isinstance(device, str) else device
    if model.engine is not None:
        if wanted.kind not in (AUTO, "trt"):
            raise DeviceError(f"{model.path} is a TensorRT engine, which does not run on {wanted}: use --device trt")
        wanted = Device("trt", wanted.index)
    check_device(wanted)
    return wanted


def _open_cpu(model: ModelFile, index: int, request: Request) -> Backend:
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    return OnnxRuntimeBackend.on_cpu(
        model, request.threads, several_runs=request.several_runs, min_score=request.min_score
    )


def _open_cuda(model: ModelFile, index: int, request: Request) -> Backend:
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    return OnnxRuntimeBackend.on_cuda(model, index)


def _open_trt(model: ModelFile, index: int, request: Request) -> Backend:
    from fashionseg.backends.trt import TensorRTBackend

    if model.engine is None:
        # The one import against the order of the layers: an engine that is missing is built by `export`.
        from fashionseg.backends.trt_library import installed_library
        from fashionseg.export.engine import EngineOptions
        from fashionseg.export.engine_cache import cached_engine

        options = EngineOptions(library=installed_library(), device=index)
        model = cached_engine(model, options, request.note, request.stop)
    return TensorRTBackend.load(model, index)


KINDS = {
    "cpu": Kind(_open_cpu),
    "cuda": Kind(_open_cuda, indexed=True, needs_gpu=True),
    "trt": Kind(_open_trt, indexed=True, needs_gpu=True),
}
"""Every kind of device by its name; a new backend is a line here."""
