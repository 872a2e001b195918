"""`fashionseg bench`: children, rows out of rounds, files, comparison, gate, the command."""

import contextlib
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from fashionseg.backends import registry
from fashionseg.benchmarks.bench import child, machine, plan, plot, tables
from fashionseg.benchmarks.bench.clip import write_panning_clip
from fashionseg.benchmarks.bench.compare import compare
from fashionseg.benchmarks.bench.gate import check, parse
from fashionseg.benchmarks.bench.plan import BenchOptions, bench
from fashionseg.benchmarks.bench.result import BenchResult, read_result, write_result
from fashionseg.cli import main as main_module
from fashionseg.cli.bench import bench as command
from fashionseg.errors import (
    DataError,
    DeviceError,
    FashionsegError,
    MediaError,
    MissingExtraError,
    ModelError,
    QualityError,
)
from fashionseg.media.video_reader import VideoReader
from fashionseg.plotting import new_axes, new_figure

# children


def test_a_child_hands_back_errors_of_ours():
    settings = {"model": "no/such.onnx", "device": "cpu", "threads": 1, "batch": 1, "source": "x", "seconds": 1}
    with pytest.raises(ModelError, match=r"model file not found: no/such\.onnx"):
        child.measure_in_child("bench.model_speed", settings)


def test_a_child_runs_nothing_of_the_current_folder(tmp_path, monkeypatch):
    """Nor does it need the package to be installed: it finds the one that runs here."""
    (tmp_path / "fashionseg").mkdir()
    for name in ("fashionseg/__init__.py", "json.py", "av.py"):
        (tmp_path / name).write_text("raise SystemExit('code of the current folder was run')")
    monkeypatch.chdir(tmp_path)
    command = child.python_module("fashionseg", "--version")
    done = subprocess.run([command[0], "-S", *command[1:]], env=child.environment(), capture_output=True, text=True)
    assert "code of the current folder" not in done.stderr
    assert not done.returncode or "No module named 'click'" in done.stderr, "without site-packages ours is there, too"


@pytest.mark.parametrize(
    ("code", "output", "said"),
    [(0, "", "exit code 0"), (1, "", "KeyError: 'x'"), (-9, "", "killed by signal 9")],
)
def test_a_child_that_dies_is_one_sentence(code, output, said):
    with pytest.raises(FashionsegError, match=said):
        child._result("model_speed", code, output, "Traceback\nKeyError: 'x'\n" if code == 1 else "")


def test_a_missing_extra_in_a_child_keeps_its_sentence():
    answer = json.dumps({"error": str(MissingExtraError("tensorrt", "tensorrt")), "kind": "MissingExtraError"})
    with pytest.raises(FashionsegError, match=r"pip install 'fashionseg\[tensorrt\]'"):
        child._result("model_speed", 0, answer, "")


def test_ctrl_c_in_a_child_is_ctrl_c():
    with pytest.raises(KeyboardInterrupt):
        child._result("model_speed", child.EXIT_INTERRUPTED, "", "")


# rows


def model_answer(batch=1, ms=20.0, per_s=50.0, **changes):
    floors = {"flops": 1_000_000, "bytes": 1000, "flops_per_s": 1e9, "bytes_per_s": 1e9, "ms": 1.0}
    answer = {
        "name": "small",
        "precision": "fp32",
        "weights": "fp16",
        "sha256": "00",
        "file_bytes": 12_000_000,
        "device": "cpu",
        "backend": "stub",
        "streams": 2,
        "batch": batch,
        "input_hw": [224, 416],
        "startup_s": ms / 40,
        "latencies_ms": [ms - 1, ms, ms + 9],
        "pictures_per_s": per_s,
        "memory_bytes": int(per_s * 1e6),
        "gpu_memory_bytes": None,
        "floor": floors,
    }
    return {**answer, **changes}


def video_answer(fps=25.0, alone=True):
    stages = ("decode", "preprocess", "infer", "draw", "write")
    clocks = [
        {"stage": stage, "threads": 1 + (stage == "infer"), "busy": busy, "starved": 0.0, "blocked": 0.0, "ms": 1.0}
        for stage, busy in zip(stages, (0.1, 0.2, 0.9, 0.1, 0.4), strict=True)
    ]
    costs = dict.fromkeys(stages, 10.0)
    return {
        "fps": fps,
        "frames": 240,
        "cpu_ms": 50.0,
        "memory_bytes": 400_000_000,
        "stages": clocks,
        "alone": {"cpu_ms": costs, "wall_ms": costs, "cores": 2, "bound_fps": 40.0} if alone else None,
    }


