"""The command line as a user meets it: help, errors, exit codes, options from files and environment."""

import json
import os
import subprocess
import sys

import pytest
import stubs

from fashionseg.cli.main import COMMANDS, cli, run


def fashionseg(*arguments, cwd=None, env=None, **options):
    """Run the real program; returns the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "fashionseg", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "100", **(env or {})},
        timeout=120,
        check=False,
        **options,
    )


def seconds_of_children():
    """Seconds that ended child processes have computed: what they take on a machine that has nothing else to do."""
    times = os.times()
    return times.children_user + times.children_system


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    return stubs.write_photos(tmp_path_factory.mktemp("photo"), 1, size_hw=(300, 220))[0]


def test_every_command_loads_and_has_help():
    context = cli.make_context("fashionseg", ["info"], resilient_parsing=True)
    for name in COMMANDS:
        command = cli.get_command(context, name)
        assert command is not None and command.name == name
        assert command.get_help(context)
    assert cli.get_command(context, "nonsense") is None


def test_help_and_version(capsys):
    assert run(["--help"]) == 0
    assert "fashionseg segment video.mp4" in capsys.readouterr().out
    assert run(["--version"]) == 0
    assert run(["segment", "-h"]) == 0
    assert "--vid-stride" in capsys.readouterr().out


def test_help_loads_nothing_heavy_and_is_quick():
    code = (
        "import sys; from fashionseg.cli.main import run; run(['--help'])\n"
        "names = {'numpy', 'cv2', 'av', 'onnx', 'onnxruntime', 'PIL', 'rich', 'torch', 'detectron2'}\n"
        "heavy = names & set(sys.modules)\n"
        "print(heavy, file=sys.stderr); sys.exit(bool(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    times = []
    for _ in range(5):
        began = seconds_of_children()
        fashionseg("--help")
        times.append(seconds_of_children() - began)
    assert min(times) < 0.5, f"{min(times):.3f} s of the processor; the aim is 0.2 s"


def test_segmenting_a_photo_loads_no_torch(photo, tmp_path):
    code = (
        "import sys; from fashionseg.cli.main import run\n"
        f"code = run(['segment', {str(photo)!r}, '-o', {str(tmp_path / 'out')!r}, '-q'])\n"
        "assert code == 0, code\n"
        "loaded = {'torch', 'detectron2', 'tensorrt', 'tensorrt_rtx', 'cuda', 'matplotlib'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "000.jpg").exists()


def test_one_photo_prints_a_summary_and_says_which_model(photo, tmp_path):
    done = fashionseg("segment", photo, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "", "messages go to standard error"
    assert "embedded default model" in done.stderr
    assert "1 photos in" in done.stderr or "1 photo in" in done.stderr
    assert "predictions.json" in done.stderr


def test_quiet_prints_nothing(photo, tmp_path):
    done = fashionseg("segment", photo, "-o", tmp_path / "out", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_json_events(photo, tmp_path):
    done = fashionseg("segment", photo, tmp_path / "none.jpg", "-o", tmp_path / "out", "--json")
    assert done.returncode == 3
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["note", "failed", "begin", "source", "finished", "summary"]
    assert events[-1]["photos"] == 1
    assert "none.jpg" in events[-1]["failures"][0]["reason"]


def test_dry_run_does_nothing(photo, tmp_path):
    done = fashionseg("segment", photo, "-o", tmp_path / "out", "--dry-run")
    assert done.returncode == 0
    assert done.stdout.strip() == f"photo  {photo} → {tmp_path / 'out' / '000.jpg'}"
    assert not (tmp_path / "out").exists()


def test_dry_run_exits_as_the_run_would(photo, tmp_path, capsys):
    for sources, code in (([tmp_path / "none.jpg"], 1), ([photo, tmp_path / "none.jpg"], 3)):
        assert run(["segment", *map(str, sources), "-o", str(tmp_path / "out"), "--dry-run"]) == code
        assert "none.jpg" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--conf", "7"], "7.0 is not in the range 0<=x<=1"),
        (["--device", "gpu"], "is not a device"),
        (["--save", "video,gifs"], "gifs: choose among"),
        (["--start", "abc"], "is not a time"),
        (["--start", "5", "--end", "3"], "--end must lie after --start"),
        (["--batch", "0"], "is not in the range"),
        (["--nonsense"], "No such option"),
    ],
)
def test_wrong_usage_exits_with_2(arguments, words, photo, capsys):
    assert run(["segment", str(photo), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_lone_missing_path_exits_with_1(tmp_path, capsys):
    assert run(["segment", str(tmp_path / "none.mp4"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "none.mp4" in error
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_no_model(photo, tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"hello")
    assert run(["segment", str(photo), "-m", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert "m.onnx is not an ONNX file" in error
    assert "Traceback" not in error


@pytest.mark.parametrize("device", ["cuda", "trt"])
def test_a_device_that_is_not_there_exits_with_1_in_under_a_second(device, photo, tmp_path):
    from fashionseg.backends.registry import gpu_present

    if gpu_present():
        pytest.skip("this machine has a GPU")
    times = []
    for _ in range(3):
        began = seconds_of_children()
        done = fashionseg("segment", photo, "--device", device, "-o", tmp_path / device)
        times.append(seconds_of_children() - began)
        assert done.returncode == 1
        assert "no NVIDIA GPU" in done.stderr
        assert "Traceback" not in done.stderr
    assert min(times) < 1.5, f"{min(times):.2f} s of the processor; the aim is 1 s"
    assert not (tmp_path / device / "predictions.json").exists()


def test_options_from_a_file_and_the_command_line_wins(photo, tmp_path):
    defaults = tmp_path / "segment.toml"
    defaults.write_text('conf = 0.9\nsave = ["predictions"]\nvid-stride = 3\n')
    done = fashionseg("segment", photo, "-o", tmp_path / "a", "--defaults", defaults, "--conf", "0.3")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "a" / "000.jpg").exists(), "save came from the file"
    changed = fashionseg("segment", photo, "-o", tmp_path / "a", "--defaults", defaults)
    assert "conf was 0.3, now 0.9" in changed.stderr


@pytest.mark.parametrize("text", ["conf = ", "nonsense = 3", "defaults = 'x'", "conf = [[[", "conf = 'high'", "\x00"])
def test_a_bad_defaults_file_is_wrong_usage(text, photo, tmp_path, capsys):
    defaults = tmp_path / "segment.toml"
    defaults.write_text(text)
    assert run(["segment", str(photo), "-o", str(tmp_path / "out"), "--defaults", str(defaults)]) == 2
    assert not (tmp_path / "out").exists()


def test_options_from_the_environment(photo, tmp_path):
    done = fashionseg("segment", photo, "-o", tmp_path / "out", env={"FASHIONSEG_SEGMENT_SAVE": "predictions"})
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "out" / "000.jpg").exists()


def test_info_and_doctor_speak_json():
    done = fashionseg("info", "--json")
    assert json.loads(done.stdout)["class_names"][0] == "short_sleeved_shirt"
    findings = json.loads(fashionseg("doctor", "--json").stdout)
    assert {"machine", "ONNX Runtime", "video"} <= {finding["topic"] for finding in findings}


def test_info_for_people():
    done = fashionseg("info")
    assert done.returncode == 0
    assert "trousers" in done.stdout


def test_debug_shows_the_traceback(tmp_path):
    done = fashionseg("--debug", "segment", tmp_path / "none.jpg", "-o", tmp_path / "out")
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, capsys):
    assert run(["completion", shell]) == 0
    assert "_FASHIONSEG_COMPLETE" in capsys.readouterr().out


def test_a_closed_standard_output_is_no_traceback(photo, tmp_path):
    command = f"{sys.executable} -m fashionseg info --json | head -c 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr, done.stderr
