"""Work spread over processes, results in order, memory bounded.

Workers are spawned, not forked: that works on every system and beside threads. Knows nothing about the work.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TYPE_CHECKING, TypeVar

from fashionseg.errors import FashionsegError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD = 4
"""Jobs handed out per process beyond the one it works on."""


def ordered_map(function: Callable[[Job], Result], jobs: Iterable[Job], processes: int) -> Iterator[Result]:
    """`map` over processes: results in the order of jobs, at most a few jobs ahead of the consumer.

    Args:
        function: top-level function of an importable module.
        jobs: taken one by one as room appears.
        processes: 1 works in this process.

    Raises:
        FashionsegError: a worker was killed, such as for want of memory. What `function` raises is raised here too.
    """
    if processes <= 1:
        yield from map(function, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_start_worker) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) >= processes * (AHEAD + 1):
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise FashionsegError(
                "a worker process was killed, perhaps for want of memory; use fewer processes"
            ) from None
        finally:
            for future in waiting:
                future.cancel()


def _start_worker() -> None:
    """One thread in each worker: the processes are the parallelism."""
    import signal

    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
