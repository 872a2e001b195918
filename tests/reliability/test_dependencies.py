"""Dependencies: ranges with both ends for everybody, one version each for continuous integration."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def requirements(*extras):
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in PROJECT["optional-dependencies"][extra])]
    return [Requirement(text) for text in texts if not text.startswith("fashionseg[")]


def name(text):
    return re.sub(r"[-_.]+", "-", text).lower()


@pytest.mark.parametrize("extra", PROJECT["optional-dependencies"])
def test_every_dependency_has_a_range_with_an_end(extra):
    for one in requirements(extra):
        ends = {specifier.operator for specifier in one.specifier}
        assert one.url or ends & {"<", "<=", "=="}, f"{one} may become anything"


def test_what_continuous_integration_installs_is_pinned_within_the_ranges():
    lines = [line for line in (ROOT / ".ci" / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert not [line for line in lines if "://" in line or line.startswith("-")], "no address, no option"
    pins = [Requirement(line) for line in lines]
    assert all([s.operator for s in pin.specifier] == ["=="] and pin.marker for pin in pins)
    versions = {name(pin.name): next(iter(pin.specifier)).version for pin in pins}
    for one in requirements("plots", "test", "dev"):
        if one.name != "onnxruntime":  # or onnxruntime-gpu, by platform
            assert one.specifier.contains(versions[name(one.name)]), one
    assert {"onnxruntime", "onnxruntime-gpu"} & versions.keys()
