"""Runs killed with SIGKILL at random moments and resumed end with the same bytes as an undisturbed run.

`benchmarks/chaos.py` does it 20 times to the real program with 200 photos and two clips.
"""

import sys
from fractions import Fraction
from pathlib import Path

import clips
import pytest
import stub_run
import stubs

from fashionseg.benchmarks.chaos import Chaos, differences, done_twice, half_written

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def sources(tmp_path):
    """Forty photos and two clips, one of them with sound and one of variable rate."""
    folder = tmp_path / "in"
    stubs.write_photos(folder, 40)
    clips.make(folder / "a.mp4", clips.Clip(frames=70, bframes=2, sounds=(clips.Sound(seconds=2.5),)))
    uneven = tuple(3 * number + number % 3 for number in range(50))
    clips.make(folder / "b.mkv", clips.Clip(frames=50, pts=uneven, time_base=Fraction(1, 60)))
    return folder


def command(folder, slow=0.01):
    words = [str(folder), "--slow", str(slow), "--part-frames", "10"]
    return lambda out: [sys.executable, stub_run.__file__, str(out), *words]


def test_runs_survive_kills(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(stub_run.__file__).parent))
    chaos = Chaos(command(sources), tmp_path, seed=5)
    chaos.run(kills=3)
    assert chaos.faults == []
    assert len(chaos.kills) == 3
    assert any(kill["photos"] or kill["parts"] for kill in chaos.kills), "no kill hit a run that had begun"


def test_the_comparison_notices(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(stub_run.__file__).parent))
    whole, other = tmp_path / "whole", tmp_path / "other"
    for out in (whole, other):
        stub_run.finish(out, sources, part_frames=10)
    assert differences(whole, other) == [] == half_written(other)
    assert done_twice(other) == {}
    (other / "000.jpg").write_bytes((other / "001.jpg").read_bytes())
    (other / "predictions.json").write_bytes((other / "predictions.json").read_bytes()[:-5])
    clips.make(other / "a.mp4", clips.Clip(frames=69))
    (other / "b.mp4").write_bytes((other / "b.mp4").read_bytes()[:3000])
    (other / "001.jpg").unlink()
    (other / "extra.jpg").write_bytes(b"\xff\xd8")
    assert len(half_written(other)) == 3
    (other / "b.mp4").unlink()
    assert len(differences(whole, other)) == 6
    journal = other / ".fashionseg" / "journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines, lines[1], next(line for line in lines if b'"part":3' in line)]))
    assert done_twice(other) == {"photo 0": 2, "part 40 3": 2}
