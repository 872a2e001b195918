"""Journals to damage, and how a run that goes on reads them."""

from __future__ import annotations

import json
import shutil
import zlib
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import stubs
from fuzz.mutations import blind, damaged_json, json_text

from fashionseg.media.frame import Source
from fashionseg.writers.coco import write_coco
from fashionseg.writers.folder import RunFolder
from fashionseg.writers.journal import encode_record
from fashionseg.writers.records import FrameRecord, PartDone, PhotoDone, PhotoFailed, Prediction, VideoDone

if TYPE_CHECKING:
    import random


def seeds() -> list[bytes]:
    """One journal with every kind of record."""
    found = Prediction(0, 0.5, (1.0, 2.0, 3.0, 4.0), "0P2")
    records = [
        {"t": "run", "format": 1, "fingerprint": {"conf": 0.5, "save": ["video"], "gt": None}},
        PhotoDone(0, (8, 8), "a.jpg", FrameRecord(0, None, (found, found))).to_record(),
        PhotoFailed(1, "it is broken").to_record(),
        PartDone(
            2, 0, (8, 8), (FrameRecord(0, Fraction(0), (found,)), FrameRecord(1, Fraction(1, 3), ())), "c"
        ).to_record(),
        PartDone(2, 1, (8, 8), (FrameRecord(2, Fraction(2, 3), ()),)).to_record(),
        VideoDone(2, 3, None, None).to_record(),
    ]
    return [b"".join(map(encode_record, records))]


def damage(seeds: list[bytes], rng: random.Random) -> bytes:
    """Records changed under a right checksum, lines moved, or blind damage."""
    if rng.random() < 0.3:
        return blind(seeds, rng)
    lines = rng.choice(seeds).splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2))):
        at = rng.randrange(len(lines))
        change = rng.randrange(10)
        if change < 7:
            text = json_text(damaged_json(_DOCUMENTS.get(lines[at][9:-1], [0]), rng))
            lines[at] = b"%08x %s\n" % (zlib.crc32(text), text)
        elif change == 7:
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif change == 8 and len(lines) > 1:
            del lines[at]
        else:
            lines.append(lines.pop(at))
    return b"".join(lines)


_DOCUMENTS = {line[9:-1]: json.loads(line[9:-1]) for line in seeds()[0].splitlines(keepends=True)}


def read(path: Path) -> None:
    """Open an output folder that holds this journal, write the final files from it, and begin it anew."""

    root = path.parent / "out"
    state = root / ".fashionseg"
    state.mkdir(parents=True, exist_ok=True)
    outside = path.parent / "outside.jpg"
    outside.write_bytes(b"precious")
    (root / "a.jpg").write_bytes(b"a")
    journal = state / "journal"
    sources = [Source(n, Path(f"{n}"), f"{n}", "video" if n == 2 else "photo") for n in range(3)]
    fingerprint = {"conf": 0.5, "save": ["video"], "gt": None}
    try:
        shutil.copyfile(path, journal)
        with RunFolder(root, fingerprint) as folder:
            for source in sources:
                folder.video_done(source.index)
                folder.last_part(source.index)
            write_coco(folder, sources, ["a.jpg", "b.jpg", "c.mp4"], stubs.spec())
            json.loads((root / "predictions.json").read_text())
    finally:
        shutil.copyfile(path, journal)
        if zlib.crc32(path.read_bytes()) % 4 == 0:  # now and then: it takes as long as all the rest
            with RunFolder(root, fingerprint, restart=True):
                pass
        assert outside.read_bytes() == b"precious"
