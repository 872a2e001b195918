"""The journal: what is written is read back, what is torn is dropped, what is durable is so in the right order."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fashionseg.errors import OutputError
from fashionseg.writers.journal import Journal, decode_record, encode_record, read_records

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
records = st.dictionaries(st.text(), json_values, max_size=5)


@given(records)
def test_a_record_survives_its_line(record):
    line = encode_record(record)
    assert line.count(b"\n") == 1
    assert decode_record(line) == json.loads(json.dumps(record))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_none(data):
    record = decode_record(data)
    assert record is None or isinstance(record, dict)


@given(st.lists(records, min_size=1, max_size=6), st.data())
def test_replay_after_a_cut_anywhere_gives_the_records_before_it(tmp_path_factory, items, data):
    path = tmp_path_factory.mktemp("journal") / "journal"
    lines = [encode_record(item) for item in items]
    whole = b"".join(lines)
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    complete = sum(sum(map(len, lines[: n + 1])) <= cut for n in range(len(lines)))
    with Journal(path) as journal:
        assert [record for _, record in journal.replay()] == [json.loads(json.dumps(i)) for i in items[:complete]]
        journal.append({"after": 1})
    assert [record for _, _, record in read_records(path)][complete:] == [{"after": 1}]


def test_a_flipped_bit_ends_the_journal(tmp_path):
    path = tmp_path / "journal"
    lines = [encode_record({"n": n}) for n in range(4)]
    damaged = bytearray(b"".join(lines))
    damaged[len(lines[0]) + len(lines[1]) + 12] ^= 1
    path.write_bytes(bytes(damaged))
    with Journal(path) as journal:
        assert [record["n"] for _, record in journal.replay()] == [0, 1]
    assert path.stat().st_size == len(lines[0]) + len(lines[1])


def test_record_at_finds_what_append_returned(tmp_path):
    with Journal(tmp_path / "journal") as journal:
        offsets = [journal.append({"n": n, "text": "x" * n}) for n in range(10)]
        assert [journal.record_at(offset)["n"] for offset in offsets] == list(range(10))


def test_a_full_disk_is_an_output_error_and_leaves_no_torn_record(tmp_path):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Journal(tmp_path / "journal") as journal:
        journal.append({"n": 1})
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        try:
            with pytest.raises(OutputError, match="cannot write"):
                journal.append({"n": 2, "text": "x" * 500})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert [record for _, record in journal.replay()] == [{"n": 1}]
        assert (tmp_path / "journal").stat().st_size == len(encode_record({"n": 1}))


def test_folders_are_flushed_before_the_journal(tmp_path, monkeypatch):
    calls = []
    real = os.fsync

    def fsync(descriptor):
        calls.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    if not Path("/proc/self/fd").exists():
        pytest.skip("needs /proc")
    monkeypatch.setattr(os, "fsync", fsync)
    with Journal(tmp_path / "journal") as journal:
        journal.append({"n": 1}, folder=tmp_path)
        journal.sync()
        assert calls == [str(tmp_path), str(tmp_path / "journal")]
