"""Every legal pair of codec and container, in every special case: what is read, and what `segment` makes of it.

All clips are made here by PyAV (`tests/clips.py`); the number of each frame is drawn into it. The oracle is PyAV's own
plain decoding, and the times that were meant. Held to: the exact number of frames, each once and in order, times within
half a tick of the clip's clock, every sound track kept and in step. A case that a pair cannot have is not in it.
How the cases are made:

- constant: 24 frames a second, no B-frames, no sound.
- B-frames: two between reference frames, stored out of order (H.264, HEVC, MPEG-4; VP9, AV1 and MJPEG have none). AVI
  has no presentation times: FFmpeg gives those of decoding, one frame late, and so do we.
- variable rate: frames get uneven times in ticks of 1/1000 s. AVI has one rate and no such case.
- edit list: the first five frames get times before zero; the muxer writes an `elst` that hides them, and as the clip is
  one group of pictures, they must be decoded to see the others. MP4 and MOV have edit lists; others none.
- odd size: 65 x 49 pixels. H.264 and HEVC need 4:4:4 for it.
- rotation: a display matrix of 90, 180 or 270 degrees, pixels stored so that the picture is upright once turned. MP4,
  MOV and MKV keep it; AVI cannot, FFmpeg's WebM muxer does not.
- HDR: 10 bits, BT.2020 primaries, PQ transfer, where the encoder has 10 bits: MPEG-4 and MJPEG have 8, and the VP9
  encoder inside PyAV's wheels was built for 8.
- interlaced: field-coded by the encoder's own switches (H.264 `ildct+ilme` with tff, MPEG-4 `ildct+ilme`). HEVC codes
  fields as pictures of their own, VP9 and AV1 know none, FFmpeg's MJPEG encoder writes none.
- sounds: two tracks in codecs the container takes, the second four times as long as the video.
- missing index: MP4 and MOV as fragments without an index of samples (`empty_moov`), MKV and WebM written live, without
  cues and sizes, AVI with its `idx1` chunk cut off.
- zero frames: a video track that nothing was written to; refused in words.
"""

from fractions import Fraction

import av
import clips
import pytest
import stubs

from fashionseg.errors import MediaError
from fashionseg.media.video_reader import VideoReader
from fashionseg.segment import SegmentOptions, segment

PAIRS = [
    *(("libx264", suffix) for suffix in ("mp4", "mov", "mkv")),
    *(("libx265", suffix) for suffix in ("mp4", "mov", "mkv")),
    *((codec, suffix) for codec in ("libvpx-vp9", "libsvtav1") for suffix in ("webm", "mkv", "mp4")),
    *(("mpeg4", suffix) for suffix in ("avi", "mp4", "mkv")),
    *(("mjpeg", suffix) for suffix in ("avi", "mov")),
]
TICK = Fraction(1, 24)
FRAMES = 8
HIDDEN = 5
"""Frames before zero in the case of the edit list."""

SOUNDS = {"mp4": ("aac", "ac3"), "mov": ("aac", "pcm_s16le"), "mkv": ("aac", "libopus"), "webm": ("libopus", "libopus"),
          "avi": ("pcm_s16le", "ac3")}  # fmt: skip
NO_INDEX = {"mp4": {"movflags": "frag_keyframe+empty_moov"}, "mov": {"movflags": "frag_keyframe+empty_moov"},
            "mkv": {"live": "1"}, "webm": {"live": "1"}}  # fmt: skip


