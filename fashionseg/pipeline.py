"""Stages that run at the same time, joined by bounded channels, in order.

A stage is a generator over the stage before it. `Pipeline.stage` runs one in a thread of its own; `Pipeline.map` runs a
function in several threads and keeps the order. The last iterator is consumed by the caller:

    with Pipeline() as pipeline:
        decoded = pipeline.stage("decode", read(sources))
        prepared = pipeline.map("preprocess", resize, decoded, workers=2)
        inferred = pipeline.stage("infer", infer(prepared))
        for item in pipeline.last("write", inferred):
            ...

What holds: memory is bounded by the channels, and by a `Budget` where items differ in size; order is kept; an
exception in any stage is raised in the consumer; leaving the `with` block, for whatever reason, ends every thread. It
knows nothing about pictures or models.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

T = TypeVar("T")
U = TypeVar("U")

PATIENCE_SECONDS = 1.0
"""How long a pipeline that is left by Ctrl-C waits for threads that are busy in native code."""


class ChannelClosed(Exception):
    """The other side is gone: stop quietly. Never seen outside this module."""


class Channel(Generic[T]):
    """A bounded first-in-first-out queue that either side can close.

    `end` says that no more items come (those inside are still delivered); `close` drops what is inside and wakes
    everyone who waits.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._ended = False
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        """Add an item, waiting while the channel is full.

        Raises:
            ChannelClosed: the consumer is gone.
        """
        with self._changed:
            while len(self._items) >= self._capacity and not self._closed:
                self._changed.wait()
            if self._closed:
                raise ChannelClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self) -> T:
        """Take the oldest item, waiting for one.

        Raises:
            ChannelClosed: closed, or ended and empty.
            BaseException: what the producer ended with, once the items before it are taken.
        """
        with self._changed:
            while not self._items and not self._ended and not self._closed:
                self._changed.wait()
            if self._closed:
                raise ChannelClosed
            if self._items:
                item = self._items.popleft()
                self._changed.notify_all()
                return item
            if self._error is not None:
                raise self._error
            raise ChannelClosed

    def end(self, error: BaseException | None = None) -> None:
        """No more items; the consumer meets `error` after those inside."""
        with self._changed:
            self._ended = True
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Drop everything and wake everyone. May be called from any thread, any number of times."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


class Budget:
    """Bounds what all items between two points of a pipeline weigh together.

    `take` waits until less than the limit is in use, then takes any amount: at most one item goes over the limit, and
    an item larger than the limit passes when it is its turn. What takes must be the first stage, in order; a stage that
    holds items back must hold less than the limit.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._closed = False
        self._changed = threading.Condition()

    def take(self, amount: int) -> None:
        """Wait for room and use `amount` of it.

        Raises:
            ChannelClosed: the pipeline is at its end.
        """
        with self._changed:
            while self._used >= self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                raise ChannelClosed
            self._used += amount

    def give_back(self, amount: int) -> None:
        """The item that took `amount` is gone."""
        with self._changed:
            self._used -= amount
            self._changed.notify_all()

    def close(self) -> None:
        """Wake whoever waits, and let nobody in any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


@dataclass(slots=True)
class StageClock:
    """How long a stage worked and waited, in seconds of wall time, summed over its threads.

    Attributes:
        name: of the stage.
        busy: working.
        starved: waiting for the stage before.
        blocked: waiting for the stage after.
        cpu: CPU time of the stage's own threads (a library's inner threads are not in it).
        items: that came out.
        threads: that the stage has.
    """

    name: str
    busy: float = 0.0
    starved: float = 0.0
    blocked: float = 0.0
    cpu: float = 0.0
    items: int = 0
    threads: int = 1


