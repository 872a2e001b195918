"""`--require` and `--compare`."""

import json
from pathlib import Path

import pytest
from rectangles import mixed

from fashionseg.data.coco import write_coco
from fashionseg.errors import DataError, QualityError
from fashionseg.evaluation import EvaluateOptions, evaluate
from fashionseg.evaluation import compare as compare_module
from fashionseg.evaluation import run as run_module
from fashionseg.evaluation.compare import read_earlier
from fashionseg.evaluation.gate import check, parse_requirement

MEASURED = {"segm/AP": 0.31, "segm/AP50/trousers": 0.6, "segm/APs": None, "latency/total_ms": 80.0}


@pytest.mark.parametrize(
    ("text", "name", "sign", "bound"),
    [
        ("segm/AP>=0.30", "segm/AP", ">=", 0.3),
        (" segm/AP50/long sleeved shirt >= .5", "segm/AP50/long sleeved shirt", ">=", 0.5),
        ("latency/total_ms<=100", "latency/total_ms", "<=", 100.0),
        ("segm/AP/occlusion=heavy>0.1", "segm/AP/occlusion=heavy", ">", 0.1),
        ("errors/background<5e-2", "errors/background", "<", 0.05),
    ],
)
def test_parse(text, name, sign, bound):
    found = parse_requirement(text)
    assert (found.name, found.sign, found.bound) == (name, sign, bound)


@pytest.mark.parametrize("text", ["", "segm/AP", "segm/AP=0.3", ">=0.3", "segm/AP>=", "segm/AP>=x", "segm/AP>=1-2"])
def test_what_is_no_requirement(text):
    with pytest.raises(ValueError, match=r"requirement|number"):
        parse_requirement(text)


def test_points_are_refused():
    with pytest.raises(ValueError, match=r"write 0\.3 for 30 points"):
        parse_requirement("segm/AP>=30")


def test_kept():
    check([parse_requirement(text) for text in ("segm/AP>=0.31", "segm/AP<0.32", "latency/total_ms<=80")], MEASURED)
    check([], MEASURED)


def test_broken_names_all_of_them():
    with pytest.raises(QualityError) as caught:
        check([parse_requirement(t) for t in ("segm/AP>=0.32", "segm/AP50/trousers>0.6", "segm/AP>0.1")], MEASURED)
    assert str(caught.value) == "segm/AP is 0.31, required >= 0.32; segm/AP50/trousers is 0.6, required > 0.6"
    assert caught.value.exit_code == 4


def test_what_was_not_measured_does_not_pass():
    with pytest.raises(QualityError, match="segm/APs could not be measured"):
        check([parse_requirement("segm/APs>=0")], MEASURED)


def test_unknown_metric_says_what_there_is():
    with pytest.raises(DataError, match="segm/AP50/trousers"):
        check([parse_requirement("segm/AP50/trouser>=0.1")], MEASURED)


@pytest.fixture
def files(tmp_path):
    """A data set and its predictions on disk: (annotations, predictions)."""
    data, predictions = mixed(photos=30)
    write_coco(data, tmp_path / "truth.json")
    (tmp_path / "all.json").write_text(json.dumps(predictions.to_results()))
    return tmp_path / "truth.json", tmp_path / "all.json"


def cut(path: Path, score: float) -> Path:
    results = [result for result in json.loads(path.read_text()) if result["score"] >= score]
    path = path.with_name("cut.json")
    path.write_text(json.dumps(results))
    return path


def test_unknown_metric_is_refused_before_anything_runs(files):
    options = EvaluateOptions(Path("missing.onnx"), files[0], require=(parse_requirement("segm/AP5>=0.1"),))
    with pytest.raises(DataError, match="no metric 'segm/AP5'"):
        evaluate(options)


