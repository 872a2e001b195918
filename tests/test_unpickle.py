"""The restricted unpickler: arrays come through, everything else is refused before it runs."""

import collections
import os
import pickle
import subprocess

import numpy as np
import pytest

from fashionseg.errors import CheckpointError
from fashionseg.unpickle import read_arrays

WEIGHTS = {
    "conv1_w": np.arange(12, dtype=np.float32).reshape(3, 4),
    "empty": np.zeros((0, 2), np.float16),
    "scalar": np.float32(2.5),
    "text": "res2.0",
    "nested": collections.OrderedDict(a=[1, (2.0, None, True)], b={"x"}),
}


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_arrays_and_containers_come_through(tmp_path, protocol):
    path = tmp_path / "weights.pkl"
    path.write_bytes(pickle.dumps({"model": WEIGHTS, "__author__": "zoo"}, protocol))
    content = read_arrays(path)
    np.testing.assert_array_equal(content["model"]["conv1_w"], WEIGHTS["conv1_w"])
    assert content["model"]["conv1_w"].dtype == np.float32
    assert content["model"]["empty"].shape == (0, 2)
    assert content["model"]["scalar"] == 2.5
    assert content["model"]["nested"] == WEIGHTS["nested"]
    assert content["__author__"] == "zoo"


class Call:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    "call",
    [
        Call(os.system, "touch ran"),
        Call(subprocess.call, ["touch", "ran"]),
        Call(eval, "open('ran', 'w')"),
        Call(getattr, "", "format"),
        Call(np.load, "ran.npy"),
        Call(np.fromfile, "ran"),
        Call(pickle.loads, b"N."),
        Call(type, "T", (), {}),
    ],
    ids=lambda call: call.call[0].__name__,
)
def test_calls_are_refused_and_never_run(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"model": call}))
    with pytest.raises(CheckpointError, match=r"evil\.pkl is not a plain checkpoint of arrays \(it asks for .*--trust"):
        read_arrays(path)
    assert not (tmp_path / "ran").exists()


def test_other_codecs_are_refused(tmp_path):
    path = tmp_path / "codec.pkl"
    path.write_bytes(b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00zipt R.".replace(b" ", b""))
    with pytest.raises(CheckpointError, match="codec 'zip'"):
        read_arrays(path)


def test_a_persistent_id_is_refused(tmp_path):
    path = tmp_path / "persistent.pkl"
    path.write_bytes(b"Psomewhere\n.")
    with pytest.raises(CheckpointError, match=r"persistent\.pkl"):
        read_arrays(path)


@pytest.mark.parametrize("data", [b"", b"\x80", b"no pickle at all", pickle.dumps(WEIGHTS)[:60], b"\x80\x05]."])
def test_damage_is_one_clear_sentence(tmp_path, data):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"damaged\.pkl") as error:
        read_arrays(path)
    assert "\n" not in str(error.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pkl: No such file"):
        read_arrays(tmp_path / "none.pkl")
