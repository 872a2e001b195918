"""Reading video: order, times, orientation and colours of clips of many kinds, and of damaged ones.

Every legal pair of codec and container in every special case: `test_clip_matrix.py`.

The oracle is PyAV's own plain decoding (`clips.av_frames`); the pictures carry their numbers.
"""

import itertools
import os
import shutil
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fashionseg.errors import MediaError
from fashionseg.media.video_reader import BrokenVideoError, VideoReader
from tests.clips import Clip, Sound, av_frames, is_upright, make, number_in, times

TICK = Fraction(1, 24)


def clip_of(codec, **changes):
    try:
        av.codec.Codec(codec, "w")
    except av.codec.codec.UnknownCodecError:
        pytest.skip(f"this FFmpeg cannot encode {codec}")
    if codec == "libsvtav1":
        changes.setdefault("size_hw", (64, 64))
    if codec == "mjpeg":
        changes.setdefault("pix_fmt", "yuvj420p")
    return Clip(codec=codec, **changes)


def read(path, threads=1, **options):
    with VideoReader(path, threads=threads) as video:
        return list(video.frames(**options))


def read_broken(path, threads=1):
    """Frames before the break, and the error."""
    frames = []
    with pytest.raises(BrokenVideoError) as error, VideoReader(path, threads=threads) as video:
        frames.extend(video)
    assert error.value.frames == len(frames)
    assert str(path) in str(error.value)
    return frames, error.value


def numbers(frames):
    return [number_in(frame.image) for frame in frames]


def assert_as_decoded(path, expected_numbers, threads=1, times_of=None):
    frames = read(path, threads)
    reference = times_of if times_of is not None else av_frames(path)
    assert len(frames) == len(reference)
    assert [frame.time for frame in frames] == reference
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert numbers(frames) == list(expected_numbers)
    assert all(is_upright(frame.image) for frame in frames)
    return frames


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
@pytest.mark.parametrize("bframes", [0, 2])
def test_variable_rate(tmp_path, suffix, bframes):
    pts = (0, 1, 2, 40, 41, 300, 333, 334, 900, 1000, 1500, 1501)
    clip = Clip(bframes=bframes, time_base=Fraction(1, 1000), pts=pts)
    path = make(tmp_path / f"a.{suffix}", clip)
    frames = assert_as_decoded(path, range(12))
    assert [frame.time for frame in frames] == times(clip)


def test_edit_list_that_starts_inside_a_group_of_pictures(tmp_path):
    """Frames before zero: the muxer writes an edit list that hides them."""
    path = make(tmp_path / "a.mp4", Clip(bframes=2, gop=12, time_base=TICK, pts=tuple(range(-5, 19))))
    frames = assert_as_decoded(path, range(5, 24), 3)
    assert [frame.time for frame in frames] == [n * TICK for n in range(19)]
    with VideoReader(path) as video:
        assert video.frame_count == 19


def test_edit_list_that_ends_early(tmp_path):
    """The length in the edit list is halved; the frames after it are not part of the video, and none is missing."""
    path = make(tmp_path / "a.mp4", Clip(bframes=2))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 12
    (length,) = struct.unpack(">I", data[at : at + 4])
    data[at : at + 4] = struct.pack(">I", length // 2)
    path.write_bytes(data)
    assert_as_decoded(path, range(6), 3)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_first_frame_that_comes_late_stays_late(tmp_path, suffix):
    path = make(tmp_path / f"a.{suffix}", Clip(bframes=2, time_base=TICK, pts=tuple(range(12, 24))))
    frames = assert_as_decoded(path, range(12))
    assert frames[0].time == Fraction(1, 2)
    with VideoReader(path) as video:
        assert video.frame_count == 12


def test_clock_of_a_longer_recording_starts_at_zero(tmp_path):
    hour = 24 * 3600
    path = make(tmp_path / "a.mkv", Clip(time_base=TICK, pts=tuple(range(hour, hour + 12))))
    frames = read(path)
    assert frames[0].time == 0
    assert abs(frames[-1].time - 11 * TICK) < Fraction(1, 1000)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "mpeg2video"])
def test_transport_stream_starts_at_zero(tmp_path, codec):
    path = make(tmp_path / "a.ts", clip_of(codec, bframes=2 if codec != "mpeg2video" else 0))
    reference = av_frames(path)
    assert_as_decoded(path, range(12), times_of=[time - reference[0] for time in reference])


