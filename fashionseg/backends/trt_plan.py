"""What a run of an engine needs where: which profile takes a batch, how large its buffers are, which rows come back.

Arithmetic and arrays alone: neither CUDA nor TensorRT.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fashionseg.backends import RawBatch
from fashionseg.errors import FashionsegError
from fashionseg.model import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fashionseg.engine_file import Profile
    from fashionseg.model import ModelSpec

COUNTS = ("num_detections", "nms_exact")
"""Outputs of one number a picture: they come back first, and say how many rows of the others are valid."""

ROWS = tuple(name for name in OUTPUTS if name not in COUNTS)

TYPES: dict[str, Any] = {
    "images": np.uint8,
    "image_sizes": np.int32,
    "boxes": np.float32,
    "labels": np.int32,
    "masks": np.float32,
    "nms_exact": np.int32,
    "num_detections": np.int32,
    "scores": np.float32,
}


@dataclass(frozen=True, slots=True)
class TensorPlan:
    """A tensor of a profile.

    Attributes:
        name: of the tensor.
        dtype: of its values.
        picture: its shape for one picture, without the batch axis.
    """

    name: str
    dtype: Any
    picture: tuple[int, ...]

    def shape(self, batch: int) -> tuple[int, ...]:
        """Its shape for a batch."""
        return (batch, *self.picture)

    def nbytes(self, batch: int = 1) -> int:
        """Bytes of a batch."""
        return int(np.prod(self.shape(batch))) * int(np.dtype(self.dtype).itemsize)

    @property
    def row_nbytes(self) -> int:
        """Bytes of one detection of one picture."""
        return self.nbytes() // self.picture[0]


def tensors_of(profile: Profile, spec: ModelSpec) -> dict[str, TensorPlan]:
    """Every input and output of a profile, by name."""
    rows, side = spec.max_detections, spec.mask_side
    pictures: dict[str, tuple[int, ...]] = {
        "images": (*profile.size_hw, 3),
        "image_sizes": (2,),
        "boxes": (rows, 4),
        "labels": (rows,),
        "masks": (rows, side, side),
        "nms_exact": (),
        "num_detections": (),
        "scores": (rows,),
    }
    return {name: TensorPlan(name, TYPES[name], pictures[name]) for name in (*INPUTS, *OUTPUTS)}


def choose_profile(profiles: Sequence[Profile], size_hw: tuple[int, int], where: str) -> int:
    """The number of the tightest profile that a padded picture of `size_hw` fits into.

    Raises:
        FashionsegError: it fits into none; `where` names the engine.
    """
    height, width = size_hw
    fitting = [
        (profile.size_hw[0] * profile.size_hw[1], number)
        for number, profile in enumerate(profiles)
        if profile.size_hw[0] >= height and profile.size_hw[1] >= width
    ]
    if not fitting:
        sizes = ", ".join("x".join(map(str, profile.size_hw)) for profile in profiles)
        raise FashionsegError(
            f"a picture of {height}x{width} pixels fits into no size of {where} ({sizes}): build it with --size "
            f"{height}x{width} as well"
        )
    return min(fitting)[1]


def portions(count: int, largest: int) -> Iterator[slice]:
    """A batch in portions that an engine takes, none larger than `largest`, as even as can be."""
    number = -(-count // largest)
    for part in range(number):
        yield slice(part * count // number, (part + 1) * count // number)


def fill_inputs(
    images: NDArray[np.uint8],
    image_sizes: NDArray[np.int32],
    pinned_images: NDArray[np.uint8],
    pinned_sizes: NDArray[np.int32],
) -> None:
    """Put pictures into the first rows of a profile's larger inputs.

    What lies right of and below a picture, and rows beyond the last one, keep whatever an earlier run left there: the
    graph blanks everything outside the valid area, and surplus rows repeat the first picture's size.

    Args:
        images: uint8 [n, h, w, 3].
        image_sizes: int32 [n, 2], height and width of each valid area.
        pinned_images: uint8 [N, H, W, 3], written to; N >= n, H >= h, W >= w.
        pinned_sizes: int32 [N, 2], written to.
    """
    count, height, width = images.shape[:3]
    pinned_images[:count, :height, :width] = images
    pinned_sizes[:count] = image_sizes
    pinned_sizes[count:] = image_sizes[0]


def valid_rows(counts: NDArray[np.int32], most: int) -> int:
    """How many rows of each picture must come back: those of the picture with most.

    Raises:
        FashionsegError: an engine that does not work tells nonsense.
    """
    rows = int(counts.max(initial=0))
    if rows > most or int(counts.min(initial=0)) < 0:
        raise FashionsegError(f"the engine reports {rows} detections in a picture, more than its {most} rows")
    return rows


def assemble(
    counts: dict[str, NDArray[np.int32]], rows: dict[str, NDArray[Any]], tensors: dict[str, TensorPlan]
) -> RawBatch:
    """A batch of results that owns its memory; rows that did not come back are zero.

    Args:
        counts: each of `COUNTS`, int32 [n].
        rows: each of `ROWS`, the first r rows of each picture, [n, r, ...].
        tensors: of the profile.
    """
    batch = len(counts["num_detections"])
    values: dict[str, Any] = {name: array.copy() for name, array in counts.items()}
    for name, array in rows.items():
        whole = np.zeros(tensors[name].shape(batch), tensors[name].dtype)
        whole[:, : array.shape[1]] = array
        values[name] = whole
    return RawBatch(**values)


def joined(parts: Sequence[RawBatch]) -> RawBatch:
    """The results of the portions of a batch as one."""
    if len(parts) == 1:
        return parts[0]
    return RawBatch(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in OUTPUTS})
