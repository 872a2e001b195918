"""`fashionseg evaluate` as a user meets it: exit codes, what goes where, no torch."""

import hashlib
import json
import subprocess
import sys

import pytest
import stubs
from rectangles import BOX, FAR, data_of, mixed, results_of

from fashionseg.backends import registry
from fashionseg.cli.main import run
from fashionseg.data.coco import write_coco
from fashionseg.engine_file import EngineInfo, Profile, write_engine


@pytest.fixture
def files(tmp_path):
    """A data set and its predictions on disk: (annotations, predictions), as text."""
    data, predictions = mixed(photos=12)
    write_coco(data, tmp_path / "truth.json")
    (tmp_path / "p.json").write_text(json.dumps(predictions.to_results()))
    return str(tmp_path / "truth.json"), str(tmp_path / "p.json")


def test_tables_go_to_standard_output(files, capsys):
    truth, predictions = files
    assert run(["evaluate", predictions, "--data", truth]) == 0
    shown = capsys.readouterr()
    for words in ("AP50", "Per-category box AP", "Per-category mask AP", "trousers", "wrong class", "--conf"):
        assert words in shown.out
    assert "occlusion" in shown.out
    assert shown.err == ""


def test_names_of_strangers_do_no_harm(tmp_path, capsys):
    """Rich's markup and terminal escapes in class names are shown, not obeyed."""
    data = data_of([[(1, BOX)], [(2, FAR)]], names=("[red]shirt[/red]", "\x1b[2Jtrousers\ud800"))
    document = {"images": data.images, "annotations": data.instances, "categories": data.categories}
    document = {key: [one.to_json() for one in records] for key, records in document.items()}
    (tmp_path / "truth.json").write_text(json.dumps(document))
    (tmp_path / "p.json").write_text("[]")
    assert run(["evaluate", str(tmp_path / "p.json"), "--data", str(tmp_path / "truth.json")]) == 0
    shown = capsys.readouterr().out
    assert "[red]shirt[/red]" in shown
    assert "\x1b" not in shown and "?[2Jtrousers?" in shown


def test_json_is_the_document_of_metrics_json(files, capsys, tmp_path):
    truth, predictions = files
    assert run(["evaluate", predictions, "--data", truth, "--json", "-o", str(tmp_path / "out")]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (tmp_path / "out" / "report.html").is_file()
    assert document["model"]["kind"] == "predictions"


def test_quiet_says_nothing(files, capsys):
    assert run(["evaluate", files[1], "--data", files[0], "-q"]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_gate(files, capsys):
    arguments = ["evaluate", files[1], "--data", files[0], "-q"]
    assert run([*arguments, "--require", "segm/AP>=0.01", "--require", "bbox/AP50/shirt > 0"]) == 0
    assert run([*arguments, "--require", "segm/AP>=0.99"]) == 4
    assert "segm/AP is 0." in capsys.readouterr().err
    assert run([*arguments, "--require", "segm/APP>=0.99"]) == 1
    assert "there is no metric 'segm/APP'" in capsys.readouterr().err
    assert run([*arguments, "--require", "segm/AP>=30"]) == 2
    assert "write 0.3 for 30 points" in capsys.readouterr().err


def test_gate_breaks_after_the_report_is_written(files, tmp_path):
    out = tmp_path / "out"
    assert run(["evaluate", files[1], "--data", files[0], "-q", "-o", str(out), "--require", "segm/AP>=1"]) == 4
    assert (out / "report.html").is_file()


def test_a_broken_photo_does_not_cost_the_report(photo_set, tmp_path, capsys):
    """Predictions need no photos: report, tables and the gate come all the same."""
    (photo_set.parent / "images" / "001.png").write_bytes(b"no picture")
    (tmp_path / "p.json").write_text("[]")
    out = tmp_path / "out"
    arguments = ["evaluate", str(tmp_path / "p.json"), "--data", str(photo_set), "-o", str(out)]
    assert run([*arguments, "--require", "segm/AP>=0.1"]) == 4
    shown = capsys.readouterr()
    assert (out / "report.html").is_file() and "AP50" in shown.out
    assert "001.png is not a JPEG" in " ".join(shown.err.split()) and "segm/AP is 0" in shown.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.json", "--data", "{truth}"], "predictions file not found"),
        (["{p}", "--data", "none.json"], "annotation file not found"),
        (["none.onnx", "--data", "{truth}", "--images", "{dir}"], "photos"),
        (["{truth}", "--data", "{truth}"], "belongs to --data"),
        (["{p}", "--data", "{p}"], "a list is a results file"),
        (["{p}", "--data", "{truth}", "--images", "{dir}/none"], "there is no folder of photos"),
        (["{p}", "--data", "{truth}", "--compare", "none.json"], "not found"),
        (["{p}", "--data", "{truth}", "-o", "{p}/out"], "cannot write"),
        (["none.pth", "--data", "{truth}", "--images", "{photos}"], "checkpoint not found"),
        (["none.onnx", "--data", "{truth}", "--images", "{photos}"], "model file not found"),
    ],
)
def test_errors_are_one_line(files, tmp_path, capsys, arguments, words):
    photos = tmp_path / "photos"
    for path in stubs.write_photos(photos, 13, size_hw=(100, 120)):
        path.rename(path.with_name(f"{int(path.stem):03d}.png"))
    places = {"truth": files[0], "p": files[1], "dir": str(tmp_path), "photos": str(photos)}
    assert run(["evaluate", *(one.format(**places) for one in arguments)]) == 1
    message = capsys.readouterr().err
    assert message.startswith("fashionseg: error: ") and message.count("\n") == 1, message
    assert words in message


