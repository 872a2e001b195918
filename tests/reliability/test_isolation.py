"""A bad file costs itself only, whatever is wrong with it; odd names and sizes are no fault at all."""

import contextlib
import json
import os
import shutil
import struct
import sys
import zlib
from fractions import Fraction

import av
import clips
import cv2
import numpy as np
import pytest
import stubs
from PIL import Image

from fashionseg.segment import SilentReporter

pytestmark = pytest.mark.timeout(180)


def png_header(width, height):
    """A PNG that claims a size and holds almost nothing."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


def wrong_checksum(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(bytes(data))


BAD_PHOTOS = {
    "truncated": cut,
    "a byte wrong": wrong_checksum,
    "zero bytes": lambda path: path.write_bytes(b""),
    "one byte": lambda path: path.write_bytes(b"\x89"),
    "text": lambda path: path.write_text("hello, I am a text file"),
    "a page of HTML": lambda path: path.write_text("<!doctype html><title>404</title>"),
    "zeros": lambda path: path.write_bytes(bytes(5000)),
    "bomb": lambda path: path.write_bytes(png_header(60_000, 60_000)),
    "no pixels": lambda path: path.write_bytes(png_header(0, 10)),
    "claims more than it has": lambda path: path.write_bytes(png_header(5000, 5000)),
    "a video by name of photo": lambda path: shutil.copy(
        clips.make(path.with_suffix(".mp4"), clips.Clip(frames=2)), path
    ),
    "a folder's worth of pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a dangling link": lambda path: (path.unlink(), path.symlink_to("nowhere.png")),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "wider than JPEG": lambda path: cv2.imwrite(str(path), np.zeros((2, 65_501, 3), np.uint8)),
}


@pytest.mark.parametrize("fault", BAD_PHOTOS)
def test_a_bad_photo_costs_itself_only(fault, run, tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 3)
    BAD_PHOTOS[fault](paths[1])
    summary = run(paths, tmp_path / "out")  # named one by one, so that every kind of file is tried
    assert summary.tally.photos == 2
    failures = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert [failure["path"] for failure in failures] == [str(paths[1])], failures
    assert len(failures[0]["reason"]) > 20 and str(paths[1]) in failures[0]["reason"]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.jpg")) == ["000.jpg", "002.jpg"]


def test_a_mislabelled_photo_is_no_fault(run, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(stubs.picture()[..., ::-1]).save(tmp_path / "in" / "a.png", "JPEG")
    Image.fromarray(stubs.picture()[..., ::-1]).save(tmp_path / "in" / "b.jpg", "PNG")
    assert run([tmp_path / "in"], tmp_path / "out").tally.photos == 2


def overwritten(path):
    clips.make(path, clips.Clip(frames=60, size_hw=(120, 160), gop=5, container="mp4"))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 100] = bytes(100)
    path.write_bytes(bytes(data))


BAD_VIDEOS = {
    "truncated": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "zero bytes": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("not a video"),
    "a photo by name of video": lambda path: cv2.imencode(".png", stubs.picture())[1].tofile(path),
    "sound alone": lambda path: (path.unlink(), sound_alone(path)),
    "a broken header": lambda path: path.write_bytes(bytes(100) + path.read_bytes()[100:]),
    "zeros in the middle": overwritten,
    "too wide for H.264": lambda path: clips.make(
        path, clips.Clip(frames=2, size_hw=(16, 17_000), codec="ffv1", pix_fmt="bgr0")
    ),
    "a gap of months": lambda path: clips.make(
        path, clips.Clip(frames=3, pts=(0, 40, 10**10), time_base=Fraction(1, 1000))
    ),
    "a playlist": lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"),
}


def sound_alone(path):
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=48_000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def times_before_the_break(path):
    times = []
    with av.open(str(path)) as container, contextlib.suppress(av.InvalidDataError):
        for frame in container.decode(video=0):
            times.append(frame.pts * frame.time_base)  # noqa: PERF401 - those before an error are kept
    return times


@pytest.mark.parametrize("fault", BAD_VIDEOS)
def test_a_bad_video_costs_itself_only(fault, run, small_parts, tmp_path):
    photos = stubs.write_photos(tmp_path / "in", 2)
    good = clips.make(tmp_path / "in" / "good.mkv", clips.Clip(frames=4))
    bad = clips.make(tmp_path / "in" / "bad.mkv", clips.Clip(frames=60, size_hw=(120, 160), gop=5))
    BAD_VIDEOS[fault](bad)
    summary = run([photos[0], bad, good, photos[1]], tmp_path / "out")
    assert summary.tally.photos == 2
    assert len(clips.av_frames(tmp_path / "out" / "good.mp4")) == 4
    (failure,) = json.loads((tmp_path / "out" / "failures.json").read_text())
    assert failure["path"] == str(bad) and str(bad) in failure["reason"]
    kept = failure.get("frames") or 0
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    frames = [image["frame_index"] for image in images if "bad" in image["file_name"]]
    assert frames == list(range(kept))
    assert (tmp_path / "out" / "bad.mp4").exists() == bool(kept)
    if kept:
        assert clips.av_frames(tmp_path / "out" / "bad.mp4") == times_before_the_break(bad)[:kept]
    again = run([photos[0], bad, good, photos[1]], tmp_path / "out")
    assert again.frames == 0
    assert [f.path for f in again.failures] == [str(bad)]


class Notes(SilentReporter):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_frames_that_the_decoder_patched_up_are_told(run, tmp_path):
    clip = clips.make(tmp_path / "clip.avi", clips.Clip(frames=60, size_hw=(120, 160), gop=10, codec="mpeg4"))
    data = bytearray(clip.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 100] = bytes(100)
    clip.write_bytes(bytes(data))
    reporter = Notes()
    summary = run([clip], tmp_path / "out", reporter=reporter)
    assert summary.tally.frames > 50
    assert any("patched up" in note and str(clip) in note for note in reporter.notes), reporter.notes


def test_a_stream_that_begins_too_late_to_be_found_is_told(run, tmp_path):
    sound = clips.Sound("libmp3lame", seconds=0.5, start=Fraction(9), sample_rate=44_100)
    clip = clips.make(tmp_path / "live.flv", clips.Clip(frames=250, sounds=(sound,)))
    data = bytearray(clip.read_bytes())
    data[4] = 1  # the header tells of video alone
    clip.write_bytes(data)
    reporter = Notes()
    summary = run([clip], tmp_path / "out", reporter=reporter)
    assert summary.failures == [] and summary.tally.frames == 250
    assert any("begins too late" in note and str(clip) in note for note in reporter.notes), reporter.notes


@pytest.mark.parametrize(("codec", "rate", "suffix"), [("libmp3lame", 8000, "avi"), ("libmp3lame", 11_025, "mkv")])
def test_sound_that_mp4_does_not_know_is_carried_over(codec, rate, suffix, run, tmp_path):
    sound = clips.Sound(codec=codec, sample_rate=rate, seconds=0.5)
    clip = clips.make(tmp_path / f"clip.{suffix}", clips.Clip(frames=12, codec="mpeg4", sounds=(sound,)))
    assert run([clip], tmp_path / "out").failures == []
    with av.open(str(tmp_path / "out" / "clip.mp4")) as output:
        assert [stream.codec_context.name for stream in output.streams.audio] == ["aac"]


def test_sound_that_cannot_be_muxed_costs_itself_only(run, tmp_path, monkeypatch):
    from fashionseg.media import sound as sound_module

    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=6, sounds=(clips.Sound(seconds=0.3),)))

    def fail(self):
        if self.tracks:
            raise av.ArgumentError(22, "Invalid argument")
        return iter(())

    monkeypatch.setattr(sound_module.SoundCopy, "packets", fail)
    reporter = Notes()
    assert run([clip], tmp_path / "out", reporter=reporter).failures == []
    assert len(clips.av_frames(tmp_path / "out" / "clip.mp4")) == 6
    assert any("its sound is left out" in note for note in reporter.notes), reporter.notes


NAMES = [
    "two\nlines.png",
    "tab\tand\rreturn.png",
    "🧥👗 Größe ñ 衣服.png",
    "-rf.png",
    "a b'c\"d$(e)`f`;g&h|i*?[j].png",
    "..png",
    "...png",
    "a..b...png",
    "con.png",
    "x" * 251 + ".png",
    "衣" * 83 + ".png",
    "predictions.json.png",
    "[red]bold[cyan].png",
    "%s%n{0}.png",
    os.fsdecode(b"not utf-8 \xff\xfe.png"),
    os.fsdecode(b"\x80" * 251 + b".png"),
]


def test_odd_names_are_no_fault(run, tmp_path):
    folder = tmp_path / "in" / "sub\nfolder" / "🧵" / os.fsdecode(b"\xe9t\xe9")
    folder.mkdir(parents=True)
    made = 0
    for name in NAMES:
        try:
            (folder / name).write_bytes(cv2.imencode(".png", stubs.picture(seed=made))[1].tobytes())
            made += 1
        except OSError:  # this file system has its own ideas
            assert sys.platform != "linux", name
    clips.make(folder / "clip.mp4", clips.Clip(frames=2))
    (folder / "clip.mp4").rename(folder / ("v" * 250 + "\n.mp4"))
    summary = run([tmp_path / "in", *(folder / name for name in NAMES if name.startswith("."))], tmp_path / "out")
    assert summary.failures == []
    assert (summary.tally.photos, summary.tally.frames) == (made, 2)
    outputs = [path for path in (tmp_path / "out").rglob("*") if path.is_file() and ".fashionseg" not in path.parts]
    assert len(outputs) == made + 1 + 2
    images = json.loads((tmp_path / "out" / "images.json").read_text())["images"]
    assert {image["file_name"].rsplit("/", 1)[-1] for image in images if "video_id" not in image} == set(NAMES)
    assert run([tmp_path / "in", *(folder / n for n in NAMES if n.startswith("."))], tmp_path / "out").frames == 0


def test_a_source_reached_by_climbing_stays_inside(run, tmp_path, monkeypatch):
    stubs.write_photos(tmp_path / "in", 2)
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    summary = run(["../../in/../in/*.png", "../../in"], tmp_path / "work" / "out")
    assert summary.tally.photos == 2
    assert sorted(p.name for p in (tmp_path / "work" / "out").iterdir() if p.suffix == ".jpg") == ["000.jpg", "001.jpg"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "work"]


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 3000), (3000, 1), (2, 2), (31, 33)])
def test_small_and_thin_photos(size_hw, run, tmp_path):
    photo = tmp_path / "a.png"
    cv2.imwrite(str(photo), np.full((*size_hw, 3), (230, 20, 20), np.uint8))
    summary = run([photo], tmp_path / "out", batch=2)
    assert summary.failures == []
    assert cv2.imread(str(tmp_path / "out" / "a.jpg")).shape[:2] == size_hw
    for prediction in json.loads((tmp_path / "out" / "predictions.json").read_text()):
        x, y, width, height = prediction["bbox"]
        assert x >= 0 and y >= 0 and x + width <= size_hw[1] and y + height <= size_hw[0]
        assert prediction["segmentation"]["size"] == list(size_hw)


@pytest.mark.timeout(600)
def test_a_photo_of_108_million_pixels_is_no_fault(run, tmp_path):
    photo = tmp_path / "large.jpg"
    cv2.imwrite(str(photo), cv2.resize(stubs.picture((900, 1200)), (12_000, 9_000), interpolation=cv2.INTER_NEAREST))
    summary = run([photo, *stubs.write_photos(tmp_path / "in", 2)], tmp_path / "out")
    assert summary.failures == [] and summary.tally.photos == 3
    assert cv2.imread(str(tmp_path / "out" / "large.jpg")).shape == (9_000, 12_000, 3)
    sizes = [p["segmentation"]["size"] for p in json.loads((tmp_path / "out" / "predictions.json").read_text())]
    assert sizes[0] == [9_000, 12_000]


def test_sources_that_vanish_while_running_cost_themselves_only(run, tmp_path):
    paths = stubs.write_photos(tmp_path / "in", 60)
    clip = clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=3))
    gone = [paths[50], clip]

    def vanish():
        for path in gone:  # far ahead: the stages before the model hold a few pictures only
            path.unlink()

    summary = run([tmp_path / "in"], tmp_path / "out", fail=stubs.at_picture(2, vanish))
    assert sorted(failure.path for failure in summary.failures) == sorted(map(str, gone))
    assert all("not there (any more)" in failure.reason for failure in summary.failures)
    assert summary.tally.photos == 59


def test_a_video_that_vanishes_while_it_is_read_keeps_its_frames(run, small_parts, tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=60, sounds=(clips.Sound(seconds=2.5),)))

    def vanish(number, images):
        if number == 4:  # whichever frame that is
            clip.unlink()

    summary = run([clip], tmp_path / "out", fail=vanish)
    assert summary.tally.frames == 60
    assert len(clips.av_frames(tmp_path / "out" / "clip.mp4")) == 60


def test_a_folder_that_grows_while_it_is_read(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 5)

    def grow(number, images):
        stubs.write_photos(tmp_path / "in" / f"more{number}", 1)

    assert run([tmp_path / "in"], tmp_path / "out", fail=grow).tally.photos == 5