def cases_of(codec, suffix):
    """The legal cases of a pair: name and what differs from a plain clip."""
    found = {"constant": {}, "odd size": odd_size(codec), "sounds": {"sounds": sounds(suffix)}}
    found["missing index"] = {"container_options": NO_INDEX.get(suffix, {})}
    if codec in ("libx264", "libx265", "mpeg4"):
        found["B-frames"] = {"bframes": 2}
    if suffix != "avi":
        found["variable rate"] = {"time_base": Fraction(1, 1000), "pts": (0, 1, 40, 41, 300, 301, 900, 1500)}
    if suffix in ("mp4", "mov"):
        found["edit list"] = {"time_base": TICK, "pts": tuple(range(-HIDDEN, FRAMES - HIDDEN)), "gop": FRAMES}
    if suffix not in ("avi", "webm"):
        found |= {f"rotation {angle}": {"rotation": angle, "frames": 3} for angle in (90, 180, 270)}
    if "yuv420p10le" in formats(codec):
        found["HDR"] = {"pix_fmt": "yuv420p10le", "colorspace": 9, "color_range": 1, "color_trc": 16}
    if codec in ("libx264", "mpeg4"):
        fields = {"x264-params": "tff=1"} if codec == "libx264" else {}
        found["interlaced"] = {"options": {"flags": "+ildct+ilme", **fields}}
    return found


def formats(codec):
    """Pixel formats that this FFmpeg's encoder takes."""
    try:
        return {one.name for one in av.codec.Codec(codec, "w").video_formats}
    except av.codec.codec.UnknownCodecError:
        return set()


def odd_size(codec):
    return {"size_hw": (49, 65), **({"pix_fmt": "yuv444p"} if codec in ("libx264", "libx265") else {})}


def sounds(suffix):
    first, second = SOUNDS[suffix]
    length = float(4 * FRAMES * TICK)
    return clips.Sound(first, seconds=0.3, onset=0.1), clips.Sound(second, seconds=length, onset=0.2, layout="stereo")


def clip_of(codec, changes):
    plain = {"frames": FRAMES, "codec": codec}
    if codec == "libsvtav1":
        plain["size_hw"] = (64, 64)
    if codec == "mjpeg":
        plain["pix_fmt"] = "yuvj420p"
    return clips.Clip(**{**plain, **changes})


MATRIX = [(codec, suffix, case) for codec, suffix in PAIRS for case in cases_of(codec, suffix)]


class Made:
    """The clips of one pair, and the folder that `segment` wrote for them."""

    def __init__(self, folder, codec, suffix):
        self.clips = {case: clip_of(codec, changes) for case, changes in cases_of(codec, suffix).items()}
        self.paths = {}
        (folder / "in").mkdir()
        for case, clip in self.clips.items():
            path = self.paths[case] = clips.make(folder / "in" / f"{case}.{suffix}", clip)
            if case == "missing index" and suffix == "avi":
                data = path.read_bytes()
                path.write_bytes(data[: data.index(b"idx1")])
        self.root = folder / "out"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())
            patch.setattr("fashionseg.segment.video.PART_FRAMES", 3)
            options = SegmentOptions(batch=1, hide=frozenset({"boxes", "labels", "masks"}))
            self.summary = segment(
                [folder / "in"], self.root, options, open_backend=lambda m: stubs.StubBackend(m.spec)
            )

    def expected(self, case):
        """Numbers and times in seconds of the frames that are to be seen."""
        clip = self.clips[case]
        late = TICK if case == "B-frames" and self.paths[case].suffix == ".avi" else 0
        frames = [(number, time + late) for number, time in enumerate(clips.times(clip)) if time >= 0]
        return [number for number, _ in frames], [time for _, time in frames]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """`made(codec, suffix)`: the clips of a pair, made once."""
    found = {}

    def make(codec, suffix):
        try:
            av.codec.Codec(codec, "w")
        except av.codec.codec.UnknownCodecError:
            pytest.skip(f"this FFmpeg cannot encode {codec}")
        if (codec, suffix) not in found:
            found[codec, suffix] = Made(tmp_path_factory.mktemp(f"{codec}-{suffix}"), codec, suffix)
        return found[codec, suffix]

    return make


def near(times, expected, tick):
    return len(times) == len(expected) and all(abs(a - b) <= tick / 2 for a, b in zip(times, expected, strict=True))


