"""Runs a TensorRT engine on an NVIDIA GPU.

Two buffers take turns: while the engine computes on one batch, the next is copied up and the last comes back. All
computing happens on one stream, in order, so that every execution context can share one workspace.
Knows TensorRT's runtime. Knows nothing about building engines (`export/engine.py`) or about pictures.
"""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any, cast

from fashionseg.backends.cuda import Cuda, Memory
from fashionseg.backends.trt_library import NAMES, Library, load_library, make_log
from fashionseg.backends.trt_machine import Machine
from fashionseg.backends.trt_plan import (
    COUNTS,
    ROWS,
    assemble,
    choose_profile,
    fill_inputs,
    joined,
    portions,
    tensors_of,
    valid_rows,
)
from fashionseg.errors import DeviceError, FashionsegError, ModelError, OutOfMemoryError
from fashionseg.model import INPUTS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.backends import RawBatch
    from fashionseg.backends.cuda import Gpu
    from fashionseg.backends.trt_plan import TensorPlan
    from fashionseg.engine_file import EngineInfo
    from fashionseg.model import ModelFile

SLOTS = 2
"""Batches under way at a time: one computes while the other is copied."""


class TensorRTBackend:
    """A `Backend` (see `fashionseg.backends`) over one engine. Make one with `load`."""

    streams = SLOTS

    def __init__(self, model: ModelFile, trt: Any, log: Any, cuda: Cuda, gpu: Gpu) -> None:
        info = cast("EngineInfo", model.engine)
        self.spec = model.spec
        self.device = f"trt:{cuda.index}"
        self.description = f"{NAMES[info.library]} {trt.__version__}, {gpu.name}, {model.spec.precision}"
        self._where = str(model.path)
        self._profiles = info.profiles
        self._cuda: Cuda | None = cuda
        self._machine = Machine(trt, log, cuda, model)
        self._slots: queue.Queue[Slot] = queue.Queue()
        for number in range(SLOTS):
            self._slots.put(Slot(number, cuda, model))

    @classmethod
    def load(cls, model: ModelFile, index: int = 0) -> TensorRTBackend:
        """Load an engine onto GPU number `index`.

        Raises:
            MissingExtraError: TensorRT or cuda-python is not installed.
            DeviceError: the GPU cannot be used, or the engine was built for another one or another TensorRT.
            ModelError: TensorRT cannot load it.
        """
        info = model.engine
        if info is None:
            raise ModelError(f"{model.path} is no engine; build one from it with: fashionseg export {model.path} --trt")
        trt = load_library(cast("Library", info.library))
        cuda = Cuda(index)
        try:
            gpu = cuda.gpu()
            wrong = info.mismatch(trt.__version__, gpu.name, gpu.compute_capability)
            if wrong:
                raise DeviceError(
                    f"{model.path} cannot run here: {wrong}; build it anew with `fashionseg export --trt`"
                )
            return cls(model, trt, make_log(trt), cuda, gpu)
        except BaseException:
            cuda.close()
            raise

    def run(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
        """See `Backend.run`. Batches larger than the engine's are run in portions."""
        if self._cuda is None:
            raise FashionsegError("the backend is closed")
        number = choose_profile(self._profiles, (images.shape[1], images.shape[2]), self._where)
        slot = self._slots.get()
        try:
            self._cuda.use()
            return joined(
                [
                    self._run(slot, number, images[part], image_sizes[part])
                    for part in portions(len(images), self._profiles[number].batch[2])
                ]
            )
        except OutOfMemoryError as error:
            raise OutOfMemoryError(
                f"{self.device} has not enough memory for a batch of {len(images)} pictures of {images.shape[2]} x "
                f"{images.shape[1]} pixels; use a smaller --batch"
            ) from error
        finally:
            self._slots.put(slot)

    def _run(self, slot: Slot, number: int, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
        buffers = slot.buffers(number)
        batch = max(len(images), self._profiles[number].batch[0])
        slot.upload(buffers, images, image_sizes, batch)
        self._machine.compute(slot, buffers, number, batch)
        return slot.download(buffers, len(images))

    def close(self) -> None:
        """Free the engine and all memory; waits for runs under way."""
        cuda, self._cuda = self._cuda, None
        if cuda is None:
            return
        for _ in range(SLOTS):
            self._slots.get()
        try:
            cuda.use()
            self._machine.close()
        finally:
            cuda.close()

    def __enter__(self) -> TensorRTBackend:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Buffers:
    """Every tensor of a profile at its largest batch, on the device and pinned on the host."""

    def __init__(self, cuda: Cuda, tensors: dict[str, TensorPlan], largest: int) -> None:
        self.tensors = tensors
        self.device: dict[str, Memory] = {}
        self.host: dict[str, NDArray[Any]] = {}
        self.pinned: dict[str, Memory] = {}
        made: list[Memory] = []
        try:
            for name, tensor in tensors.items():
                made.append(cuda.device_memory(tensor.nbytes(largest)))
                self.device[name] = made[-1]
                made.append(cuda.pinned_memory(tensor.nbytes(largest)))
                self.pinned[name] = made[-1]
                self.host[name] = made[-1].array(tensor.shape(largest), tensor.dtype)
        except BaseException:
            for memory in made:
                cuda.free(memory)
            raise


class Slot:
    """One of the batches under way: its buffers, and the stream that copies them."""

    def __init__(self, number: int, cuda: Cuda, model: ModelFile) -> None:
        self.number = number
        self._cuda = cuda
        self._spec = model.spec
        self._profiles = cast("EngineInfo", model.engine).profiles
        self._copies = cuda.stream()
        self._done = cuda.event()
        self.uploaded = cuda.event()
        self.computed = cuda.event()
        self._buffers: dict[int, Buffers] = {}

    def buffers(self, number: int) -> Buffers:
        """Those of a profile, made when it is first used."""
        if number not in self._buffers:
            profile = self._profiles[number]
            self._buffers[number] = Buffers(self._cuda, tensors_of(profile, self._spec), profile.batch[2])
        return self._buffers[number]

    def upload(self, buffers: Buffers, images: NDArray[np.uint8], image_sizes: NDArray[np.int32], batch: int) -> None:
        """Begin to copy a batch up; `uploaded` is its end. Rows up to `batch` are filled."""
        host = buffers.host
        fill_inputs(images, image_sizes, host["images"][:batch], host["image_sizes"][:batch])
        for name in INPUTS:
            nbytes = buffers.tensors[name].nbytes(batch)
            self._cuda.to_device(buffers.device[name].address, buffers.pinned[name].address, nbytes, self._copies)
        self._cuda.record(self.uploaded, self._copies)

    def download(self, buffers: Buffers, count: int) -> RawBatch:
        """Wait for `computed` and fetch the valid rows of the first `count` pictures."""
        cuda, host = self._cuda, buffers.host
        cuda.wait_on_device(self._copies, self.computed)
        for name in COUNTS:
            nbytes = buffers.tensors[name].nbytes(count)
            cuda.to_host(buffers.pinned[name].address, buffers.device[name].address, nbytes, self._copies)
        self._wait()
        counts = {name: host[name][:count] for name in COUNTS}
        rows = valid_rows(counts["num_detections"], self._spec.max_detections)
        fetched = {name: host[name][:count, :rows] for name in ROWS}
        if rows:
            for name in ROWS:
                tensor, whole = buffers.tensors[name], buffers.tensors[name].nbytes()
                target, source = buffers.pinned[name].address, buffers.device[name].address
                cuda.rows_to_host(target, whole, source, whole, rows * tensor.row_nbytes, count, self._copies)
            self._wait()
        return assemble(counts, fetched, buffers.tensors)

    def _wait(self) -> None:
        self._cuda.record(self._done, self._copies)
        self._cuda.wait(self._done)
