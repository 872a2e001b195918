"""Batch and encoder follow the device that a run really gets, with stub backends."""

import json

import clips
import pytest
import stubs

from fashionseg.backends import registry
from fashionseg.errors import DeviceError, OutputError
from fashionseg.segment import SegmentOptions, segment
from fashionseg.segment.device import loading
from fashionseg.segment.types import GPU_BATCH, SilentReporter


@pytest.fixture(autouse=True)
def machine_with_a_gpu(monkeypatch):
    """It shows a GPU that encodes video; whether a model runs on it is another question."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())
    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    monkeypatch.setattr("fashionseg.media.encoders.nvenc_works", lambda: True)


def run(arguments, root, gets, **options):
    """`segment` on a stub that says it runs on `gets`; the stub."""
    made = []

    def open_backend(model):
        made.append(stubs.StubBackend(model.spec))
        made[-1].device = gets
        return made[-1]

    segment(arguments, root, SegmentOptions(**options), open_backend=open_backend)
    (backend,) = made
    assert backend.closed
    return backend


def test_auto_that_ends_on_the_cpu_takes_its_batch_and_its_encoder(tmp_path):
    stubs.write_photos(tmp_path / "in", 4)
    clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=2, size_hw=(192, 192)))
    backend = run([tmp_path / "in"], tmp_path / "out", "cpu")
    assert [shape[0] for shape in backend.batches] == [1] * 6
    header = (tmp_path / "out" / ".fashionseg" / "journal").read_text().splitlines()[0]
    assert '"encoder":"x264"' in header.replace(" ", "")
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())["images"]) == 6


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_takes_its_batch(device, tmp_path):
    stubs.write_photos(tmp_path / "in", GPU_BATCH)
    backend = run([tmp_path / "in"], tmp_path / "out", "cuda:0", device=device)
    assert [shape[0] for shape in backend.batches] == [GPU_BATCH]


def test_a_plain_device_is_loaded_later_and_auto_at_once(monkeypatch):
    made = []

    def open_backend(model):
        made.append(stubs.StubBackend(model.spec))
        return made[-1]

    def names(options):
        with loading(stubs.model_file(), options, SilentReporter(), None, open_backend) as (device, load):
            return device, len(made), load() is made[-1]

    assert names(SegmentOptions(device="cuda:1")) == ("cuda:1", 0, True)
    assert names(SegmentOptions()) == ("cpu", 2, True)
    assert made[-1].closed
    monkeypatch.setattr(registry, "gpu_present", lambda: False)
    assert names(SegmentOptions()) == ("auto", 2, True)
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        names(SegmentOptions(device="cuda"))


def test_a_model_that_was_loaded_at_once_is_freed_where_the_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "images.json").touch()
    stubs.write_photos(tmp_path / "in", 1)
    made = stubs.StubBackend(stubs.spec())
    with pytest.raises(OutputError, match=r"holds a images\.json"):
        segment([tmp_path / "in"], tmp_path / "out", SegmentOptions(), open_backend=lambda model: made)
    assert made.closed
