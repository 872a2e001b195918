"""Makes small video clips of every kind with PyAV: rates, times, codecs, containers, sound, rotation, edit lists.

Each frame shows its own number as a row of black and white bars (`number_in` reads it back after any codec), with a red
patch in the upper left corner and a blue one in the lower right, so that order, loss, rotation and colours can be seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE_HW = (48, 64)
BITS = 8


@dataclass(frozen=True)
class Sound:
    """One audio track: silence until `onset`, then a sine tone; `onset` counts in seconds from the track's `start`."""

    codec: str = "aac"
    seconds: float = 1.0
    start: Fraction = Fraction(0)
    onset: float = 0.0
    sample_rate: int = 48_000
    layout: str = "mono"
    language: str = ""


@dataclass(frozen=True)
class Clip:
    """What `make` writes. `pts` (in ticks of `time_base`) makes the rate variable; else it is constant `rate`."""

    frames: int = 12
    size_hw: tuple[int, int] = SIZE_HW
    codec: str = "libx264"
    rate: Fraction = Fraction(24)
    pts: tuple[int, ...] | None = None
    time_base: Fraction | None = None
    bframes: int = 0
    gop: int = 6
    pix_fmt: str = "yuv420p"
    rotation: int = 0
    hflip: bool = False
    sounds: tuple[Sound, ...] = ()
    options: dict[str, str] = field(default_factory=dict)
    container: str | None = None
    container_options: dict[str, str] = field(default_factory=dict)
    colorspace: int | None = None
    color_range: int | None = None
    color_trc: int | None = None
    sample_aspect_ratio: Fraction | None = None


_QUICK = {
    "libx264": {"preset": "ultrafast", "crf": "12"},
    "libx265": {"preset": "ultrafast", "crf": "12", "x265-params": "log-level=none:pools=1:frame-threads=1"},
    "libsvtav1": {"preset": "12", "crf": "20", "svtav1-params": "lp=1"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "8", "crf": "10", "b": "0"},
    "libvpx": {"deadline": "realtime", "cpu-used": "8", "b": "2M"},
    "mpeg4": {"q": "2", "qmin": "2", "qmax": "2"},
    "mjpeg": {"qmin": "2", "qmax": "2"},
}


