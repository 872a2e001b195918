"""Photos: any still picture file becomes upright 8-bit BGR pixels, and pixels become JPEG bytes.

Knows picture formats, EXIF orientation and what a hostile file may try. Knows nothing about folders, models or videos.

Everything is decoded by Pillow: the pixels are those of Detectron2's `read_image`, which uses it too, and it neither
hands out half a picture nor writes to the terminal (but for libtiff, which has a line to say about a damaged compressed
TIFF). OpenCV's JPEG decoder gives the same pixels in 0.8 of the time, but lets libjpeg print to stderr and passes some
broken files off as whole.
"""

from __future__ import annotations

import importlib
import io
import logging
import stat
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from fashionseg.errors import MediaError
from fashionseg.media.upright import Turn

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image, ImageFile

MAX_PIXELS = 200_000_000
"""The largest phone cameras take 200 million pixels; a file that claims more is refused before it is decoded."""

MAX_FILE_BYTES = 2 * 1024**3

_ORIENTATION = 0x0112
_STRIP_ROWS = 128
_WHITE = (255, 255, 255)
_SIGNATURES = (
    (b"\xff\xd8\xff", "Jpeg"),
    (b"\x89PNG\r\n\x1a\n", "Png"),
    (b"BM", "Bmp"),
    *((signature, "Tiff") for signature in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((signature, "Gif") for signature in (b"GIF87a", b"GIF89a")),
)


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Decode a photo: JPEG, PNG, WebP, BMP, TIFF or GIF (its first picture), judged by its bytes, not its suffix.

    Grey, palette, CMYK and 16-bit pictures are turned into 8-bit BGR (16 bits lose their lower byte); what is
    transparent is shown on white, as a viewer or a shop page shows it. Colour profiles are not applied, as in
    Detectron2's `read_image`.

    Returns:
        uint8 [H, W, 3], BGR, C-contiguous, writable, upright (EXIF orientation applied).

    Raises:
        MediaError: it cannot be read, is not a picture, is truncated or damaged, or is larger than `MAX_PIXELS`.
    """
    data = _read_bytes(Path(path))
    _quiet_pillow()
    try:
        with _open(io.BytesIO(data), path) as picture:
            _check_size(picture.size, path)
            _check_strips(picture, path)
            picture.load()
            orientation = _orientation(picture)
            pixels = _bgr(picture, path)
    except MediaError:
        raise
    except Exception as error:
        raise _damaged(path, error) from error
    return Turn.from_exif(orientation).apply(pixels)


def image_size(path: str | Path) -> tuple[int, int]:
    """Height and width in pixels of a photo as `read_image` will return it, from its header alone.

    Raises:
        MediaError: as `read_image`, except for damage behind the header.
    """
    _quiet_pillow()
    try:
        with Path(path).open("rb") as file, _open(file, path) as picture:
            _check_size(picture.size, path)
            width, height = picture.size
            turn = Turn.from_exif(_orientation_in_header(picture, file))
    except MediaError:
        raise
    except OSError as error:
        raise _unreadable(path, error) if error.errno else _damaged(path, error) from error
    except Exception as error:
        raise _damaged(path, error) from error
    return turn.size_hw((height, width))


def encode_jpeg(image: NDArray[np.uint8], quality: int = 92) -> bytes:
    """The bytes of a JPEG file.

    Args:
        image: uint8 [H, W, 3], BGR; neither side over 65,500 pixels, the format's limit.
        quality: 1 (small) to 100 (good).

    Raises:
        MediaError: the picture is too large for the format.
    """
    import cv2

    if max(image.shape[:2]) > 65_500:
        raise MediaError(f"a picture of {image.shape[1]} x {image.shape[0]} pixels is too large for JPEG")
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise MediaError(f"cannot encode a picture of {image.shape[1]} x {image.shape[0]} pixels as JPEG")
    return encoded.tobytes()


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise MediaError(f"{path} is not a regular file")
        if status.st_size > MAX_FILE_BYTES:
            raise MediaError(f"{path} has {status.st_size} bytes, too many for a photo; convert it to JPEG")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the path
        raise _unreadable(path, error) from error
    if not data:
        raise MediaError(f"{path} is empty (0 bytes)")
    return data


def _unreadable(path: str | Path, error: OSError | ValueError) -> MediaError:
    if isinstance(error, FileNotFoundError):
        return MediaError(f"{path} is not there (any more)")
    return MediaError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}")


def _damaged(path: str | Path, error: Exception) -> MediaError:
    if isinstance(error, MemoryError):
        return MediaError(f"{path} does not fit into memory")
    return MediaError(f"{path} is damaged or incomplete and cannot be decoded: {error or type(error).__name__}")


def _quiet_pillow() -> None:
    """Pillow warns and logs about oddities in a file; what matters is raised, the rest must not reach the terminal."""
    logger = logging.getLogger("PIL")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
        warnings.filterwarnings("ignore", module=r"PIL\b")


def _open(file: BinaryIO, path: str | Path) -> ImageFile.ImageFile:
    """The picture's header. Goes past `Image.open`, which tries fifty formats more and warns at 89 million pixels."""
    head = file.read(40)
    file.seek(0)
    name = _format(head)
    if name is None:
        is_heif = head[4:8] == b"ftyp"
        what = "but a HEIF, AVIF or MP4 file; convert it" if is_heif else "and not a picture fashionseg can read"
        raise MediaError(f"{path} is not a JPEG, PNG, WebP, BMP, TIFF or GIF file {what}")
    if name == "WebP":
        _check_size(_webp_size(head), path)  # its decoder allocates the picture when it is opened
    plugin = importlib.import_module(f"PIL.{name}ImagePlugin")
    picture: ImageFile.ImageFile = getattr(plugin, f"{name}ImageFile")(file)
    return picture


def _format(head: bytes) -> str | None:
    """The start of the name of Pillow's plugin for these first bytes."""
    if head[:4] == b"RIFF":
        return "WebP" if head[8:12] == b"WEBP" else None
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def _webp_size(head: bytes) -> tuple[int, int]:
    """Width and height from the first 40 bytes (https://developers.google.com/speed/webp/docs/riff_container)."""
    kind = head[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


def _check_size(size: tuple[int, int], path: str | Path) -> None:
    width, height = size
    if width <= 0 or height <= 0:
        raise MediaError(f"{path} is damaged: it claims a size of {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{path} claims {width} x {height} pixels, over the limit of {MAX_PIXELS // 10**6} million; scale it down"
        )


def _check_strips(picture: ImageFile.ImageFile, path: str | Path) -> None:
    """Pillow leaves black what no strip of a TIFF covers."""
    if picture.format == "TIFF":
        covered = [max((tile.extents or (0, 0, 0, 0))[side] for tile in picture.tile) for side in (2, 3)]
        if sorted(covered) < sorted(picture.size):
            raise MediaError(f"{path} is damaged: it holds {covered[1]} of its {picture.size[1]} rows of pixels")


def _bgr(picture: Image.Image, path: str | Path) -> NDArray[np.uint8]:
    """uint8 [H, W, 3], BGR, of a decoded picture of any mode."""
    if picture.mode == "F":
        raise MediaError(f"{path} holds floating-point pixels, whose range is unknown; convert it to 8 or 16 bits")
    if picture.mode.startswith("I"):
        return _grey16_to_bgr(picture)
    if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        picture = _on_white(picture.convert("RGBA"))
    elif picture.mode not in ("RGB", "RGBX"):
        picture = picture.convert("RGB")
    width, height = picture.size
    pixels = np.empty((height, width, 3), np.uint8)
    # In strips: a copy of the whole in between costs half as much time again, in fresh memory.
    for top in range(0, height, _STRIP_ROWS):
        strip = picture.crop((0, top, width, min(top + _STRIP_ROWS, height)))
        pixels[top : top + _STRIP_ROWS] = np.frombuffer(strip.tobytes("raw", "BGR"), np.uint8).reshape(-1, width, 3)
    return pixels


def _on_white(picture: Image.Image) -> Image.Image:
    from PIL import Image

    background = Image.new("RGB", picture.size, _WHITE)
    background.paste(picture, mask=picture.getchannel("A"))
    return background


def _grey16_to_bgr(picture: Image.Image) -> NDArray[np.uint8]:
    """16-bit grey; Pillow's own conversion cuts off at 255."""
    grey = np.clip(np.asarray(picture), 0, 65_535).astype(np.uint16) >> 8
    return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)


def _orientation(picture: ImageFile.ImageFile) -> int:
    """EXIF orientation; 1 where there is none, or none that can be read: that alone does not spoil a photo."""
    try:
        orientation = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow's parser raises whatever the bytes lead it into
        return 1
    return orientation if isinstance(orientation, int) else 1


def _orientation_in_header(picture: ImageFile.ImageFile, file: BinaryIO) -> int:
    """EXIF orientation without decoding: Pillow decodes a PNG to look for EXIF data behind the pixels."""
    if picture.format == "TIFF":
        return 1  # Pillow turns these itself, their size included
    if picture.format == "PNG" and "exif" not in picture.info and "Raw profile type exif" not in picture.info:
        exif = _png_chunk(file, b"eXIf")
        if not exif:
            return 1
        picture.info["exif"] = exif
    return _orientation(picture)


def _png_chunk(file: BinaryIO, name: bytes) -> bytes:
    """The first chunk of that name in a PNG file, empty where there is none; jumps over the others."""
    position = 8
    while True:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return b""
        length = int.from_bytes(head[:4], "big")
        if head[4:] == name:
            return file.read(length)
        position += length + 12
