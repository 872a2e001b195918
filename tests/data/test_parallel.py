"""Work over processes: order, bounded look-ahead, errors, killed workers, early end."""

import os
import signal
import time

import pytest

from fashionseg.data.parallel import AHEAD, ordered_map
from fashionseg.errors import DataError, FashionsegError


def slow_square(number):
    time.sleep(0.02 if number % 3 == 0 else 0)
    return number * number


def failing(number):
    if number == 5:
        raise DataError(f"photo {number} is broken")
    return number


def dying(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_errors_come_through(processes):
    assert list(ordered_map(slow_square, range(30), processes)) == [k * k for k in range(30)]
    assert list(ordered_map(slow_square, [], processes)) == []
    done = []
    with pytest.raises(DataError, match="photo 5 is broken"):
        for result in ordered_map(failing, range(20), processes):
            done.append(result)  # noqa: PERF402 - what came before the error counts
    assert done == [0, 1, 2, 3, 4]


def test_jobs_are_taken_only_a_little_ahead():
    taken = []

    def jobs():
        for number in range(1000):
            taken.append(number)
            yield number

    results = ordered_map(slow_square, jobs(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 4]
    results.close()
    assert len(taken) <= 3 + 2 * (AHEAD + 1)


def test_a_killed_worker_is_one_sentence():
    with pytest.raises(FashionsegError, match="a worker process was killed"):
        list(ordered_map(dying, range(20), 2))