@pytest.fixture
def children(monkeypatch):
    """Canned answers of child processes: the n-th round of the model is 10% slower than the first."""
    calls = []

    def measure(module, settings):
        calls.append((module, settings))
        number = sum(one == module and s["batch"] == settings["batch"] for one, s in calls) - 1
        if module == "bench.model_speed":
            batch = settings["batch"]
            return model_answer(batch, ms=20.0 * batch * (1 + number / 10), per_s=50.0 / (1 + number / 10))
        return video_answer(25.0 - number, alone=settings["alone"])

    monkeypatch.setattr(plan, "measure_in_child", measure)
    return calls


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    write_panning_clip(path, frames=6, size_hw=(72, 128))
    return path


def test_rounds_go_through_all_rows_before_the_next(children, clip):
    result = bench(BenchOptions(batches=(1, 4), source=clip, repeat=3))
    order = [(module, settings["batch"]) for module, settings in children]
    parts = ("bench.model_speed", "bench.pipeline_speed")
    assert order == [(part, batch) for batch in (1, 4) for part in parts] * 3
    assert [row.batch for row in result.rows] == [1, 4]
    assert {settings["frames"] for module, settings in children if module == "bench.pipeline_speed"} == {600}, (
        "12 s at 50/s"
    )
    assert [settings["alone"] for module, settings in children if module == "bench.pipeline_speed"] == [True] * 2 + [
        False
    ] * 4


def test_the_batch_is_that_of_segment_where_none_is_given(children, clip, monkeypatch):
    monkeypatch.setattr("fashionseg.backends.registry.gpu_present", lambda: True)
    result = bench(BenchOptions(devices=("cpu", "cuda"), source=clip, repeat=1))
    assert [row.batch for row in result.rows] == [1, 8]


def test_the_batch_is_that_of_the_device_that_auto_gets(children, clip, monkeypatch):
    monkeypatch.setattr("fashionseg.backends.registry.gpu_present", lambda: True)

    def broken(model, index, request):
        raise DeviceError("its driver is too old")

    class Works(contextlib.nullcontext):
        device = "cuda:0"

        def __enter__(self):
            return self

    reporter = plan.SilentReporter()
    said = []
    monkeypatch.setattr(reporter, "note", said.append, raising=False)
    for opened, batch in ((broken, 1), (lambda *_: Works(), 8)):
        monkeypatch.setitem(registry.KINDS, "cuda", registry.Kind(opened, indexed=True, needs_gpu=True))
        (row,) = bench(BenchOptions(source=clip, repeat=1), reporter).rows
        assert row.batch == batch
    assert len(said) == 1
    assert "its driver is too old" in said[0]


def test_rows_are_medians_with_their_range(children, clip):
    (row,) = bench(BenchOptions(source=clip, repeat=3)).rows
    assert row.runs == 9
    assert row.latency_ms["p50"] == 23.0  # of 19 20 29, 21 22 31, 23 24 33
    assert row.latency_ms["p99"] > 32
    assert row.latency_spread["p50"] == pytest.approx(4 / 22)  # 20, 22, 24
    assert row.latency_spread["p99"] == pytest.approx(4 / 30.82)  # 28.82, 30.82, 32.82
    assert row.pictures_per_s.median == pytest.approx(50 / 1.1)
    assert row.startup_s.median == pytest.approx(0.55)
    assert row.memory_mb == 50.0, "the most of all rounds"
    assert row.floor.ms == 1.0
    assert row.floor.times == pytest.approx(22.0)
    end = row.end_to_end
    assert (end.fps.median, end.fps.low, end.fps.high) == (24.0, 23.0, 25.0)
    assert end.limit == "infer"
    assert end.bound_fps == 40.0
    assert row.flat()["gpu-memory"] is None


def test_a_result_survives_its_file(children, clip, tmp_path):
    result = bench(BenchOptions(batches=(1, 2), source=clip, repeat=2))
    path = write_result(result, tmp_path / "out")
    assert read_result(path) == result
    document = json.loads(path.read_text())
    assert document["rows"][0]["metrics"]["fps"] == 24.5
    assert document["machine"]["cores"] >= 1


@pytest.mark.parametrize("text", ["", "{}", '{"benchmark": "other"}', "[1]", '{"benchmark": "bench", "format": 1}'])
def test_files_that_are_no_bench_json(text, tmp_path):
    path = tmp_path / "bench.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"bench\.json is not"):
        read_result(path)