def test_sound_that_starts_first_keeps_its_lead(tmp_path):
    clip = Clip(time_base=TICK, pts=tuple(range(12, 24)), sounds=(Sound("mp2", seconds=1.0),))
    path = make(tmp_path / "a.ts", clip)
    with av.open(str(path)) as container:
        lead = container.streams.video[0].start_time - container.streams.audio[0].start_time
    assert read(path)[0].time == Fraction(lead, 90_000) == pytest.approx(0.5, abs=0.02)


def test_streams_joined_end_to_end_go_on_without_a_gap(tmp_path):
    """The clock starts again and the size changes, as between two programmes of a broadcast."""
    first = make(tmp_path / "a.ts", Clip())
    second = make(tmp_path / "b.ts", Clip(size_hw=(96, 128)))
    both = tmp_path / "both.ts"
    both.write_bytes(first.read_bytes() + second.read_bytes())
    for threads in (1, 3):
        frames = read(both, threads)
        assert numbers(frames) == [*range(12), *range(12)]
        assert {frame.image.shape for frame in frames} == {(48, 64, 3)}
        assert [frame.time for frame in frames] == [n * TICK for n in range(24)]


@pytest.mark.parametrize(("suffix", "container"), [("h264", "h264"), ("mjpeg", "mjpeg")])
def test_streams_without_any_time_follow_the_frame_rate(tmp_path, suffix, container):
    codec = "libx264" if suffix == "h264" else "mjpeg"
    path = make(tmp_path / f"a.{suffix}", clip_of(codec, bframes=2 if codec == "libx264" else 0, container=container))
    frames = read(path)
    assert numbers(frames) == list(range(12))
    assert [frame.time for frame in frames] == [Fraction(n, 25) for n in range(12)]
    with VideoReader(path) as video:
        assert video.frame_count is None


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("mkv", {"live": "1"}),
        ("webm", {"live": "1"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", {"movflags": "frag_keyframe+empty_moov+default_base_moof"}),
    ],
)
def test_missing_index(tmp_path, suffix, options):
    codec = "libvpx-vp9" if suffix == "webm" else "libx264"
    path = make(tmp_path / f"a.{suffix}", clip_of(codec, container_options=options))
    assert_as_decoded(path, range(12), 3)


def test_avi_without_its_index(tmp_path):
    path = make(tmp_path / "a.avi", Clip(codec="mpeg4"))
    data = path.read_bytes()
    path.write_bytes(data[: data.index(b"idx1")])
    assert_as_decoded(path, range(12), 3)


def test_matroska_without_its_index(tmp_path):
    path = make(tmp_path / "a.mkv", Clip(bframes=2, gop=3, sounds=(Sound(seconds=0.3),)))
    data = path.read_bytes()
    cues = data.rindex(b"\x1c\x53\xbb\x6b")
    path.write_bytes(data[:cues])
    assert_as_decoded(path, range(12), 3)


def test_a_stream_that_shows_only_later_in_the_file_does_not_end_it(tmp_path):
    """As in recordings of live broadcasts: the header tells of video alone, and after nine seconds there is sound."""
    sound = Sound("libmp3lame", seconds=1.0, start=Fraction(9), sample_rate=44_100)
    path = make(tmp_path / "a.flv", Clip(frames=250, sounds=(sound,)))
    whole = av_frames(path)
    data = bytearray(path.read_bytes())
    assert data[:5] == b"FLV\1\5"
    data[4] = 1
    path.write_bytes(data)
    with pytest.raises(IndexError):
        av_frames(path)  # PyAV's own decoding trips over it
    for threads in (1, 3):
        assert [frame.time for frame in read(path, threads)] == whole


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_sound_longer_than_the_video_is_no_sign_of_a_break(tmp_path, suffix):
    codec = "mpeg4" if suffix == "avi" else "libx264"
    path = make(tmp_path / f"a.{suffix}", Clip(codec=codec, sounds=(Sound("libmp3lame", seconds=2.0),)))
    assert_as_decoded(path, range(12), 3)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(  # Matroska keeps no mirror
    ("suffix", "hflip"), [("mp4", False), ("mp4", True), ("mov", False), ("mov", True), ("mkv", False)]
)
def test_rotation(tmp_path, suffix, rotation, hflip):
    path = make(tmp_path / f"a.{suffix}", Clip(frames=3, rotation=rotation, hflip=hflip))
    frames = assert_as_decoded(path, range(3))
    shown = (48, 64) if rotation % 180 == 0 else (64, 48)
    with VideoReader(path) as video:
        assert video.size_hw == shown == frames[0].image.shape[:2]
    assert all(frame.image.flags.c_contiguous and frame.image.flags.writeable for frame in frames)


