"""Errors of libraries that become ours: want of memory, however it is told."""

import types

import numpy as np
import pytest
import stubs

from fashionseg.errors import ModelError, OutOfMemoryError, is_out_of_memory


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("cuda:0 has none left"), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ModelError("damaged"), False),
    ],
)
def test_want_of_memory_is_told_in_many_ways(error, is_one):
    assert is_out_of_memory(error) is is_one


class Model:
    """A network for which there is no memory, or which is broken."""

    device = "cpu"

    def __init__(self, error):
        self.error = error

    def to(self, device):
        raise self.error

    def __call__(self, batch):
        raise self.error


@pytest.fixture
def checkpoint(tmp_path):
    """Makes a checkpoint whose network raises an error."""
    pytest.importorskip("detectron2")
    path = tmp_path / "model.pth"
    path.write_bytes(b"weights")
    rule = types.SimpleNamespace(MIN_SIZE_TEST=32, MAX_SIZE_TEST=64, FORMAT="BGR")
    classes = types.SimpleNamespace(names=("shirt",))
    return lambda error: types.SimpleNamespace(
        path=path, model=Model(error), config=types.SimpleNamespace(INPUT=rule), classes=classes
    )


NO_MEMORY = (MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory"), RuntimeError("out of memory"))


@pytest.mark.detectron2
@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_checkpoint_that_does_not_fit_its_device(error, checkpoint, monkeypatch):
    from fashionseg.evaluation.reference import open_detector
    from fashionseg.export import checkpoint as module

    opened = checkpoint(error)
    monkeypatch.setattr(module, "open_checkpoint", lambda *args, **rest: opened)
    with pytest.raises(OutOfMemoryError, match=r"^cpu has no memory for .*model\.pth \(another --device"):
        open_detector(opened.path, device="cpu")
    opened.model.error = RuntimeError("a fault of ours")
    with pytest.raises(RuntimeError, match="a fault of ours"):
        open_detector(opened.path, device="cpu")


@pytest.mark.detectron2
@pytest.mark.parametrize("error", NO_MEMORY)
def test_a_photo_that_does_not_fit_the_device(error, checkpoint, tmp_path, monkeypatch):
    from fashionseg.evaluation import reference

    for name in ("categories_of", "check_size"):
        monkeypatch.setattr(reference, name, lambda *args: [1])
    monkeypatch.setattr(reference, "read_image", lambda path: np.ascontiguousarray(stubs.picture((40, 30))))
    data = types.SimpleNamespace(images=[types.SimpleNamespace(id=1, size_hw=(40, 30))])
    detector = reference.Detector(checkpoint(error), "torch")
    with pytest.raises(OutOfMemoryError, match=r"^cpu has no memory for .*photo\.png \(a smaller INPUT\.MAX_SIZE_TEST"):
        reference.run_detector(detector, data, [tmp_path / "photo.png"])
