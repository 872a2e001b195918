"""Damaged files of every kind, for seconds; `run.py` does it by the hundred thousand, `guided.py` with Atheris."""

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz.faulty import FAULTY
from fuzz.readers import READERS
from fuzz.run import Supervisor, made

pytestmark = pytest.mark.timeout(300)

SEED = 0
"""The same files every time: a test that fails, fails again. By hand take others."""

SECONDS = 1
LEAST = 20
"""Inputs that even a busy machine reads in that time, once the child is up."""


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_taken_or_refused(name, tmp_path):
    supervisor = Supervisor(name, tmp_path / "fuzz", seed=SEED)
    found = supervisor.run(LEAST)
    if not found["unhandled"]:
        found = supervisor.run(10**6, SECONDS)
    assert found["inputs"] >= LEAST
    assert found["taken"] + found["refused"] <= found["inputs"]
    assert found["unhandled"] == 0, found["faults"]


def test_every_kind_of_fault_is_found_and_the_run_goes_on(tmp_path):
    found = Supervisor("fuzz.faulty:FAULTY", tmp_path / "fuzz", patience=2).run(12)
    assert found["inputs"] == 12
    wanted = {1: "RuntimeError: a fault", 2: "ended with -11", 3: "hung for 2 s"}
    contents = [made(FAULTY, [], 0, number)[0] for number in range(12)]
    assert set(wanted) < set(contents), "the seed is badly chosen"
    assert [fault["number"] for fault in found["faults"]] == [n for n in range(12) if contents[n] in wanted]
    for fault in found["faults"]:
        number = fault["number"]
        assert fault["reason"].startswith(wanted[contents[number]])
        assert (tmp_path / "fuzz" / f"unhandled-{number}").read_bytes() == bytes([contents[number]])


def test_seeds_are_sound(tmp_path):
    for reader in READERS.values():
        path = tmp_path / reader.name
        for seed in reader.seeds():
            path.write_bytes(seed)
            reader.read(path)


@pytest.mark.parametrize("name", ["toml", "coco"])
def test_guided_by_coverage(name, tmp_path):
    pytest.importorskip("atheris", reason="atheris is not installed (pip install atheris)")
    guided = Path(__file__).with_name("guided.py")
    done = subprocess.run(
        [sys.executable, str(guided), name, "-max_total_time=3", f"-artifact_prefix={tmp_path}/"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Done" in done.stderr, done.stderr[-3000:]
