"""CUDA's memory, streams and graphs as the TensorRT backend uses them. No engine runs here (see `cuda_stub.py`).

The same questions go to the real CUDA where there is a GPU.
"""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cuda_stub
import numpy as np
import pytest
import stubs

from fashionseg.backends import trt as trt_backend
from fashionseg.backends import trt_machine
from fashionseg.backends.cuda import Cuda
from fashionseg.backends.registry import gpu_present
from fashionseg.backends.trt_plan import tensors_of
from fashionseg.engine_file import EngineInfo, Profile
from fashionseg.errors import DeviceError, FashionsegError, MissingExtraError, ModelError, OutOfMemoryError
from fashionseg.model import OUTPUTS, ModelFile

PROFILE = Profile((64, 96), (1, 2, 4))
ROWS = 6


@pytest.fixture(params=["stub", "real"])
def cuda(request):
    if request.param == "stub":
        opened = Cuda(0, cuda_stub.CudaRuntime())
    else:
        if not gpu_present():
            pytest.skip("this machine has no GPU")
        pytest.importorskip("cuda.bindings.runtime")
        opened = Cuda(0)
    yield opened
    opened.close()


def upload(cuda, array, stream):
    pinned, device = cuda.pinned_memory(array.nbytes), cuda.device_memory(array.nbytes)
    pinned.array(array.shape, array.dtype)[...] = array
    cuda.to_device(device.address, pinned.address, array.nbytes, stream)
    return device


def test_bytes_go_up_and_come_back(cuda):
    stream, event = cuda.stream(), cuda.event()
    array = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    device = upload(cuda, array, stream)
    back = cuda.pinned_memory(array.nbytes)
    cuda.to_host(back.address, device.address, array.nbytes, stream)
    cuda.record(event, stream)
    cuda.wait(event)
    assert np.array_equal(back.array(array.shape, np.uint8), array)


def test_the_first_bytes_of_each_row_come_back(cuda):
    stream = cuda.stream()
    array = np.arange(4 * 10, dtype=np.int32).reshape(4, 10)
    device = upload(cuda, array, stream)
    back = cuda.pinned_memory(array.nbytes)
    found = back.array(array.shape, np.int32)
    found[...] = -1
    cuda.rows_to_host(back.address, 40, device.address, 40, 12, 4, stream)
    cuda.wait_for_stream(stream)
    assert np.array_equal(found[:, :3], array[:, :3]) and (found[:, 3:] == -1).all()


def test_a_stream_waits_for_another(cuda):
    first, second, event = cuda.stream(), cuda.stream(), cuda.event()
    array = np.arange(1000, dtype=np.int32)
    device = upload(cuda, array, first)
    cuda.record(event, first)
    cuda.wait_on_device(second, event)
    back = cuda.pinned_memory(array.nbytes)
    cuda.to_host(back.address, device.address, array.nbytes, second)
    cuda.wait_for_stream(second)
    assert np.array_equal(back.array(array.shape, np.int32), array)


def test_what_was_recorded_is_done_again(cuda):
    stream = cuda.stream()
    source, target = cuda.pinned_memory(64), cuda.device_memory(64)
    back = cuda.pinned_memory(64)
    with cuda.capturing(stream) as recording:
        cuda.to_device(target.address, source.address, 64, stream)
        cuda.to_host(back.address, target.address, 64, stream)
    for value in (3, 9):
        source.array((64,), np.uint8)[...] = value
        cuda.launch(recording.graph, stream)
        cuda.wait_for_stream(stream)
        assert (back.array((64,), np.uint8) == value).all()
    cuda.drop_graph(recording.graph)


def test_an_error_while_recording_ends_the_recording(cuda):
    stream = cuda.stream()
    with pytest.raises(ZeroDivisionError), cuda.capturing(stream):
        raise ZeroDivisionError
    cuda.wait_for_stream(stream)


def test_no_memory_left_is_told_apart(cuda):
    with pytest.raises(OutOfMemoryError, match=r"CUDA: out of memory \(cudaMalloc\)"):
        cuda.device_memory(2**50)
    assert cuda.device_memory(1000).nbytes == 1000, "the next call is not told of it again"


