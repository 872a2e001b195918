"""Which encoder writes a video: x264 wherever the GPU has none, and never a silent replacement of one asked for."""

from fractions import Fraction

import av
import pytest
import stubs

from fashionseg.backends import registry
from fashionseg.errors import OutputError
from fashionseg.media import encoders
from fashionseg.media.encoders import choose_encoder
from fashionseg.media.video_reader import VideoReader
from fashionseg.media.video_writer import PartWriter, join_parts


@pytest.fixture(params=[True, False], ids=["encoder", "no encoder"])
def works(request, monkeypatch):
    monkeypatch.setattr(encoders, "nvenc_works", lambda: request.param)
    return request.param


def test_auto_takes_the_encoder_of_a_gpu_that_has_one_and_runs_the_model(works):
    assert choose_encoder("auto", on_gpu=True) == ("nvenc" if works else "x264")
    assert choose_encoder("auto", (720, 1280), on_gpu=True) == ("nvenc" if works else "x264")
    assert choose_encoder("auto", on_gpu=False) == "x264"
    assert choose_encoder("x264", on_gpu=True) == "x264"


@pytest.mark.parametrize("size", [(96, 720), (720, 96), (4320, 7680)])
def test_auto_leaves_sizes_that_the_encoder_may_refuse_to_x264(works, size):
    assert choose_encoder("auto", size, on_gpu=True) == "x264"


def test_nvenc_that_is_asked_for_is_used_or_an_error(works):
    if works:
        assert choose_encoder("nvenc", (96, 96), on_gpu=False) == "nvenc"
        return
    with pytest.raises(OutputError, match="no NVENC that works; take --encoder x264"):
        choose_encoder("nvenc", on_gpu=True)


def test_the_machine_is_asked_by_opening_the_encoder(monkeypatch):
    if registry.gpu_present():
        pytest.skip("this machine has a GPU")
    asked = []
    create = av.CodecContext.create
    monkeypatch.setattr(av.CodecContext, "create", lambda *names: asked.append(names) or create(*names))
    encoders.nvenc_works.cache_clear()
    assert [encoders.nvenc_works(), encoders.nvenc_works()] == [False, False]
    assert asked == [("h264_nvenc", "w")], "once"
    encoders.nvenc_works.cache_clear()


def test_parts_of_the_gpus_encoder_are_joined_with_exact_times(tmp_path):
    """On a machine whose GPU has an encoder."""
    if not encoders.nvenc_works():
        pytest.skip("this machine has no NVENC")
    times = [0, 3, 4, 9, 10, 11, 20, 21]
    parts = []
    for number in range(2):
        parts.append(tmp_path / f"{number}.mp4")
        with PartWriter(parts[-1], (240, 320), Fraction(1, 24), Fraction(24), encoder="nvenc") as writer:
            for pts in times[4 * number : 4 * number + 4]:
                writer.write(stubs.picture((240, 320), seed=pts), pts)
    assert join_parts(parts, tmp_path / "joined.mp4").frames == 8
    with VideoReader(tmp_path / "joined.mp4") as video:
        assert [frame.time for frame in video.frames()] == [Fraction(pts, 24) for pts in times]
