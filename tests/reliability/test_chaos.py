"""Runs killed with SIGKILL at random moments and resumed end with the same bytes as an undisturbed run."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import stub_run
import stubs


def command(output, *sources, slow):
    return [
        sys.executable,
        stub_run.__file__,
        str(output),
        *map(str, sources),
        "--slow",
        str(slow),
        "--part-frames",
        "10",
    ]


def environment():
    return {**os.environ, "PYTHONPATH": str(Path(stub_run.__file__).parent)}


def undisturbed(output, *sources):
    done = subprocess.run(
        command(output, *sources, slow=0), env=environment(), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def killed_and_resumed(output, *sources, kills, slow, seed):
    """Start, kill at a random moment, start again; `kills` times; then let it end. Returns how many were killed."""
    rng = random.Random(seed)
    killed = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command(output, *sources, slow=slow), env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        time.sleep(0.3 + rng.random() * 1.2)
        process.kill()
        _, errors = process.communicate()
        killed += process.returncode == -9
        assert process.returncode in (-9, 0), errors.decode()
    undisturbed(output, *sources)
    return killed


def same_files(one, other):
    """Every file of the one run is in the other with the same bytes; the state folder aside."""
    names = sorted(p.relative_to(one) for p in one.rglob("*") if p.is_file() and ".fashionseg" not in p.parts)
    assert names == sorted(
        p.relative_to(other) for p in other.rglob("*") if p.is_file() and ".fashionseg" not in p.parts
    )
    for name in names:
        if name.suffix != ".mp4":
            assert (one / name).read_bytes() == (other / name).read_bytes(), name
    return names


def test_photos_survive_kills(tmp_path):
    stubs.write_photos(tmp_path / "in", 60)
    undisturbed(tmp_path / "whole", tmp_path / "in")
    killed = killed_and_resumed(tmp_path / "killed", tmp_path / "in", kills=3, slow=0.03, seed=1)
    assert killed >= 1, "no run was alive when it was to be killed"
    assert len(same_files(tmp_path / "whole", tmp_path / "killed")) == 62
