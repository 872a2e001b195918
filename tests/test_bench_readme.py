"""`benchmarks/README.md` names every script and every result."""

import importlib
import json
import re
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


def test_every_script_writes_its_result_where_it_is_told(capsys):
    """As the first lines of the README promise."""
    if not BENCHMARKS.is_dir():
        pytest.skip("not a checkout")
    names = set(
        re.findall(r"-m (fashionseg\.benchmarks\.[a-z_]+)", (BENCHMARKS / "README.md").read_text(encoding="utf-8"))
    )
    assert len(names) > 12
    for name in names:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue  # it needs torch
        with pytest.raises(SystemExit):
            module.main(["--help"])
        assert "--json" in capsys.readouterr().out, name


def test_a_result_names_its_machine(tmp_path, capsys):
    from fashionseg.benchmarks import convert

    out = tmp_path / "convert.json"
    options = ["--files", "60", "--processes", "1", "--keep", str(tmp_path / "kept"), "--json", str(out)]
    assert convert.main(options) == 0
    result = json.loads(out.read_text())
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result["benchmark"] == "convert" and result["machine"]["threads"] == 1
    assert set(result["cases"]) == set(convert.CASES)
