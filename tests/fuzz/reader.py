"""What a fuzzed reader is. Loads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path


@dataclass(frozen=True)
class Reader:
    """One reader.

    Attributes:
        name: of the file that it is given.
        seeds: sound files, as bytes.
        damage: makes an input from the seeds.
        read: reads the file; may raise `errors`.
        errors: the project's own refusals.
    """

    name: str
    seeds: Callable[[], list[bytes]]
    damage: Callable[[list[bytes], random.Random], bytes]
    read: Callable[[Path], None]
    errors: tuple[type[Exception], ...]
