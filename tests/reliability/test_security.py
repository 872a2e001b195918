"""What a stranger's file may not do: reach the network, another file, or a place outside the output folder."""

import json
import os
import platform
import struct
import subprocess
import sys

import clips
import cv2
import numpy as np
import pytest
import stubs
from onnx import TensorProto, helper, numpy_helper

from fashionseg.errors import ModelError, OutputError
from fashionseg.model import INPUTS, OUTPUTS, ModelSpec, read_model

pytestmark = pytest.mark.timeout(120)

NO_NETWORK = """
import ctypes, socket, struct, sys
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
SOCKET, AF_UNIX, KILL, ALLOW, X86_64 = 41, 1, 0x80000000, 0x7FFF0000, 0xC000003E

def step(code, true, false, value):
    return struct.pack("HBBI", code, true, false, value)

program = b"".join([
    step(LOAD, 0, 0, 4), step(JUMP_IF_EQUAL, 0, 4, X86_64),   # the architecture
    step(LOAD, 0, 0, 0), step(JUMP_IF_EQUAL, 0, 2, SOCKET),   # the number of the system call
    step(LOAD, 0, 0, 16), step(JUMP_IF_EQUAL, 0, 1, AF_UNIX),  # its first argument: the family
    step(RETURN, 0, 0, ALLOW), step(RETURN, 0, 0, KILL),
])
buffer = ctypes.create_string_buffer(program)
head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
NO_NEW_PRIVILEGES, SECCOMP, FILTER = 38, 22, 2
assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
if libc.prctl(SECCOMP, FILTER, ctypes.create_string_buffer(head), 0, 0) != 0:
    sys.exit(77)
"""
"""Kills this process at its first `socket` call that is not local, whoever makes it: Python or a native library."""


def without_network(code, *arguments):
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the system call filter is for Linux on x86-64")
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=110,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this system has no system call filter")
    return done


def test_the_filter_notices_a_connection():
    done = without_network("socket.socketpair(); print('fine', flush=True); socket.socket(socket.AF_INET)")
    assert done.returncode == -31, (done.returncode, done.stderr)
    assert done.stdout == "fine\n"


def test_the_runtime_half_opens_no_connection(tmp_path):
    clip = clips.make(tmp_path / "clip.mp4", clips.Clip(frames=4, sounds=(clips.Sound(seconds=0.2),)))
    (photo,) = stubs.write_photos(tmp_path / "in", 1)
    playlist = tmp_path / "list.mkv"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    link = tmp_path / "reference.mov"
    url = b"http://127.0.0.1:9/a.mov\0"
    link.write_bytes(atom(b"moov", atom(b"rmra", atom(b"rmda", atom(b"rdrf", bytes(4) + b"url " + size(url) + url)))))
    address = "http://127.0.0.1:9/a.png"
    code = (
        "from fashionseg.cli.main import run\n"
        "assert run(['info', '--json']) == 0\n"
        "assert run(['doctor', '--json']) in (0, 1)\n"
        "sys.exit(run(['segment', *sys.argv[1:]]))\n"
    )
    done = without_network(code, clip, photo, playlist, link, address, "-o", tmp_path / "out")
    assert done.returncode == 3, (done.returncode, done.stdout[-300:], done.stderr)
    failed = [entry["path"] for entry in json.loads((tmp_path / "out" / "failures.json").read_text())]
    assert sorted(failed) == sorted([str(playlist), str(link), address])
    assert (tmp_path / "out" / "clip.mp4").exists()


def size(data):
    return struct.pack(">I", len(data))


def atom(name, data):
    return struct.pack(">I", len(data) + 8) + name + data


def test_a_playlist_does_not_read_other_files(run, tmp_path):
    secret = clips.make(tmp_path / "secret.ts", clips.Clip(frames=5))
    for name, text in {
        "a.mkv": f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile {secret}\n",
        "c.avi": f"file '{secret}'\n",
    }.items():
        (tmp_path / name).write_text(text)
    summary = run([tmp_path / "a.mkv", tmp_path / "b.mp4", tmp_path / "c.avi", *stubs.write_photos(tmp_path / "in", 1)],
                  tmp_path / "out")  # fmt: skip
    assert len(summary.failures) == 3
    assert summary.tally.frames == 0


def model_bytes(change=None):
    """A model file that does nothing, with what `change` did to its graph."""
    inputs = [
        helper.make_tensor_value_info(INPUTS[0], TensorProto.UINT8, ["n", "h", "w", 3]),
        helper.make_tensor_value_info(INPUTS[1], TensorProto.INT32, ["n", 2]),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in OUTPUTS]
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "weight")
    graph = helper.make_graph([helper.make_node("Identity", ["weight"], [OUTPUTS[0]])], "g", inputs, outputs, [weight])
    model = helper.make_model(graph)
    helper.set_model_props(model, stubs.spec().to_properties())
    if change:
        change(model)
    return model.SerializeToString()


