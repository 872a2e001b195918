"""Same input, options and machine: same bytes. Another batch or number of threads: the same within a tolerance."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import clips
import numpy as np
import pytest
import stub_run

from fashionseg.media.video_writer import PartWriter
from fashionseg.model import read_model
from fashionseg.segment import SegmentOptions, segment

CLIP = Path(__file__).parents[2] / "examples" / "clip.mp4"

SCORE_TOLERANCE = 2e-3
BOX_TOLERANCE = 0.5
"""Pixels. Padding and the order of sums move the last digits of a picture in a batch of others."""


@pytest.mark.parametrize("size_hw", [(64, 48), (96, 96), (240, 320)])
def test_encoding_gives_the_same_bytes_every_time(size_hw, tmp_path):
    frames = [clips.picture(number, size_hw) for number in range(6)]
    hashes = set()
    for _ in range(40):
        with PartWriter(tmp_path / "part.mp4", size_hw, Fraction(1, 24), Fraction(24)) as part:
            for number, frame in enumerate(frames):
                part.write(frame, number)
        hashes.add(hashlib.sha256((tmp_path / "part.mp4").read_bytes()).hexdigest())
    assert len(hashes) == 1, f"{len(hashes)} different files"


@pytest.mark.parametrize("batch", [1, 3])
def test_a_run_gives_the_same_bytes_every_time(batch, run, small_parts, tmp_path):
    import stubs

    stubs.write_photos(tmp_path / "in", 5)
    clips.make(tmp_path / "in" / "clip.mp4", clips.Clip(frames=8, sounds=(clips.Sound(seconds=0.3),)))
    for number in range(3):
        run([tmp_path / "in"], tmp_path / f"{number}", batch=batch)
        stub_run.same_files(tmp_path / "0", tmp_path / f"{number}")


@pytest.fixture
def real_model(stub_model, monkeypatch):
    """The embedded model again."""
    monkeypatch.setattr("fashionseg.segment.read_model", read_model)


def predictions(root, **options):
    chosen = SegmentOptions(save=frozenset({"predictions"}), end=Fraction(1, 6), conf=0.3, device="cpu", **options)
    segment([CLIP], root, chosen)
    return json.loads((root / "predictions.json").read_text())


def test_batch_and_threads_move_the_last_digits_only(real_model, tmp_path):
    alone = predictions(tmp_path / "alone", batch=1, threads=1)
    again = predictions(tmp_path / "again", batch=1, threads=1)
    assert (tmp_path / "alone" / "predictions.json").read_bytes() == (
        tmp_path / "again" / "predictions.json"
    ).read_bytes()
    assert len(alone) >= 3 and again == alone
    for options in ({"batch": 4, "threads": 1}, {"batch": 1, "threads": 2}):
        other = predictions(tmp_path / str(options), **options)
        assert [(p["image_id"], p["category_id"]) for p in other] == [(p["image_id"], p["category_id"]) for p in alone]
        scores = np.abs([a["score"] - b["score"] for a, b in zip(alone, other, strict=True)])
        boxes = np.abs([np.subtract(a["bbox"], b["bbox"]) for a, b in zip(alone, other, strict=True)])
        assert scores.max() <= SCORE_TOLERANCE, (options, scores.max(), scores.mean())
        assert boxes.max() <= BOX_TOLERANCE, (options, boxes.max(), boxes.mean())
