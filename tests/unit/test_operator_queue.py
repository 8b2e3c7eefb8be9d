"""The work queue: tables of what is due when, and a model that any sequence of calls must agree with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tidemill_operator.queue import Backoff, Queue, WorkQueue

Script = Callable[[WorkQueue[str]], list[str | None]]


def _drain(work: WorkQueue[str], now: float) -> list[str]:
    taken: list[str] = []
    while (key := work.take(now)) is not None:
        taken.append(key)
    return taken


def _added_twice(work: WorkQueue[str]) -> list[str]:
    work.add("a")
    work.add("b")
    work.add("a")
    return _drain(work, 0)


def _later_is_not_now(work: WorkQueue[str]) -> list[str]:
    work.add_after("a", 5, now=0)
    return [*_drain(work, 4.9), "|", *_drain(work, 5)]


def _sooner_wins(work: WorkQueue[str]) -> list[str]:
    work.add_after("a", 50, now=0)
    work.add_after("a", 5, now=0)
    work.add_after("a", 20, now=0)
    taken = _drain(work, 5)
    work.done("a")
    return [*taken, "|", *_drain(work, 1000)]


def _now_beats_later(work: WorkQueue[str]) -> list[str]:
    work.add_after("a", 5, now=0)
    work.add("a")
    taken = _drain(work, 0)
    work.done("a")
    return [*taken, "|", *_drain(work, 100)]


def _added_while_active(work: WorkQueue[str]) -> list[str]:
    work.add("a")
    work.take(0)
    work.add("a")
    work.add("a")
    nothing = _drain(work, 0)
    work.done("a")
    first = _drain(work, 0)
    work.done("a")
    return [*nothing, "|", *first, "|", *_drain(work, 100)]


def _due_while_active(work: WorkQueue[str]) -> list[str]:
    work.add("a")
    work.take(0)
    work.add_after("a", 1, now=0)
    nothing = _drain(work, 2)
    work.done("a")
    return [*nothing, "|", *_drain(work, 2)]


def _failed_comes_back(work: WorkQueue[str]) -> list[str]:
    work.add("a")
    work.take(0)
    wait = work.failed("a", now=10)
    return [*_drain(work, 10 + wait - 0.01), "|", *_drain(work, 10 + wait)]


def _failed_but_added(work: WorkQueue[str]) -> list[str]:
    work.add("a")
    work.take(0)
    work.add("a")
    work.failed("a", now=0)
    return _drain(work, 0)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        (_added_twice, ["a", "b"]),
        (_later_is_not_now, ["|", "a"]),
        (_sooner_wins, ["a", "|"]),
        (_now_beats_later, ["a", "|"]),
        (_added_while_active, ["|", "a", "|"]),
        (_due_while_active, ["|", "a"]),
        (_failed_comes_back, ["|", "a"]),
        (_failed_but_added, ["a"]),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "",
)
def test_what_is_due(script: Script, expected: list[str]) -> None:
    assert script(WorkQueue()) == expected


@pytest.mark.parametrize(
    ("failures", "chance", "expected"),
    [(1, 0.0, 1), (2, 0.0, 2), (4, 0.0, 8), (20, 0.0, 60), (1000, 0.0, 60), (2, 1.0, 3)],
)
def test_waits_double_up_to_a_bound(failures: int, chance: float, expected: float) -> None:
    assert Backoff(first=1, longest=60, jitter=0.5).wait(failures, chance) == pytest.approx(expected)


def test_success_forgets_failures() -> None:
    work: WorkQueue[str] = WorkQueue(Backoff(first=1, jitter=0))
    waits = []
    now = 0.0
    for good in (False, False, True, False):
        work.add("a")
        assert work.take(now) == "a"
        if good:
            work.done("a")
        else:
            waits.append(work.failed("a", now))
    assert waits == [1, 2, 1]


class QueueAgainstModel(RuleBasedStateMachine):
    """The model keeps for each key when it is wanted; a key is taken exactly if it is wanted and not active."""

    keys = st.sampled_from("abcd")

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.work: WorkQueue[str] = WorkQueue(Backoff(first=1, jitter=0), chance=lambda: 0.0)
        self.wanted: dict[str, float] = {}
        self.active: set[str] = set()
        self.failures: dict[str, int] = {}

    @rule(key=keys)
    def add(self, key: str) -> None:
        self.work.add(key)
        self.wanted[key] = self.now

    @rule(key=keys, delay=st.integers(1, 9))
    def add_after(self, key: str, delay: int) -> None:
        self.work.add_after(key, delay, self.now)
        self.wanted[key] = min(self.wanted.get(key, float("inf")), self.now + delay)

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        due = {key for key, moment in self.wanted.items() if moment <= self.now} - self.active
        taken = self.work.take(self.now)
        assert (taken in due) if due else taken is None
        if taken is not None:
            del self.wanted[taken]
            self.active.add(taken)

    @rule(key=keys, good=st.booleans())
    def finish(self, key: str, good: bool) -> None:
        if key not in self.active:
            return
        self.active.remove(key)
        if good:
            self.failures.pop(key, None)
            self.work.done(key)
            return
        self.failures[key] = self.failures.get(key, 0) + 1
        wait = self.work.failed(key, self.now)
        assert wait == min(120.0, 2.0 ** (self.failures[key] - 1))
        self.wanted[key] = min(self.wanted.get(key, float("inf")), self.now + wait)

    @invariant()
    def nothing_is_lost(self) -> None:
        assert self.work.active == len(self.active)
        due = self.work.next_due()
        later = [moment for key, moment in self.wanted.items() if moment > self.now]
        assert not later or (due is not None and due <= min(later))


TestQueueAgainstModel = QueueAgainstModel.TestCase


@given(keys=st.lists(st.sampled_from("abcdef"), max_size=30), concurrency=st.integers(1, 4))
def test_each_key_alone_and_never_too_many(keys: list[str], concurrency: int) -> None:
    async def scenario() -> None:
        queue: Queue[str] = Queue()
        active: set[str] = set()
        seen: set[str] = set()
        finished = asyncio.Event()

        async def handle(key: str) -> bool:
            assert key not in active
            active.add(key)
            assert len(active) <= concurrency
            await asyncio.sleep(0)
            active.remove(key)
            seen.add(key)
            if seen >= {*keys, "last"}:
                finished.set()
            return True

        serving = asyncio.create_task(queue.serve(handle, concurrency))
        for key in keys:
            queue.add(key)
        queue.add("last")
        await asyncio.wait_for(finished.wait(), 5)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    asyncio.run(scenario())


async def test_serving_retries_what_failed_and_cancels_what_runs() -> None:
    queue: Queue[str] = Queue(WorkQueue(Backoff(first=0.01, jitter=0)))
    attempts = 0
    hanging = asyncio.Event()
    ended: list[str] = []

    async def handle(key: str) -> bool:
        nonlocal attempts
        if key == "hangs":
            hanging.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(key)
        attempts += 1
        if attempts == 3:
            queue.add_after("hangs", 0.01)
        return attempts >= 3

    serving = asyncio.create_task(queue.serve(handle, 2))
    queue.add("a")
    await asyncio.wait_for(hanging.wait(), 5)
    assert attempts == 3
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    assert ended == ["hangs"]
    assert queue.work.active == 0
