"""TensorRT as a library: importing it, its version, its messages. `tensorrt` and `tensorrt_rtx` share an API.

Imported when an engine is built or run, never before.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any, Literal

from fashionseg.errors import DeviceError, MissingExtraError

Library = Literal["tensorrt", "tensorrt_rtx"]

NAMES = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT-RTX"}
EXTRAS = {"tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt-rtx"}
VERSIONS = {"tensorrt": ((10, 3), (12, 0)), "tensorrt_rtx": ((1, 7), (2, 0))}
"""From the first, to below the second."""

KEPT_MESSAGES = 20


def load_library(library: Library = "tensorrt") -> Any:
    """The module of TensorRT or TensorRT-RTX.

    Raises:
        MissingExtraError: it is not installed.
        DeviceError: its libraries are missing or do not load, or its version is none of those supported.
    """
    name = NAMES[library]
    try:
        module = importlib.import_module(library)
    except ModuleNotFoundError as error:
        raise MissingExtraError(name, EXTRAS[library]) from error
    except (ImportError, OSError) as error:
        raise DeviceError(
            f"{name} is installed but does not load ({error}); install it anew with: "
            f"pip install --force-reinstall 'fashionseg[{EXTRAS[library]}]'"
        ) from error
    least, end = VERSIONS[library]
    if not least <= version_of(module.__version__) < end:
        raise DeviceError(
            f"{name} {module.__version__} is installed, and fashionseg needs {least[0]}.{least[1]} or newer, below "
            f"{end[0]}: pip install 'fashionseg[{EXTRAS[library]}]'"
        )
    return module


def installed_library() -> Library:
    """The library that is installed; TensorRT where both or none are."""
    there = [importlib.util.find_spec(name) is not None for name in ("tensorrt", "tensorrt_rtx")]
    return "tensorrt_rtx" if there == [False, True] else "tensorrt"


def version_of(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: (10, 13, 3, 9) of "10.13.3.9.post1"."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


def make_log(trt: Any) -> Any:
    """A logger of TensorRT that keeps what it is told: `problems`, errors and worse, and `warnings`; the latest few."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.problems: list[str] = []
            self.warnings: list[str] = []
            levels = trt.ILogger
            self._kept = {levels.INTERNAL_ERROR: self.problems, levels.ERROR: self.problems}
            self._kept[levels.WARNING] = self.warnings

        def log(self, severity: Any, message: str) -> None:
            messages = self._kept.get(severity)
            if messages is not None:
                messages.append(message.strip())
                del messages[:-KEPT_MESSAGES]

        def reason(self) -> str:
            """The first of the latest errors, in one line."""
            return " ".join(self.problems[0].split()) if self.problems else "it gives no reason"

        def out_of_memory(self) -> bool:
            """Whether an error tells of memory that could not be had."""
            signs = ("out of memory", "outofmemory", "failed to allocate", "insufficient memory", "cuda error 2 ")
            return any(sign in message.lower() for message in self.problems for sign in signs)

    return Log()
