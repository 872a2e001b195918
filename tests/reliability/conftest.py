"""Fixtures of the reliability tests."""

import pytest
import stubs

from fashionseg.segment import SegmentOptions, segment
from fashionseg.segment import video as video_module


@pytest.fixture(autouse=True)
def stub_model(monkeypatch):
    """`segment` reads the stub's model file, whatever path is given."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())


@pytest.fixture
def small_parts(monkeypatch):
    """Parts of three frames."""
    monkeypatch.setattr(video_module, "PART_FRAMES", 3)


@pytest.fixture
def run():
    """`segment` with a stub backend: run(sources, root, fail=None, reporter=None, stop=None, **options)."""

    def call(sources, root, *, fail=None, reporter=None, stop=None, made=None, **options):
        def open_backend(model):
            backend = stubs.StubBackend(model.spec, fail)
            if made is not None:
                made.append(backend)
            return backend

        options.setdefault("batch", 1)
        return segment(sources, root, SegmentOptions(**options), reporter, stop, open_backend)

    return call
