"""`segment` over videos, with a stub backend: frames, times, sound, resume, breaks."""

import json
import threading
from fractions import Fraction

import av
import clips
import pytest
import stub_run
import stubs

from fashionseg.errors import OutputError
from fashionseg.media.video_reader import VideoReader
from fashionseg.segment import SilentReporter
from fashionseg.segment import video as video_module

NOTHING_DRAWN = frozenset({"boxes", "labels", "masks"})


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Parts of five frames, and the stub's model file."""
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file())
    monkeypatch.setattr(video_module, "PART_FRAMES", 5)


def run(arguments, root, *rest, **options):
    summary, _ = stubs.run(arguments, root, *rest, **{"hide": NOTHING_DRAWN, **options})
    return summary


def numbers(path):
    with VideoReader(path) as video:
        return [clips.number_in(frame.image) for frame in video]


def times(path):
    with VideoReader(path) as video:
        return [frame.time for frame in video]


def images_of(root):
    return json.loads((root / "images.json").read_text())["images"]


@pytest.mark.parametrize("frames", [1, 4, 5, 6, 12])
def test_every_frame_once_in_order_whatever_the_parts(frames, tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=frames))
    summary = run([clip], tmp_path / "out")
    assert summary.tally.frames == frames
    assert numbers(tmp_path / "out" / "clip.mp4") == list(range(frames))
    assert times(tmp_path / "out" / "clip.mp4") == times(clip)
    assert [image["frame_index"] for image in images_of(tmp_path / "out")] == list(range(frames))
    assert not (tmp_path / "out" / ".fashionseg" / "parts").is_dir() or not any(
        (tmp_path / "out" / ".fashionseg" / "parts").iterdir()
    )


def test_the_output_plays_in_a_browser_and_keeps_the_sound(tmp_path):
    clip = clips.make(tmp_path / "clip.mkv", clips.Clip(frames=24, bframes=2, sounds=(clips.Sound(),)))
    run([clip], tmp_path / "out")
    with av.open(str(tmp_path / "out" / "clip.mp4")) as output:
        video, audio = output.streams.video[0], output.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert audio.codec_context.name == "aac"
        samples = sum(frame.samples for frame in output.decode(audio))
    assert samples >= 48_000
    data = (tmp_path / "out" / "clip.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "faststart"


def loud(path):
    """Begin and end in seconds of each run of sound that is heard."""
    runs = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        for frame in container.decode(stream):
            time = float(frame.pts * stream.time_base)
            if abs(frame.to_ndarray()).max() > 0.1 and (not runs or time - runs[-1][1] > 0.06):
                runs.append([time, time])
            elif abs(frame.to_ndarray()).max() > 0.1:
                runs[-1][1] = time
    return [tuple(run) for run in runs]


@pytest.mark.parametrize("second", [60, 0], ids=["ahead", "back"])
@pytest.mark.parametrize("codec", ["aac", "mp2"])
def test_sound_follows_a_clock_that_was_set_anew(codec, second, tmp_path):
    """Two recordings of two seconds end to end, each with a tone in its second half."""
    joined = tmp_path / "clip.ts"
    for begin in (0, second):
        sound = clips.Sound(codec, 2.0, Fraction(begin), onset=1.0)
        pts = tuple(range(begin * 24, begin * 24 + 48))
        one = clips.make(tmp_path / "one.ts", clips.Clip(frames=48, pts=pts, sounds=(sound,)))
        with joined.open("ab") as file:
            file.write(one.read_bytes())
    run([joined], tmp_path / "out")
    assert float(times(tmp_path / "out" / "clip.mp4")[-1]) == pytest.approx(95 / 24, abs=0.05)
    tones = loud(tmp_path / "out" / "clip.mp4")
    assert tones == [pytest.approx((1, 2), abs=0.08), pytest.approx((3, 4), abs=0.08)]


def test_variable_rate_is_kept(tmp_path):
    pts = (0, 1, 2, 10, 11, 30, 31, 33, 60, 61, 62, 90)
    clip = clips.make(tmp_path / "clip.mkv", clips.Clip(frames=12, pts=pts, time_base=Fraction(1, 30)))
    run([clip], tmp_path / "out")
    before, after = times(clip), times(tmp_path / "out" / "clip.mp4")
    assert max(abs(a - b) for a, b in zip(before, after, strict=True)) <= Fraction(1, 2000)
    stamps = [image["timestamp"] for image in images_of(tmp_path / "out")]
    assert stamps == pytest.approx([float(time) for time in before], abs=1e-6)


def test_stride_start_and_end(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=24))
    run([clip], tmp_path / "a", vid_stride=3)
    assert numbers(tmp_path / "a" / "clip.mp4") == list(range(0, 24, 3))
    run([clip], tmp_path / "b", start=Fraction(1, 4), end=Fraction(1, 2))
    assert numbers(tmp_path / "b" / "clip.mp4") == list(range(6, 12))
    assert [image["frame_index"] for image in images_of(tmp_path / "b")] == list(range(6, 12))