def test_comparison_tells_changes_from_noise(children, clip):
    old = bench(BenchOptions(source=clip, repeat=2))
    new = bench(BenchOptions(source=clip, repeat=2))  # later rounds of the same stub are slower
    changes = {change.metric: change for change in compare(old, new)}
    assert changes["photos/s"].verdict == "worse"
    assert changes["latency/p50"].verdict == "worse"
    assert changes["file-size"].verdict == ""
    assert changes["file-size"].ratio == 1.0
    assert compare(old, old)[0].verdict == ""
    back = {change.metric: change.verdict for change in compare(new, old)}
    assert back["photos/s"] == back["latency/p50"] == "better"


def test_a_change_is_judged_by_the_spread_of_its_own_metric(children, clip):
    result = bench(BenchOptions(source=clip, repeat=1))
    (row,) = result.rows
    steady = {"p50": 0.0, "p90": 0.0, "p99": 0.5}

    def verdicts(factor, repeat):
        slower = {name: factor * ms for name, ms in row.latency_ms.items()}
        old = replace(result, rows=(replace(row, latency_spread=steady),), repeat=repeat)
        new = replace(old, rows=(replace(row, latency_ms=slower, latency_spread=steady),))
        changes = {change.metric: change.verdict for change in compare(old, new)}
        return [changes[f"latency/{name}"] for name in steady]

    assert verdicts(1.2, repeat=3) == ["worse", "worse", ""]
    assert verdicts(1.6, repeat=3) == ["worse"] * 3
    assert verdicts(1.04, repeat=3) == ["worse", "worse", ""]
    assert verdicts(1.04, repeat=1) == ["", "", ""], "one round tells nothing of its noise"


def test_every_row_stands_for_itself(children, clip):
    result = bench(BenchOptions(batches=(1, 4), source=clip, repeat=1))
    one, four = result.rows
    end = four.end_to_end
    stages = tuple(replace(stage, threads=1 if stage.name == "infer" else stage.threads) for stage in end.stages)
    floor_of_four = replace(four.floor, ms=4.5)
    other = replace(four, backend="another", floor=floor_of_four, end_to_end=replace(end, stages=stages))
    mixed = replace(result, rows=(one, other))
    lines = tables.closing_lines(mixed)
    assert "stub; another; one round" in lines[0]
    assert lines[1].startswith("floor of default, cpu, fp32, batch 1: ") and lines[1].endswith("1.0 ms a run")
    assert lines[2].startswith("floor of default, cpu, fp32, batch 4: ") and lines[2].endswith("4.5 ms a run")
    assert [line.split(":")[0] for line in tables.closing_lines(replace(result, rows=(one,)))[1:]] == ["floor"]
    columns = {str(column.header): list(column.cells) for column in tables.stage_table(mixed).columns}
    assert [cell.splitlines()[-1] for cell in columns["infer"]] == ["2 threads", "1 thread"]
    assert "infer × 2" in [column.header for column in tables.stage_table(result).columns]


