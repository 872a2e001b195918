"""The scripts of `benchmarks/` that measure the pipeline: that they measure what they say, on small media."""

import itertools
import json
import sys
import threading
from argparse import Namespace
from dataclasses import replace

import numpy as np
import pytest

from fashionseg.backends.registry import open_backend
from fashionseg.benchmarks import model_cpu, pipeline, scale, startup
from fashionseg.benchmarks.bench import floor
from fashionseg.benchmarks.bench.clip import write_panning_clip
from fashionseg.benchmarks.bench.pipeline_speed import Watch, stage_clocks
from fashionseg.benchmarks.bench.stages import STAGES, StageCost, bound_fps, clip_end, stages_alone
from fashionseg.errors import FashionsegError
from fashionseg.model import read_model
from fashionseg.pipeline import StageClock
from fashionseg.segment.types import Plan, Summary


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_panning_clip(path, frames=20, size_hw=(72, 128))
    return path


def test_stages_are_timed_over_the_frames_asked_for(clip):
    with open_backend(read_model(), "cpu", threads=1) as backend:
        costs = stages_alone(clip, backend, frames=17)
    assert tuple(costs) == STAGES
    assert {cost.frames for cost in costs.values()} == {17}
    assert all(cost.cpu > 0 and cost.wall > 0 for cost in costs.values())


def test_the_bound_is_cores_over_processor_seconds():
    costs = {"a": StageCost(cpu=1.0, wall=9.0, frames=10), "b": StageCost(cpu=0.3, wall=9.0, frames=1)}
    assert bound_fps(costs, cores=2) == pytest.approx(2 / (0.1 + 0.3))


def test_a_clip_ends_where_it_is_told(clip):
    assert clip_end(clip, 20) is None
    assert float(clip_end(clip, 12)) == pytest.approx(12 / 24)


def test_clocks_become_shares():
    summary = Summary(Plan((), (), (), None), frames=10)
    summary.clocks = [StageClock("infer", busy=3.0, starved=0.5, blocked=0.5, threads=2), StageClock("idle")]
    infer, idle = stage_clocks(summary, 2)
    assert (infer["busy"], infer["starved"], infer["blocked"]) == (0.75, 0.125, 0.125)
    assert infer["ms"] == 300.0
    assert idle["busy"] == 0.0
    summary.clocks = [StageClock("infer", busy=3.9, starved=4.0, blocked=0.1, threads=2)]
    (infer,) = stage_clocks(summary, 1)
    assert infer["threads"] == 1 and infer["busy"] == pytest.approx(3.9 / 4), "its one run at a time is at its limit"


def test_frames_a_second_count_from_the_end_of_the_first_batch():
    watch = Watch()
    watch.times = [5.0, 5.0, 5.0, 6.0, 6.0, 6.0, 7.0, 7.0]
    assert watch.fps(8.0, batch=3) == 5 / 3
    assert watch.fps(8.0, batch=1) == 7 / 3
    assert watch.fps(8.0, batch=32) == 4 / 2
    watch.times = [5.0]
    assert watch.fps(8.0, batch=1) is None


def test_stages_run_the_model_as_segment_does(clip):
    """In whole batches, even large ones, and on a GPU several at a time."""

    class Gpu(scale.StubBackend):
        def __init__(self, streams):
            super().__init__(read_model().spec, 1)
            self.device, self.streams = "trt:0", streams
            self.batches, self.together = [], threading.Barrier(streams, timeout=10)

        def run(self, images, image_sizes):
            self.batches.append(len(images))
            self.together.wait()
            return super().run(images, image_sizes)

    for streams, batch, frames, expected in ((1, 20, 20, [20]), (2, 5, 20, [5] * 4), (2, 10, 20, [10, 10])):
        backend = Gpu(streams)
        stages_alone(clip, backend, frames=frames, batch=batch)
        assert backend.batches == expected


