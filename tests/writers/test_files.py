"""Files appear whole or not at all."""

import os

import pytest

from fashionseg.errors import OutputError
from fashionseg.files import make_folder, replacing, write_bytes


def test_write_bytes_writes_all_and_leaves_nothing_beside(tmp_path):
    write_bytes(tmp_path / "a.bin", b"hello")
    assert (tmp_path / "a.bin").read_bytes() == b"hello"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_failing_block_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_bytes(b"new")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_contents_are_flushed_before_the_rename(tmp_path, monkeypatch):
    calls = []
    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), real_fsync(fd))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), real_replace(a, b))[1])
    write_bytes(tmp_path / "a.bin", b"x")
    assert calls == ["fsync", "replace"]


def test_a_missing_folder_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match=r"cannot write .*a\.bin: no such file"):
        write_bytes(tmp_path / "gone" / "a.bin", b"x")


def test_a_link_out_of_the_output_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="leads out of the output folder"):
        make_folder(tmp_path / "out" / "link", inside=tmp_path / "out")
    make_folder(tmp_path / "out" / "fine" / "deep", inside=tmp_path / "out")
    assert (tmp_path / "out" / "fine" / "deep").is_dir()
