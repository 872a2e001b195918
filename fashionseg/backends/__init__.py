"""Backends run a model file: `onnxrt.py` with ONNX Runtime, `trt.py` with TensorRT.

A backend knows tensors and devices. It knows nothing about photos, videos, drawing or files other than the model.
To add one: write a class with the attributes and methods of `Backend`, a function that loads a model into it, and a
line in `KINDS` of `registry.py`:

    def _open_mine(model: ModelFile, index: int, request: Request) -> Backend: ...

    KINDS = {..., "mine": Kind(_open_mine)}

Then `--device mine` is a device everywhere, and `tests/test_backends.py` asks it what it asks all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.model import ModelSpec


@dataclass(frozen=True, slots=True)
class RawBatch:
    """The outputs of one run of a model file over N images, on the host; K rows an image.

    Attributes:
        num_detections: int32 [N], valid rows of each image.
        boxes: float32 [N, K, 4], x0 y0 x1 y1 in pixels of the resized image.
        scores: float32 [N, K], descending; padding rows are 0.
        labels: int32 [N, K], contiguous class index.
        masks: float32 [N, K, m, m], probability of the predicted class.
        nms_exact: int32 [N], 0 where the graph's non-maximum suppression may differ from the exact one.
    """

    num_detections: NDArray[np.int32]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int32]
    masks: NDArray[np.float32]
    nms_exact: NDArray[np.int32]


class Backend(Protocol):
    """Runs one model file on one device. A context manager.

    Attributes:
        spec: the model's metadata.
        device: where it really runs, such as "cpu", "cuda:0", "trt:0".
        description: one line for people: library, version, device, threads.
        streams: how many threads may be in `run` at the same time. They need not always be the same threads.
    """

    spec: ModelSpec
    device: str
    description: str
    streams: int

    def run(self, images: NDArray[np.uint8], image_sizes: NDArray[np.int32]) -> RawBatch:
        """Run the model.

        Args:
            images: uint8 [N, H, W, 3], BGR, padded right and below; H and W multiples of `spec.size_divisor`.
            image_sizes: int32 [N, 2], height and width of the valid area of each image.

        Raises:
            OutOfMemoryError: the device has no room for this batch; a smaller one may fit.
            FashionsegError: the run failed otherwise.
        """
        ...

    def close(self) -> None:
        """Free what the backend holds. Calling it twice is fine."""
        ...

    def __enter__(self) -> Backend: ...

    def __exit__(self, *exc_info: object) -> None: ...
