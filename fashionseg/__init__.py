"""fashionseg segments clothing in photos and video.

    import fashionseg
    model = fashionseg.load_model()
    detections = model.predict("photo.jpg")

Importing this package loads nothing heavy: the names below are fetched when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fashionseg._version import __version__

if TYPE_CHECKING:
    from fashionseg.api import Model, load_model
    from fashionseg.detections import Detections
    from fashionseg.errors import FashionsegError

__all__ = ["Detections", "FashionsegError", "Model", "__version__", "load_model"]

_HOMES = {
    "Model": "fashionseg.api",
    "load_model": "fashionseg.api",
    "Detections": "fashionseg.detections",
    "FashionsegError": "fashionseg.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fashionseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
