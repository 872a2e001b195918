"""Encodes the film as a clip: H.264 with a soft AAC sound track, and its labels as COCO.

Knows containers and codecs through PyAV and how a few notes sound. Knows nothing about drawing.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fashionseg.data.coco import CocoData, Image, Instance, write_coco
from fashionseg.data.parallel import ordered_map
from fashionseg.data.synth.film import FPS, SECONDS, SIZE_HW, Film, make_film
from fashionseg.data.synth.folder import CATEGORIES, to_instance
from fashionseg.files import make_folder, replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import av
    from numpy.typing import NDArray

    from fashionseg.data.synth.scene import Scene

SAMPLE_RATE = 44_100
AUDIO_BIT_RATE = 56_000
CRF = "20"


def write_clip(
    path: str | Path,
    *,
    seed: int = 0,
    labels: str | Path | None = None,
    frames: int = FPS * SECONDS,
    processes: int = 1,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Draw the film and write it as MP4; the file appears whole or not at all.

    Args:
        path: the .mp4 file.
        seed: of street and cloth.
        labels: also write the garments of every frame as COCO, the frames as images with `frame_index`.
        frames: how many, from the first.
        processes: how many draw at a time.
        progress: called with the number of frames done so far.

    Returns:
        The number of frames.

    Raises:
        OutputError: a file cannot be written.
    """
    import av

    path = Path(path)
    make_folder(path.parent)
    images: list[Image] = []
    instances: list[Instance] = []
    with (
        replacing(path) as beside,
        av.open(str(beside), "w", format="mp4", options={"movflags": "+faststart"}) as container,
    ):
        video, audio = _add_streams(container)
        sound = _sound_frames(frames / FPS)
        for index, scene in enumerate(_scenes(seed, frames, processes)):
            picture = av.VideoFrame.from_ndarray(scene.image, format="bgr24")
            picture.pts, picture.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(picture))
            _mux_sound_until(container, audio, sound, (index + 1) / FPS)
            _collect(scene, index, images, instances)
            if progress is not None:
                progress(index + 1)
        _mux_sound_until(container, audio, sound, float("inf"))
        container.mux(audio.encode(None))
        container.mux(video.encode(None))
    if labels is not None:
        write_coco(CocoData(tuple(images), tuple(instances), CATEGORIES), labels)
    return frames


def _add_streams(container: av.container.OutputContainer) -> tuple[av.VideoStream, av.AudioStream]:
    video = container.add_stream("libx264", rate=FPS, options={"crf": CRF, "preset": "veryslow", "threads": "1"})
    video.height, video.width = SIZE_HW
    video.pix_fmt = "yuv420p"
    audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo")
    audio.bit_rate = AUDIO_BIT_RATE
    return video, audio


def _scenes(seed: int, frames: int, processes: int) -> Iterator[Scene]:
    if processes <= 1:
        film = make_film(seed)
        yield from (film.frame(index) for index in range(frames))
    else:
        yield from ordered_map(_draw_frame, ((seed, index) for index in range(frames)), processes)


_films: dict[int, Film] = {}
"""The film that a worker process draws from, made once in each."""


def _draw_frame(job: tuple[int, int]) -> Scene:
    seed, index = job
    if seed not in _films:
        _films[seed] = make_film(seed)
    return _films[seed].frame(index)


def _collect(scene: Scene, index: int, images: list[Image], instances: list[Instance]) -> None:
    height, width = SIZE_HW
    images.append(Image(index + 1, f"{index:06d}.jpg", width, height, {"frame_index": index}))
    for label, mask in scene.instances:
        instances.append(to_instance(mask, index + 1, label, len(instances) + 1))


# Sound

_MELODY = (0, 4, 7, 11, 9, 7, 4, 2, 0, 4, 7, 12, 11, 7)
"""Semitones above the root, one for each half second."""

_ROOT_HZ = 261.63


def soundtrack(seconds: float) -> NDArray[np.float32]:
    """Plucked notes over a soft chord: float32 [2, samples], -1..1, left and right."""
    time = np.arange(round(seconds * SAMPLE_RATE), dtype=np.float64) / SAMPLE_RATE
    left, right = np.zeros_like(time), np.zeros_like(time)
    for number, semitone in enumerate(_MELODY):
        note = _note(time - 0.5 * number, _ROOT_HZ * 2 ** (semitone / 12))
        side = 0.5 + 0.3 * np.sin(number)
        left += side * note
        right += (1 - side) * note
    chord = sum(np.sin(2 * np.pi * _ROOT_HZ / 2 * 2 ** (s / 12) * time) for s in (0, 7, 16))
    pad = 0.035 * chord * (1 + 0.3 * np.sin(2 * np.pi * 0.3 * time))
    fade = np.clip(np.minimum(time / 0.4, (seconds - time) / 1.2), 0, 1)
    return np.stack([(left + pad) * fade, (right + pad) * fade]).astype(np.float32)


def _note(time: NDArray[np.float64], pitch: float) -> NDArray[np.float64]:
    """A plucked string: overtones that die away the faster the higher they are; silent before time 0."""
    sounding = time >= 0
    after = np.where(sounding, time, 0)
    tone = sum(np.sin(2 * np.pi * pitch * k * after) * np.exp(-(2.2 + 1.6 * k) * after) / k**1.6 for k in range(1, 6))
    attack = np.clip(after / 0.008, 0, 1)
    return np.asarray(0.30 * tone * attack * sounding, np.float64)


def _sound_frames(seconds: float) -> Iterator[tuple[float, av.AudioFrame]]:
    """Pieces of the sound track with their start in seconds."""
    import av

    samples, size = soundtrack(seconds), 1024
    for start in range(0, samples.shape[1], size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, start : start + size]), "fltp", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE, start, Fraction(1, SAMPLE_RATE)
        yield start / SAMPLE_RATE, frame


def _mux_sound_until(
    container: av.container.OutputContainer,
    audio: av.AudioStream,
    sound: Iterator[tuple[float, av.AudioFrame]],
    end: float,
) -> None:
    """Encode sound up to a time, so that sound and pictures lie side by side in the file."""
    for start, frame in sound:
        container.mux(audio.encode(frame))
        if start >= end:
            return
