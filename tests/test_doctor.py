"""`doctor` finds out by trying, and a broken part is a finding."""

import pytest

from fashionseg import doctor
from fashionseg.cli.main import run


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


def test_a_gpu_that_cannot_be_used_has_a_remedy(monkeypatch):
    from fashionseg.backends import registry

    if registry.gpu_present():
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    findings = {finding.topic: finding for finding in doctor.examine()}
    assert "no nvidia-smi" in findings["GPU"].text or findings["GPU"].ok
    assert findings["CUDA"].ok is False
    assert "pip install" in findings["CUDA"].remedy


def test_info_for_people_in_process(capsys):
    assert run(["info"]) == 0
    text = capsys.readouterr().out
    assert "short_sleeved_shirt" in text and "see --json" in text
