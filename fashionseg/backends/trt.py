"""Runs a TensorRT engine on an NVIDIA GPU.

Two buffers take turns: while the engine computes on one batch, the next is copied up and the last comes back. All
computing happens on one stream, in order, so that every execution context can share one workspace.
Knows TensorRT's runtime. Knows nothing about building engines (`export/engine.py`) or about pictures.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fashionseg.backends.cuda import Cuda, Memory
from fashionseg.backends.trt_library import NAMES, Library, load_library, make_log
from fashionseg.backends.trt_plan import (
    COUNTS,
    ROWS,
    TYPES,
    assemble,
    choose_profile,
    fill_inputs,
    joined,
    portions,
    tensors_of,
    valid_rows,
)
from fashionseg.errors import DeviceError, FashionsegError, ModelError, OutOfMemoryError
from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fashionseg.backends import RawBatch
    from fashionseg.backends.cuda import Gpu
    from fashionseg.backends.trt_plan import TensorPlan
    from fashionseg.engine_file import EngineInfo
    from fashionseg.model import ModelFile

SLOTS = 2
"""Batches under way at a time: one computes while the other is copied."""

MAX_PROGRAMS = 32
"""Execution contexts kept, one for each profile and batch size; the one unused for longest makes room."""


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
        self._machine = _Machine(trt, log, cuda, model)
        self._slots: queue.Queue[_Slot] = queue.Queue()
        for number in range(SLOTS):
            self._slots.put(_Slot(number, cuda, model))

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

    def _run(self, slot: _Slot, number: int, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
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


class _Buffers:
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


class _Slot:
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
        self._buffers: dict[int, _Buffers] = {}

    def buffers(self, number: int) -> _Buffers:
        """Those of a profile, made when it is first used."""
        if number not in self._buffers:
            profile = self._profiles[number]
            self._buffers[number] = _Buffers(self._cuda, tensors_of(profile, self._spec), profile.batch[2])
        return self._buffers[number]

    def upload(self, buffers: _Buffers, images: NDArray[np.uint8], image_sizes: NDArray[np.int32], batch: int) -> None:
        """Begin to copy a batch up; `uploaded` is its end. Rows up to `batch` are filled."""
        host = buffers.host
        fill_inputs(images, image_sizes, host["images"][:batch], host["image_sizes"][:batch])
        for name in INPUTS:
            nbytes = buffers.tensors[name].nbytes(batch)
            self._cuda.to_device(buffers.device[name].address, buffers.pinned[name].address, nbytes, self._copies)
        self._cuda.record(self.uploaded, self._copies)

    def download(self, buffers: _Buffers, count: int) -> RawBatch:
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


class _Machine:
    """The engine, the stream it computes on, and an execution context for each profile and batch size."""

    def __init__(self, trt: Any, log: Any, cuda: Cuda, model: ModelFile) -> None:
        self._trt = trt
        self._log = log
        self._cuda = cuda
        self._model = model
        self._lock = threading.Lock()
        self._programs: dict[tuple[int, int], _Program] = {}
        self._runtime = trt.Runtime(log)
        # A version-compatible plan brings code of its own; it comes from this user's hand or cache (`engine_file.py`).
        self._runtime.engine_host_code_allowed = cast("EngineInfo", model.engine).version_compatible
        trt.init_libnvinfer_plugins(log, "")
        self._engine = self._runtime.deserialize_cuda_engine(model.data)
        if self._engine is None:
            self._fail(f"{NAMES[trt.__name__]} cannot load {model.path}")
        _check_tensors(trt, self._engine, model)
        self._stream = cuda.stream()
        self._workspace = _Workspace(cuda, self._stream)

    def compute(self, slot: _Slot, buffers: _Buffers, number: int, batch: int) -> None:
        """Begin to compute after `slot.uploaded`; `slot.computed` is its end."""
        with self._lock:  # contexts, workspace and the order of the stream are shared
            program = self._program(number, batch)
            self._cuda.wait_on_device(self._stream, slot.uploaded)
            try:
                program.enqueue(slot.number, buffers)
            except FashionsegError:
                raise
            except RuntimeError as error:
                self._fail(f"{self._model.path} failed to run ({error})")
            if program.refused:
                self._fail(f"{self._model.path} failed to run")
            self._cuda.record(slot.computed, self._stream)

    def _program(self, number: int, batch: int) -> _Program:
        key = (number, batch)
        program = self._programs.pop(key, None)
        if program is None:
            if len(self._programs) >= MAX_PROGRAMS:
                self._cuda.wait_for_stream(self._stream)
                self._programs.pop(next(iter(self._programs))).close()
            program = self._new_program(number, batch)
        self._programs[key] = program  # at the end: the least recently used stand first
        program.prepare(self._workspace)
        return program

    def _new_program(self, number: int, batch: int) -> _Program:
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        context = self._engine.create_execution_context(strategy)
        if context is None:
            self._fail(f"{self._model.path} gives no execution context")
        profile = cast("EngineInfo", self._model.engine).profiles[number]
        tensors = tensors_of(profile, self._model.spec)
        taken = context.set_optimization_profile_async(number, int(self._stream))
        for name in INPUTS:
            taken = taken and context.set_input_shape(name, tensors[name].shape(batch))
        if not taken:
            self._fail(f"{self._model.path} does not take a batch of {batch}")
        for name in OUTPUTS:
            shape = tuple(context.get_tensor_shape(name))
            if shape != tensors[name].shape(batch):
                raise ModelError(f"{self._model.path} gives {name} of {shape}, not of {tensors[name].shape(batch)}")
        return _Program(context, self._cuda, self._stream)

    def _fail(self, what: str) -> None:
        reason, no_memory = self._log.reason(), self._log.out_of_memory()
        del self._log.problems[:]
        if no_memory:
            raise OutOfMemoryError(f"{what}: out of memory")
        raise FashionsegError(f"{what}: {reason}")

    def close(self) -> None:
        """Free what TensorRT holds, once the stream has nothing more to do."""
        self._cuda.wait_for_stream(self._stream)
        for program in self._programs.values():
            program.close()
        self._programs.clear()
        self._engine = self._runtime = None


class _Workspace:
    """Memory for what lies between layers: one block, as large as the largest batch so far needs."""

    def __init__(self, cuda: Cuda, stream: Any) -> None:
        self._cuda = cuda
        self._stream = stream
        self.memory: Memory | None = None

    def at_least(self, nbytes: int) -> Memory:
        """The block, made larger if need be.

        Raises:
            OutOfMemoryError: there is no room; the block is gone then, and the next call makes one of the size it asks.
        """
        if self.memory is None or self.memory.nbytes < nbytes:
            if self.memory is not None:
                self._cuda.wait_for_stream(self._stream)
                self._cuda.free(self.memory)
                self.memory = None
            self.memory = self._cuda.device_memory(nbytes)
        return self.memory


class _Program:
    """An execution context for one profile and batch size; from the second run on, its work is one CUDA graph.

    One context a shape, as TensorRT advises for graphs: a context's shapes never change under a recorded graph.
    """

    def __init__(self, context: Any, cuda: Cuda, stream: Any) -> None:
        self._context = context
        self._cuda = cuda
        self._stream = stream
        self._memory: Memory | None = None
        self._graphs: dict[int, Any] = {}
        self._warm: set[int] = set()
        self._recordable = True
        self.needs = int(context.update_device_memory_size_for_shapes())
        self.refused = False

    def prepare(self, workspace: _Workspace) -> None:
        """Take the workspace as it is now; graphs that were recorded with another block are void."""
        memory = workspace.at_least(self.needs)
        if memory is not self._memory:
            self._drop_graphs()
            self._context.set_device_memory(memory.address, memory.nbytes)
            self._memory = memory

    def enqueue(self, slot: int, buffers: _Buffers) -> None:
        """Give the stream the work of a run over a slot's buffers."""
        if slot in self._graphs:
            self._cuda.launch(self._graphs[slot], self._stream)
            return
        for name, memory in buffers.device.items():
            self._context.set_tensor_address(name, memory.address)
        if slot in self._warm and self._recordable and self._record(slot):
            self._cuda.launch(self._graphs[slot], self._stream)
            return
        self._warm.add(slot)  # TensorRT settles things in the first run after a change: that one cannot be recorded
        self.refused = not self._context.execute_async_v3(int(self._stream))

    def _record(self, slot: int) -> bool:
        try:
            with self._cuda.capturing(self._stream) as recording:
                if not self._context.execute_async_v3(int(self._stream)):
                    raise FashionsegError("TensorRT refuses to be recorded")
        except OutOfMemoryError:
            raise
        except FashionsegError:
            self._recordable = False  # an engine with work on the host: it runs all the same, launch by launch
            return False
        self._graphs[slot] = recording.graph
        return True

    def _drop_graphs(self) -> None:
        for graph in self._graphs.values():
            self._cuda.drop_graph(graph)
        self._graphs.clear()
        self._warm.clear()

    def close(self) -> None:
        """Free the context. Its work must be done."""
        self._drop_graphs()
        self._context = None


def _check_tensors(trt: Any, engine: Any, model: ModelFile) -> None:
    """Refuse an engine whose tensors are not those of a model file."""
    names = {engine.get_tensor_name(index) for index in range(engine.num_io_tensors)}
    if names != set(INPUTS) | set(OUTPUTS):
        raise ModelError(f"{model.path} has the tensors {', '.join(sorted(names))}, not those of a fashionseg model")
    for name in names:
        dtype = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        if dtype != np.dtype(TYPES[name]):
            raise ModelError(f"{model.path} has {name} of {dtype}, not of {np.dtype(TYPES[name])}")
