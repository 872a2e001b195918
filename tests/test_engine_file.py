"""The two files of an engine: written and read back, and each way they can be wrong."""

import hashlib
import json
from dataclasses import replace

import pytest
import stubs

from fashionseg.backends.registry import open_backend
from fashionseg.cli.main import run
from fashionseg.engine_file import EngineInfo, Profile, read_engine, write_engine
from fashionseg.errors import DeviceError, ModelError
from fashionseg.model import describe, read_model

PLAN = b"not a plan that any GPU would run"
INFO = EngineInfo(
    library="tensorrt",
    library_version="10.13.3.9",
    gpu="NVIDIA H100 80GB HBM3",
    compute_capability="9.0",
    onnx_sha256="ab" * 32,
    plan_sha256=hashlib.sha256(PLAN).hexdigest(),
    profiles=(Profile((800, 1344), (1, 8, 16)), Profile((1344, 800), (1, 8, 16))),
    roi_align="plugin",
    version_compatible=False,
)


@pytest.fixture
def path(tmp_path):
    where = tmp_path / "shirts.engine"
    write_engine(where, PLAN, INFO, stubs.spec(precision="fp16"))
    return where


def test_what_is_written_is_read(path):
    model = read_model(path)
    assert model.engine == INFO
    assert model.spec == stubs.spec(precision="fp16")
    assert (model.data, model.sha256, model.path) == (PLAN, INFO.plan_sha256, path)
    assert path.read_bytes() == PLAN, "trtexec reads it"


def change(path, **changes):
    where = path.with_name("shirts.engine.json")
    values = json.loads(where.read_text())
    values.update(changes)
    where.write_text(json.dumps(values))


def test_a_plan_without_its_json_is_refused(path):
    path.with_name("shirts.engine.json").unlink()
    with pytest.raises(ModelError, match=r"shirts\.engine has no shirts\.engine\.json beside it"):
        read_model(path)


def test_a_plan_that_is_not_the_one_described_is_refused(path):
    path.write_bytes(PLAN + b"!")
    with pytest.raises(ModelError, match="is not the engine that"):
        read_model(path)


def test_a_missing_engine_is_a_missing_model(tmp_path):
    with pytest.raises(ModelError, match=r"model file not found: .*gone\.engine"):
        read_model(tmp_path / "gone.engine")


@pytest.mark.parametrize(
    "changes",
    [
        {"profiles": []},
        {"profiles": [{"size_hw": [800], "batch": [1, 8, 16]}]},
        {"profiles": [{"size_hw": [800, 1344], "batch": [8, 1, 16]}]},
        {"profiles": [{"size_hw": [800, "x"], "batch": [1, 8, 16]}]},
        {"profiles": 3},
        {"library": "os"},
        {"model": []},
        {"model": {}},
        {"format_version": "one"},
        {"format_version": 99},
        {"plan_sha256": None},
    ],
)
def test_damaged_words_are_a_model_error(path, changes):
    change(path, **changes)
    with pytest.raises(ModelError):
        read_model(path)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '"x"', "[" * 100_000])
def test_no_json_is_a_model_error(path, text):
    path.with_name("shirts.engine.json").write_text(text)
    with pytest.raises(ModelError, match="damaged"):
        read_model(path)


def test_an_engine_runs_where_it_was_built_and_nowhere_else():
    here = (INFO.library_version, INFO.gpu, INFO.compute_capability)
    assert INFO.mismatch(*here) is None
    assert INFO.mismatch("11.4.0.106", *here[1:]) == (
        "it was built by TensorRT 10.13.3.9, and 11.4.0.106 is installed here"
    )
    assert INFO.mismatch(here[0], "NVIDIA L4", "8.9") == (
        "it was built for NVIDIA H100 80GB HBM3 (compute capability 9.0), and this is NVIDIA L4 (8.9)"
    )
    compatible = replace(INFO, version_compatible=True)
    assert compatible.mismatch("10.16.1.11", *here[1:]) is None
    assert "11.4" in compatible.mismatch("11.4.0.106", *here[1:])
    ahead = replace(INFO, library="tensorrt_rtx", library_version="1.7", gpu="", compute_capability="")
    assert ahead.mismatch("1.7", "NVIDIA L4", "8.9") is None


def test_info_shows_an_engine(path, capsys):
    assert run(["info", "--json", str(path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["library_version"] == "10.13.3.9" and found["gpu"] == INFO.gpu and found["precision"] == "fp16"
    assert found["profiles"] == ["800x1344, batch 1:8:16", "1344x800, batch 1:8:16"]
    assert found == json.loads(json.dumps(describe(read_engine(path))))
    assert run(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "800x1344" in text and "NVIDIA H100" in text


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
def test_an_engine_runs_on_trt_alone(path, device):
    with pytest.raises(DeviceError, match=r"shirts\.engine is a TensorRT engine, .*--device trt"):
        open_backend(read_model(path), device)


@pytest.mark.parametrize("device", ["auto", "trt"])
def test_an_engine_without_a_gpu_is_an_error(path, device, monkeypatch):
    monkeypatch.setattr("fashionseg.backends.registry.gpu_present", lambda: False)
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        open_backend(read_model(path), device)
