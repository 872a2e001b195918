"""Fuzz one reader with Atheris, which looks for inputs that reach new code: more faults an input than blind damage.

    python tests/fuzz/guided.py READER [options of libFuzzer, such as -max_total_time=600 or FOLDER_OF_INPUTS]

READER is one of `readers.READERS`. It needs `pip install atheris`. It stops at the first fault and keeps its input.
Native code is not watched: `run.py` fuzzes decoders.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

with atheris.instrument_imports(include=["fashionseg"]):
    from fuzz.readers import READERS


def main() -> None:
    """Fuzz until told to stop."""
    reader = READERS[sys.argv[1]]
    seeds = reader.seeds()
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    path = folder / reader.name

    def read(data: bytes) -> None:
        path.write_bytes(data)
        try:
            reader.read(path)
        except reader.errors:
            pass

    def damage(data: bytes, most: int, seed: int) -> bytes:
        """Half of the inputs keep the form of the seeds, half come from what libFuzzer found worth keeping."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return reader.damage(seeds, rng)[:most]
        return bytes(atheris.Mutate(data, most))

    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    words = [sys.argv[0], "-max_len=16384", "-rss_limit_mb=8192", *sys.argv[2:], str(corpus)]
    atheris.Setup(words, read, custom_mutator=damage)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
