"""TensorRT's own Python bindings as a list of names, without its libraries.

A wheel `tensorrt_cu13_bindings` holds the real classes, and registers them when it is imported; only the functions
behind them lie in libraries of gigabytes. So a copy of its module is told to do without: the libraries are taken off
its list of needs, and the functions it would find there may be missing. Nothing stands in for them, and none can be
called. What comes out is each class with its members, and the text pybind11 wrote about each: signature and all.

    python tests/bindings.py FOLDER/tensorrt_bindings/tensorrt.so > names.json
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import re
import struct
import sys
import tempfile
from pathlib import Path

LIBRARIES = re.compile(rb"libnv(?:infer|onnxparser|infer_plugin)\.so\.\d+\0")
DYNAMIC_SYMBOLS = 11
SYMBOL_BYTES = 24
GLOBAL, WEAK = 1, 2


def without_libraries(data: bytes) -> bytes:
    """An ELF module that needs libm instead of TensorRT, and whose undefined symbols may stay so."""
    data = LIBRARIES.sub(lambda found: b"libm.so.6".ljust(len(found[0]), b"\0"), data)
    out = bytearray(data)
    sections = struct.unpack_from("<Q", data, 0x28)[0]
    size, number = struct.unpack_from("<HH", data, 0x3A)
    for section in range(sections, sections + size * number, size):
        if struct.unpack_from("<I", data, section + 4)[0] != DYNAMIC_SYMBOLS:
            continue
        start, length = struct.unpack_from("<QQ", data, section + 24)
        for symbol in range(start, start + length, SYMBOL_BYTES):
            info, _, defined_in = struct.unpack_from("<BBH", data, symbol + 4)
            if defined_in == 0 and info >> 4 == GLOBAL:
                out[symbol + 4] = WEAK << 4 | info & 15
    return bytes(out)


def names_of(module: Path) -> dict[str, dict[str, str]]:
    """By class the members and their documentation; functions and constants of the module under ""."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / module.name
        copy.write_bytes(without_libraries(module.read_bytes()))
        sys.setdlopenflags(os.RTLD_LAZY)
        loader = importlib.machinery.ExtensionFileLoader(module.stem, str(copy))
        loaded = importlib.util.module_from_spec(importlib.util.spec_from_loader(module.stem, loader))
        loader.exec_module(loaded)
    found: dict[str, dict[str, str]] = {"": {}}
    for name, value in vars(loaded).items():
        found[""][name] = str(value.__doc__ or "")
        if isinstance(value, type):
            found[name] = {member: str(getattr(value, member).__doc__ or "") for member in dir(value)}
    return found


if __name__ == "__main__":
    json.dump(names_of(Path(sys.argv[1])), sys.stdout)