class Pipeline:
    """Owns the threads and channels of one run; see the module's text."""

    def __init__(self, capacity: int = 4) -> None:
        self._capacity = capacity
        self._doors: list[Channel[Any] | Budget] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self.clocks: list[StageClock] = []

    def __enter__(self) -> Pipeline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for door in self._doors:
            door.close()
        impatient = kind is not None and issubclass(kind, KeyboardInterrupt)
        until = time.monotonic() + PATIENCE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()) if impatient else None)

    def budget(self, limit: int) -> Budget:
        """A `Budget` that lets go whoever waits for it when the pipeline ends."""
        budget = Budget(limit)
        self._doors.append(budget)
        return budget

    def stage(self, name: str, items: Iterable[T], capacity: int | None = None) -> Iterator[T]:
        """Run the iteration over `items` in a thread of its own; the result yields the same items.

        `items` is usually a generator over the stage before it.
        """
        clock = self._clock(name, 1)
        channel: Channel[T] = self._channel(capacity)

        def produce() -> None:
            for item in items:
                with waiting("blocked"):
                    channel.put(item)
                clock.items += 1

        self._start(name, produce, clock, lambda error: channel.end(error), close=items)
        return _drain(channel)

    def map(
        self, name: str, function: Callable[[T], U], items: Iterable[T], workers: int = 1, capacity: int | None = None
    ) -> Iterator[U]:
        """Apply `function` to each item in `workers` threads; results come in the order of the items."""
        if workers <= 1:
            return self.stage(name, map(function, items), capacity)
        clock = self._clock(name, workers)
        slots: Channel[Channel[U]] = self._channel(max(workers, capacity or self._capacity))
        places = _Places(iter(items), slots)
        left = [workers]

        def work() -> None:
            while (place := places.take()) is not None:
                item, slot = place
                try:
                    slot.put(function(item))
                except BaseException as error:  # noqa: BLE001 - raised in the consumer, at this item's place
                    slot.end(error)
                with self._lock:
                    clock.items += 1

        def ended(error: BaseException | None) -> None:
            with self._lock:
                left[0] -= 1
                last = left[0] == 0
            if error is not None or last:
                slots.end(error)

        for number in range(workers):
            self._start(f"{name}-{number}", work, clock, ended)
        return _drain_slots(slots)

    def last(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The same items, with a clock of the calling thread, which consumes them: what it does with one is work."""
        clock = self._clock(name, 1)
        began, began_cpu, waited = time.perf_counter(), time.thread_time(), _waits.starved
        try:
            for item in items:
                yield item
                clock.items += 1
        finally:
            clock.starved = _waits.starved - waited
            clock.busy = time.perf_counter() - began - clock.starved
            clock.cpu = time.thread_time() - began_cpu

    def task(self, name: str, function: Callable[[], T]) -> Future[T]:
        """Call `function` once, in a thread of its own; not a stage, so it has no clock."""
        future: Future[T] = Future()

        def work() -> None:
            future.set_result(function())

        def ended(error: BaseException | None) -> None:
            if error is not None:
                future.set_exception(error)

        self._start(name, work, StageClock(name), ended)
        return future

    def _clock(self, name: str, threads: int) -> StageClock:
        clock = StageClock(name, threads=threads)
        self.clocks.append(clock)
        return clock

    def _channel(self, capacity: int | None) -> Channel[Any]:
        channel: Channel[Any] = Channel(capacity or self._capacity)
        self._doors.append(channel)
        return channel

    def _start(
        self,
        name: str,
        work: Callable[[], None],
        clock: StageClock,
        ended: Callable[[BaseException | None], None],
        close: object = None,
    ) -> None:
        """Run `work` in a thread; `ended` is called with what it raised, always."""

        def body() -> None:
            error: BaseException | None = None
            began, began_cpu = time.perf_counter(), time.thread_time()
            _waits.starved = _waits.blocked = 0.0
            try:
                work()
            except ChannelClosed:
                pass  # the consumer left first: nobody is there to hear of it, and nothing is lost
            except BaseException as caught:  # noqa: BLE001 - raised again in the consumer
                error = caught
            try:
                if hasattr(close, "close"):
                    close.close()  # a generator frees its files here, in the thread that opened them
            except BaseException as caught:  # noqa: BLE001 - likewise
                error = error or caught
            with self._lock:
                clock.starved += _waits.starved
                clock.blocked += _waits.blocked
                clock.busy += time.perf_counter() - began - _waits.starved - _waits.blocked
                clock.cpu += time.thread_time() - began_cpu
            ended(error)

        thread = threading.Thread(target=body, name=f"fashionseg-{name}", daemon=True)
        self._threads.append(thread)
        thread.start()


class _Places(Generic[T, U]):
    """Hands out items together with their places in the order, one at a time."""

    def __init__(self, items: Iterator[T], slots: Channel[Channel[U]]) -> None:
        self._items = items
        self._slots = slots
        self._lock = threading.Lock()

    def take(self) -> tuple[T, Channel[U]] | None:
        with waiting("starved"):
            self._lock.acquire()
        try:
            slot: Channel[U] = Channel(1)
            for item in self._items:
                with waiting("blocked"):
                    self._slots.put(slot)
                return item, slot
            return None
        finally:
            self._lock.release()


def _drain(channel: Channel[T]) -> Iterator[T]:
    """The items of a channel until it ends; waiting is charged to the thread that waits."""
    while True:
        with waiting("starved"):
            try:
                item = channel.get()
            except ChannelClosed:
                return
        yield item


def _drain_slots(slots: Channel[Channel[U]]) -> Iterator[U]:
    for slot in _drain(slots):
        with waiting("starved"):
            item = slot.get()
        yield item


class _Waits(threading.local):
    """Seconds the current thread has waited for its neighbours."""

    starved = 0.0
    blocked = 0.0


_waits = _Waits()


@contextmanager
def waiting(kind: Literal["starved", "blocked"]) -> Iterator[None]:
    """Charge the block to the waits of the current thread: inside a stage, it is no work of that stage."""
    began = time.perf_counter()
    try:
        yield
    finally:
        setattr(_waits, kind, getattr(_waits, kind) + time.perf_counter() - began)