def test_an_array_must_fit_into_its_memory(cuda):
    memory = cuda.pinned_memory(100)
    with pytest.raises(ValueError, match="does not fit"):
        memory.array((51,), np.int16)


def test_everything_is_freed():
    runtime = cuda_stub.CudaRuntime()
    cuda = Cuda(0, runtime)
    freed = cuda.device_memory(10)
    cuda.pinned_memory(10), cuda.stream(), cuda.event()
    cuda.free(freed)
    cuda.close()
    cuda.close()
    assert not runtime.blocks and not runtime.streams and not runtime.events


def test_a_gpu_that_is_not_there_is_one_sentence():
    with pytest.raises(DeviceError, match=r"GPU 3 cannot be used: CUDA: invalid device ordinal \(cudaSetDevice\)"):
        Cuda(3, cuda_stub.CudaRuntime())


def test_the_real_library_says_that_there_is_no_driver():
    if gpu_present():
        pytest.skip("this machine has a GPU")
    pytest.importorskip("cuda.bindings.runtime")
    with pytest.raises(DeviceError, match=r"GPU 0 cannot be used: CUDA: .*driver.*\(cudaSetDevice\)"):
        Cuda(0)


def test_every_function_is_one_of_the_real_library():
    runtime = pytest.importorskip("cuda.bindings.runtime")
    theirs = {name for name in vars(cuda_stub.CudaRuntime) if name.startswith("cuda")}
    assert len(theirs) > 25
    assert not [name for name in theirs if not hasattr(runtime, name)]
    for kind in ("cudaMemcpyKind", "cudaStreamCaptureMode"):
        for member in getattr(cuda_stub.CudaRuntime, kind):
            assert int(getattr(getattr(runtime, kind), member.name)) == member.value
    assert int(runtime.cudaError_t.cudaErrorMemoryAllocation) == cuda_stub.OUT_OF_MEMORY


def test_without_cuda_python_the_command_is_told(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'fashionseg\[tensorrt\]'"):
        Cuda(0)


# a run of the backend, with something in place of TensorRT that fills the outputs


def answer(images, sizes):
    """Row r of picture n has the mean of its valid pixels plus r; as many rows as its first pixel says."""
    n = len(images)
    means = np.array([image[:h, :w].mean() for image, (h, w) in zip(images, sizes, strict=True)], np.float32)
    rows = means[:, None] + np.arange(ROWS, dtype=np.float32)
    return {
        "num_detections": images[:, 0, 0, 0] % (ROWS + 1),
        "nms_exact": np.ones(n),
        "scores": rows,
        "labels": rows.astype(np.int32),
        "boxes": rows[:, :, None] + np.arange(4),
        "masks": np.broadcast_to(rows[:, :, None, None], (n, ROWS, 28, 28)),
    }


class Machine(trt_machine.Machine):
    """The real one, but for the engine and its contexts."""

    def __init__(self, cuda, model, needs, recordable):
        self._cuda, self._model = cuda, model
        problems = []
        self._log = SimpleNamespace(
            problems=problems, reason=lambda: " ".join(problems) or "no reason", out_of_memory=lambda: False
        )
        self._lock, self._programs = threading.Lock(), {}
        self._stream = cuda.stream()
        self._workspace = trt_machine.Workspace(cuda, self._stream)
        self._needs, self._recordable = needs, recordable
        self.contexts = {}

    def _new_program(self, number, batch):
        tensors = tensors_of(self._model.engine.profiles[number], self._model.spec)
        runtime = self._cuda._runtime
        context = cuda_stub.Context(runtime, tensors, batch, answer, self._needs * batch, self._recordable)
        self.contexts[number, batch] = context
        return trt_machine.Program(context, self._cuda, self._stream, self._log.problems)


def opened(runtime=None, profiles=(PROFILE,), needs=1000, recordable=True, monkeypatch=None):
    info = EngineInfo("tensorrt", "11.0", "Stub GPU", "9.0", "", "", profiles, "plugin", False)
    model = ModelFile(trt_backend.__file__, b"", stubs.spec(max_detections=ROWS), "", info)
    cuda = Cuda(0, runtime or cuda_stub.CudaRuntime())
    monkeypatch.setattr(trt_backend, "Machine", lambda trt, log, cuda, model: Machine(cuda, model, needs, recordable))
    module = type("trt", (), {"__version__": "11.0", "__name__": "tensorrt"})
    return trt_backend.TensorRTBackend(model, module, None, cuda, cuda.gpu())


def batch(count, size=(64, 96), seed=0, rows=None):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 255, (count, *size, 3), np.uint8)
    if rows is not None:
        images[:, 0, 0, 0] = rows
    sizes = np.stack([rng.integers(8, (size[0] + 1, size[1] + 1)) for _ in range(count)]).astype(np.int32)
    return images, sizes