def external(tensor, where):
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", where


@pytest.mark.parametrize("where", ["weights.bin", "/etc/passwd", "../../etc/passwd", ""])
def test_a_model_that_points_at_another_file_is_refused(where, tmp_path):
    (tmp_path / "weights.bin").write_bytes(bytes(16))
    path = tmp_path / "model.onnx"
    path.write_bytes(model_bytes(lambda model: external(model.graph.initializer[0], where)))
    with pytest.raises(ModelError, match="in another file"):
        read_model(path)
    path.write_bytes(model_bytes())
    assert read_model(path).spec == stubs.spec()


def test_what_a_backend_loads_is_what_was_checked(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(model_bytes())
    model = read_model(path)
    path.write_bytes(model_bytes(lambda proto: external(proto.graph.initializer[0], "/etc/passwd")))
    assert model.data == model_bytes()


def test_metadata_has_limits(tmp_path):
    path = tmp_path / "model.onnx"

    def flood(model):
        entry = next(entry for entry in model.metadata_props if entry.key.endswith("class_names"))
        entry.value = json.dumps(["x" * 100] * 20_000)

    path.write_bytes(model_bytes(flood))
    with pytest.raises(ModelError, match="refused"):
        read_model(path)

    def nest(model):
        entry = next(entry for entry in model.metadata_props if entry.key.endswith("metrics"))
        entry.value = "[" * 200_000

    path.write_bytes(model_bytes(nest))
    with pytest.raises(ModelError, match="damaged"):
        read_model(path)


def test_no_pickle_is_a_model(tmp_path):
    path = tmp_path / "model.onnx"
    marker = tmp_path / "executed"
    path.write_bytes(b"cposix\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    with pytest.raises(ModelError):
        read_model(path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "names",
    [
        ("../../evil\n\x1b[31m<script>", "[bold]%s{0}"),
        ("\ud800\r\u2029", "\0"),
        (" ", "\u202eabc"),
        ("x" * 5000, "衣服🧥"),
    ],
)
def test_class_names_of_a_model_stay_text(names, run, tmp_path, monkeypatch):
    monkeypatch.setattr("fashionseg.segment.read_model", lambda path: stubs.model_file(class_names=names))
    stubs.write_photos(tmp_path / "in", 1)
    run([tmp_path / "in"], tmp_path / "out")
    categories = json.loads((tmp_path / "out" / "images.json").read_text())["categories"]
    assert [category["name"] for category in categories] == list(names)


@pytest.mark.parametrize("save", ["images", "frames"])
def test_a_link_inside_the_output_folder_leads_nowhere(save, run, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "in" / "deep" / "a.png"), stubs.picture())
    clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=2))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ("deep" if save == "images" else "clip")).symlink_to(elsewhere)
    with pytest.raises(OutputError, match="leads out of the output folder"):
        run([tmp_path / "in"], tmp_path / "out", save=frozenset({save, "predictions"}))
    assert not list(elsewhere.iterdir())


def test_an_output_that_is_a_link_is_replaced_and_not_followed(run, tmp_path):
    stubs.write_photos(tmp_path / "in", 1)
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    for name in ("000.jpg", "predictions.json", "images.json"):
        (tmp_path / "out" / name).symlink_to(victim)
    with pytest.raises(OutputError, match="--restart"):
        run([tmp_path / "in"], tmp_path / "out")
    run([tmp_path / "in"], tmp_path / "out", restart=True)
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "out" / "000.jpg").is_symlink()


def test_a_forged_journal_removes_nothing_outside(run, tmp_path):
    from fashionseg.writers.folder import RunFolder
    from fashionseg.writers.records import FrameRecord, PartDone, PhotoDone

    victims = [tmp_path / "victim.jpg", tmp_path / "frames" / "000001.jpg"]
    victims[1].parent.mkdir()
    for victim in victims:
        victim.write_bytes(b"precious")
    stubs.write_photos(tmp_path / "in", 1)
    with RunFolder(tmp_path / "out", {}) as folder:
        folder.add(PhotoDone(0, (1, 1), "../victim.jpg", FrameRecord(0, None, ())))
        folder.add(PhotoDone(0, (1, 1), str(victims[0]), FrameRecord(0, None, ())))
        folder.add(PartDone(1, 0, (1, 1), (FrameRecord(1, None, ()),), "../frames"))
    run([tmp_path / "in"], tmp_path / "out", restart=True)
    assert all(victim.read_bytes() == b"precious" for victim in victims)


def test_the_specification_of_a_model_holds_no_surprises():
    for name, wrong in {"min_size": 10**9, "max_detections": -1, "mask_side": 10**6, "size_divisor": 0}.items():
        with pytest.raises(ModelError, match="not usable"):
            ModelSpec(**{**{f: getattr(stubs.spec(), f) for f in ModelSpec.__slots__}, name: wrong})
