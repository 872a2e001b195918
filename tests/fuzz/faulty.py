"""A reader with every kind of fault, to see that the fuzzer finds them."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from fuzz.reader import Reader

if TYPE_CHECKING:
    import random
    from pathlib import Path


def damage(seeds: list[bytes], rng: random.Random) -> bytes:
    """One of eight contents."""
    return bytes([rng.randrange(8)])


def read(path: Path) -> None:
    """Takes some, refuses some, raises, crashes or hangs."""
    number = path.read_bytes()[0]
    if number == 1:
        raise RuntimeError("a fault")
    if number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        time.sleep(3600)
    if number > 5:
        raise KeyError("refused")


FAULTY = Reader("input", lambda: [b"x"], damage, read, (KeyError,))
