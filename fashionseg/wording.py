"""Counts in words, as every message writes them. Knows nothing about what is counted."""

from __future__ import annotations


def plural(number: int, word: str) -> str:
    """A count with its word: 1 photo, 2 photos, 1,234 photos."""
    return f"{number:,} {word}" if number == 1 else f"{number:,} {word}s"
