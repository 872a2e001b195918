"""Weights: what may be loaded, what is refused, and that nothing in a file is run."""

import functools
import http.server
import pickle
import sys
import threading
import types

import numpy as np
import pytest

from fashionseg.errors import CheckpointError, ExportError, TrainingError

pytest.importorskip("detectron2")
pytestmark = pytest.mark.detectron2


class Evil:
    """Unpickling it makes a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def linear():
    import torch

    return torch.nn.Linear(2, 3)


def test_what_is_saved_is_loaded(tmp_path):
    import torch

    from fashionseg.training.checkpoints import SafeCheckpointer

    model = linear()
    keeper = SafeCheckpointer(model, tmp_path)
    keeper.save("model_0000004", iteration=4)
    assert keeper.last_good == tmp_path / "model_0000004.pth"
    assert (tmp_path / "last_checkpoint").read_text() == "model_0000004.pth"
    assert not list(tmp_path.glob(".*"))
    other = linear()
    assert SafeCheckpointer(other, tmp_path).load(keeper.get_checkpoint_file())["iteration"] == 4
    assert torch.equal(other.weight, model.weight)


def test_float16_weights_and_bare_tables_are_loaded(tmp_path):
    import torch

    from fashionseg.training.checkpoints import SafeCheckpointer

    model = linear()
    torch.save({k: v.half() for k, v in model.state_dict().items()}, tmp_path / "bare.pth")
    other = linear()
    SafeCheckpointer(other, tmp_path).load(str(tmp_path / "bare.pth"))
    assert other.weight.dtype == torch.float32
    assert torch.equal(other.weight, model.weight.half().float())


def test_a_zoo_pickle_is_loaded(tmp_path):
    from fashionseg.training.checkpoints import SafeCheckpointer

    weights = {"weight": np.full((3, 2), 2.0, np.float32), "bias": np.zeros(3, np.float32)}
    path = tmp_path / "zoo.pkl"
    path.write_bytes(pickle.dumps({"model": weights, "__author__": "somebody"}))
    model = linear()
    SafeCheckpointer(model, tmp_path).load(str(path))
    assert (model.weight == 2).all()


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_pickle_that_runs_code_is_refused_and_not_run(suffix, tmp_path):
    import torch

    from fashionseg.training.checkpoints import SafeCheckpointer

    path, trace = tmp_path / f"evil{suffix}", tmp_path / "trace"
    content = {"model": {"weight": np.zeros((3, 2), np.float32)}, "extra": Evil(trace)}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    with pytest.raises((TrainingError, CheckpointError), match="--trust"):
        SafeCheckpointer(linear(), tmp_path).load(str(path))
    assert not trace.exists()
    model = linear()
    SafeCheckpointer(model, tmp_path, trust=True).load(str(path))
    assert (model.weight == 0).all()
    assert trace.exists(), "trusted, it is run"


@pytest.mark.parametrize("reader", ["train", "export"])
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_trusted_pickle_that_needs_a_missing_module_is_one_sentence(suffix, reader, tmp_path, monkeypatch):
    import torch

    from fashionseg.export.checkpoint import read_weights
    from fashionseg.training.checkpoints import SafeCheckpointer

    module = types.ModuleType("module_of_nobody")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    module.Kept = type("Kept", (), {"__module__": module.__name__})
    path, content = tmp_path / f"theirs{suffix}", {"model": {"weight": np.zeros((3, 2))}, "more": module.Kept()}
    if suffix == ".pkl":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path)
    monkeypatch.delitem(sys.modules, module.__name__)
    with pytest.raises((TrainingError, ExportError), match=rf"theirs{suffix} .*No module named 'module_of_nobody'$"):
        if reader == "export":
            read_weights(path, trust=True)
        else:
            SafeCheckpointer(linear(), tmp_path, trust=True).load(str(path))


def test_what_is_no_weight_is_left_out(tmp_path):
    import torch

    from fashionseg.training.checkpoints import SafeCheckpointer

    content = {"model": {"weight": torch.ones(3, 2), "name": "linear", 7: torch.ones(1)}}
    torch.save(content, tmp_path / "more.pth")
    model = linear()
    SafeCheckpointer(model, tmp_path).load(str(tmp_path / "more.pth"))
    assert (model.weight == 1).all()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"not a checkpoint",
        b"PK\x03\x04 neither",
        pickle.dumps([1, 2]),
        pickle.dumps({}),
        b"cnumpy\ndtype\n(tR.",  # a TypeError: dtype() without an argument
        b"\x80\x04K\x01K\x02s.",  # sets an item of a number
    ],
)
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
@pytest.mark.parametrize("trust", [False, True])
def test_what_is_no_checkpoint_is_one_sentence(content, suffix, trust, tmp_path):
    from fashionseg.training.checkpoints import SafeCheckpointer

    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises((TrainingError, CheckpointError)) as caught:
        SafeCheckpointer(linear(), tmp_path, trust=trust).load(str(path))
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (trust and "--trust" in str(caught.value))
    assert not str(caught.value).rpartition(": ")[2].isdigit(), "a bare number explains nothing"


def test_places_of_weights(tmp_path):
    from fashionseg.training.checkpoints import fetch_weights, locate_weights

    (tmp_path / "mine.pth").write_bytes(b"x")
    assert locate_weights("none") == ""
    assert locate_weights(str(tmp_path / "mine.pth")).endswith("mine.pth")
    assert locate_weights("detectron2://a/b.pkl") == "detectron2://a/b.pkl"
    for name in (
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x",
        "COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml",
    ):
        assert locate_weights(name).endswith("model_final_f10217.pkl")
    with pytest.raises(TrainingError, match=r"no weights 'x.pth'"):
        locate_weights("x.pth")
    assert fetch_weights("") == ""
    with pytest.raises(TrainingError, match=r"cannot fetch the weights http://127.0.0.1:9/x"):
        fetch_weights("http://127.0.0.1:9/x.pth")


def test_weights_that_fit_nothing_are_refused(tmp_path):
    import torch

    from fashionseg.training.worker import load_weights

    torch.save({"model": {"other": torch.zeros(3)}}, tmp_path / "foreign.pth")
    with pytest.raises(TrainingError, match="fit no layer"):
        load_weights(linear(), str(tmp_path / "foreign.pth"), tmp_path, trust=False)


@pytest.fixture
def server(tmp_path):
    """Address of a folder `site` over HTTP."""
    (tmp_path / "site").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_weights_from_the_web(server, tmp_path, monkeypatch):
    import torch

    from fashionseg.training.worker import load_weights

    monkeypatch.setenv("FVCORE_CACHE", str(tmp_path / "cache"))
    torch.save({"model": {"weight": torch.full((3, 2), 2.0)}}, tmp_path / "site" / "theirs.pth")
    model = linear()
    load_weights(model, f"{server}/theirs.pth", tmp_path, trust=False)
    assert (model.weight == 2).all()
    assert list((tmp_path / "cache").rglob("theirs.pth")), "the cache of the test, not the user's"
    with pytest.raises(TrainingError, match=rf"^cannot fetch the weights {server}/none\.pth: .*404"):
        load_weights(model, f"{server}/none.pth", tmp_path, trust=False)
    (tmp_path / "site" / "page.pth").write_text("<html>not what was asked for</html>")
    with pytest.raises(TrainingError, match=r"page\.pth .*--trust"):
        load_weights(model, f"{server}/page.pth", tmp_path, trust=False)
