"""`fashionseg train`: what it prints, and what it refuses."""

import json
import shlex

import pytest
from click.testing import CliRunner

from .conftest import TINY

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


def test_the_command_prints_what_to_do_next(tiny_set, tmp_path):
    """Commands to copy: paths are quoted, and photos beside the annotations need no option."""
    from fashionseg.cli.train import train as command

    run = tmp_path / "my run"
    arguments = ["--train", tiny_set[0], "--val", tiny_set[0], "-o", run, "--weights", "none", "--device", "cpu"]
    for assignment in (*TINY, "SOLVER.MAX_ITER=2"):
        arguments += ["--set", assignment]
    done = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "detector: measuring on the validation set" in done.stderr
    commands = [shlex.split(line) for line in done.stderr.splitlines() if line.startswith("  fashionseg")]
    assert commands[0][:2] == ["fashionseg", "evaluate"]
    assert commands[0][3:] == ["--data", str(tiny_set[0])]
    assert commands[1] == ["fashionseg", "export", commands[0][2], "-o", str(run / "model.onnx")]
    again = CliRunner().invoke(command, ["-o", str(run), "--resume", "--json", "-q"], catch_exceptions=False)
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["final"].endswith("model_final.pth")


def test_a_run_that_is_interrupted_says_how_to_go_on(tiny_set, tmp_path, monkeypatch, capsys):
    from fashionseg.cli.main import run
    from fashionseg.training import network

    def forward(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(network.TrainedNetwork, "forward", forward)
    arguments = [
        "train",
        "--train",
        tiny_set[0],
        "-o",
        tmp_path / "my run",
        "--weights",
        "none",
        "--device",
        "cpu",
        "-q",
    ]
    assert run([str(a) for a in arguments]) == 130
    last = [line for line in capsys.readouterr().err.splitlines() if line][-2:]
    assert last == [f"go on with: fashionseg train -o '{tmp_path}/my run' --resume", "fashionseg: stopped"]


def test_wrong_usage_is_exit_code_2(tiny_set, tmp_path):
    from fashionseg.cli.train import train as command

    for arguments in (
        ["-o", "x"],
        ["-o", "x", "--resume", "--train", "y"],
        ["-o", "x", "--gpus", "0"],
        ["-o", "x", "--resume", "--device", "tpu"],
        ["-o", "x", "--resume", "--rank", "1"],
        ["-o", "x", "--resume", "--machines", "2"],
    ):
        assert CliRunner().invoke(command, arguments).exit_code == 2, arguments
