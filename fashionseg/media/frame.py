"""`Source` and `Frame`: what goes into the pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fractions import Fraction
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Source:
    """One input file.

    Attributes:
        index: position among all inputs of the run, from 0.
        path: the file, as the user reached it.
        name: relative path below the folder it was found in (or its file name where it was named directly), with
            "/" between parts: unique among the photos or videos only together with `index`.
        kind: "photo" or "video", judged by suffix first and by the first bytes where the suffix says nothing.
    """

    index: int
    path: Path
    name: str
    kind: Literal["photo", "video"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture, upright.

    Attributes:
        image: uint8 [H, W, 3], BGR, C-contiguous, writable; whoever holds the frame may draw into it.
        source: the file it comes from.
        index: 0 for a photo; for a video the number of the frame in the source, from 0, counting every decoded frame
            (with a stride of 3: 0, 3, 6 ...).
        time: presentation time in seconds from the start of the video; None for a photo.
    """

    image: NDArray[np.uint8]
    source: Source
    index: int = 0
    time: Fraction | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.shape[0], self.image.shape[1]
