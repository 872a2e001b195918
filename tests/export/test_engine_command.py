"""`fashionseg export --trt`, and engines where a model file is expected."""

import json
import time

import pytest
import stubs

from fashionseg.backends.registry import gpu_present
from fashionseg.cli.main import run


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHIONSEG_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr("fashionseg.backends.registry.gpu_present", lambda: False)


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--trt"],
        ["export", "--trt", "--precision", "fp16"],
        ["export", "model_final.pth", "--trt", "--gpu", "1"],
        ["segment", ".", "--device", "trt"],
        ["segment", ".", "--device", "cuda"],
        ["bench", "--device", "trt"],
    ],
)
def test_without_a_gpu_one_sentence_at_once(no_gpu, arguments, capsys):
    began = time.process_time()
    assert run(arguments) == 1
    taken = time.process_time() - began
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 or lines[0].startswith("no --model"), lines
    assert "this machine shows no NVIDIA GPU" in lines[-1] and lines[-1].startswith("fashionseg: error: device ")
    assert taken < 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--trt", "--batch", "8:1:16"], "write MIN:OPT:MAX"),
        (["--trt", "--batch", "0"], "write MIN:OPT:MAX"),
        (["--trt", "--batch", "1:2"], "write MIN:OPT:MAX"),
        (["--trt", "--size", "800"], "write HEIGHTxWIDTH"),
        (["--trt", "--workspace", "0"], "--workspace"),
        (["--size", "800x1344", "--precision", "fp16"], "--size: only with --trt"),
        (["--trt", "--library", "tensorrt_rtx", "-o", "m.onnx"], "an engine is a file NAME.engine"),
        (["--precision", "fp16", "-o", "m.engine"], "an ONNX file cannot be named like an engine"),
        ([], "such as --precision fp16 or --trt"),
    ],
)
def test_wrong_usage(tensorrt_rtx, arguments, words, capsys):
    assert run(["export", *arguments]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_the_embedded_model_becomes_an_engine(tensorrt_rtx, tmp_path, capsys):
    rtx = ["--trt", "--library", "tensorrt_rtx", "--batch", "1:1:2"]
    assert run(["export", *rtx, "--size", "96x128", "--size", "128x96", "--workspace", "0.5", "--json"]) == 0
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["file"] == "default.engine" and found["profiles"] == ["96x128, batch 1:1:2", "128x96, batch 1:1:2"]
    assert found["library"] == "tensorrt_rtx" and found["precision"] == "fp32"
    lines = captured.err.splitlines()
    assert len(lines) == len(set(lines)), "a phase that comes again and again is told once"
    assert run(["info", "default.engine"]) == 0
    assert "96x128" in capsys.readouterr().out
    # an engine where a model file is expected
    assert run(["export", "default.engine", "--trt", "--library", "tensorrt_rtx", "-o", "n.engine"]) == 1
    assert "is an engine already" in capsys.readouterr().err
    stubs.write_photos(tmp_path / "photos", 1)
    if not gpu_present():
        assert run(["segment", "photos", "-m", "default.engine"]) == 1
        assert "no NVIDIA GPU" in capsys.readouterr().err.splitlines()[-1]
    for command in (["segment", "photos", "-m", "default.engine"], ["bench", "-m", "default.engine"]):
        assert run([*command, "--device", "cpu"]) == 1
        assert "is a TensorRT engine" in capsys.readouterr().err
