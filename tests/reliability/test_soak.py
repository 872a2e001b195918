"""A small soak: photos of every format, every twentieth bad. `benchmarks/soak.py` takes ten thousand."""

import json

import pytest

from fashionseg.benchmarks import soak

pytestmark = pytest.mark.timeout(600)

SOUND = {
    "photos": 100, "bad": 5, "finished": 95, "exactly_the_bad_ones_failed": True, "memory_mb": 100.0,
    "journal_bytes_a_photo": 800.0, "handles_least_by_half": [6, 6], "handles_most_by_half": [8, 9],
}  # fmt: skip


def test_bad_photos_among_good_ones(tmp_path, capsys):
    out = tmp_path / "soak.json"
    soak.main(["--photos", "200", "--json", str(out)])
    (row,) = json.loads(out.read_text())["rows"]
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["rows"] == [row]
    assert (row["finished"], row["bad"]) == (190, 10)
    assert row["exactly_the_bad_ones_failed"]
    assert row["memory_mb"] > 50
    assert row["journal_bytes_a_photo"] > 100


def test_every_bad_photo_is_bad_and_every_good_one_good(tmp_path):
    from fashionseg.errors import MediaError
    from fashionseg.media.images import read_image

    bad = soak.make_photos(tmp_path, 240)
    failed = set()
    for path in tmp_path.rglob("*.*"):
        try:
            read_image(path)
        except MediaError:
            failed.add(str(path))
    assert failed == bad
    assert len(bad) == 12


@pytest.mark.parametrize(
    "change",
    [
        {"exactly_the_bad_ones_failed": False},
        {"finished": 94},
        {"memory_mb": 105.1},
        {"journal_bytes_a_photo": 900.0},
        {"handles_least_by_half": [6, 7]},
    ],
)
def test_what_is_not_as_it_should_be_is_told(change):
    assert soak.faults([SOUND, SOUND]) == []
    assert len(soak.faults([SOUND, {**SOUND, **change}])) == 1
