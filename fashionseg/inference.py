"""From decoded pictures to detections in their own pixels: resize, group, run, scale back; in order.

`infer` does it one run after the other; who wants several runs at a time maps a `Runner` over `form_groups` and puts
the results `in_order`.

Knows backends and the rules by which pictures share a batch. Knows nothing about files, drawing or output.

Which pictures share a batch depends on the input alone, never on timing: pictures are batched only within a block
(a part of a video, a window of photos), only with those of the same padded size, and no more are held back than fit
into memory. So the same input gives the same bytes, run after run, and a picture alone in its block gives the same
detections as in a batch up to rounding.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fashionseg.detections import Detections
from fashionseg.errors import OutOfMemoryError
from fashionseg.pipeline import waiting
from fashionseg.preprocess import make_batch, padded_size, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

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


@dataclass(frozen=True, slots=True)
class Group:
    """Pictures that share a run of the model, or one item that passes through.

    Attributes:
        items: `Prepared` before the run, `Inferred` after it; or one item of any other kind.
        places: of each item, its number in the order of input, from 0.
    """

    items: tuple[Any, ...]
    places: tuple[int, ...]


def prepare_frame(frame: Frame, spec: ModelSpec, block: Hashable, tag: Any = None) -> Prepared:
    """Resize a decoded picture for the model."""
    return Prepared(frame, prepare(frame.image, spec), block, tag)


def infer(
    items: Iterable[Any], backend: Backend, batch: int = 1, note: Callable[[str], None] | None = None
) -> Iterator[Any]:
    """Run the model over `Prepared` items in batches; yields `Inferred` items in the order of input.

    Items of other types pass through at their place.

    Args:
        items: `Prepared` pictures, and marks of the caller's own.
        backend: runs the model.
        batch: pictures a run at most.
        note: receives a line when the batch had to be made smaller because memory ran out.
    """
    groups = form_groups(items, backend.spec.size_divisor, batch)
    return in_order(map(Runner(backend, note), groups))


def form_groups(items: Iterable[Any], divisor: int, batch: int) -> Iterator[Group]:
    """Pictures in groups of at most `batch`, of one block and one padded size; other items alone."""
    return _Grouping(divisor, batch).run(items)


def in_order(groups: Iterable[Group]) -> Iterator[Any]:
    """The items of groups that went through a `Runner`, in the order of input, each as soon as it is its turn."""
    early: dict[int, Any] = {}
    place = 0
    for group in groups:
        early.update(zip(group.places, group.items, strict=True))
        while place in early:
            yield early.pop(place)
            place += 1


class Runner:
    """Runs the model over groups; may be called from several threads. Lets as many in as the backend takes."""

    def __init__(
        self,
        backend: Backend,
        note: Callable[[str], None] | None = None,
        timed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Args:
        backend: runs the model.
        note: receives a line when the batch had to be made smaller because memory ran out.
        timed: makes a context that is around each run.
        """
        self._backend = backend
        self._note = note
        self._timed = timed
        self._entrance = threading.Semaphore(backend.streams)
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._told: int | None = None

    def __call__(self, group: Group) -> Group:
        """The group with `Inferred` items; one that passes through unchanged."""
        if not isinstance(group.items[0], Prepared):
            return group
        done: list[Inferred] = []
        while len(done) < len(group.items):
            done += self._run(group.items[len(done) :][: self._limit])
        return Group(tuple(done), group.places)

    def _run(self, items: tuple[Prepared, ...]) -> list[Inferred]:
        images, sizes = make_batch([item.resized for item in items], self._backend.spec.size_divisor)
        try:
            with self._entered(), self._timed():
                raw = self._backend.run(images, sizes)
        except OutOfMemoryError:
            if len(items) == 1:
                raise
            with self._lock:
                self._limit = min(self._limit or len(items), len(items) // 2)
            return []
        self._tell_limit(len(items))
        return inferred_of(items, raw, sizes)

    @contextmanager
    def _entered(self) -> Iterator[None]:
        """As many threads as the backend takes; the others wait for them, which is no work."""
        with waiting("starved"):
            self._entrance.acquire()
        try:
            yield
        finally:
            self._entrance.release()

    def _tell_limit(self, batch: int) -> None:
        """Say once which batch fitted after larger ones did not."""
        with self._lock:
            limit = self._limit
            if limit is None or limit == self._told or batch > limit:
                return  # nothing to tell, or a run that was under way before
            self._told = limit
        if self._note:
            self._note(f"{self._backend.device} is out of memory: going on with a batch of {limit}")


@dataclass(slots=True)
class _Place:
    """A place in the order of input; `grouped` once its item is on its way. `weight` in bytes."""

    number: int
    item: Any
    weight: int
    grouped: bool = False


class _Grouping:
    """Gathers pictures; what waits, for its group or behind one that does, is bounded."""

    def __init__(self, divisor: int, batch: int) -> None:
        self._divisor = divisor
        self._batch = batch
        self._order: deque[_Place] = deque()
        self._held = 0
        self._groups: dict[tuple[int, int], list[_Place]] = {}
        self._block: Hashable = None

    def run(self, items: Iterable[Any]) -> Iterator[Group]:
        for number, item in enumerate(items):
            if isinstance(item, Prepared):
                yield from self._take(_Place(number, item, item.frame.image.nbytes), item)
            else:
                yield Group((item,), (number,))
        yield from self._flush()

    def _take(self, place: _Place, item: Prepared) -> Iterator[Group]:
        if item.block != self._block:
            yield from self._flush()
            self._block = item.block
        self._order.append(place)
        self._held += place.weight
        height, width = item.resized.shape[:2]
        group = self._groups.setdefault(padded_size((height, width), self._divisor), [])
        group.append(place)
        if len(group) >= self._batch:
            yield self._leave(group)
        if self._held >= MAX_HELD_BYTES:
            yield from self._flush()

    def _flush(self) -> Iterator[Group]:
        for group in self._groups.values():
            if group:
                yield self._leave(group)
        self._groups.clear()

    def _leave(self, group: list[_Place]) -> Group:
        left = Group(tuple(place.item for place in group), tuple(place.number for place in group))
        for place in group:
            place.item, place.grouped = None, True
        group.clear()
        while self._order and self._order[0].grouped:
            self._held -= self._order.popleft().weight
        return left


def inferred_of(items: Sequence[Prepared], raw: RawBatch, sizes: NDArray[np.int32]) -> list[Inferred]:
    """What a run of the model found in `items`, in the pixels of their frames.

    Args:
        items: the pictures of the run, in the order of its rows.
        raw: the outputs of the run.
        sizes: int32 [N, 2], height and width of the resized pictures.
    """
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
