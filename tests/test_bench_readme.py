"""`benchmarks/README.md` names every script and every result."""

from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_every_script_and_every_result_has_its_row():
    if not BENCHMARKS.is_dir():
        pytest.skip("not a checkout")
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8")
    scripts = [path for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")]
    assert len(scripts) > 8
    missing = [path.name for path in scripts if f"`{path.name}`" not in text]
    missing += [path.name for path in (BENCHMARKS / "results").glob("*.json") if f"results/{path.name}`" not in text]
    assert not missing, f"no row for {', '.join(missing)}"
