"""Every name of TensorRT's API that the project uses exists, with such arguments, in the real bindings, 10.3 to 11.

The names come from the source itself. The bindings come from NVIDIA's wheels, see `bindings.py`; folders that hold some
are named by FASHIONSEG_TENSORRT_BINDINGS, separated by colons:

    pip install --no-deps --target FOLDER tensorrt_cu13_bindings==11.4.0.106
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fashionseg.backends.trt
import fashionseg.export.engine_build

OBJECTS = {
    "export/engine_build.py": {
        "trt": "",
        "self._trt": "",
        "builder": "Builder",
        "config": "IBuilderConfig",
        "network": "INetworkDefinition",
        "parser": "OnnxParser",
        "error": "ParserError",
        "profile": "IOptimizationProfile",
        "registry": "IPluginRegistry",
        "cache": "ITimingCache",
    },
    "backends/trt_machine.py": {
        "trt": "",
        "self._trt": "",
        "engine": "ICudaEngine",
        "self._engine": "ICudaEngine",
        "self._runtime": "Runtime",
        "context": "IExecutionContext",
        "self._context": "IExecutionContext",
    },
    "backends/trt_library.py": {"trt": "", "levels": "ILogger"},
}
"""Of which class the variables are, by file; "" is the module itself."""

OF_THE_PACKAGE = frozenset({"__version__", "__name__", "nptype"})
"""What `__init__.py` defines, not the bindings."""


def folders():
    named = [Path(folder) for folder in os.environ.get("FASHIONSEG_TENSORRT_BINDINGS", "").split(":") if folder]
    return named or [None]


@pytest.fixture(scope="module", params=folders(), ids=lambda folder: folder.name if folder else "none")
def bindings(request):
    """By class, members and their documentation."""
    if request.param is None:
        pytest.skip("FASHIONSEG_TENSORRT_BINDINGS names no folder with TensorRT's bindings")
    module = request.param / "tensorrt_bindings" / "tensorrt.so"
    script = Path(__file__).parents[1] / "bindings.py"
    found = subprocess.run([sys.executable, script, module], capture_output=True, check=True, timeout=60)
    return json.loads(found.stdout)


def source(name):
    home = Path(fashionseg.export.engine_build.__file__ if "export" in name else fashionseg.backends.trt.__file__)
    return (home.parent / Path(name).name).read_text(encoding="utf-8")


def used():
    """(class, member, number of positional arguments or None) for every use in the source."""
    found = set()
    for name, objects in OBJECTS.items():
        tree = ast.parse(source(name))
        calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                found |= use(node, objects, calls)
    return found


def use(node, objects, calls):
    owner = ast.unparse(node.value)
    inner = owner.rpartition(".")
    if owner in objects:
        kind = objects[owner]
    elif objects.get(inner[0]) == "":  # a member of a class of the module, such as trt.BuilderFlag.VERSION_COMPATIBLE
        kind = inner[2]
    else:
        return set()
    call = calls.get(id(node))
    arguments = None
    if call is not None and node.attr != "__init__" and not any(isinstance(one, ast.Starred) for one in call.args):
        arguments = len(call.args) + len(call.keywords)
    return {(kind, node.attr, arguments)}


def fits(text, arguments):
    """Whether a function of this documentation takes so many arguments."""
    signatures = re.findall(r"^\s*(?:\d+\. )?\w+\((.*)\) -> ", text, re.MULTILINE)
    for signature in signatures:
        inside = re.sub(r"<[^<>]*>|\[[^\[\]]*\]", "", signature)
        names = [one for one in inside.split(",") if one.strip() and not one.strip().startswith("self")]
        needed = [one for one in names if "=" not in one]
        if "*args" in inside or len(needed) <= arguments <= len(names):
            return True
    return not signatures


def test_the_source_uses_what_one_would_expect():
    names = {(kind, member) for kind, member, _ in used()}
    assert {
        ("Builder", "build_serialized_network"),
        ("OnnxParser", "parse"),
        ("IOptimizationProfile", "set_shape"),
        ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"),
        ("BuilderFlag", "VERSION_COMPATIBLE"),
        ("IExecutionContext", "execute_async_v3"),
        ("IExecutionContext", "set_tensor_address"),
        ("ICudaEngine", "get_tensor_dtype"),
        ("Runtime", "deserialize_cuda_engine"),
        ("", "init_libnvinfer_plugins"),
        ("ILogger", "WARNING"),
    } <= names
    assert len(names) > 40


def test_every_name_is_there_and_takes_such_arguments(bindings):
    missing, wrong = [], []
    for kind, member, arguments in sorted(used(), key=str):
        if member in OF_THE_PACKAGE:
            continue
        if member not in bindings.get(kind, {}):
            missing.append(f"{kind}.{member}")
        elif arguments is not None and not fits(bindings[kind][member], arguments):
            wrong.append(f"{kind}.{member} with {arguments} arguments")
    assert (missing, wrong) == ([], [])


def test_what_tensorrt_calls_back_is_there(bindings):
    assert {"phase_start", "step_complete", "phase_finish"} <= bindings["IProgressMonitor"].keys()
    assert "log" in bindings["ILogger"]


def test_a_name_that_is_not_there_would_be_found(bindings):
    assert "execute_async_v2" not in bindings["IExecutionContext"]
    assert not fits(bindings["IExecutionContext"]["set_tensor_address"], 1)
    assert not fits(bindings["IExecutionContext"]["set_device_memory"], 3)


def test_names_of_tensorrt_rtx(tensorrt_rtx):
    missing = [
        f"{kind}.{member}"
        for kind, member, _ in used()
        if not hasattr(getattr(tensorrt_rtx, kind) if kind else tensorrt_rtx, member)
    ]
    assert missing == []