def check(raw, images, sizes):
    expected = answer(images, sizes)
    counts = expected["num_detections"]
    assert raw.num_detections.tolist() == counts.tolist()
    for name in OUTPUTS:
        assert getattr(raw, name).shape[0] == len(images)
    for row, count in enumerate(counts):
        for name in ("scores", "labels", "boxes", "masks"):
            found = getattr(raw, name)[row, :count]
            assert np.array_equal(found, expected[name][row, :count].astype(found.dtype)), (name, row)


@pytest.mark.parametrize("recordable", [True, False])
def test_runs_of_all_batches_and_sizes(monkeypatch, recordable):
    runtime = cuda_stub.CudaRuntime()
    with opened(runtime, recordable=recordable, monkeypatch=monkeypatch) as backend:
        assert (backend.device, backend.streams) == ("trt:0", 2)
        for seed, (count, size) in enumerate([(1, (64, 96)), (4, (64, 96)), (2, (32, 64)), (9, (64, 64))] * 4):
            images, sizes = batch(count, size, seed)
            check(backend.run(images, sizes), images, sizes)
        contexts = backend._machine.contexts
        assert set(contexts) == {(0, 1), (0, 2), (0, 3), (0, 4)}
        for context in contexts.values():
            if recordable:
                assert context.calls <= 4 < context.runs + 1, "one run, one recording a buffer; then the graph alone"
            else:
                assert context.calls == context.runs
        assert bool(runtime.graphs) == recordable
    assert not runtime.blocks and not runtime.streams and not runtime.events and not runtime.graphs


def test_a_run_that_was_refused_does_not_end_the_next(monkeypatch):
    images, sizes = batch(1)
    with opened(monkeypatch=monkeypatch) as backend:
        for _ in range(3):  # both buffers once, and the graph of the first
            backend.run(images, sizes)
        (context,) = backend._machine.contexts.values()
        taken = context.execute_async_v3
        context.execute_async_v3 = lambda stream: False
        with pytest.raises(FashionsegError, match="failed to run"):
            backend.run(images, sizes)
        context.execute_async_v3 = taken
        for _ in range(4):
            check(backend.run(images, sizes), images, sizes)


def test_what_cannot_be_recorded_leaves_no_reason_behind(monkeypatch):
    images, sizes = batch(1)
    with opened(recordable=False, monkeypatch=monkeypatch) as backend:
        backend.run(images, sizes), backend.run(images, sizes)
        problems = backend._machine._log.problems
        problems.append("the stream is being captured")
        check(backend.run(images, sizes), images, sizes)
        assert not problems


def test_only_valid_rows_are_copied(monkeypatch):
    runtime = cuda_stub.CudaRuntime()
    with opened(runtime, monkeypatch=monkeypatch) as backend:
        copied = []
        for rows in (0, 1, ROWS):
            images, sizes = batch(4, rows=rows)
            before = runtime.copied
            check(backend.run(images, sizes), images, sizes)
            copied.append(runtime.copied - before - images.nbytes - sizes.nbytes)
        row_nbytes = 4 * (28 * 28 * 4 + 16 + 4 + 4)
        assert copied == [32, 32 + row_nbytes, 32 + ROWS * row_nbytes]


def test_two_threads_do_not_get_into_each_others_way(monkeypatch):
    with opened(monkeypatch=monkeypatch) as backend, ThreadPoolExecutor(2) as threads:
        batches = [batch(1 + n % 4, seed=n) for n in range(40)]
        for raw, one in zip(threads.map(lambda one: backend.run(*one), batches), batches, strict=True):
            check(raw, *one)