@pytest.mark.parametrize("size_hw", [(49, 65), (48, 65), (49, 64), (50, 66), (16, 18)])
@pytest.mark.parametrize(("codec", "pix_fmt"), [("libvpx-vp9", "yuv420p"), ("libx264", "yuv444p")])
def test_odd_sizes(tmp_path, codec, pix_fmt, size_hw):
    path = make(tmp_path / "a.mkv", clip_of(codec, size_hw=size_hw, pix_fmt=pix_fmt))
    frames = assert_as_decoded(path, range(12))
    assert frames[0].image.shape == (*size_hw, 3)
    assert frames[0].image.flags.c_contiguous


KR_KB = {
    1: (0.2126, 0.0722),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
    2: (0.299, 0.114),
}


def flat_clip(path, colorspace, color_range, yuv, pix_fmt="yuv420p", size_hw=(48, 64), codec="libx264"):
    """One frame of one colour, given in the numbers that are stored."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=24, options={"crf": "0", "preset": "ultrafast"})
        stream.height, stream.width = size_hw
        stream.pix_fmt = pix_fmt
        stream.codec_context.colorspace, stream.codec_context.color_range = colorspace, color_range
        frame = av.VideoFrame(size_hw[1], size_hw[0], pix_fmt)
        for plane, value in zip(frame.planes, yuv, strict=True):
            kind = np.uint8 if pix_fmt in ("yuv420p", "yuvj420p") else np.uint16
            plane.update(np.full(plane.buffer_size // kind().itemsize, value, kind))
        frame.colorspace, frame.color_range = colorspace, color_range
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def bgr_of(yuv, colorspace, color_range, bits=8):
    """The formula of ITU-R BT.601, 709 and 2020."""
    kr, kb = KR_KB[colorspace]
    unit = 2 ** (bits - 8)
    y, u, v = (float(value) for value in yuv)
    if color_range == 1:
        y, u, v = (y - 16 * unit) / 219 / unit, (u - 128 * unit) / 224 / unit, (v - 128 * unit) / 224 / unit
    else:
        top = 2**bits - 1
        y, u, v = y / top, (u - 128 * unit) / top, (v - 128 * unit) / top
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    green = (y - kr * red - kb * blue) / (1 - kr - kb)
    return np.clip(np.array([blue, green, red]) * 255, 0, 255)


@pytest.mark.parametrize("color_range", [1, 2])
@pytest.mark.parametrize("colorspace", [1, 5, 6, 9, 10, 2])
def test_colours_follow_matrix_and_range(tmp_path, colorspace, color_range):
    yuv = (120, 90, 170)
    flat_clip(tmp_path / "a.mp4", colorspace, color_range, yuv)
    image = read(tmp_path / "a.mp4")[0].image
    gap = np.abs(image - bgr_of(yuv, colorspace, color_range)).max()
    assert gap <= 3, f"largest difference {gap}"


def test_unusual_matrix_is_refused_in_words(tmp_path):
    flat_clip(tmp_path / "a.mkv", 8, 1, (120, 90, 170))
    with pytest.raises(MediaError, match=r"a\.mkv uses an unusual colour matrix \(number 8"):
        VideoReader(tmp_path / "a.mkv")


def test_high_definition_without_a_named_matrix_is_bt709(tmp_path):
    yuv = (120, 90, 170)
    flat_clip(tmp_path / "a.mp4", 2, 1, yuv, size_hw=(720, 1280))
    assert np.abs(read(tmp_path / "a.mp4")[0].image[5, 5] - bgr_of(yuv, 1, 1)).max() <= 3


def test_ten_bits(tmp_path):
    yuv = (480, 360, 680)
    flat_clip(tmp_path / "a.mkv", 9, 1, yuv, pix_fmt="yuv420p10le")
    assert np.abs(read(tmp_path / "a.mkv")[0].image - bgr_of(yuv, 9, 1, bits=10)).max() <= 3


def test_hdr_clip_is_read_as_it_is(tmp_path):
    clip = clip_of("libx265", pix_fmt="yuv420p10le", colorspace=9, color_range=1, color_trc=16)
    assert_as_decoded(make(tmp_path / "a.mp4", clip), range(12), 3)


def test_interlaced_frames_come_as_decoded(tmp_path):
    clip = Clip(options={"flags": "+ildct+ilme", "x264-params": "tff=1"})
    path = make(tmp_path / "a.mp4", clip)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert_as_decoded(path, range(12), 3)


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"), [("rawvideo", "bgr24", "avi"), ("ffv1", "yuv444p", "mkv"), ("ffv1", "gray", "mkv")]
)
def test_frames_do_not_share_memory(tmp_path, codec, pix_fmt, suffix):
    """A frame that is BGR already needs no conversion, but may not be handed out while the decoder uses it."""
    path = make(tmp_path / f"a.{suffix}", Clip(codec=codec, pix_fmt=pix_fmt))
    frames = read(path)
    for frame in frames:
        frame.image[:2] = frame.index
    assert numbers(frames) == list(range(12))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == list(range(12))


@pytest.mark.parametrize("rotation", [0, 90])
def test_sample_aspect_ratio_is_upright(tmp_path, rotation):
    path = make(tmp_path / "a.mp4", Clip(frames=2, sample_aspect_ratio=Fraction(4, 3), rotation=rotation))
    with VideoReader(path) as video:
        assert video.sample_aspect_ratio == (Fraction(3, 4) if rotation else Fraction(4, 3))


def test_sounds_are_listed(tmp_path):
    sounds = (Sound(language="eng"), Sound("libopus", layout="stereo", language="deu"))
    with VideoReader(make(tmp_path / "a.mkv", Clip(sounds=sounds))) as video:
        assert [(s.codec, s.channels, s.sample_rate, s.language) for s in video.sounds] == [
            ("aac", 1, 48_000, "eng"),
            ("opus", 2, 48_000, "deu"),
        ]


# which frames


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    return make(tmp_path_factory.mktemp("long") / "a.mp4", Clip(frames=30, bframes=2, gop=10))


def test_stride(long_clip):
    frames = read(long_clip, stride=7)
    assert [frame.index for frame in frames] == [0, 7, 14, 21, 28] == numbers(frames)
    assert [frame.time for frame in frames] == [n * TICK for n in (0, 7, 14, 21, 28)]


def test_start_and_end(long_clip):
    frames = read(long_clip, start=Fraction(1, 4), end=Fraction(1, 2))
    assert numbers(frames) == [6, 7, 8, 9, 10, 11]  # 6/24 is in, 12/24 is not
    assert numbers(read(long_clip, start=Fraction(10))) == []
    assert numbers(read(long_clip, end=Fraction(0))) == []


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("first", [1, 9, 10, 11, 29, 30])
def test_going_on_gives_what_an_uninterrupted_run_gives(long_clip, first, stride):
    options = {"stride": stride, "start": Fraction(1, 8), "end": Fraction(29, 24)}
    whole = [frame for frame in read(long_clip, **options) if frame.index >= first]
    rest = read(long_clip, **options, first=first)
    assert [(f.index, f.pts, f.time) for f in rest] == [(f.index, f.pts, f.time) for f in whole]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(rest, whole, strict=True))


def test_a_reader_can_be_read_twice_and_left_early(long_clip):
    with VideoReader(long_clip) as video:
        iterator = iter(video)
        assert next(iterator).index == 0
        assert numbers(video.frames()) == list(range(30))
        assert next(iterator).index == 1
    assert next(iterator, None) is None
    video.close()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_no_file_stays_open(tmp_path, long_clip):
    broken = tmp_path / "b.mp4"
    broken.write_bytes(b"nonsense" * 100)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with VideoReader(long_clip, threads=2) as video:
            next(iter(video))
        with pytest.raises(MediaError):
            VideoReader(broken)
        VideoReader(long_clip).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# bad files


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


CUT_OFF = [
    ("libx264", "mp4", {"movflags": "faststart"}),
    ("libx264", "mov", {"movflags": "faststart"}),
    ("libx265", "mp4", {"movflags": "faststart"}),
    ("libsvtav1", "mp4", {"movflags": "faststart"}),
    ("libx264", "mkv", {}),
    ("libvpx-vp9", "webm", {}),
    ("mpeg4", "avi", {}),
    ("mjpeg", "avi", {}),
    ("libx264", "flv", {}),
]


@pytest.mark.parametrize(
    ("codec", "suffix", "options", "reordered"),
    [
        *((*one, False) for one in CUT_OFF),
        *((*one, True) for one in CUT_OFF if one[0] in ("libx264", "libx265", "mpeg4")),  # others have no B-frames
    ],
)
def test_a_file_that_is_cut_off_gives_the_frames_before(tmp_path, codec, suffix, options, reordered):
    clip = clip_of(codec, frames=60, bframes=2 if reordered else 0, container_options=options)
    path = cut(make(tmp_path / f"a.{suffix}", clip), 0.85)
    frames, error = read_broken(path)
    assert 20 < len(frames) < 60
    assert "cut off" in str(error) or "promises 60 frames" in str(error)
    # Behind the last whole packet a frame may stand for later than the next one would have: B-frames come after it.
    assert sorted(numbers(frames)) == numbers(frames)
    assert numbers(frames)[:-2] == list(range(len(frames) - 2))
    in_threads, _ = read_broken(path, threads=4)
    assert [(f.index, f.pts) for f in in_threads] == [(f.index, f.pts) for f in frames]
    assert all(np.array_equal(a.image, b.image) for a, b in zip(in_threads, frames, strict=True))


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("bframes", [0, 2])
def test_damage_in_the_middle_gives_the_frames_before(tmp_path, bframes, threads):
    path = make(tmp_path / "a.mp4", Clip(frames=60, bframes=bframes, container_options={"movflags": "faststart"}))
    with av.open(str(path)) as container:
        position = [packet.pos for packet in container.demux(video=0) if packet.size][30]
    data = bytearray(path.read_bytes())
    data[position : position + 40] = bytes(40)
    path.write_bytes(data)
    frames, error = read_broken(path, threads)
    assert numbers(frames)[:-1] == list(range(len(frames) - 1))
    assert 27 <= len(frames) <= 31
    assert "cannot be decoded" in str(error)


def test_a_transport_stream_that_begins_inside_a_group_of_pictures(tmp_path):
    path = make(tmp_path / "a.ts", Clip(frames=40, gop=10))
    data = path.read_bytes()
    with av.open(str(path)) as container:
        position = [packet.pos for packet in container.demux(video=0) if packet.size][5]
    path.write_bytes(data[:564] + data[position:])  # the tables that come first, then from the sixth frame on
    frames = read(path, threads=2)
    assert len(frames) == len(av_frames(path))
    assert numbers(frames)[-20:] == list(range(20, 40))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
def test_no_frames(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        output.start_encoding()
    with pytest.raises(MediaError, match=rf"a\.{suffix}"):
        VideoReader(path)


@pytest.mark.parametrize("suffix", ["m4a", "mp4", "mkv", "mp3"])
def test_sound_alone(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    sound_only(path, "libmp3lame" if suffix == "mp3" else "aac", cover=False)
    with pytest.raises(MediaError, match=r"holds no video|is not a video"):
        VideoReader(path)


@pytest.mark.parametrize("suffix", ["m4a", "mp4"])
def test_sound_with_a_cover_picture(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    sound_only(path, "aac", cover=True)
    with av.open(str(path)) as container:
        assert container.streams.video  # the cover looks like a video of one frame
    with pytest.raises(MediaError, match="only sound and a cover picture"):
        VideoReader(path)


def sound_only(path, codec, *, cover):
    container = "mp4" if path.suffix == ".m4a" else None
    with av.open(str(path), "w", format=container) as output:
        stream = output.add_stream(codec, rate=44_100)
        picture = output.add_stream("mjpeg", rate=1) if cover else None
        if picture is not None:
            picture.height, picture.width, picture.pix_fmt = 48, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
        output.start_encoding()
        if picture is not None:
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
            output.mux(picture.encode(frame.reformat(format="yuvj420p")))
            output.mux(picture.encode(None))
        for i in range(20):
            silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            silence.sample_rate, silence.pts = 44_100, i * 1024
            output.mux(stream.encode(silence))
        output.mux(stream.encode(None))


PLAYLIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n%s\n#EXT-X-ENDLIST\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"is empty \(0 bytes\)"),
        (b"hello" * 500, "is not a video"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 300, "is not a video"),
        (PLAYLIST, "is not a video"),
        (b"ffconcat version 1.0\nfile %s\n", "is not a video"),
        (b"<?xml version='1.0'?><MPD></MPD>", "is not a video"),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n", "is not a video"),
    ],
)
@pytest.mark.parametrize("name", ["a.mp4", "a.m3u8", "a.mkv"])
def test_what_is_no_video_and_lists_that_point_elsewhere(tmp_path, content, message, name):
    real = make(tmp_path / "real.ts", Clip(frames=3))
    (tmp_path / name).write_bytes(content.replace(b"%s", os.fsencode(real)))
    with pytest.raises(MediaError, match=message):
        VideoReader(tmp_path / name)


def test_missing_folder_pipe_and_null_byte(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    for path, message in [
        (tmp_path / "missing.mp4", "is not there"),
        (tmp_path, "not a regular file"),
        (tmp_path / "pipe.mp4", "not a regular file"),
        ("a\0b.mp4", "cannot read"),
    ]:
        with pytest.raises(MediaError, match=message):
            VideoReader(path)


@pytest.mark.parametrize(
    "name", ["concat:a|b.mp4", "http:x.mp4", "öäü 👗.mp4", "line\nbreak.mp4", os.fsdecode(b"\xff\xfe.mp4"), "%03d.mp4"]
)
def test_hard_names(tmp_path, monkeypatch, name):
    shutil.move(make(tmp_path / "a.mp4", Clip(frames=3)), tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(read(name)) == len(read(Path(name))) == len(read(tmp_path / name)) == 3


def test_a_file_that_vanishes_between_two_walks(tmp_path):
    path = make(tmp_path / "a.mp4", Clip(frames=3))
    with VideoReader(path) as video:
        assert len(list(video)) == 3
        path.unlink()
        with pytest.raises(MediaError, match="is not there"):
            list(video)


def test_frames_too_large_are_refused(tmp_path):
    path = make(tmp_path / "a.avi", Clip(codec="rawvideo", pix_fmt="bgr24", frames=2))
    data = bytearray(path.read_bytes())
    at = data.index(b"strf") + 12
    data[at : at + 8] = struct.pack("<ii", 12_000, 12_000)
    path.write_bytes(data)
    with pytest.raises(MediaError, match="12000 x 12000"):
        VideoReader(path)


def test_metadata_that_is_not_unicode(tmp_path):
    path = tmp_path / "a.avi"
    make(path, Clip(codec="mpeg4", frames=2))
    with av.open(str(path)) as source, av.open(str(tmp_path / "b.avi"), "w") as output:
        output.metadata["title"] = "TITLETITLE"
        stream = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                output.mux(packet)
    data = (tmp_path / "b.avi").read_bytes()
    assert b"TITLETITLE" in data
    (tmp_path / "b.avi").write_bytes(data.replace(b"TITLETITLE", b"\xff\xfe\xfd\xc0TITLE\xff"))
    assert len(read(tmp_path / "b.avi")) == 2


SEED_CLIPS = {}


@given(
    st.sampled_from(["mp4", "mkv", "avi", "ts"]),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=5),
    st.floats(0.1, 1.0),
)
@settings(max_examples=60, deadline=None)
def test_any_damage_gives_frames_or_a_media_error(tmp_path_factory, suffix, changes, share):
    folder = tmp_path_factory.getbasetemp()
    if suffix not in SEED_CLIPS:
        codec = "mpeg4" if suffix == "avi" else "libx264"
        SEED_CLIPS[suffix] = make(folder / f"seed.{suffix}", Clip(frames=6, size_hw=(16, 16), codec=codec)).read_bytes()
    data = bytearray(SEED_CLIPS[suffix])
    for position, value in changes:
        data[position % len(data)] = value
    path = folder / f"damaged.{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    try:
        frames = read(path, threads=2)
    except MediaError as error:
        assert "damaged" in str(error)
        return
    assert all(later.time > earlier.time for earlier, later in itertools.pairwise(frames))


def test_real_video():
    folder = os.environ.get("FASHIONSEG_TEST_DATA")
    if not folder:
        pytest.skip("FASHIONSEG_TEST_DATA is not set")
    path = Path(folder, "video", "juggle.mp4")
    with VideoReader(path) as video:
        found = [frame.time for frame in video.frames(stride=10)]
        assert (video.size_hw, video.frame_count, video.average_rate) == ((720, 1280), 247, 24)
    assert found == [Fraction(n, 24) for n in range(0, 247, 10)]
