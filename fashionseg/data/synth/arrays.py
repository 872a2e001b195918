"""The one array type of the drawing code."""

from typing import Any

from numpy.typing import NDArray

Floats = NDArray[Any]
"""float32 by convention; shapes are in the docstrings. OpenCV's type stubs promise no element type."""