def picture(number: int, size_hw: tuple[int, int] = SIZE_HW) -> np.ndarray:
    """uint8 [H, W, 3], BGR: the picture of frame `number`."""
    height, width = size_hw
    image = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        left, right = width * bit // BITS, width * (bit + 1) // BITS
        image[height // 3 : 2 * height // 3, left:right] = 235 if number >> bit & 1 else 20
    image[: height // 3, : width // 4] = (30, 30, 220)
    image[2 * height // 3 :, 3 * width // 4 :] = (220, 30, 30)
    return image


def stored(image: np.ndarray, clip: Clip) -> np.ndarray:
    """The picture as it must be stored so that the clip's rotation (counter-clockwise, then mirrored) shows `image`."""
    upright = image[:, ::-1] if clip.hflip else image
    return np.ascontiguousarray(np.rot90(upright, -clip.rotation // 90))


def number_in(image: np.ndarray) -> int:
    """The number that a decoded BGR picture shows."""
    height, width = image.shape[:2]
    row = image[height * 2 // 5 : height * 3 // 5].mean((0, 2))
    return sum(1 << bit for bit in range(BITS) if row[int(width * (bit + 0.5) / BITS)] > 128)


def is_upright(image: np.ndarray) -> bool:
    """Red is in the upper left corner and blue in the lower right."""
    upper, lower = image[2, 2].astype(int), image[-3, -3].astype(int)
    return bool(upper[2] > upper[0] + 60 and lower[0] > lower[2] + 60)


def frame_pts(clip: Clip) -> list[int]:
    return list(clip.pts) if clip.pts is not None else list(range(clip.frames))


def times(clip: Clip) -> list[Fraction]:
    """Presentation time in seconds of each frame, as intended."""
    tick = clip.time_base or 1 / clip.rate
    return [pts * tick for pts in frame_pts(clip)]


def make(path: str | Path, clip: Clip = Clip()) -> Path:
    """Write a clip and return its path."""
    path = Path(path)
    with av.open(str(path), "w", format=clip.container, container_options=clip.container_options) as output:
        video = _add_video(output, clip)
        tracks = [(_add_sound(output, sound), sound) for sound in clip.sounds]
        packets = _encode_video(video, clip)
        for stream, sound in tracks:
            packets += _encode_sound(stream, sound)
        output.start_encoding()
        packets.sort(key=lambda packet: (packet.dts * packet.time_base, packet.stream_index))
        for packet in packets:
            output.mux(packet)
    return path


def _add_video(output: av.container.OutputContainer, clip: Clip) -> av.VideoStream:
    options = {**_QUICK.get(clip.codec, {}), "g": str(clip.gop), **clip.options}
    if clip.bframes or clip.codec in ("libx264", "mpeg4"):
        options["bf"] = str(clip.bframes)
    if clip.codec == "libx265":
        options["x265-params"] += f":keyint={clip.gop}:bframes={clip.bframes}"
    stream = output.add_stream(clip.codec, rate=clip.rate, options=options)
    stream.height, stream.width = clip.size_hw
    stream.pix_fmt = clip.pix_fmt
    stream.codec_context.time_base = clip.time_base or 1 / clip.rate
    stream.codec_context.thread_count = 1
    for name in ("colorspace", "color_range", "color_trc"):
        if getattr(clip, name) is not None:
            setattr(stream.codec_context, name, getattr(clip, name))
    if clip.sample_aspect_ratio:
        stream.codec_context.sample_aspect_ratio = clip.sample_aspect_ratio
    if clip.rotation or clip.hflip:
        stream.set_display_rotation(clip.rotation, hflip=clip.hflip)
    return stream


def _encode_video(stream: av.VideoStream, clip: Clip) -> list[av.Packet]:
    packets = []
    for number, pts in enumerate(frame_pts(clip)):
        shown_hw = clip.size_hw if clip.rotation % 180 == 0 else clip.size_hw[::-1]
        frame = av.VideoFrame.from_ndarray(stored(picture(number, shown_hw), clip), format="bgr24")
        frame = frame.reformat(
            format=clip.pix_fmt, dst_colorspace=clip.colorspace or 5, dst_color_range=clip.color_range or 1
        )
        frame.pts, frame.time_base = pts, stream.codec_context.time_base
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)]


def _add_sound(output: av.container.OutputContainer, sound: Sound) -> av.AudioStream:
    stream = output.add_stream(sound.codec, rate=sound.sample_rate, bit_rate=96_000)
    stream.codec_context.layout = sound.layout
    if sound.language:
        stream.metadata["language"] = sound.language
    return stream


def _encode_sound(stream: av.AudioStream, sound: Sound) -> list[av.Packet]:
    context = stream.codec_context
    context.open()
    samples = int(sound.seconds * sound.sample_rate)
    clock = np.arange(samples) / sound.sample_rate
    wave = np.where(clock < sound.onset, 0, 0.5 * np.sin(2 * np.pi * 440 * clock))
    channels = context.layout.nb_channels
    resampler = av.AudioResampler(context.format, context.layout, sound.sample_rate, context.frame_size or 1024)
    frame = av.AudioFrame.from_ndarray(
        np.tile(wave.astype(np.float32), (channels, 1)), format="fltp", layout=sound.layout
    )
    frame.sample_rate, frame.time_base = sound.sample_rate, Fraction(1, sound.sample_rate)
    frame.pts = int(sound.start * sound.sample_rate)
    packets = []
    for piece in (*resampler.resample(frame), *resampler.resample(None)):
        packets += stream.encode(piece)
    return [*packets, *stream.encode(None)]


def av_frames(path: str | Path) -> list[Fraction]:
    """The oracle: presentation times of the frames that PyAV's own plain decoding gives."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.pts * stream.time_base for frame in container.decode(stream)]


def onset(path: str | Path, track: int = 0) -> float:
    """Presentation time in seconds at which the tone of an audio track begins to be heard."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        resampler = av.AudioResampler("fltp", "mono", stream.codec_context.sample_rate)
        for decoded in container.decode(stream):
            time = float(decoded.pts * stream.time_base)
            for frame in resampler.resample(decoded):
                loud = np.abs(frame.to_ndarray()[0]) > 0.1
                if loud.any():
                    return time + int(loud.argmax()) / frame.sample_rate
    raise AssertionError(f"track {track} of {path} is silent")


def sound_seconds(path: str | Path, track: int = 0) -> float:
    """Length of an audio track in seconds, counted in decoded samples."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[track]
        return sum(frame.samples for frame in container.decode(stream)) / stream.codec_context.sample_rate