def test_the_pipeline_script(clip, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "MODEL_SECONDS", 0.1)
    out = tmp_path / "pipeline.json"
    assert pipeline.main([str(clip), "--frames", "6", "--rounds", "1", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert set(found["fps"]) == {"ours", "bound", "model_alone", "plain_loop"}
    assert all(fps > 0 for fps in found["fps"].values())
    assert found["ours_over"]["bound"] == pytest.approx(found["fps"]["ours"] / found["fps"]["bound"], rel=0.02)
    assert found["skipped"] == {"detectron2": "no --checkpoint given"}


def test_the_script_compares_on_the_cpu_alone(clip, monkeypatch):
    asked = []

    def segment(inputs, output, options):
        asked.append((options.device, options.encoder))
        return Namespace(frames=6, seconds=2.0)

    monkeypatch.setattr(pipeline, "segment", segment)
    assert pipeline.ours(pipeline.Clip(clip, 6), read_model()) == 3.0
    assert asked == [("cpu", "x264")]


def test_the_floor_is_of_the_moment_of_each_run(monkeypatch):
    """A machine whose speed changes tenfold from round to round: every run takes twice its floor all the same."""
    now, speeds = [0.0], [0.0]

    def way():
        now[0] += 2 * 1000 / speeds[0]

    def other():
        speeds[0] = next(changing)

    changing = itertools.cycle([100.0, 1000.0, 300.0])
    monkeypatch.setattr(model_cpu.time, "perf_counter", lambda: now[0])
    ways = {"eager": other, "static": way, "plain": way, f"live, batch {model_cpu.BATCH}": way, "live": way}
    other()
    times, peaks = model_cpu.interleaved(ways, lambda: speeds[0], frozenset({"static", "live"}), 6)
    assert {name: len(values) for name, values in times.items()} == dict.fromkeys(ways, 6)
    found = model_cpu.summary({**times, "eager": times["plain"]}, peaks, {"static": 1000, "live": 500})
    assert found["over_floor"] == {"static": 2.0, "live": 4.0}
    assert found["static_over"] == {"plain": 1.0, "eager": 1.0}


def test_the_work_of_a_gpu_is_counted_by_precision_and_batch():
    from fashionseg.benchmarks.gpu_measures import subject

    one = subject("embedded", read_model(), [np.zeros((64, 64, 3), np.uint8)], (64, 64))
    half = replace(one, file=replace(one.file, spec=replace(one.file.spec, precision="fp16")))
    single, two = one.work(1), one.work(2)
    assert half.work(1).flops == single.flops and half.work(1).bytes < 0.6 * single.bytes
    assert two.flops == 2 * single.flops
    assert two.bytes < 2 * single.bytes, "weights are read once, however many pictures there are"


def test_the_probe_measures_a_peak():
    measure = floor.matrix_probe(1)
    assert measure() > 1e8


def test_the_stub_finds_garments_of_a_mask_each():
    spec = read_model().spec
    with scale.StubBackend(spec, 100) as backend:
        raw = backend.run(np.full((2, 64, 96, 3), 7, np.uint8), np.array([[64, 90], [60, 96]], np.int32))
    assert raw.num_detections.tolist() == [100, 100]
    assert raw.masks.shape == (2, 100, spec.mask_side, spec.mask_side)
    assert (raw.boxes[..., 2:] > raw.boxes[..., :2]).all()
    assert 0.3 < (raw.masks >= 0.5).mean() < 0.8
    assert (np.diff(raw.scores) < 0).all()


def test_scale_measures_a_video_and_photos(tmp_path):
    video, photos = tmp_path / "v.mp4", tmp_path / "photos"
    write_panning_clip(video, frames=6, size_hw=(72, 128))
    scale.make_photos(photos, 5)
    for source, pictures, garments in ((video, 6, 100), (photos, 5, 6)):
        found = scale.measure({"sources": [str(source)], "garments": garments})
        assert found["pictures"] == pictures
        assert found["ms_a_picture"] > 0 and found["cpu_ms_a_picture"] > 0
        assert found["written_bytes"] > 30 * garments * pictures, "every garment is written"


def test_the_scale_script_tells_growth(monkeypatch, capsys):
    def measure(module, settings):
        size = float(settings["sources"][0].split("/")[-1].removesuffix(".mp4"))
        grown = size > 1 and grows[0]
        return {
            "pictures": int(size * 100),
            "ms_a_picture": 4.0,
            "cpu_ms_a_picture": 5.0,
            "startup_s": 0.1,
            "memory_bytes": 120_000_000 if grown else 100_000_000,
            "written_bytes": 10,
        }

    monkeypatch.setattr(scale, "measure_in_child", measure)
    monkeypatch.setattr(scale, "make_video", lambda path, minutes: None)
    for grown, code in ((False, 0), (True, 1)):
        grows = [grown]
        assert scale.main(["--minutes", "1", "2", "--photos", "--rounds", "2"]) == code
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["largest_over_smallest"]["video"]["memory_mb"] == (1.2 if grown else 1.0)
        assert found["rows"][1]["pictures"] == 200


def test_startup_counts_from_start_to_end_of_a_process(tmp_path, capsys):
    out = tmp_path / "startup.json"
    assert startup.main(["--repeats", "1", "--json", str(out)]) in (0, 1), "1: this machine is too slow"
    found = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found
    assert list(found["seconds"]) == ["python", "help", "segment"]
    assert all(seconds > 0 for seconds in found["seconds"].values())
    assert found["fresh"] is None


def test_startup_of_a_command_that_fails_is_no_figure(tmp_path):
    with pytest.raises(FashionsegError, match="exit code 3: no luck"):
        startup.seconds_of(
            [sys.executable, "-c", "import sys; sys.exit(print('no luck', file=sys.stderr) or 3)"], tmp_path
        )


def test_a_way_that_takes_too_long_fails_the_startup_script(monkeypatch, capsys):
    times = {"python": 0.01, "help": 0.1, "segment": 0.5}
    monkeypatch.setattr(startup, "measure", lambda *_: {name: [value] for name, value in times.items()})
    assert startup.main([]) == 0
    times["help"] = 0.3
    assert startup.main([]) == 1


def test_the_model_alone_is_asked_for_what_segment_asks_for():
    from fashionseg.benchmarks.bench.model_speed import MIN_SCORE
    from fashionseg.segment import SegmentOptions

    assert SegmentOptions().conf == MIN_SCORE
