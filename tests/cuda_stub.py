"""Stand-ins for what needs a GPU: CUDA's memory and streams in the host's memory, and something that fills outputs.

`CudaRuntime` has the functions of `cuda.bindings.runtime` that `Cuda` calls, and is as lazy as CUDA may be: what a
stream is given happens only when somebody waits for it. So a result that is read too early, memory freed too early, or
a copy past the end of a block shows. It proves nothing about CUDA itself: `test_cuda.py` asks the real library too, as
far as it answers. `Context` stands in for TensorRT's execution context; no engine runs.
"""

from __future__ import annotations

import ctypes
import enum
import threading
from types import SimpleNamespace

import numpy as np

OK, OUT_OF_MEMORY, INVALID = 0, 2, 1
WORKING = threading.RLock()


class cudaMemcpyKind(enum.IntEnum):
    """Directions of a copy."""

    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2


class cudaStreamCaptureMode(enum.IntEnum):
    """How strictly a stream records."""

    cudaStreamCaptureModeThreadLocal = 1


class Stream:
    """What a stream was given, and how much of it happened."""

    def __init__(self, number):
        self.number, self.work, self.done, self.recording = number, [], 0, None

    def __int__(self):
        return self.number

    def give(self, act):
        (self.work if self.recording is None else self.recording).append(act)

    def run(self, until=None):
        with WORKING:  # who waits for work that another thread's waiting set going waits for its end
            until = len(self.work) if until is None else until
            while self.done < until:
                self.done += 1
                self.work[self.done - 1]()


class CudaRuntime:
    """CUDA's runtime functions, over `limit` bytes of memory."""

    cudaMemcpyKind = cudaMemcpyKind
    cudaStreamCaptureMode = cudaStreamCaptureMode
    cudaStreamNonBlocking = 1
    cudaEventDisableTiming, cudaEventBlockingSync = 2, 1

    def __init__(self, limit=2**30):
        self.limit = limit
        self.blocks = {}
        self.streams = {}
        self.graphs = []
        self.events = []
        self.called = []
        self.copied = 0
        self.broken = None

    def __getattribute__(self, name):
        if name.startswith("cuda") and name[4:5].isupper():
            object.__getattribute__(self, "called").append(name)
        return object.__getattribute__(self, name)

    def cudaSetDevice(self, index):
        return (OK if index == 0 else 101,)

    def cudaGetLastError(self):
        return (OK,)

    def cudaGetErrorString(self, status):
        return OK, {OUT_OF_MEMORY: b"out of memory", 101: b"invalid device ordinal"}.get(status, b"invalid argument")

    def cudaGetDeviceProperties(self, index):
        return OK, SimpleNamespace(name=b"Stub GPU\0\0", major=9, minor=0)

    # memory

    def _allocate(self, nbytes):
        if self.used + nbytes > self.limit:
            return OUT_OF_MEMORY, None
        block = ctypes.create_string_buffer(nbytes)
        self.blocks[ctypes.addressof(block)] = block
        return OK, ctypes.addressof(block)

    @property
    def used(self):
        return sum(len(block) for block in self.blocks.values())

    cudaMalloc = cudaMallocHost = _allocate

    def cudaFree(self, address):
        return (OK if self.blocks.pop(address, None) is not None else INVALID,)

    cudaFreeHost = cudaFree

    def _check(self, address, nbytes):
        for start, block in self.blocks.items():
            if start <= address and address + nbytes <= start + len(block):
                return
        raise AssertionError(f"{nbytes} bytes at {address} lie in no block")

    def cudaMemcpyAsync(self, target, source, nbytes, kind, stream):
        assert isinstance(kind, cudaMemcpyKind)

        def copy():
            self._check(target, nbytes)
            self._check(source, nbytes)
            self.copied += nbytes
            ctypes.memmove(target, source, nbytes)

        stream.give(copy)
        return (OK,)

    def cudaMemcpy2DAsync(self, target, target_pitch, source, pitch, width, rows, kind, stream):
        assert width <= min(target_pitch, pitch)
        for row in range(rows):
            self.cudaMemcpyAsync(target + row * target_pitch, source + row * pitch, width, kind, stream)
        return (OK,)

    # order

    def cudaStreamCreateWithFlags(self, flags):
        stream = Stream(len(self.streams) + 1)
        self.streams[stream.number] = stream
        return OK, stream

    def cudaStreamDestroy(self, stream):
        stream.run()
        del self.streams[stream.number]
        return (OK,)

    def cudaEventCreateWithFlags(self, flags):
        event = SimpleNamespace(place=None)
        self.events.append(event)
        return OK, event

    def cudaEventDestroy(self, event):
        self.events.remove(event)
        return (OK,)

    def cudaEventRecord(self, event, stream):
        event.place = (stream, len(stream.work))
        return (OK,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        place = event.place
        stream.give(lambda: place and place[0].run(place[1]))
        return (OK,)

    def cudaEventSynchronize(self, event):
        stream, place = event.place
        stream.run(place)
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        stream.run()
        return (OK,)

    # graphs

    def cudaStreamBeginCapture(self, stream, mode):
        assert mode in cudaStreamCaptureMode
        stream.recording = []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        recorded, stream.recording = stream.recording, None
        return OK, recorded

    def cudaGraphInstantiate(self, graph, flags):
        self.graphs.append(graph)
        return OK, graph

    def cudaGraphDestroy(self, graph):
        return (OK,)

    def cudaGraphExecDestroy(self, graph):
        self.graphs.remove(graph)
        return (OK,)

    def cudaGraphLaunch(self, graph, stream):
        for act in graph:
            stream.give(act)
        return (OK,)


class Context:
    """In place of an execution context: fills the outputs of a batch with `answer(images, sizes)`."""

    def __init__(self, runtime, tensors, batch, answer, needs=1000, recordable=True):
        self.runtime, self.tensors, self.batch, self.answer = runtime, tensors, batch, answer
        self.needs, self.recordable = needs, recordable
        self.addresses, self.memory, self.calls, self.runs = {}, None, 0, 0

    def update_device_memory_size_for_shapes(self):
        return self.needs

    def set_device_memory(self, memory, size):
        assert size >= self.needs
        self.memory = (memory, size)

    def set_tensor_address(self, name, memory):
        self.addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        stream = self.runtime.streams[stream_handle]
        if stream.recording is not None and not self.recordable:
            return False
        self.calls += 1
        addresses, memory = dict(self.addresses), self.memory
        stream.give(lambda: self._compute(addresses, memory))
        return True

    def _compute(self, addresses, memory):
        self.runtime._check(*memory)
        self.runs += 1
        arrays = {name: self._array(name, address) for name, address in addresses.items()}
        for name, values in self.answer(arrays["images"], arrays["image_sizes"]).items():
            arrays[name][...] = values

    def _array(self, name, address):
        tensor = self.tensors[name]
        self.runtime._check(address, tensor.nbytes(self.batch))
        raw = (ctypes.c_ubyte * tensor.nbytes(self.batch)).from_address(address)
        return np.frombuffer(raw, tensor.dtype).reshape(tensor.shape(self.batch))