def test_no_annotations(tmp_path, capsys):
    write_coco(data_of([[], []]), tmp_path / "empty.json")
    (tmp_path / "p.json").write_text("[]")
    assert run(["evaluate", str(tmp_path / "p.json"), "--data", str(tmp_path / "empty.json")]) == 1
    assert "holds no annotations" in capsys.readouterr().err


def test_cut_predictions_are_warned_about(tmp_path, capsys):
    write_coco(data_of([[(1, BOX)]]), tmp_path / "truth.json")
    (tmp_path / "p.json").write_text(json.dumps(results_of([(1, 1, BOX, 0.9), (1, 1, FAR, 0.71)])))
    assert run(["evaluate", str(tmp_path / "p.json"), "--data", str(tmp_path / "truth.json"), "-q"]) == 0
    warning = capsys.readouterr().err
    assert "no score below 0.71" in warning and "--conf 0.05" in warning


def test_without_matplotlib_a_report_is_refused_before_anything_runs(files, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert run(["evaluate", "none.onnx", "--data", files[0], "-o", str(tmp_path / "out")]) == 1
    assert "pip install 'fashionseg[plots]'" in capsys.readouterr().err
    assert run(["evaluate", files[1], "--data", files[0], "-q"]) == 0, "numbers need no plots"


def test_an_engine_is_a_model_file(photo_set, tmp_path, monkeypatch, capsys):
    """From its two files to the report; a stub runs in TensorRT's place."""
    plan = b"not a plan that any GPU would run"
    info = EngineInfo(
        library="tensorrt",
        library_version="10.13.3.9",
        gpu="NVIDIA H100 80GB HBM3",
        compute_capability="9.0",
        onnx_sha256="ab" * 32,
        plan_sha256=hashlib.sha256(plan).hexdigest(),
        profiles=(Profile((96, 96), (1, 1, 1)),),
        roi_align="plugin",
        version_compatible=False,
    )
    path = tmp_path / "shirts.engine"
    write_engine(path, plan, info, stubs.spec(name="engine of shirts"))
    opened = []

    def open_engine(model, index, request):
        opened.append(model.engine)
        return stubs.StubBackend(model.spec)

    monkeypatch.setattr(registry, "gpu_present", lambda: True)
    monkeypatch.setitem(registry.KINDS, "trt", registry.Kind(open_engine, indexed=True, needs_gpu=True))
    arguments = ["evaluate", str(path), "--data", str(photo_set), "--json"]
    assert run([*arguments, "-o", str(tmp_path / "out"), "--require", "segm/AP50>=0.99"]) == 0
    assert opened == [info]
    assert json.loads(capsys.readouterr().out)["model"] == {
        "kind": "model file",
        "path": str(path),
        "name": "engine of shirts",
        "sha256": info.plan_sha256,
        "device": "stub",
    }
    assert "model file" in (tmp_path / "out" / "report.html").read_text()
    assert run([*arguments, "--device", "cpu"]) == 1
    assert "is a TensorRT engine, which does not run on cpu" in capsys.readouterr().err
    monkeypatch.setattr(registry, "gpu_present", lambda: False)
    assert run(arguments) == 1
    assert "no NVIDIA GPU" in capsys.readouterr().err


def test_help_names_all_that_can_be_measured(capsys):
    assert run(["evaluate", "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("ONNX", "TensorRT engine (.engine, .plan)", "checkpoint", "predictions.json", "`default`"):
        assert words in shown


def test_model_file_needs_no_torch(photo_set):
    """The embedded model, in a process of its own."""
    document = json.loads(photo_set.read_text())
    names = ("trousers", "long_sleeved_shirt")
    document["categories"] = [{**one, "name": name} for one, name in zip(document["categories"], names, strict=True)]
    photo_set.write_text(json.dumps(document))
    code = (
        "import sys; from fashionseg.cli.main import run\n"
        f"code = run(['evaluate', 'default', '--data', {str(photo_set)!r}, '--device', 'cpu', '--json'])\n"
        "heavy = {'torch', 'detectron2', 'matplotlib', 'pycocotools'} & set(sys.modules)\n"
        "print(heavy, file=sys.stderr); sys.exit(code or len(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["model"]["kind"] == "model file"
    assert measured["latency_ms"]["model"]["median"] > 0
    assert "left out" in done.stderr, "classes the data have not are named"
