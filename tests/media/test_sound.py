"""Sound whose times are odd: clocks that run slow, overlaps, long gaps."""

import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from fashionseg.media import sound as sound_module
from fashionseg.media.video_writer import PartWriter, join_parts
from tests import clips
from tests.clips import Clip, Sound, onset


def retimed(path, when, stored=None, seconds=3, codec="aac", **changes):
    """A clip whose audio packet number n is heard at `when(n)` and stored at `stored(n)` samples of 48,000 a second."""
    clip = Clip(frames=24, sounds=(Sound(codec, seconds, **changes),))
    with av.open(str(path), "w") as output:
        video, audio = clips._add_video(output, clip), clips._add_sound(output, clip.sounds[0])
        packets = clips._encode_video(video, clip)
        for number, packet in enumerate(clips._encode_sound(audio, clip.sounds[0])):
            packet.pts, packet.dts = when(number), (stored or when)(number)
            packets.append(packet)
        output.start_encoding()
        for packet in sorted(packets, key=lambda packet: packet.stream_index):
            output.mux(packet)
    return path


def join(source, folder):
    """Its sound beside 24 grey frames; the new file and what was joined."""
    with PartWriter(folder / "part.mp4", (48, 64), Fraction(1, 24), Fraction(24)) as writer:
        for number in range(24):
            writer.write(np.full((48, 64, 3), 127, np.uint8), number)
    return folder / "joined.mp4", join_parts([folder / "part.mp4"], folder / "joined.mp4", source)


def audio_times(path):
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [packet.pts * stream.time_base for packet in container.demux(stream) if packet.size]


@pytest.mark.parametrize("step", [1022, 1023, 1025])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_copied_sound_keeps_to_the_times_of_its_source(step, suffix, tmp_path):
    source = retimed(tmp_path / f"a.{suffix}", lambda number: number * step, seconds=12)
    target, joined = join(source, tmp_path)
    before, after = audio_times(source), audio_times(target)
    assert (joined.sounds, joined.sound_problem) == (1, "")
    assert len(after) == len(before) > 500
    assert max(abs(one - other) for one, other in zip(before, after, strict=True)) < Fraction(5, 1000)
    assert all(later > earlier for earlier, later in itertools.pairwise(after))


def test_copied_sound_that_overlaps_loses_the_overlap_alone(tmp_path):
    source = retimed(tmp_path / "a.mkv", lambda n: n * 1024 - (14_336 if n >= 50 else 0), lambda n: n * 512)
    target, _ = join(source, tmp_path)
    before, after = audio_times(source), audio_times(target)
    assert len(before) - len(after) == 14
    assert after[-1] == pytest.approx(float(before[-1]), abs=0.005)


def test_a_long_gap_is_filled_a_second_at_a_time(tmp_path, monkeypatch):
    filled = []
    silence = sound_module._silence
    monkeypatch.setattr(sound_module, "_silence", lambda *made: filled.append(made[1]) or silence(*made))
    source = retimed(
        tmp_path / "a.mkv", lambda number: number * 1152 + (20 * 48_000 if number >= 50 else 0), codec="mp2", onset=2.0
    )
    assert onset(source) > 21
    target, joined = join(source, tmp_path)
    assert onset(target) == pytest.approx(onset(source), abs=0.03)
    assert filled == [48_000] * 19
    assert joined.sound_problem == ""


def test_sound_that_comes_half_a_day_later_is_left_out_and_told(tmp_path):
    source = retimed(
        tmp_path / "a.mkv", lambda number: number * 1152 + (10**5 * 48_000 if number >= 50 else 0), codec="mp2"
    )
    target, joined = join(source, tmp_path)
    assert "damaged pieces of its sound were left out" in joined.sound_problem
    assert audio_times(target)[-1] < 2


def test_silence_is_silent_in_every_format():
    for name in ("u8", "u8p", "s16", "s16p", "s32", "s32p", "flt", "fltp", "dbl", "dblp"):
        like = av.AudioFrame(name, "stereo", 8)
        like.sample_rate, like.time_base = 8_000, Fraction(1, 8_000)
        made = sound_module._silence(like, 100, 7)
        assert (made.samples, made.sample_rate, made.pts) == (100, 8_000, 7)
        assert set(made.to_ndarray().ravel()) == {128 if name.startswith("u8") else 0}, name