def test_frames_as_files(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=6))
    run([clip], tmp_path / "out", save=frozenset({"frames", "predictions"}))
    assert sorted(path.name for path in (tmp_path / "out" / "clip").iterdir()) == [f"{n:06d}.jpg" for n in range(6)]
    assert not (tmp_path / "out" / "clip.mp4").exists()
    assert [image["file_name"] for image in images_of(tmp_path / "out")] == [f"clip/{n:06d}.jpg" for n in range(6)]


def test_a_folder_of_somebody_elses_frames_is_refused(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=2))
    mine = tmp_path / "out" / "clip" / "000001.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"clip is there already and this command did not write it"):
        run([clip], tmp_path / "out", save=frozenset({"frames"}))
    assert mine.read_bytes() == b"precious"
    assert run([clip], tmp_path / "out").frames == 2, "where no frames are saved it is left alone"
    mine.unlink()
    assert run([clip], tmp_path / "out", save=frozenset({"frames"}), restart=True).frames == 2
    (tmp_path / "new" / "clip").mkdir(parents=True)
    assert run([clip], tmp_path / "new", save=frozenset({"frames"})).frames == 2, "an empty folder is nobody's"


@pytest.mark.parametrize("save", [{"frames", "predictions"}, {"frames", "video", "predictions"}])
def test_frames_that_were_removed_are_done_again(save, tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=23))
    run([clip], tmp_path / "whole", save=frozenset(save))
    run([clip], tmp_path / "out", save=frozenset(save))
    assert run([clip], tmp_path / "out", save=frozenset(save)).frames == 0
    for number in (7, 21):
        (tmp_path / "out" / "clip" / f"{number:06d}.jpg").unlink()
    reporter = StopAfter(9)
    stopped = run([clip], tmp_path / "out", reporter=reporter, stop=reporter.stop, save=frozenset(save))
    assert stopped.interrupted
    assert run([clip], tmp_path / "out", save=frozenset(save)).tally.frames == 23
    assert run([clip], tmp_path / "out", save=frozenset(save)).frames == 0
    assert len(stub_run.same_files(tmp_path / "out", tmp_path / "whole")) == 25 + ("video" in save)


def test_photos_and_videos_share_one_row_of_ids(tmp_path):
    clip = clips.make(tmp_path / "b.mp4", clips.Clip(frames=3))
    photos = stubs.write_photos(tmp_path / "photos", 2)
    run([photos[0], clip, photos[1]], tmp_path / "out")
    images = images_of(tmp_path / "out")
    assert [image["id"] for image in images] == [1, 2, 3, 4, 5]
    assert [image.get("video_id") for image in images] == [None, 1, 1, 1, None]