@pytest.mark.parametrize(
    ("visible", "index", "mib"),
    [(None, 1, 20), ("2,0", 0, None), ("2,0", 1, 10), ("", 0, None), ("GPU-1a2b", 0, None), (None, 5, None)],
)
def test_memory_of_the_gpu_that_cuda_means(monkeypatch, visible, index, mib):
    monkeypatch.setattr(machine, "gpu_query", lambda fields: ["10", "20", "[N/A]"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert machine.gpu_memory_bytes(index) == (mib and mib * 2**20)


def test_rows_that_are_not_the_same_are_compared_in_their_order_or_not_at_all(children, clip):
    one = bench(BenchOptions(batches=(1,), source=clip, repeat=1))
    other = bench(BenchOptions(batches=(2,), source=clip, repeat=1))
    assert compare(one, other)
    with pytest.raises(DataError, match="no row in common"):
        compare(BenchResult((), "", 1), other)


def test_the_gate(children, clip):
    result = bench(BenchOptions(source=clip, repeat=1))
    check([parse("fps>=20"), parse("latency/p50 <= 30"), parse("times-floor<100")], result)
    with pytest.raises(QualityError, match=r"fps of default, cpu, fp32, batch 1 is 25, required >= 26") as caught:
        check([parse("fps>=26"), parse("AP>=0.3")], result)
    assert "AP of default, cpu, fp32, batch 1 was not measured" in str(caught.value)
    with pytest.raises(ValueError, match="did you mean fps"):
        parse("fp>=20")
    with pytest.raises(ValueError, match="there are fps"):
        parse("zzz>=20")


def test_what_cannot_be_measured_is_met_before_anything_runs(children, clip, tmp_path):
    with pytest.raises(ModelError, match="not found"):
        bench(BenchOptions(models=("default", "no.onnx"), source=clip))
    with pytest.raises(MediaError):
        bench(BenchOptions(source=tmp_path / "no.mp4"))
    with pytest.raises(DataError):
        bench(BenchOptions(source=clip, data=tmp_path / "no.json"))
    assert not children


def test_the_plot_marks_the_most_there_could_be(children, clip):
    pytest.importorskip("matplotlib")
    (row,) = bench(BenchOptions(source=clip, repeat=1)).rows
    axes = new_axes(new_figure(4, 3))
    plot._draw_speed(axes, [row, replace(row, floor=None), replace(row, end_to_end=None)])
    (marks,) = [one for one in axes.collections if one.get_label().startswith("the most")]
    found = sorted(
        (round(float(path.vertices[0, 0]), 6), float(path.vertices[:, 1].mean())) for path in marks.get_paths()
    )
    speeds = [(speed, round(place)) for speed, place in found]
    assert speeds == [(40.0, 0), (40.0, 1), (1000.0, 0), (1000.0, 2)], "40 frames/s of the cores, 1 ms the floor"


# the command


def run_command(*arguments):
    return CliRunner().invoke(command, list(arguments))


def test_the_command_prints_tables_and_writes_files(children, clip, tmp_path):
    done = run_command("--source", str(clip), "--repeat", "1", "-o", str(tmp_path / "out"), "--batch", "1,2")
    assert done.exit_code == 0, done.output
    assert "decode to encode" in done.output and "× floor" in done.output
    assert (tmp_path / "out" / "bench.json").exists()
    assert (tmp_path / "out" / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_there_is_no_plot_and_a_word(children, clip, tmp_path, monkeypatch):
    def missing(result, folder):
        raise MissingExtraError("matplotlib", "plots")

    monkeypatch.setattr("fashionseg.benchmarks.bench.plot.write_plot", missing)
    done = run_command("--source", str(clip), "--repeat", "1", "-o", str(tmp_path / "out"))
    assert done.exit_code == 0
    assert "no plot: matplotlib is not installed" in done.stderr.replace("\n", " ")
    assert (tmp_path / "out" / "bench.json").exists()


def test_json_and_quiet(children, clip):
    done = run_command("--source", str(clip), "--repeat", "1", "--json", "-q")
    assert json.loads(done.stdout)["rows"][0]["metrics"]["photos/s"] == 50.0
    assert not done.stderr
    assert not run_command("--source", str(clip), "--repeat", "1", "-q").output


def test_a_broken_bound_is_exit_code_4(children, clip, capsys):
    assert main_module.run(["bench", "--source", str(clip), "--repeat", "1", "--require", "fps>=1000", "-q"]) == 4
    assert "fps of default" in capsys.readouterr().err


def test_the_command_compares(children, clip, tmp_path):
    for name in ("a", "b"):
        write_result(bench(BenchOptions(source=clip, repeat=1)), tmp_path / name)
    files = [str(tmp_path / name / "bench.json") for name in ("a", "b")]
    assert "what changed" in run_command("--compare", *files).output
    assert json.loads(run_command("--compare", *files, "--json").output)[0]["metric"] == "fps"
    for more in (["--require", "fps>=1"], ["-o", str(tmp_path / "c")]):
        done = run_command("--compare", *files, *more)
        assert done.exit_code == 2 and "neither --require nor -o" in done.output


@pytest.mark.parametrize(
    "arguments", [["--batch", "0"], ["--batch", "1,x"], ["--require", "speed"], ["--repeat", "0"], ["--device", "gpu"]]
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert run_command(*arguments).exit_code == 2


# the real thing


def test_a_real_measurement_of_the_embedded_model(clip, monkeypatch):
    result = bench(BenchOptions(source=clip, repeat=1, seconds=0.1, threads=1))
    (row,) = result.rows
    assert row.device == "cpu"
    assert row.runs >= 5
    assert 0 < row.latency_ms["p50"] <= row.latency_ms["p90"] <= row.latency_ms["p99"]
    assert row.memory_mb is None or 50 < row.memory_mb < 4000
    assert row.startup_s.median > 0.1
    assert row.floor.times > 0.9, row.floor  # nothing is faster than its floor
    end = row.end_to_end
    assert end.frames == 6
    assert [stage.name for stage in end.stages] == ["decode", "preprocess", "infer", "draw", "write"]
    assert all(stage.cpu_ms > 0 for stage in end.stages)
    assert end.fps.median < 1.5 * end.bound_fps


def test_the_drawn_clip(tmp_path):
    path = tmp_path / "drawn.mp4"
    write_panning_clip(path, frames=5, size_hw=(72, 128))
    with VideoReader(path) as video:
        frames = [frame.image for frame in video]
    assert len(frames) == 5
    assert frames[0].shape == (72, 128, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 20, "the camera moves"
