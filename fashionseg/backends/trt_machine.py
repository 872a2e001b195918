"""The engine and what it computes on: one stream, a workspace, an execution context for each shape, CUDA graphs.

Knows TensorRT's runtime. Knows nothing about copies from and to the host: that is `trt.py`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np

from fashionseg.backends.trt_library import NAMES
from fashionseg.backends.trt_plan import TYPES, tensors_of
from fashionseg.errors import FashionsegError, ModelError, OutOfMemoryError
from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from fashionseg.backends.cuda import Cuda, Memory
    from fashionseg.backends.trt import Buffers, Slot
    from fashionseg.engine_file import EngineInfo
    from fashionseg.model import ModelFile

MAX_PROGRAMS = 32
"""Execution contexts kept, one for each profile and batch size; the one unused for longest makes room."""


class Machine:
    """The engine, the stream it computes on, and an execution context for each profile and batch size."""

    def __init__(self, trt: Any, log: Any, cuda: Cuda, model: ModelFile) -> None:
        self._trt = trt
        self._log = log
        self._cuda = cuda
        self._model = model
        self._lock = threading.Lock()
        self._programs: dict[tuple[int, int], Program] = {}
        try:
            self._runtime = trt.Runtime(log)
        except TypeError:  # how the bindings say that the library gave none; the log has the reason
            self._fail(f"{NAMES[trt.__name__]} does not start")
        # A version-compatible plan brings code of its own; it comes from this user's hand or cache (`engine_file.py`).
        self._runtime.engine_host_code_allowed = cast("EngineInfo", model.engine).version_compatible
        trt.init_libnvinfer_plugins(log, "")
        self._engine = self._runtime.deserialize_cuda_engine(model.data)
        if self._engine is None:
            self._fail(f"{NAMES[trt.__name__]} cannot load {model.path}")
        _check_tensors(trt, self._engine, model)
        self._stream = cuda.stream()
        self._workspace = Workspace(cuda, self._stream)

    def compute(self, slot: Slot, buffers: Buffers, number: int, batch: int) -> None:
        """Begin to compute after `slot.uploaded`; `slot.computed` is its end."""
        with self._lock:  # contexts, workspace and the order of the stream are shared
            program = self._program(number, batch)
            self._cuda.wait_on_device(self._stream, slot.uploaded)
            try:
                taken = program.enqueue(slot.number, buffers)
            except FashionsegError:
                raise
            except RuntimeError as error:
                self._fail(f"{self._model.path} failed to run ({error})")
            if not taken:
                self._fail(f"{self._model.path} failed to run")
            self._cuda.record(slot.computed, self._stream)

    def _program(self, number: int, batch: int) -> Program:
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

    def _new_program(self, number: int, batch: int) -> Program:
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
        return Program(context, self._cuda, self._stream, self._log.problems)

    def _fail(self, what: str) -> NoReturn:
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


class Workspace:
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


class Program:
    """An execution context for one profile and batch size; from the second run on, its work is one CUDA graph.

    One context a shape, as TensorRT advises for graphs: a context's shapes never change under a recorded graph.
    """

    def __init__(self, context: Any, cuda: Cuda, stream: Any, problems: list[str]) -> None:
        """`problems`: what TensorRT's log keeps of its errors."""
        self._context = context
        self._cuda = cuda
        self._stream = stream
        self._problems = problems
        self._memory: Memory | None = None
        self._graphs: dict[int, Any] = {}
        self._warm: set[int] = set()
        self._recordable = True
        self.needs = int(context.update_device_memory_size_for_shapes())

    def prepare(self, workspace: Workspace) -> None:
        """Take the workspace as it is now; graphs that were recorded with another block are void."""
        memory = workspace.at_least(self.needs)
        if memory is not self._memory:
            self._drop_graphs()
            self._context.set_device_memory(memory.address, memory.nbytes)
            self._memory = memory

    def enqueue(self, slot: int, buffers: Buffers) -> bool:
        """Give the stream the work of a run over a slot's buffers; False where TensorRT refuses it."""
        if slot in self._graphs:
            self._cuda.launch(self._graphs[slot], self._stream)
            return True
        for name, memory in buffers.device.items():
            self._context.set_tensor_address(name, memory.address)
        if slot in self._warm and self._recordable and self._record(slot):
            self._cuda.launch(self._graphs[slot], self._stream)
            return True
        self._warm.add(slot)  # TensorRT settles things in the first run after a change: that one cannot be recorded
        return bool(self._context.execute_async_v3(int(self._stream)))

    def _record(self, slot: int) -> bool:
        try:
            with self._cuda.capturing(self._stream) as recording:
                if not self._context.execute_async_v3(int(self._stream)):
                    raise FashionsegError("TensorRT refuses to be recorded")
        except OutOfMemoryError:
            raise
        except FashionsegError:
            self._recordable = False  # an engine with work on the host: it runs all the same, launch by launch
            self._problems.clear()  # they are no reason of a later failure
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