def test_compare_with_predictions_beside(files, tmp_path):
    truth, predictions = files
    evaluate(EvaluateOptions(cut(predictions, 0.7), truth, output=tmp_path / "old"))
    now = evaluate(EvaluateOptions(predictions, truth, compare=tmp_path / "old" / "metrics.json"))
    changes = {change.name: change for change in now.comparison.changes}
    assert changes["segm/AP"].new - changes["segm/AP"].old == pytest.approx(changes["segm/AP"].interval.value)
    assert changes["segm/AP"].is_certain
    assert now.comparison.warning is None
    assert "segm/AP/shirt" in {change.name for change in now.comparison.headlines("segm")}
    assert json.dumps(now.to_json(), allow_nan=False)


def test_compare_on_other_data_warns(files, tmp_path):
    truth, predictions = files
    evaluate(EvaluateOptions(predictions, truth, output=tmp_path / "old"))
    document = json.loads(truth.read_text())
    truth.write_text(json.dumps({**document, "info": {"edited": True}}))
    now = evaluate(EvaluateOptions(predictions, truth, compare=tmp_path / "old" / "metrics.json"))
    assert any("was measured on other data" in warning for warning in now.warnings)
    assert not any(change.interval for change in now.comparison.changes)


@pytest.fixture
def no_model(monkeypatch):
    """A model that must not be run."""

    def fail(*_args):
        raise AssertionError("the model was run")

    monkeypatch.setattr("fashionseg.evaluation.run._from_model_file", fail)
    monkeypatch.setattr("fashionseg.evaluation.run.photo_paths", lambda *_args: [])


@pytest.mark.parametrize("text", ["", "{", "[3]", '[{"image_id": 1}]'])
def test_damaged_earlier_predictions_cost_the_interval_only(files, tmp_path, text):
    truth, predictions = files
    evaluate(EvaluateOptions(cut(predictions, 0.7), truth, output=tmp_path / "old"))
    (tmp_path / "old" / "predictions.json").write_text(text)
    now = evaluate(EvaluateOptions(predictions, truth, compare=tmp_path / "old" / "metrics.json"))
    assert len(now.comparison.changes) > 10
    assert not any(change.interval for change in now.comparison.changes)
    (warning,) = [text for text in now.warnings if "has no interval" in text]
    assert str(tmp_path / "old" / "predictions.json") in warning


def test_earlier_predictions_are_read_before_the_model_runs(files, tmp_path, monkeypatch):
    truth, predictions = files
    evaluate(EvaluateOptions(predictions, truth, output=tmp_path / "old"))
    order = []
    read = compare_module.read_predictions
    monkeypatch.setattr(compare_module, "read_predictions", lambda *args: order.append("old") or read(*args))
    find = run_module._predictions
    monkeypatch.setattr(run_module, "_predictions", lambda *args: order.append("new") or find(*args))
    evaluate(EvaluateOptions(predictions, truth, compare=tmp_path / "old" / "metrics.json"))
    assert order == ["old", "new"]


def test_nothing_in_common_is_told_before_the_model_runs(files, tmp_path, no_model):
    path = tmp_path / "metrics.json"
    path.write_text('{"format": 1, "metrics": {"keypoints/AP": 0.5}}')
    with pytest.raises(DataError, match="no metric in common"):
        evaluate(EvaluateOptions(Path("m.onnx"), files[0], compare=path))


def test_nothing_in_common_afterwards_is_a_warning(files, tmp_path):
    """What the run alone can tell: here, that no model was timed."""
    path = tmp_path / "metrics.json"
    path.write_text('{"format": 1, "metrics": {"latency/model_ms": 5}}')
    now = evaluate(EvaluateOptions(files[1], files[0], compare=path))
    assert now.comparison.changes == ()
    assert any("no metric in common" in warning for warning in now.warnings)


@pytest.mark.parametrize("text", [None, "", "[]", "{}", '{"metrics": {}}', '{"metrics": [], "format": 1}'])
def test_files_that_are_no_metrics(tmp_path, text):
    path = tmp_path / "metrics.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=r"metrics\.json"):
        read_earlier(path)


def test_nothing_in_common(files, tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"format": 1, "metrics": {"keypoints/AP": 0.5}}')
    with pytest.raises(DataError, match="no metric in common"):
        evaluate(EvaluateOptions(files[1], files[0], compare=path))
