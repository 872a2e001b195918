"""`doctor` finds out by trying, and a broken part is a finding."""

import re
from pathlib import Path

import pytest

from fashionseg import doctor
from fashionseg.cli.main import run


@pytest.fixture(autouse=True)
def imports(monkeypatch):
    """Importing torch takes seconds; only what is made of it is asked here."""
    monkeypatch.setattr(doctor, "import_problem", lambda *modules: "")


def test_what_every_machine_has():
    findings = {finding.topic: finding for finding in doctor.examine()}
    for topic in ("machine", "default model", "ONNX Runtime", "photos", "video", "H.264 encoder"):
        assert findings[topic].ok, findings[topic]
    assert "libx264" in findings["H.264 encoder"].text
    assert findings["TensorRT"].ok or findings["TensorRT"].remedy


def test_the_command_prints_marks_and_remedies(capsys, monkeypatch):
    assert run(["doctor"]) == 0
    text = capsys.readouterr().out
    assert "✓" in text and "machine" in text
    broken = doctor.Finding("thing", False, "it is broken", "mend it")
    monkeypatch.setattr(doctor, "examine", lambda: [broken])
    assert run(["doctor"]) == 1
    assert "→ mend it" in capsys.readouterr().out


def test_a_check_that_raises_is_a_finding(monkeypatch):
    def _broken_part():
        raise RuntimeError("libfoo is missing")

    monkeypatch.setattr(doctor, "_CHECKS", (_broken_part,))
    assert doctor.examine() == [doctor.Finding("broken part", False, "RuntimeError: libfoo is missing")]


def test_the_cpu_works_where_a_run_works(monkeypatch):
    from fashionseg.backends.onnxrt import OnnxRuntimeBackend
    from fashionseg.errors import FashionsegError

    def run(self, images, image_sizes):
        raise FashionsegError("ONNX Runtime failed to run: no AVX")

    assert "runs the embedded model" in doctor._onnx_runtime()[-1].text
    monkeypatch.setattr(OnnxRuntimeBackend, "run", run)
    finding = doctor._onnx_runtime()[-1]
    assert finding.ok is False and "no AVX" in finding.text and "pip install" in finding.remedy


def test_training_works_where_its_modules_can_be_imported(monkeypatch):
    monkeypatch.setattr(doctor, "version_of", lambda *names: "1.0")
    for problem, ok in (("", True), ("ImportError: undefined symbol: _ZN3c10", False)):
        monkeypatch.setattr(doctor, "import_problem", lambda *modules, problem=problem: problem)
        (finding,) = doctor._training()
        assert finding.ok is ok and problem in finding.text


def test_what_training_lacks_is_installed_as_the_readme_says(monkeypatch):
    from fashionseg.errors import MissingExtraError

    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^python -m pip install .*(?:torch|\[train\]).*$", readme, re.MULTILINE)
    command = f"{first} && {second.replace('.[train]', 'fashionseg[train]')}"
    assert "--no-build-isolation" in command
    assert str(MissingExtraError("Detectron2", "train")) == f"Detectron2 is not installed; install it with: {command}"
    assert str(MissingExtraError("matplotlib", "plots")).endswith(": pip install 'fashionseg[plots]'")
    monkeypatch.setattr(doctor, "version_of", lambda *names: None)
    assert doctor._training()[0].remedy == command


def test_what_cannot_be_imported_says_why():
    from fashionseg.doctor.finding import import_problem

    assert import_problem("json", "math") == ""
    assert "No module named 'of_nobody'" in import_problem("json", "of_nobody")


def test_a_gpu_that_cannot_be_used_has_a_remedy(monkeypatch):
    from fashionseg.backends import registry

    if registry.gpu_present():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    findings = {finding.topic: finding for finding in doctor.examine()}
    assert "no nvidia-smi" in findings["GPU"].text or findings["GPU"].ok
    assert findings["CUDA"].ok is False
    assert "pip install" in findings["CUDA"].remedy
    assert findings["driver"].ok is False and "driver" in findings["driver"].remedy
    assert findings["NVENC"].ok is None and "x264" in findings["NVENC"].text
    assert "NVDEC" in findings


def test_libraries_that_are_not_there_are_named_with_what_brings_them():
    from fashionseg.doctor import gpu

    missing = gpu._library("cuDNN", "libcudnn_of_nobody.so.9", None)
    assert (missing.ok, missing.text) == (False, "libcudnn_of_nobody.so.9 is not to be found")
    assert missing.remedy == "pip install 'fashionseg[cuda]'"
    assert gpu._library("C", "libc.so.6", None).text == "libc.so.6, of the system"


def test_without_a_gpu_one_line_says_so(monkeypatch):
    from fashionseg.backends import registry

    monkeypatch.setattr(registry, "gpu_present", lambda: False)
    topics = [finding.topic for finding in doctor.examine()]
    assert "GPU" in topics and not {"driver", "cuDNN", "CUDA", "NVENC", "NVDEC"} & set(topics)


def test_tensorrt_that_does_not_load_is_broken(monkeypatch):
    from fashionseg.backends import trt_library

    def load(name):
        raise OSError("libnvinfer.so.11: cannot open shared object file")

    monkeypatch.setattr(trt_library.importlib, "import_module", load)
    finding = doctor.gpu.tensorrt()[0]
    assert finding.ok is False and "libnvinfer.so.11" in finding.text and "pip install" in finding.remedy


def test_tensorrt_of_a_version_that_is_not_supported(monkeypatch):
    from types import SimpleNamespace

    from fashionseg.backends import trt_library

    for version in ("8.6.1", "10.2.0", "12.0.0"):
        module = SimpleNamespace(__version__=version)
        monkeypatch.setattr(trt_library.importlib, "import_module", lambda name, module=module: module)
        finding = doctor.gpu.tensorrt()[0]
        assert finding.ok is False and f"TensorRT {version} is installed, and fashionseg needs 10.3" in finding.text


def test_tensorrt_rtx_is_found():
    tensorrt_rtx = pytest.importorskip("tensorrt_rtx", exc_type=ImportError)
    findings = {finding.topic: finding for finding in doctor.examine()}
    assert findings["TensorRT-RTX"].ok and tensorrt_rtx.__version__ in findings["TensorRT-RTX"].text


def test_info_for_people_in_process(capsys):
    assert run(["info"]) == 0
    text = capsys.readouterr().out
    assert "short_sleeved_shirt" in text and "see --json" in text
