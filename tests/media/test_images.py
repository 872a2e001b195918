"""Decoding photos: every mode of every format, orientation, and every kind of bad file."""

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from fashionseg.errors import MediaError
from fashionseg.media.images import MAX_PIXELS, encode_jpeg, image_size, read_image

WIDTH, HEIGHT = 48, 30


def picture(mode="RGB"):
    """A picture without symmetry: red upper left corner, blue lower right, a grey slope between."""
    image = Image.new("RGB", (WIDTH, HEIGHT))
    draw = ImageDraw.Draw(image)
    for x in range(WIDTH):
        draw.line([(x, 0), (x, HEIGHT)], (4 * x, 4 * x, 4 * x))
    draw.rectangle([0, 0, 15, 7], (255, 0, 0))
    draw.rectangle([32, 20, 47, 29], (0, 0, 255))
    return image.convert(mode)


def saved(image, path, **options):
    image.save(path, **options)
    return path


def difference(a, b):
    return np.abs(a.astype(int) - b.astype(int))


def assert_same(actual, expected, tolerance=0):
    assert actual.shape == expected.shape
    gap = difference(actual, expected)
    assert gap.max() <= tolerance, f"largest difference {gap.max()}, mean {gap.mean():.3f}"


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "gif", "jpg"])
def test_formats(tmp_path, suffix):
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(suffix, {})
    path = saved(picture(), tmp_path / f"a.{suffix}", **options)
    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    tolerance = {"gif": 20, "jpg": 4}.get(suffix, 0)
    assert_same(image, np.asarray(picture())[:, :, ::-1], tolerance)
    assert image[2, 2, 2] > 200 > 60 > image[2, 2, 0]  # red is last: BGR
    assert image_size(path) == (HEIGHT, WIDTH)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LAB"])
def test_modes(tmp_path, mode):
    path = saved(picture(mode), tmp_path / "a.tif")
    assert_same(read_image(path), np.asarray(picture(mode).convert("RGB"))[:, :, ::-1])


def test_cmyk_jpeg(tmp_path):
    path = saved(picture("CMYK"), tmp_path / "a.jpg", quality=100)
    assert_same(read_image(path), np.asarray(picture("CMYK").convert("RGB"))[:, :, ::-1], 60)


def test_palette_with_a_transparent_colour_is_shown_on_white(tmp_path):
    palette = picture().quantize(8)
    path = saved(palette, tmp_path / "a.png", transparency=palette.getpixel((2, 2)))
    assert read_image(path)[2, 2].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_alpha_is_shown_on_white(tmp_path, suffix):
    image = picture("RGBA")
    image.putalpha(Image.linear_gradient("L").resize((WIDTH, HEIGHT)))
    path = saved(image, tmp_path / f"a.{suffix}", **({"lossless": True, "exact": True} if suffix == "webp" else {}))
    rgba = np.asarray(image).astype(float)
    alpha = rgba[:, :, 3:] / 255
    expected = (rgba[:, :, :3] * alpha + 255 * (1 - alpha))[:, :, ::-1]
    assert_same(read_image(path), expected.round(), 1)


def test_opaque_alpha_changes_nothing(tmp_path):
    assert_same(read_image(saved(picture("RGBA"), tmp_path / "a.png")), np.asarray(picture())[:, :, ::-1])


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit(tmp_path, suffix):
    grey = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 45).astype(np.uint16)
    path = tmp_path / f"grey.{suffix}"
    assert cv2.imwrite(str(path), grey)
    assert_same(read_image(path), np.repeat((grey >> 8)[:, :, None], 3, 2))
    colour = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=2)
    path = tmp_path / f"colour.{suffix}"
    assert cv2.imwrite(str(path), colour)
    assert_same(read_image(path), colour >> 8)


def test_floating_point_is_refused(tmp_path):
    path = saved(picture("F"), tmp_path / "a.tif")
    with pytest.raises(MediaError, match="floating-point"):
        read_image(path)


@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_that_of_pillow(tmp_path, suffix, orientation):
    from PIL import ImageOps

    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    path = saved(picture(), tmp_path / f"a.{suffix}", exif=exif, **options)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))[:, :, ::-1]
    image = read_image(path)
    assert_same(image, expected)
    assert image.flags.c_contiguous
    assert image_size(path) == expected.shape[:2]


def test_orientation_six_by_hand(tmp_path):
    """6: the camera was turned; the first row of the file is the right side of the picture."""
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_image(saved(picture(), tmp_path / "a.png", exif=exif))
    assert image.shape == (WIDTH, HEIGHT, 3)
    assert image[2, HEIGHT - 3].tolist() == [0, 0, 255]  # the red corner is now upper right


