"""Reads a pickle of arrays without letting it run code: Detectron2's and Detectron's `.pkl` checkpoints.

A pickle is a program that names the functions it wants called. This one may name NumPy's arrays, data types and
scalars, and ordered dictionaries; anything else is refused before it is looked up. Needs neither torch nor Detectron2.
"""

from __future__ import annotations

import collections
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy._core import multiarray, numeric

from fashionseg.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path


def _latin1(text: str, encoding: str) -> bytes:
    """What pickles of protocol 2 use `_codecs.encode` for; other codecs are none of a checkpoint's business."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it asks for the codec {encoding!r}")
    return text.encode("latin1")


_ARRAYS = {
    "_reconstruct": multiarray._reconstruct,
    "scalar": multiarray.scalar,
}
_KNOWN: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): bytes,  # empty byte strings of protocol 0 to 2
    ("__builtin__", "set"): set,
    ("builtins", "set"): set,
    **{(f"numpy.{core}.multiarray", name): value for core in ("core", "_core") for name, value in _ARRAYS.items()},
    **{(f"numpy.{core}.numeric", "_frombuffer"): numeric._frombuffer for core in ("core", "_core")},  # type: ignore[attr-defined]
}


class _ArrayUnpickler(pickle.Unpickler):
    def persistent_load(self, pid: Any) -> Any:
        raise pickle.UnpicklingError("it asks for an object kept elsewhere")

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def read_arrays(path: Path) -> dict[str, Any]:
    """The dictionary pickled in `path`: plain containers, numbers, strings and NumPy arrays.

    Raises:
        CheckpointError: no such file, damaged, not a dictionary, or a pickle that asks for anything else.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
    except OSError as error:
        raise CheckpointError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is not a plain checkpoint of arrays ({error}); if you trust where it comes from, use --trust"
        ) from error
    except KeyError as error:  # of the reader, with a byte for its text
        raise CheckpointError(f"{path} is damaged or not a checkpoint: its format is unknown") from error
    except (EOFError, ValueError, TypeError, IndexError, AttributeError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {error or type(error).__name__}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a checkpoint: it holds no table of weights")
    return content
