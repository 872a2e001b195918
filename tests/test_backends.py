"""Backends: the same questions over all of them; devices that are not there."""

import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import stubs

from fashionseg.backends import registry
from fashionseg.cli.main import run
from fashionseg.errors import DeviceError, FashionsegError, MissingExtraError, ModelError, OutOfMemoryError
from fashionseg.model import ModelFile, read_model


@pytest.fixture(scope="module", params=list(registry.KINDS))
def backend(request):
    """Every backend this machine can have, over the embedded model."""
    if registry.KINDS[request.param].needs_gpu and not registry.gpu_present():
        pytest.skip("this machine has no GPU")
    try:
        opened = registry.open_backend(read_model(), request.param, threads=2)
    except MissingExtraError as error:
        pytest.skip(str(error))
    with opened:
        yield opened


def batch_of(*sizes):
    rng = np.random.default_rng(1)
    height = -(-max(h for h, _ in sizes) // 32) * 32
    width = -(-max(w for _, w in sizes) // 32) * 32
    images = np.zeros((len(sizes), height, width, 3), np.uint8)
    for row, (h, w) in zip(images, sizes, strict=True):
        row[:h, :w] = cv2.resize(rng.integers(0, 255, (6, 5, 3), np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)
    return images, np.array(sizes, np.int32)


def test_shapes_and_types(backend):
    raw = backend.run(*batch_of((224, 160), (200, 224)))
    k, m = backend.spec.max_detections, backend.spec.mask_side
    assert raw.num_detections.shape == (2,) and raw.num_detections.dtype == np.int32
    assert raw.boxes.shape == (2, k, 4) and raw.boxes.dtype == np.float32
    assert raw.scores.shape == (2, k) and raw.scores.dtype == np.float32
    assert raw.labels.shape == (2, k) and raw.labels.dtype == np.int32
    assert raw.masks.shape == (2, k, m, m) and raw.masks.dtype == np.float32
    assert raw.nms_exact.shape == (2,)


def test_boxes_lie_in_the_valid_area_and_scores_descend(backend):
    images, sizes = batch_of((224, 160), (200, 224))
    raw = backend.run(images, sizes)
    for row, (height, width) in enumerate(sizes):
        count = raw.num_detections[row]
        boxes = raw.boxes[row, :count]
        assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= width).all() and (boxes[:, [1, 3]] <= height).all()
        assert (np.diff(raw.scores[row, :count]) <= 0).all()
        assert (raw.scores[row, count:] == 0).all()


def test_the_same_input_gives_the_same_bytes(backend):
    images, sizes = batch_of((224, 160))
    first, second = backend.run(images, sizes), backend.run(images, sizes)
    assert first.masks.tobytes() == second.masks.tobytes()
    assert first.boxes.tobytes() == second.boxes.tobytes()


def test_a_black_picture_is_fine(backend):
    raw = backend.run(np.zeros((1, 224, 224, 3), np.uint8), np.array([[224, 224]], np.int32))
    assert raw.num_detections[0] >= 0
    assert np.isfinite(raw.boxes).all() and np.isfinite(raw.masks).all()


def test_pictures_of_one_size_in_a_batch_equal_single_runs(backend):
    images, sizes = batch_of((224, 160), (224, 160), (224, 160))
    together = backend.run(images, sizes)
    for row in range(3):
        alone = backend.run(images[row : row + 1], sizes[row : row + 1])
        count = alone.num_detections[0]
        assert together.num_detections[row] == count
        difference = np.abs(together.boxes[row, :count] - alone.boxes[0, :count]).max(initial=0)
        assert difference < 0.01, difference


def test_several_runs_at_a_time_share_the_threads_and_give_the_same(backend):
    if backend.device != "cpu":
        pytest.skip("cores are shared on a CPU alone")
    assert backend.streams == 1, "nobody asked for several"
    batches = [batch_of((224, 160)), batch_of((160, 224)), batch_of((200, 224), (224, 160))]
    with registry.open_backend(read_model(), "cpu", threads=2, several_runs=True) as several:
        assert several.streams == 2
        with ThreadPoolExecutor(2) as threads:
            raws = list(threads.map(lambda batch: several.run(*batch), batches * 3))
    for raw, batch in zip(raws, batches * 3, strict=True):
        alone = backend.run(*batch)
        assert raw.num_detections.tolist() == alone.num_detections.tolist()
        difference = np.abs(raw.boxes - alone.boxes).max()
        assert difference < 0.01, difference
    with registry.open_backend(read_model(), "cpu", threads=1, several_runs=True) as single:
        assert single.streams == 1


def test_closing_twice_is_fine_and_running_after_is_an_error():
    opened = registry.open_backend(read_model(), "cpu", threads=1)
    opened.close()
    opened.close()
    with pytest.raises(FashionsegError, match="closed"):
        opened.run(*batch_of((64, 64)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("auto", "auto"), ("cpu", "cpu"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("trt:2", "trt:2"), ("0", "cuda:0")],
)
def test_device_names(text, expected):
    assert str(registry.parse_device(text)) == expected


@pytest.mark.parametrize("text", ["", "gpu", "cpu:1", "cuda:", "cuda:-1", "cuda:1:2", "CPU", "²", "auto:0"])
def test_names_that_are_no_device(text):
    with pytest.raises(ValueError, match="is not a device"):
        registry.parse_device(text)


def test_a_backend_is_added_by_one_line(monkeypatch, capsys):
    """Names, help, refusals and the opening of a device all come from the one table."""
    asked = []

    def open_mine(model, index, request):
        asked.append((index, request.threads))
        return stubs.StubBackend(model.spec)

    monkeypatch.setitem(registry.KINDS, "mine", registry.Kind(open_mine, indexed=True))
    monkeypatch.setattr(registry, "gpu_present", lambda: False)
    assert str(registry.parse_device("mine")) == "mine:0" and str(registry.parse_device("cpu")) == "cpu"
    with registry.open_backend(read_model(), "mine:2", threads=3) as opened:
        assert isinstance(opened, stubs.StubBackend)
    assert asked == [(2, 3)]
    assert not registry.may_run_on_gpu("mine")
    with pytest.raises(ValueError, match=r"use auto, cpu, cuda, cuda:1, trt, trt:1, mine or mine:1"):
        registry.parse_device("yours")
    assert run(["segment", "--help"]) == 0
    assert "auto|cpu|cuda[:i]|trt[:i]|mine[:i]" in capsys.readouterr().out
    monkeypatch.setitem(registry.KINDS, "mine", registry.Kind(open_mine, needs_gpu=True))
    assert registry.may_run_on_gpu("mine")
    with pytest.raises(DeviceError, match="device mine was asked for, but this machine shows no NVIDIA GPU"):
        registry.open_backend(read_model(), "mine")
    with pytest.raises(ValueError, match="'mine:1' is not a device"):
        registry.parse_device("mine:1")


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "trt", "trt:1"])
def test_a_gpu_that_is_not_there_is_an_error_at_once(device, monkeypatch):
    monkeypatch.setattr(registry, "gpu_present", lambda: False)
    began = time.process_time()
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        registry.open_backend(read_model(), device)
    assert time.process_time() - began < 1


def test_a_gpu_that_cannot_be_used_is_never_replaced_in_silence(monkeypatch):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    if registry.gpu_present():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    with pytest.raises(DeviceError, match=r"cannot use it|no CUDA support"):
        OnnxRuntimeBackend.on_cuda(read_model())
    notes = []
    with registry.open_backend(read_model(), "auto", note=notes.append) as opened:
        assert opened.device == "cpu"
    assert len(notes) == 1 and "a GPU is present but not used" in notes[0]


def test_a_damaged_graph_is_a_model_error():
    model = read_model()
    broken = ModelFile(model.path, model.data[: len(model.data) // 2], model.spec, "")
    with pytest.raises(ModelError, match="cannot load"):
        registry.open_backend(broken, "cpu")


def test_out_of_memory_is_told_apart(monkeypatch):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    class Session:
        def run(self, names, feeds):
            raise RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer of size 123")

    opened = OnnxRuntimeBackend(stubs.model_file(), Session(), "cpu", "stub")
    with pytest.raises(OutOfMemoryError, match="smaller --batch"):
        opened.run(*batch_of((64, 64)))


def test_another_failure_names_the_model(monkeypatch):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend

    class Session:
        def run(self, names, feeds):
            raise RuntimeError("something else")

    opened = OnnxRuntimeBackend(stubs.model_file(), Session(), "cpu", "stub")
    with pytest.raises(FashionsegError, match=r"stub\.onnx on cpu: something else"):
        opened.run(*batch_of((64, 64)))


def test_a_run_over_tensors_of_a_device_gives_the_same():
    """The path of CUDA, over tensors of the host: the same calls of ONNX Runtime, whatever the device."""
    import onnxruntime

    from fashionseg.backends.onnxrt import BoundRun, OnnxRuntimeBackend

    model = read_model()
    session = onnxruntime.InferenceSession(model.data, providers=["CPUExecutionProvider"])
    bound = BoundRun(session, "cpu", 0)
    opened = OnnxRuntimeBackend(model, session, "cpu", "bound", bound=bound)
    kept = []
    with OnnxRuntimeBackend.on_cpu(model) as plain:
        for sizes in ([(224, 160)], [(200, 160)], [(160, 224), (160, 224)], [(224, 160)]):
            images, image_sizes = batch_of(*sizes)
            for turn in range(2):
                raw, expected = opened.run(images + turn, image_sizes), plain.run(images + turn, image_sizes)
                for name in ("num_detections", "boxes", "scores", "labels", "masks", "nms_exact"):
                    difference = np.abs(getattr(raw, name) - getattr(expected, name)).max(initial=0)
                    assert difference < 1e-3, (name, difference)
                kept.append(bound._inputs["images"])
    shapes = [tuple(one.shape()) for one in kept]
    assert shapes[0] == shapes[1] == shapes[2] and kept[0] is kept[1] is kept[2], "one shape: one tensor, reused"
    assert kept[4] is kept[5] is not kept[6]


def test_a_session_that_does_not_run_where_it_was_asked_to_is_an_error(monkeypatch):
    import onnxruntime

    from fashionseg.backends import onnxrt

    class Session:
        def __init__(self, data, options, providers, enable_fallback):
            pass

        def get_providers(self):
            return ["CPUExecutionProvider", "CUDAExecutionProvider"]

    monkeypatch.setattr(onnxrt, "_preload_cuda", lambda library: None)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    with pytest.raises(DeviceError, match="cuda:1 was asked for, but ONNX Runtime cannot use it"):
        onnxrt.OnnxRuntimeBackend.on_cuda(stubs.model_file(), 1)


def test_a_gpu_that_fails_says_why_and_prints_nothing(monkeypatch, capsys):
    """ONNX Runtime's own class, of which only the making of the session fails, as with a driver that is too old."""
    import onnxruntime

    from fashionseg.backends import onnxrt

    create = onnxruntime.InferenceSession._create_inference_session

    def fail_on_cuda(self, providers, *more):
        if any(provider[0] == "CUDAExecutionProvider" for provider in providers):
            raise RuntimeError("CUDA failure 35: driver version is insufficient\nand so on")
        return create(self, providers, *more)

    monkeypatch.setattr(onnxrt, "_preload_cuda", lambda library: None)
    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    monkeypatch.setattr(onnxruntime.InferenceSession, "_create_inference_session", fail_on_cuda)
    with pytest.raises(
        DeviceError, match=r"cuda:1 was asked for, but .*CUDA failure 35: driver version is insufficient;"
    ):
        registry.open_backend(read_model(), "cuda:1")
    notes = []
    with registry.open_backend(read_model(), "auto", threads=1, note=notes.append) as opened:
        assert opened.device == "cpu"
    assert "CUDA failure 35" in notes[0]
    assert not capsys.readouterr().out
