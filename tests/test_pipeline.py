"""The pipeline: order, bounds, and errors in every stage."""

import threading
import time

import pytest

from fashionseg.pipeline import Channel, ChannelClosed, Pipeline


def test_stages_keep_order_and_items():
    with Pipeline() as pipeline:
        numbers = pipeline.stage("numbers", iter(range(200)))
        squares = pipeline.map("squares", lambda n: n * n, numbers, workers=4)
        assert list(pipeline.stage("last", squares)) == [n * n for n in range(200)]


def test_order_is_kept_when_workers_finish_out_of_order():
    def slow_when_even(n):
        time.sleep(0.004 if n % 2 == 0 else 0)
        return n

    with Pipeline() as pipeline:
        assert list(pipeline.map("work", slow_when_even, range(40), workers=4)) == list(range(40))


def test_empty_input_ends():
    with Pipeline() as pipeline:
        assert list(pipeline.map("work", str, pipeline.stage("none", iter(())), workers=3)) == []


def test_memory_is_bounded_by_the_channels():
    produced = []

    def produce():
        for n in range(1000):
            produced.append(n)
            yield n

    with Pipeline(capacity=2) as pipeline:
        items = pipeline.map("work", lambda n: n, pipeline.stage("produce", produce()), workers=2, capacity=2)
        assert next(items) == 0
        time.sleep(0.1)
        assert len(produced) < 15, f"{len(produced)} items were made while one was consumed"


@pytest.mark.parametrize("stage", ["first", "map", "map-many", "last"])
def test_an_exception_in_any_stage_reaches_the_consumer(stage):
    def fail_at(name, n):
        if name == stage and n == 20:
            raise RuntimeError(f"{name} failed")
        return n

    def generate(name, items):
        for n in items:
            yield fail_at(name, n)

    seen = []
    with pytest.raises(RuntimeError, match=f"{stage} failed"), Pipeline() as pipeline:
        items = pipeline.stage("first", generate("first", range(100)))
        items = pipeline.map("map", lambda n: fail_at("map", n), items, workers=1)
        items = pipeline.map("map-many", lambda n: fail_at("map-many", n), items, workers=3)
        for n in pipeline.stage("last", generate("last", items)):
            seen.append(n)  # noqa: PERF402 - what was seen before the failure is kept
    assert seen == list(range(20)), "what came before the failure is delivered"
    assert not _our_threads()


def test_a_failing_consumer_ends_all_threads():
    closed = threading.Event()

    def produce():
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with pytest.raises(ValueError, match="consumer"), Pipeline() as pipeline:
        for _ in pipeline.map("work", str, pipeline.stage("produce", produce()), workers=2):
            raise ValueError("consumer")
    assert closed.is_set(), "the generator's own clean-up ran"
    assert not _our_threads()


def test_leaving_early_ends_all_threads():
    with Pipeline() as pipeline:
        items = pipeline.stage("produce", iter(range(10**9)))
        assert next(items) == 0
    assert not _our_threads()


def test_clocks_tell_who_is_the_limit():
    def slow(n):
        time.sleep(0.005 if n else 0.4)  # the others are at their waiting by then, however busy the machine is
        return n

    with Pipeline() as pipeline:
        items = pipeline.map("slow", slow, pipeline.stage("fast", iter(range(30))), workers=1)
        for _ in pipeline.last("write", items):
            time.sleep(0.001)
    fast, slow_clock, write = pipeline.clocks
    assert write.items == 30
    assert write.starved > 0.08 and write.busy > 0.03, (write.starved, write.busy)
    assert slow_clock.items == fast.items == 30
    assert slow_clock.busy > 0.5
    assert fast.blocked > fast.busy, "the fast stage waits for the slow one"


def test_channel_delivers_what_is_inside_before_its_error():
    channel: Channel[int] = Channel(3)
    channel.put(1)
    channel.end(OSError("boom"))
    channel.end()  # a later end does not hide the error
    assert channel.get() == 1
    with pytest.raises(OSError, match="boom"):
        channel.get()


def test_a_closed_channel_refuses_both_sides():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    channel.close()
    with pytest.raises(ChannelClosed):
        channel.put(2)
    with pytest.raises(ChannelClosed):
        channel.get()


def _our_threads():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fashionseg-")]


def test_a_budget_bounds_what_is_under_way():
    weights = [3, 5, 40, 1, 1, 1, 12, 9, 2, 30]
    most, used = [0], [0]

    def produce(budget):
        for weight in weights:
            budget.take(weight)
            used[0] += weight
            most[0] = max(most[0], used[0])
            yield weight

    with Pipeline() as pipeline:
        budget = pipeline.budget(10)
        seen = []
        for weight in pipeline.map("work", lambda n: n, pipeline.stage("produce", produce(budget)), workers=3):
            time.sleep(0.002)
            seen.append(weight)
            used[0] -= weight
            budget.give_back(weight)
    assert seen == weights, "also what is larger than the budget passes"
    assert most[0] < 10 + max(weights), most


def test_whoever_waits_for_a_budget_is_let_go_at_the_end():
    with pytest.raises(ValueError, match="consumer"), Pipeline() as pipeline:
        budget = pipeline.budget(1)

        def produce():
            while True:
                budget.take(1)
                yield 1

        for _ in pipeline.stage("produce", produce()):
            raise ValueError("consumer")
    assert not _our_threads()


def test_a_task_runs_beside_the_stages_and_its_error_is_raised_where_it_is_wanted():
    wanted = threading.Event()

    def load():
        wanted.wait(60)
        return threading.current_thread().name

    def fail():
        raise OSError("boom")

    with Pipeline() as pipeline:
        task = pipeline.task("load", load)
        assert not task.done()
        wanted.set()
        assert set(pipeline.map("work", lambda n: task.result(), range(5), workers=2)) == {"fashionseg-load"}
    with pytest.raises(OSError, match="boom"), Pipeline() as pipeline:
        task = pipeline.task("load", fail)
        list(pipeline.map("work", lambda n: task.result(), range(5), workers=2))
    assert not _our_threads()


def test_ctrl_c_does_not_wait_for_native_code():
    began = time.monotonic()
    release = threading.Event()

    def busy(n):
        release.wait(30)
        return n

    with pytest.raises(KeyboardInterrupt), Pipeline() as pipeline:
        pipeline.map("busy", busy, pipeline.stage("produce", iter(range(9))), workers=3)
        raise KeyboardInterrupt
    assert time.monotonic() - began < 10
    release.set()
    while _our_threads():
        time.sleep(0.01)
