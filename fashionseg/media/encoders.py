"""Which H.264 encoder writes a video: x264, which every machine has, or the GPU's.

Asks the machine once, by opening the GPU's encoder: data-centre GPUs decode but have none, and a driver may be too old.
Knows encoders by name. Knows nothing about files.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, cast

import av

from fashionseg.errors import OutputError
from fashionseg.media.containers import NATIVE_ERRORS

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

Encoder = Literal["x264", "nvenc"]

CODECS: dict[Encoder, str] = {"x264": "libx264", "nvenc": "h264_nvenc"}

PROBE_SIDE = 256
NVENC_SIDES = range(160, 4097)
"""Sides in pixels of H.264 that every NVENC takes."""


def choose_encoder(asked: str, size_hw: tuple[int, int] | None = None, *, on_gpu: bool) -> Encoder:
    """The encoder of a video.

    The answer for a size depends on the machine and the arguments alone, so a run that goes on chooses as it began.

    Args:
        asked: "auto", "x264" or "nvenc"; "auto" takes the GPU's where the model runs on a GPU that has one.
        size_hw: of the video; None asks about the machine.
        on_gpu: whether the model runs on a GPU.

    Raises:
        OutputError: "nvenc" was asked for, and this machine has none.
    """
    if asked == "nvenc" and not nvenc_works():
        raise OutputError(
            "--encoder nvenc was asked for, but this machine has no NVENC that works; take --encoder x264"
        )
    if asked == "nvenc":
        return "nvenc"
    fits = size_hw is None or all(side in NVENC_SIDES for side in size_hw)
    if asked == "auto" and fits and on_gpu and nvenc_works():
        return "nvenc"
    return "x264"


@functools.cache
def nvenc_works() -> bool:
    """Whether the GPU's encoder can be opened."""
    if CODECS["nvenc"] not in av.codecs_available:
        return False
    try:
        context = cast("VideoCodecContext", av.CodecContext.create(CODECS["nvenc"], "w"))
        context.width = context.height = PROBE_SIDE
        context.pix_fmt = "yuv420p"
        context.open()
    except NATIVE_ERRORS:
        return False
    return True
