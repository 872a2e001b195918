"""From decoded pictures to detections in their own pixels: resize, batch, run, scale back; in order.

Knows backends and the rules by which pictures share a batch. Knows nothing about files, drawing or output.

Which pictures share a batch depends on the input alone, never on timing: pictures are batched only within a block
(a part of a video, a window of photos), only with those of the same padded size, and no more are held back than fit
into memory. So the same input gives the same bytes, run after run, and a picture alone in its block gives the same
detections as in a batch up to rounding.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.detections import Detections
from fashionseg.errors import OutOfMemoryError
from fashionseg.preprocess import make_batch, padded_size, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fashionseg.backends import Backend, RawBatch
    from fashionseg.media.frame import Frame
    from fashionseg.model import ModelSpec

WINDOW_BATCHES = 8
"""Photos are looked ahead by this many batches to find some of the same padded size."""

MAX_HELD_BYTES = 2**30
"""Pixels of decoded pictures that may wait for a full batch; then smaller batches are run."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A picture ready for the model.

    Attributes:
        frame: the decoded picture.
        resized: uint8 [h, w, 3], BGR, resized by the model's rule.
        block: pictures share a batch only within a block; blocks are contiguous in the order of input.
        tag: the caller's own, handed through.
    """

    frame: Frame
    resized: NDArray[np.uint8]
    block: Hashable
    tag: Any = None


@dataclass(frozen=True, slots=True)
class Inferred:
    """A picture with its detections.

    Attributes:
        frame: the decoded picture.
        detections: in pixels of `frame`, as many as the graph gave (its own score threshold).
        nms_exact: False where the graph's non-maximum suppression may differ from the exact one.
        tag: of the `Prepared`.
    """

    frame: Frame
    detections: Detections
    nms_exact: bool
    tag: Any = None


@dataclass(slots=True)
class _Pending:
    """A place in the output order: an item that passes through, or a picture that waits for its detections."""

    item: Any
    ready: bool


def prepare_frame(frame: Frame, spec: ModelSpec, block: Hashable, tag: Any = None) -> Prepared:
    """Resize a decoded picture for the model."""
    return Prepared(frame, prepare(frame.image, spec), block, tag)


def infer(
    items: Iterable[Any], backend: Backend, batch: int = 1, note: Callable[[str], None] | None = None
) -> Iterator[Any]:
    """Run the model over `Prepared` items in batches; yields `Inferred` items in the order of input.

    Items that are not `Prepared` are handed through at their place. At most one block is held at a time, and of it no
    more than `MAX_HELD_BYTES`, but for the last picture.

    Args:
        items: `Prepared` and others, in order.
        backend: runs the model.
        batch: pictures a run at most, > 0. Halved when the device runs out of memory, which `note` is told once.

    Raises:
        FashionsegError: the backend failed.
    """
    return _Batcher(backend, batch, note).run(items)


class _Batcher:
    def __init__(self, backend: Backend, batch: int, note: Callable[[str], None] | None) -> None:
        self._backend = backend
        self._batch = batch
        self._note = note
        self._order: deque[_Pending] = deque()
        self._held = 0
        self._groups: dict[tuple[int, int], list[_Pending]] = {}
        self._block: Hashable = None

    def run(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield from self._take(item)
        self._flush()
        yield from self._finished()

    def _take(self, item: Any) -> Iterator[Any]:
        if not isinstance(item, Prepared):
            self._order.append(_Pending(item, ready=True))
        else:
            if item.block != self._block:
                self._flush()
                self._block = item.block
            place = _Pending(item, ready=False)
            self._order.append(place)
            self._held += item.frame.image.nbytes
            height, width = item.resized.shape[:2]
            group = self._groups.setdefault(padded_size((height, width), self._backend.spec.size_divisor), [])
            group.append(place)
            if len(group) >= self._batch:
                self._infer(group)
            if self._held >= MAX_HELD_BYTES:
                self._flush()
        yield from self._finished()

    def _flush(self) -> None:
        for group in self._groups.values():
            self._infer(group)
        self._groups.clear()

    def _finished(self) -> Iterator[Any]:
        while self._order and self._order[0].ready:
            item = self._order.popleft().item
            if isinstance(item, Inferred):
                self._held -= item.frame.image.nbytes
            yield item

    def _infer(self, group: list[_Pending]) -> None:
        while group:
            some = group[: self._batch]
            try:
                results = infer_batch([place.item for place in some], self._backend)
            except OutOfMemoryError:
                if self._batch == 1 or len(some) == 1:
                    raise
                self._batch = max(1, len(some) // 2)
                if self._note:
                    self._note(f"{self._backend.device} is out of memory: going on with a batch of {self._batch}")
                continue
            for place, result in zip(some, results, strict=True):
                place.item, place.ready = result, True
            del group[: len(some)]


def infer_batch(items: list[Prepared], backend: Backend) -> list[Inferred]:
    """Run the model once over `items`, which need not be of one size; results in the same order."""
    images, sizes = make_batch([item.resized for item in items], backend.spec.size_divisor)
    raw = backend.run(images, sizes)
    return [
        Inferred(
            item.frame,
            detections_of(raw, row, (int(sizes[row, 0]), int(sizes[row, 1]))).scaled_to(item.frame.size_hw),
            bool(raw.nms_exact[row]),
            item.tag,
        )
        for row, item in enumerate(items)
    ]


def detections_of(raw: RawBatch, row: int, size_hw: tuple[int, int]) -> Detections:
    """The valid detections of one image of a run, in pixels of the resized image of `size_hw`."""
    count = int(raw.num_detections[row])
    return Detections(
        raw.boxes[row, :count],
        raw.scores[row, :count],
        raw.labels[row, :count],
        raw.masks[row, :count],
        size_hw,
    )