@pytest.mark.parametrize(("codec", "suffix", "case"), MATRIX)
def test_reading(codec, suffix, case, made):
    pair = made(codec, suffix)
    path, clip = pair.paths[case], pair.clips[case]
    numbers, times = pair.expected(case)
    for threads in (1, 3):
        with VideoReader(path, threads=threads) as video:
            frames = list(video)
            assert len(frames) == len(numbers)
            assert [frame.time for frame in frames] == clips.av_frames(path), "other times than PyAV's own"
            assert [clips.number_in(frame.image) for frame in frames] == numbers
            assert near([frame.time for frame in frames], times, video.time_base)
            assert all(clips.is_upright(frame.image) for frame in frames)
            assert video.size_hw == (clip.size_hw if clip.rotation % 180 == 0 else clip.size_hw[::-1])
            if not (case == "variable rate" and suffix in ("mkv", "webm")):  # there it is an estimate: no header tells
                assert video.frame_count in (None, len(numbers))
            assert len(video.sounds) == len(clip.sounds)
            if case == "constant":
                assert video.average_rate == 24
                assert video.duration == pytest.approx(FRAMES / 24, abs=0.05)


@pytest.mark.parametrize(("codec", "suffix", "case"), MATRIX)
def test_segmenting(codec, suffix, case, made):
    pair = made(codec, suffix)
    assert pair.summary.failures == []
    source, target = pair.paths[case], pair.root / f"{case}.mp4"
    numbers, times = pair.expected(case)
    with VideoReader(source) as video:
        tick = video.time_base
    with VideoReader(target) as video:
        frames = list(video)
    assert [clips.number_in(frame.image) for frame in frames] == numbers
    assert near([frame.time for frame in frames], times, tick)
    assert near(clips.av_frames(target), times, tick)
    with av.open(str(target)) as output:
        assert len(output.streams.audio) == len(pair.clips[case].sounds)
    for track in range(len(pair.clips[case].sounds)):
        assert clips.onset(target, track) == pytest.approx(clips.onset(source, track), abs=0.005)
        assert clips.sound_seconds(target, track) == pytest.approx(clips.sound_seconds(source, track), abs=0.05)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "webm", "avi"])
def test_zero_frames(suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    codec = "libvpx-vp9" if suffix == "webm" else "mpeg4"
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=24)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        output.start_encoding()
    with pytest.raises(MediaError, match=rf"a\.{suffix}"):
        VideoReader(path)


def test_the_cases_are_what_they_say(made):
    """An edit list, a turned picture, fields, ten bits, B-frames, a lost index are really in the files."""
    x264 = made("libx264", "mp4")
    assert x264.paths["edit list"].read_bytes().count(b"elst") == 1
    decoded = {case: first_frame(path) for case, path in x264.paths.items()}
    assert {angle: abs(decoded[f"rotation {angle}"].rotation) % 360 for angle in (90, 180, 270)}.keys() == {
        90,
        180,
        270,
    }
    assert decoded["rotation 90"].rotation and decoded["rotation 270"].rotation and decoded["rotation 180"].rotation
    assert decoded["interlaced"].interlaced_frame and not decoded["constant"].interlaced_frame
    assert first_frame(made("mpeg4", "avi").paths["interlaced"]).interlaced_frame
    assert decoded["HDR"].format.name == "yuv420p10le" and decoded["HDR"].color_trc == 16
    assert len(pts_of(x264.paths["constant"])) == FRAMES
    assert pts_of(x264.paths["B-frames"]) != sorted(pts_of(x264.paths["B-frames"]))
    assert b"idx1" not in made("mpeg4", "avi").paths["missing index"].read_bytes()
    assert b"\x1c\x53\xbb\x6b" not in made("libx264", "mkv").paths["missing index"].read_bytes()
    assert b"moof" in x264.paths["missing index"].read_bytes()


def first_frame(path):
    with av.open(str(path)) as container:
        return next(container.decode(video=0))


def pts_of(path):
    with av.open(str(path)) as container:
        return [packet.pts for packet in container.demux(video=0) if packet.size]