def test_a_small_batch_is_filled_up_to_the_least_of_the_profile(monkeypatch):
    with opened(profiles=(Profile((64, 96), (3, 3, 4)),), monkeypatch=monkeypatch) as backend:
        images, sizes = batch(1)
        raw = backend.run(images, sizes)
        check(raw, images, sizes)
        assert set(backend._machine.contexts) == {(0, 3)}


def test_each_profile_has_its_own_buffers(monkeypatch):
    profiles = (Profile((64, 96), (1, 1, 2)), Profile((96, 64), (1, 1, 2)))
    with opened(profiles=profiles, monkeypatch=monkeypatch) as backend:
        for size in ((64, 96), (96, 64), (32, 32), (96, 32)):
            images, sizes = batch(2, size)
            check(backend.run(images, sizes), images, sizes)
        assert set(backend._machine.contexts) == {(0, 2), (1, 2)}
        with pytest.raises(FashionsegError, match="--size 96x96"):
            backend.run(*batch(1, (96, 96)))


def test_a_batch_too_large_for_the_memory_leaves_room_for_a_smaller_one(monkeypatch):
    runtime = cuda_stub.CudaRuntime(2_000_000)
    with opened(runtime, needs=400_000, monkeypatch=monkeypatch) as backend:
        images, sizes = batch(4)
        check(backend.run(images[:1], sizes[:1]), images[:1], sizes[:1])
        with pytest.raises(OutOfMemoryError, match=r"trt:0 has not enough memory for a batch of 4 .* smaller --batch"):
            backend.run(images, sizes)
        for part in (slice(0, 2), slice(2, 4), slice(0, 1)):
            check(backend.run(images[part], sizes[part]), images[part], sizes[part])
    assert not runtime.blocks


def test_contexts_unused_for_longest_make_room(monkeypatch):
    monkeypatch.setattr(trt_machine, "MAX_PROGRAMS", 2)
    with opened(monkeypatch=monkeypatch) as backend:
        for count in (1, 2, 1, 3, 1, 2, 4):
            images, sizes = batch(count)
            check(backend.run(images, sizes), images, sizes)
        assert list(backend._machine._programs) == [(0, 2), (0, 4)]


def test_closed_is_closed(monkeypatch):
    backend = opened(monkeypatch=monkeypatch)
    backend.close()
    backend.close()
    with pytest.raises(FashionsegError, match="closed"):
        backend.run(*batch(1))


def load(info, monkeypatch, runtime):
    library = type("trt", (), {"__version__": "11.0", "__name__": "tensorrt"})
    monkeypatch.setattr(trt_backend, "load_library", lambda name: library)
    monkeypatch.setattr(trt_backend, "Cuda", lambda index: Cuda(index, runtime))
    return trt_backend.TensorRTBackend.load(ModelFile(Path("shirts.engine"), b"", stubs.spec(), "", info))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu": "NVIDIA L4"}, "it was built for NVIDIA L4 (compute capability 9.0), and this is Stub GPU (9.0)"),
        (
            {"compute_capability": "8.9"},
            "it was built for Stub GPU (compute capability 8.9), and this is Stub GPU (9.0)",
        ),
        ({"library_version": "10.9"}, "it was built by TensorRT 10.9, and 11.0 is installed here"),
    ],
)
def test_an_engine_of_another_machine_is_one_clear_sentence(monkeypatch, changes, words):
    info = EngineInfo("tensorrt", "11.0", "Stub GPU", "9.0", "", "", (PROFILE,), "plugin", False)
    runtime = cuda_stub.CudaRuntime()
    with pytest.raises(DeviceError) as caught:
        load(replace(info, **changes), monkeypatch, runtime)
    assert str(caught.value) == (
        f"shirts.engine cannot run here: {words}; build it anew with `fashionseg export --trt`"
    )
    assert not runtime.streams


def test_a_model_file_that_is_no_engine_says_how_to_make_one(monkeypatch):
    with pytest.raises(ModelError, match=r"shirts\.engine is no engine; build one .*--trt"):
        load(None, monkeypatch, cuda_stub.CudaRuntime())
