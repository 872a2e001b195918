"""Engines built ahead of time with TensorRT-RTX, by the code that builds with TensorRT. None of them is run here."""

import hashlib
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from onnx import TensorProto

from fashionseg.backends.registry import gpu_present
from fashionseg.engine_file import EngineInfo, Profile, read_engine
from fashionseg.errors import DeviceError, ExportError
from fashionseg.export.engine import EngineOptions, build_engine, default_sizes
from fashionseg.export.engine_build import BuildSettings, build_plan, offered_roi_align
from fashionseg.export.engine_graph import numeric_graph
from fashionseg.export.roialign import rewrite_roi_align
from fashionseg.export.steps import SilentSteps
from fashionseg.model import parse_onnx, read_model

SMALL = EngineOptions(batch=(1, 2, 2), sizes=((160, 224),), library="tensorrt_rtx")
PROFILE = (Profile((160, 224), (1, 1, 2)),)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHIONSEG_CACHE", str(tmp_path / "cache"))


class Heard(SilentSteps):
    """Remembers what it is told."""

    def __init__(self, on_begin=lambda name: None):
        self.notes, self.begun, self.open, self.reached = [], [], [], {}
        self._on_begin = on_begin

    def note(self, message):
        self.notes.append(message)

    def begin(self, name, total):
        assert name not in self.open, "a step that is open already"
        self.begun.append(name)
        self.open.append(name)
        self._on_begin(name)

    def reach(self, name, done):
        self.reached[name] = max(done, self.reached.get(name, 0))

    def end(self, name):
        self.open.remove(name)


def graph(style="grid"):
    proto = numeric_graph(read_model())
    rewrite_roi_align(proto, style)
    return proto


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_is_built_in_every_precision(tensorrt_rtx, embedded, precision, tmp_path):
    heard = Heard()
    path = tmp_path / "m.engine"
    engine = build_engine(embedded[precision], path, SMALL, heard)
    assert path.stat().st_size > 1_000_000
    assert read_engine(path) == engine
    info = engine.engine
    assert info.library_version == tensorrt_rtx.__version__
    assert info.onnx_sha256 == embedded[precision].sha256
    assert info.plan_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert info.profiles == (Profile((160, 224), (1, 2, 2)),)
    assert (info.roi_align, info.gpu, info.version_compatible) == ("grid", "", False)
    assert engine.spec == embedded[precision].spec
    assert heard.open == [] and len(heard.begun) > 3 and max(heard.reached.values()) > 5
    assert "TensorRT-RTX" in heard.notes[0] and "built in" in heard.notes[-1]


def test_a_refusal_names_the_node(tensorrt_rtx):
    proto = graph()
    node = next(node for node in proto.graph.node if node.op_type == "Conv")
    node.op_type, node.name = "NoSuchOperator", "backbone/odd"
    with pytest.raises(ExportError, match=r"refuses some\.onnx: node 'backbone/odd' \(NoSuchOperator\)"):
        build_plan(tensorrt_rtx, proto.SerializeToString(), BuildSettings(PROFILE), SilentSteps(), "some.onnx")


def test_a_plugin_that_cannot_be_made_is_named(tensorrt_rtx):
    """What TensorRT-RTX does with the plugin where there is no GPU; so it is not offered there."""
    if gpu_present():
        pytest.skip("with a GPU the plugin can be made")
    data = graph("plugin").SerializeToString()
    with pytest.raises(ExportError, match=r"node '\S*RoiAlign' \(ROIAlign_TRT\)"):
        build_plan(tensorrt_rtx, data, BuildSettings(PROFILE), SilentSteps(), "some.onnx")
    assert offered_roi_align(tensorrt_rtx) == "grid"


def test_a_profile_that_does_not_fit_the_graph_is_an_error(tensorrt_rtx):
    """150 pixels are no multiple of 32: the levels of the pyramid do not fit together."""
    settings = BuildSettings((Profile((150, 224), (1, 1, 1)),))
    with pytest.raises(ExportError, match=r"cannot build an engine from some\.onnx: "):
        build_plan(tensorrt_rtx, graph().SerializeToString(), settings, SilentSteps(), "some.onnx")


def test_a_build_is_stopped_from_outside(tensorrt_rtx):
    stop = threading.Event()
    heard = Heard(lambda name: stop.set())
    with pytest.raises(KeyboardInterrupt):
        build_plan(tensorrt_rtx, graph().SerializeToString(), BuildSettings(PROFILE), heard, "some.onnx", stop)
    assert heard.open == []
    assert len(heard.begun) <= 3, "it went on"


STOPPED = """
import os, signal, sys
from pathlib import Path
from fashionseg.export.engine import EngineOptions, build_engine
from fashionseg.export.steps import SilentSteps
from fashionseg.model import parse_onnx, read_model
class Steps(SilentSteps):
    def begin(self, name, total):
        os.kill(os.getpid(), signal.SIGINT)
        self.begin = lambda name, total: None
options = EngineOptions((1, 1, 1), ((160, 224),), library="tensorrt_rtx")
try:
    build_engine(read_model(), Path("m.engine"), options, Steps())
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_stops_a_build_and_leaves_no_file(tensorrt_rtx, tmp_path):
    result = subprocess.run([sys.executable, "-c", STOPPED], cwd=tmp_path, capture_output=True, timeout=120)
    assert result.returncode == 130, result.stderr.decode()
    assert not list(tmp_path.glob("m.engine*"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_sizes_by_default_hold_every_picture():
    spec = read_model().spec
    (short, long), turned = default_sizes(spec)
    assert turned == (long, short)
    assert short >= spec.min_size and long >= spec.max_size
    assert short % spec.size_divisor == long % spec.size_divisor == 0


def test_a_size_that_the_model_does_not_take():
    with pytest.raises(ExportError, match="150x224 is no size for this model: it takes multiples of 32"):
        EngineOptions(sizes=((150, 224),)).profiles(read_model().spec)


def test_an_engine_cannot_be_built_from_an_engine(tmp_path):
    info = EngineInfo("tensorrt_rtx", "1.7", "", "", "", "", PROFILE, "grid", False)
    engine = replace(read_model(), engine=info)
    with pytest.raises(ExportError, match="is an engine already"):
        build_engine(engine, tmp_path / "n.engine", SMALL)


def test_without_a_gpu_tensorrt_is_refused_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("fashionseg.backends.registry.gpu_present", lambda: False)
    began = time.process_time()
    with pytest.raises(DeviceError, match="no NVIDIA GPU"):
        build_engine(read_model(), tmp_path / "m.engine")
    assert time.process_time() - began < 1
    assert not list(tmp_path.iterdir())


def test_int8_for_an_engine_is_proven_with_the_numbers_of_tensorrt(embedded):
    from fashionseg.export.precision import LowerOptions, _judged

    model = embedded["int8"]
    proto = parse_onnx(model.data, "int8.onnx")
    plain = _judged(model, proto, LowerOptions("int8"))
    signed = _judged(model, proto, LowerOptions("int8", for_engine=True))
    assert plain == model.data
    zeros = [
        {t.data_type for t in parse_onnx(data, "").graph.initializer if "zero" in t.name} for data in (plain, signed)
    ]
    assert TensorProto.UINT8 in zeros[0] and TensorProto.UINT8 not in zeros[1]
