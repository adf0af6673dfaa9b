"""The key queue: one place per key, classes, fairness, delays; all by an injected clock."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tephra.plan.base import Key
from tephra.reconcile.queue import Backoff, KeyQueue, Priority
from tests.support import virtual_time


def key(name: str, namespace: str = "a") -> Key:
    return Key("VSilo", namespace, name)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> KeyQueue:
    return KeyQueue(clock, Backoff(first=1.0, cap=8.0))


def names(queue: KeyQueue) -> list[str]:
    """Take and finish everything that is ready."""
    found = []
    while taken := queue.pop():
        found.append(taken.key.name)
        queue.done(taken.key)
    return found


def test_a_key_waits_once(queue: KeyQueue) -> None:
    for _ in range(5):
        queue.add(key("x"), Priority.EDIT)
    assert names(queue) == ["x"]


def test_classes_come_in_order(queue: KeyQueue) -> None:
    for name, priority in [("r", Priority.RESYNC), ("d", Priority.DATA), ("e", Priority.EDIT)]:
        queue.add(key(name), priority)
    queue.add(key("gone"), Priority.DELETE)
    assert names(queue) == ["gone", "e", "d", "r"]


def test_a_better_class_moves_a_waiting_key_forward_and_a_worse_does_not_move_it_back(queue: KeyQueue) -> None:
    queue.add(key("x"), Priority.RESYNC)
    queue.add(key("y"), Priority.EDIT)
    queue.add(key("x"), Priority.DELETE)
    queue.add(key("x"), Priority.RESYNC)
    assert names(queue) == ["x", "y"]


def test_moving_forward_keeps_the_time_it_waited(queue: KeyQueue, clock: Clock) -> None:
    queue.add(key("x"), Priority.RESYNC)
    clock.now = 5.0
    queue.add(key("x"), Priority.EDIT)
    taken = queue.pop()
    assert taken is not None
    assert (taken.priority, taken.waited) == (Priority.EDIT, 5.0)


def test_namespaces_take_turns(queue: KeyQueue) -> None:
    for number in range(1000):
        queue.add(key(f"big{number}", "big"), Priority.EDIT)
    queue.add(key("small", "small"), Priority.EDIT)
    assert names(queue)[:3] == ["big0", "small", "big1"]


def test_a_held_key_is_not_given_twice_and_comes_back_when_added_meanwhile(queue: KeyQueue) -> None:
    queue.add(key("x"), Priority.DATA)
    first = queue.pop()
    queue.add(key("x"), Priority.RESYNC)
    queue.add(key("x"), Priority.EDIT)
    assert first is not None
    assert queue.pop() is None
    queue.done(first.key)
    again = queue.pop()
    assert again is not None
    assert again.priority is Priority.EDIT


def test_a_delayed_key_is_due_by_the_clock_and_the_earliest_delay_holds(queue: KeyQueue, clock: Clock) -> None:
    queue.add_after(key("x"), 10.0)
    queue.add_after(key("x"), 4.0)
    queue.add_after(key("x"), 7.0)
    clock.now = 3.9
    assert names(queue) == []
    clock.now = 4.0
    assert names(queue) == ["x"]
    clock.now = 20.0
    assert names(queue) == []
    assert queue.next_due() is None


def test_news_come_before_a_delay_and_end_it(queue: KeyQueue, clock: Clock) -> None:
    queue.add_after(key("x"), 10.0)
    queue.add(key("x"), Priority.EDIT)
    assert names(queue) == ["x"]
    clock.now = 10.0
    assert names(queue) == []


def test_backoff_grows_to_a_bound_and_starts_over_after_a_success(queue: KeyQueue) -> None:
    delays = [queue.retry(key("x")) for _ in range(6)]
    for delay, expected in zip(delays, [1, 2, 4, 8, 8, 8], strict=True):
        assert expected * 0.75 <= delay <= expected * 1.25
    queue.forget(key("x"))
    assert queue.retry(key("x")) <= 1.25


def test_getting_waits_for_what_is_added_or_due() -> None:
    async def scenario() -> list[tuple[str, float]]:
        loop = asyncio.get_running_loop()
        queue = KeyQueue(loop.time)
        queue.add_after(key("late"), 5.0)
        loop.call_later(2.0, queue.add, key("soon"), Priority.EDIT)
        found = []
        for _ in range(2):
            taken = await queue.get()
            found.append((taken.key.name, round(loop.time(), 3)))
        return found

    assert virtual_time.run(scenario()) == [("soon", 2.0), ("late", 5.0)]


def test_no_wake_up_is_lost_when_the_woken_worker_is_cancelled() -> None:
    async def scenario() -> str:
        queue = KeyQueue(asyncio.get_running_loop().time)
        first, second = asyncio.create_task(queue.get()), asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        queue.add(key("x"), Priority.EDIT)
        first.cancel()
        return (await second).key.name

    assert virtual_time.run(scenario()) == "x"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.sampled_from(Priority)), max_size=60))
def test_every_added_key_comes_out_exactly_once_best_class_first(
    adds: list[tuple[int, int, Priority]],
) -> None:
    queue = KeyQueue(lambda: 0.0)
    best: dict[Key, Priority] = {}
    for number, namespace, priority in adds:
        item = key(str(number), str(namespace))
        queue.add(item, priority)
        best[item] = min(best.get(item, priority), priority)
    taken = []
    while (each := queue.pop()) is not None:
        taken.append(each)
    assert {each.key: each.priority for each in taken} == best
    assert len(taken) == len(best)
    assert [each.priority for each in taken] == sorted(each.priority for each in taken)
