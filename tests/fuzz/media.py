"""Photos and videos to damage, and how they are read."""

from __future__ import annotations

import io
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import clips
import cv2
import numpy as np
import stubs
from PIL import Image

from fashionseg.media.images import image_size, read_image
from fashionseg.media.sources import kind_by_content
from fashionseg.media.video_reader import VideoReader


def photo_seeds() -> list[bytes]:
    """Small photos of every format, with alpha, palettes, 16 bits, orientation."""

    photo = Image.fromarray(stubs.picture((12, 16))[..., ::-1])
    exif = Image.Exif()
    exif[0x0112] = 6
    found = []
    for kind, mode, options in (
        ("JPEG", "RGB", {"exif": exif}),
        ("JPEG", "L", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {"exif": exif}),
        ("PNG", "1", {}),
        ("WEBP", "RGB", {"exif": exif}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "LAB", {}),
        ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
    ):
        file = io.BytesIO()
        (_lab(photo) if mode == "LAB" else photo.convert(mode)).save(file, kind, **options)
        found.append(file.getvalue())
    grey = np.arange(12 * 16, dtype=np.uint16).reshape(12, 16) * 300
    found += [cv2.imencode(suffix, grey)[1].tobytes() for suffix in (".png", ".tif")]
    return found


def _lab(photo: Any) -> Any:

    return Image.merge("LAB", photo.split())


def read_photo(path: Path) -> None:
    """Header and pixels, which must agree."""

    image = read_image(path)
    assert image.dtype == np.uint8 and image.shape == (*image_size(path), 3)


# videos


def video_seeds() -> list[bytes]:
    """Small clips of every container, with sound, B-frames, rotation, 10 bits."""

    small, sound = {"frames": 3, "size_hw": (16, 16), "gop": 2}, (clips.Sound(seconds=0.05, sample_rate=16_000),)
    wanted = {
        "a.mp4": clips.Clip(**small, bframes=1, sounds=sound),
        "b.mp4": clips.Clip(**small, container_options={"movflags": "frag_keyframe+empty_moov"}),
        "c.mov": clips.Clip(**small, rotation=90, codec="libx265"),
        "d.mkv": clips.Clip(**small, pts=(0, 5, 90), time_base=Fraction(1, 100), sounds=sound),
        "e.webm": clips.Clip(**small, codec="libvpx-vp9"),
        "f.avi": clips.Clip(**small, codec="mpeg4", sounds=(clips.Sound("libmp3lame", 0.05, sample_rate=16_000),)),
        "g.avi": clips.Clip(**small, codec="mjpeg", pix_fmt="yuvj420p"),
        "h.ts": clips.Clip(**small, sounds=sound),
        "i.flv": clips.Clip(**small),
        "j.mkv": clips.Clip(**small, pix_fmt="yuv420p10le", colorspace=9, color_trc=16),
    }
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, clip in wanted.items():
            found.append(clips.make(Path(folder) / name, clip).read_bytes())
    return found


def read_video(path: Path) -> None:
    """Header and frames, whose times must go on."""

    kind_by_content(path)
    last = None
    with VideoReader(path, threads=1) as video:
        for number, frame in enumerate(video):
            assert frame.image.shape == (*video.size_hw, 3)
            assert last is None or frame.time > last
            last = frame.time
            if number == 30:
                break