def test_orientation_behind_the_pixels_of_a_png(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    plain = saved(picture(), tmp_path / "a.png").read_bytes()
    data = exif.tobytes()[6:]
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    path = tmp_path / "late.png"
    path.write_bytes(plain[:-12] + chunk + plain[-12:])
    assert image_size(path) == (WIDTH, HEIGHT) == read_image(path).shape[:2]


def test_broken_exif_does_not_spoil_a_photo(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = bytearray(saved(picture(), tmp_path / "a.jpg", exif=exif).read_bytes())
    start = data.index(b"Exif\0\0") + 6
    data[start + 4 : start + 12] = b"\xff" * 8
    (tmp_path / "b.jpg").write_bytes(data)
    assert read_image(tmp_path / "b.jpg").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.detectron2
def test_pixels_are_those_of_detectron2(tmp_path):
    utils = pytest.importorskip("detectron2.data.detection_utils")
    folder = os.environ.get("FASHIONSEG_TEST_DATA")
    paths = sorted(Path(folder, "ccp", "images").glob("*"))[:10] if folder else []
    paths.append(saved(picture(), tmp_path / "a.jpg", quality=80))
    paths.append(saved(picture("L"), tmp_path / "grey.jpg"))
    exif = Image.Exif()
    exif[0x0112] = 8
    paths.append(saved(picture(), tmp_path / "turned.jpg", exif=exif))
    for path in paths:
        assert_same(read_image(path), utils.read_image(str(path), format="BGR"))


def test_mislabelled_files_are_judged_by_content(tmp_path):
    path = saved(picture(), tmp_path / "really-a-png.jpg", format="PNG")
    assert_same(read_image(path), np.asarray(picture())[:, :, ::-1])


@pytest.mark.parametrize(
    "name", ["spa ce.jpg", "öäü 👗.jpg", "line\nbreak.jpg", os.fsdecode(b"\xff\xfe.jpg"), "x" * 251 + ".jpg"]
)
def test_hard_names(tmp_path, name):
    data = saved(picture(), tmp_path / "a.jpg").read_bytes()
    (tmp_path / name).write_bytes(data)
    assert read_image(tmp_path / name).shape == (HEIGHT, WIDTH, 3)
    assert read_image(str(tmp_path / name)).shape == (HEIGHT, WIDTH, 3)
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError):
        read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tif", "gif"])
def test_no_truncated_file_gives_a_picture(tmp_path, suffix):
    """Cut anywhere but in the last bytes, where some formats keep nothing that matters."""
    data = saved(picture(), tmp_path / f"a.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for length in range(0, len(data) - 20, max(1, len(data) // 60)):
        path.write_bytes(data[:length])
        with pytest.raises(MediaError) as error:
            read_image(path)
        assert str(path) in str(error.value)


def test_progressive_jpeg_with_scans_missing_is_refused(tmp_path):
    noise = Image.effect_noise((200, 200), 90).convert("RGB")
    data = saved(noise, tmp_path / "a.jpg", progressive=True, quality=90).read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(MediaError, match=r"cut\.jpg is damaged or incomplete"):
        read_image(tmp_path / "cut.jpg")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "is not there"),
        (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
        (lambda p: p.write_bytes(b"hello, world" * 9), "not a picture"),
        (lambda p: p.write_bytes(b"\0\0\0\x20ftypheic" + b"\0" * 50), "HEIF"),
        (lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVEfmt " + b"\0" * 50), "not a picture"),
        (lambda p: p.mkdir(), "not a regular file"),
        (os.mkfifo, "not a regular file"),
        (lambda p: p.symlink_to(p), "cannot read"),
    ],
)
def test_bad_files(tmp_path, make, message):
    make(tmp_path / "bad.jpg")
    with pytest.raises(MediaError, match=message) as error:
        read_image(tmp_path / "bad.jpg")
    assert "bad.jpg" in str(error.value)
    if not (tmp_path / "bad.jpg").is_fifo():
        with pytest.raises(MediaError):
            image_size(tmp_path / "bad.jpg")


def test_null_byte_in_a_path():
    with pytest.raises(MediaError):
        read_image("a\0b.jpg")


def png_claiming(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def bombs():
    jpeg = bytearray()
    buffer = io.BytesIO()
    picture().save(buffer, "JPEG")
    jpeg[:] = buffer.getvalue()
    start = jpeg.index(b"\xff\xc0") + 5
    jpeg[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    side = (59_999).to_bytes(3, "little")
    yield "bomb.png", png_claiming(60_000, 60_000)
    yield "bomb.jpg", bytes(jpeg)
    yield "bomb.webp", b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + side + side + b"\0" * 60
    yield "bomb.gif", b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"," + b"\0" * 8 + b"\1\0\2\2D\1\0;"
    yield "bomb.bmp", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, 60_000, 60_000, 1, 24, *[0] * 6)


@pytest.mark.parametrize(("name", "data"), bombs(), ids=lambda v: v if isinstance(v, str) else "")
def test_decompression_bombs_are_refused_from_the_header(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    for reader in (read_image, image_size):
        with pytest.raises(MediaError, match="60000 x 60000 pixels"):
            reader(tmp_path / name)


def test_the_largest_photos_pass_the_size_check(tmp_path):
    (tmp_path / "a.png").write_bytes(png_claiming(12_000, 9_000))
    assert image_size(tmp_path / "a.png") == (9_000, 12_000)
    assert MAX_PIXELS >= 16_320 * 12_240  # a phone's 200 million pixels
    with pytest.raises(MediaError, match="damaged or incomplete"):
        read_image(tmp_path / "a.png")


def test_tiff_with_strips_missing_is_refused(tmp_path):
    path = saved(picture(), tmp_path / "a.tif")
    data = bytearray(path.read_bytes())
    height = data.index(struct.pack("<HHII", 0x0101, 4, 1, HEIGHT)) + 8
    data[height : height + 4] = struct.pack("<I", 3 * HEIGHT)
    path.write_bytes(data)
    with pytest.raises(MediaError, match=f"holds {HEIGHT} of its {3 * HEIGHT} rows"):
        read_image(path)


def test_one_pixel(tmp_path):
    for suffix in ("png", "jpg", "webp", "gif", "bmp", "tif"):
        path = saved(Image.new("RGB", (1, 1), (255, 255, 255)), tmp_path / f"a.{suffix}")
        assert read_image(path).tolist() == [[[255, 255, 255]]]


def test_nothing_reaches_the_terminal(tmp_path):
    """A child process decodes damaged files; warnings, logs and native messages would show on its stderr."""
    noise = Image.effect_noise((120, 120), 90).convert("RGB")
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "tif", "webp", "gif", "bmp"):
        data = saved(noise, tmp_path / f"a.{suffix}").read_bytes()
        for i in range(12):
            broken = bytearray(data)
            at = int(rng.integers(20, len(data) - 30))
            broken[at : at + 20] = rng.bytes(20)
            (tmp_path / f"{i}.{suffix}").write_bytes(broken)
    code = (
        "import sys, pathlib\n"
        "from fashionseg.errors import MediaError\n"
        "from fashionseg.media.images import image_size, read_image\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    for reader in (read_image, image_size):\n"
        "        try: reader(path)\n"
        "        except MediaError: pass\n"
        "print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr
    assert done.stderr == ""


SEEDS = {}
for _format, _options in (("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("TIFF", {}), ("GIF", {}), ("BMP", {})):
    _buffer = io.BytesIO()
    picture().resize((16, 16)).save(_buffer, _format, **_options)
    SEEDS[_format] = _buffer.getvalue()


@given(st.sampled_from(sorted(SEEDS)), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=6))
@settings(max_examples=300, deadline=None)
def test_any_damage_gives_a_picture_or_a_media_error(tmp_path_factory, name, changes):
    data = bytearray(SEEDS[name])
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    try:
        image = read_image(path)
    except MediaError as error:
        assert "damaged" in str(error)  # the file's name
        return
    assert image.ndim == 3
    assert image.shape[2] == 3
    assert image_size(path) == image.shape[:2]


def test_encode_jpeg_round_trip(tmp_path):
    image = cv2.GaussianBlur(np.asarray(picture())[:, :, ::-1].copy(), (0, 0), 3)
    (tmp_path / "a.jpg").write_bytes(encode_jpeg(image, 95))
    assert difference(read_image(tmp_path / "a.jpg"), image).mean() < 3
    assert len(encode_jpeg(image, 30)) < len(encode_jpeg(image, 95))


def test_encode_jpeg_refuses_what_the_format_cannot_hold():
    with pytest.raises(MediaError, match="too large for JPEG"):
        encode_jpeg(np.zeros((1, 65_501, 3), np.uint8))
