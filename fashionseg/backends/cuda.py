"""The CUDA runtime through `cuda-python`: memory, streams, events and graphs of one GPU, every return code looked at.

Knows CUDA. Knows nothing about TensorRT or pictures.
"""

from __future__ import annotations

import ctypes
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.errors import DeviceError, FashionsegError, MissingExtraError, OutOfMemoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

MEMORY_ALLOCATION = 2
"""`cudaErrorMemoryAllocation`."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU: its name, and its compute capability such as "9.0"."""

    name: str
    compute_capability: str


@dataclass(frozen=True, slots=True)
class Memory:
    """A block of memory of the device, or of the host where it is pinned.

    Attributes:
        address: of its first byte.
        nbytes: its size.
    """

    address: int
    nbytes: int

    def array(self, shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
        """A view of pinned memory; valid until it is freed. Never of device memory."""
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if count > self.nbytes:
            raise ValueError(f"{shape} of {np.dtype(dtype)} does not fit into {self.nbytes} bytes")
        return np.frombuffer((ctypes.c_ubyte * count).from_address(self.address), dtype).reshape(shape)


class Cuda:
    """One GPU. What is made here is freed by `close`, which also ends what is under way."""

    def __init__(self, index: int = 0, runtime: Any = None) -> None:
        """Open GPU number `index`; `runtime` stands in for `cuda.bindings.runtime`.

        Raises:
            MissingExtraError: cuda-python is not installed.
            DeviceError: there is no such GPU, or its driver cannot be used.
        """
        self._runtime = runtime if runtime is not None else _import_runtime()
        self.index = index
        self._lock = threading.Lock()
        self._owned: list[tuple[Callable[[Any], None], Any]] = []
        try:
            self.use()
        except FashionsegError as error:
            raise DeviceError(f"GPU {index} cannot be used: {error}") from error

    def call(self, function: str, *arguments: Any) -> Any:
        """Call a function of the CUDA runtime; returns its values.

        Raises:
            OutOfMemoryError: the GPU, or the host for pinned memory, has none left.
            FashionsegError: it failed otherwise.
        """
        status, *values = getattr(self._runtime, function)(*arguments)
        if int(status):
            raise self._explained(function, status)
        return values[0] if len(values) == 1 else tuple(values)

    def _explained(self, function: str, status: Any) -> FashionsegError:
        self._runtime.cudaGetLastError()  # forget it, or the next call would report it again
        text = self._runtime.cudaGetErrorString(status)[-1]
        words = text.decode(errors="replace") if isinstance(text, bytes) else str(text)
        kind = OutOfMemoryError if int(status) == MEMORY_ALLOCATION else FashionsegError
        return kind(f"CUDA: {words} ({function})")

    def constant(self, enumeration: str, name: str) -> Any:
        """A member of one of CUDA's enumerations."""
        return getattr(getattr(self._runtime, enumeration), name)

    def use(self) -> None:
        """Make this GPU the one that calls of this thread mean."""
        self.call("cudaSetDevice", self.index)

    def gpu(self) -> Gpu:
        """Which GPU it is."""
        found = self.call("cudaGetDeviceProperties", self.index)
        name = found.name.decode(errors="replace") if isinstance(found.name, bytes) else str(found.name)
        return Gpu(name.rstrip("\0"), f"{found.major}.{found.minor}")

    # memory

    def device_memory(self, nbytes: int) -> Memory:
        """Memory of the GPU, aligned to 256 bytes."""
        return self._block("cudaMalloc", "cudaFree", max(nbytes, 1))

    def pinned_memory(self, nbytes: int) -> Memory:
        """Memory of the host that the GPU reads and writes by itself."""
        return self._block("cudaMallocHost", "cudaFreeHost", max(nbytes, 1))

    def _block(self, allocate: str, free: str, nbytes: int) -> Memory:
        memory = Memory(int(self.call(allocate, nbytes)), nbytes)
        self._own(lambda one: self.call(free, one.address), memory)
        return memory

    def _own(self, release: Callable[[Any], None], one: Any) -> None:
        with self._lock:
            self._owned.append((release, one))

    def free(self, memory: Memory) -> None:
        """Give back a block before `close` would."""
        with self._lock:
            place = next(place for place, (_, owned) in enumerate(self._owned) if owned is memory)
            release, _ = self._owned.pop(place)
        release(memory)

    def to_device(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """Copy from pinned memory, in the order of `stream`."""
        kind = self.constant("cudaMemcpyKind", "cudaMemcpyHostToDevice")
        self.call("cudaMemcpyAsync", target, source, nbytes, kind, stream)

    def to_host(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """Copy to pinned memory, in the order of `stream`."""
        kind = self.constant("cudaMemcpyKind", "cudaMemcpyDeviceToHost")
        self.call("cudaMemcpyAsync", target, source, nbytes, kind, stream)

    def rows_to_host(
        self, target: int, target_pitch: int, source: int, pitch: int, width: int, rows: int, stream: Any
    ) -> None:
        """Copy the first `width` bytes of each row to pinned memory; a pitch is the bytes from row to row."""
        kind = self.constant("cudaMemcpyKind", "cudaMemcpyDeviceToHost")
        self.call("cudaMemcpy2DAsync", target, target_pitch, source, pitch, width, rows, kind, stream)

    # order

    def stream(self) -> Any:
        """A queue of work that waits for no other."""
        made = self.call("cudaStreamCreateWithFlags", self.constant_flag("cudaStreamNonBlocking"))
        self._own(lambda one: self.call("cudaStreamDestroy", one), made)
        return made

    def constant_flag(self, name: str) -> int:
        """One of CUDA's flags, which stand in no enumeration."""
        return int(getattr(self._runtime, name))

    def event(self) -> Any:
        """A mark in a stream; a thread that waits for it sleeps and takes no core from decoding and drawing."""
        flags = self.constant_flag("cudaEventDisableTiming") | self.constant_flag("cudaEventBlockingSync")
        made = self.call("cudaEventCreateWithFlags", flags)
        self._own(lambda one: self.call("cudaEventDestroy", one), made)
        return made

    def record(self, event: Any, stream: Any) -> None:
        """Put a mark after what the stream was given so far."""
        self.call("cudaEventRecord", event, stream)

    def wait_on_device(self, stream: Any, event: Any) -> None:
        """What the stream is given from now on begins after the mark; the calling thread goes on."""
        self.call("cudaStreamWaitEvent", stream, event, 0)

    def wait(self, event: Any) -> None:
        """Wait until the mark is reached."""
        self.call("cudaEventSynchronize", event)

    def wait_for_stream(self, stream: Any) -> None:
        """Wait until the stream has done all it was given."""
        self.call("cudaStreamSynchronize", stream)

    # graphs

    @contextmanager
    def capturing(self, stream: Any) -> Iterator[Recording]:
        """Record what the block gives the stream, instead of doing it; `Recording.graph` is there afterwards.

        Raises:
            FashionsegError: something in the block cannot be recorded.
        """
        mode = self.constant("cudaStreamCaptureMode", "cudaStreamCaptureModeThreadLocal")
        self.call("cudaStreamBeginCapture", stream, mode)
        recording = Recording()
        try:
            yield recording
        except BaseException:
            self._runtime.cudaStreamEndCapture(stream)  # the block's own error is the one to tell
            self._runtime.cudaGetLastError()
            raise
        graph = self.call("cudaStreamEndCapture", stream)
        try:
            recording.graph = self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Do again what was recorded."""
        self.call("cudaGraphLaunch", graph, stream)

    def drop_graph(self, graph: Any) -> None:
        """Free what was recorded."""
        self.call("cudaGraphExecDestroy", graph)

    def close(self) -> None:
        """Free everything, last made first. Calling it twice is fine.

        Raises:
            FashionsegError: CUDA failed, often because of work given before; the rest is freed all the same.
        """
        owned, self._owned = self._owned, []
        problems = []
        for release, one in reversed(owned):
            try:
                release(one)
            except FashionsegError as error:
                problems.append(error)
        if problems:
            raise problems[0]


@dataclass(slots=True)
class Recording:
    """What `Cuda.capturing` recorded."""

    graph: Any = None


def _import_runtime() -> Any:
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise MissingExtraError("cuda-python", "tensorrt") from error
    return runtime
