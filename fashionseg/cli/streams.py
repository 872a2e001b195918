"""Standard output and error that may be gone: a closed pipe, a terminal that was shut, a full disk under a log.

Knows file descriptors. Knows nothing about what is written.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import TextIO


def say(message: str) -> None:
    """A line on standard error. A run of a night does not end because nobody reads its log any more."""
    LastingStderr().write(message.encode("utf-8", "replace").decode().replace("\n", "␊") + "\n")


def silence(stream: TextIO) -> None:
    """Let whatever is still written to a stream that fails vanish: Python flushes it once more when it shuts down."""
    with contextlib.suppress(OSError, ValueError):  # a stream of a test has no descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class LastingStderr:
    """Standard error, as a file for `rich`, that is silent once it fails."""

    def write(self, text: str) -> int:
        """Write and flush, or fall silent."""
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except OSError:
            silence(sys.stderr)
        return len(text)

    def flush(self) -> None:
        """Nothing: `write` does it."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)