class StopAfter(SilentReporter):
    """Asks for a stop after some frames."""

    def __init__(self, count):
        self.left, self.stop = count, threading.Event()

    def advance(self, source, detections):
        self.left -= 1
        if not self.left:
            self.stop.set()


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_an_interrupted_video_goes_on_and_ends_the_same(batch, stride, tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=60, sounds=(clips.Sound(seconds=2.5),)))
    run([clip], tmp_path / "whole", batch=batch, vid_stride=stride)
    rounds = 0
    while rounds < 30:
        rounds += 1
        reporter = StopAfter(7)
        summary = run([clip], tmp_path / "parts", reporter=reporter, stop=reporter.stop, batch=batch, vid_stride=stride)
        if not summary.interrupted:
            break
    assert rounds > 1, "the first round was not interrupted"
    for name in ("predictions.json", "images.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert (tmp_path / "whole" / "clip.mp4").read_bytes() == (tmp_path / "parts" / "clip.mp4").read_bytes()


def test_a_finished_video_is_not_done_again_unless_its_output_is_gone(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=7))
    run([clip], tmp_path / "out")
    before = (tmp_path / "out" / "clip.mp4").read_bytes()
    assert run([clip], tmp_path / "out").frames == 0
    (tmp_path / "out" / "clip.mp4").unlink()
    assert run([clip], tmp_path / "out").frames == 7
    assert (tmp_path / "out" / "clip.mp4").read_bytes() == before
    assert len(images_of(tmp_path / "out")) == 7


def test_lost_parts_are_done_again(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=40))
    reporter = StopAfter(18)
    assert run([clip], tmp_path / "out", reporter=reporter, stop=reporter.stop).interrupted
    parts = sorted((tmp_path / "out" / ".fashionseg" / "parts").rglob("*.*"))
    assert parts
    parts[0].unlink()
    run([clip], tmp_path / "out")
    assert numbers(tmp_path / "out" / "clip.mp4") == list(range(40))


def test_a_video_that_breaks_keeps_the_frames_before_the_break(tmp_path):
    whole = clips.make(tmp_path / "clip.mkv", clips.Clip(frames=60, gop=5))
    data = whole.read_bytes()
    broken = tmp_path / "broken.mkv"
    broken.write_bytes(data[: len(data) * 6 // 10])
    summary = run([broken], tmp_path / "out")
    kept = summary.tally.frames
    assert 10 < kept < 60
    assert numbers(tmp_path / "out" / "broken.mp4") == list(range(kept))
    assert [failure.frames for failure in summary.failures] == [kept]
    again = run([broken], tmp_path / "out")
    assert again.frames == 0
    assert [failure.frames for failure in again.failures] == [kept]


def test_bad_videos_cost_themselves_only(tmp_path):
    (tmp_path / "in").mkdir()
    good = clips.make(tmp_path / "in" / "good.mp4", clips.Clip(frames=3))
    (tmp_path / "in" / "empty.mp4").write_bytes(b"")
    (tmp_path / "in" / "text.mp4").write_text("not a video")
    (tmp_path / "in" / "cut.mp4").write_bytes(good.read_bytes()[:200])
    summary = run([tmp_path / "in"], tmp_path / "out")
    assert summary.tally.videos == 1
    assert sorted(failure.path.rsplit("/", 1)[1] for failure in summary.failures) == [
        "cut.mp4",
        "empty.mp4",
        "text.mp4",
    ]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.mp4")) == ["good.mp4"]


@pytest.mark.parametrize("place", ["write", "close", "join"])
def test_a_fault_of_the_encoder_ends_the_run_and_leaves_it_resumable(place, tmp_path, monkeypatch):
    from fashionseg.errors import OutputError
    from fashionseg.media import joining, video_writer

    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=20))
    calls = [0]

    def fail(*args, **kwargs):
        calls[0] += 1
        if calls[0] == (1 if place == "join" else 2):
            raise OutputError("boom")
        return original(*args, **kwargs)

    owner, name = (joining, "join_parts") if place == "join" else (video_writer.PartWriter, place)
    original = getattr(owner, name)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(OutputError, match="boom"):
            run([clip], tmp_path / "out")
    assert not (tmp_path / "out" / "clip.mp4").exists()
    assert not [t.name for t in threading.enumerate() if t.name.startswith("fashionseg-")]
    run([clip], tmp_path / "out")
    assert numbers(tmp_path / "out" / "clip.mp4") == list(range(20))
