"""A deduplicating work queue. The bookkeeping is pure (time is an argument); `serve` runs it.

A key is worked on once at a time. Added while it is being worked on, it runs once more afterwards, however often it
was added. A key that failed comes back after a wait that doubles, with jitter, and is forgotten when it succeeds.
"""

from __future__ import annotations

import asyncio
import heapq
import random
import time
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds of the first and of the longest wait; each is twice the one before, plus up to `jitter` of it."""

    first: float = 0.5
    longest: float = 120.0
    jitter: float = 0.2

    def wait(self, failures: int, chance: float) -> float:
        """Seconds to wait after so many failures in a row (1 or more); `chance` is in [0, 1)."""
        return min(self.longest, self.first * 2.0 ** min(failures - 1, 30)) * (1 + self.jitter * chance)


class WorkQueue(Generic[K]):
    """Which key is next, and when. Decides by no clock, has no tasks: `now` (seconds, monotonic) is an argument."""

    def __init__(
        self,
        backoff: Backoff = Backoff(),
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`clock` notes when keys arrive, for `oldest`; nothing is decided by it."""
        self._backoff = backoff
        self._chance = chance
        self._clock = clock
        self._ready: dict[K, float] = {}  # in order of arrival, with its time
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []  # holds outdated entries, which _due tells apart
        self._counter = 0
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}

    def __len__(self) -> int:
        return len(self._ready)

    @property
    def active(self) -> int:
        """How many keys are being worked on."""
        return len(self._active)

    @property
    def waiting(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    def oldest(self) -> float:
        """Seconds for which the first key has been ready; 0 if none is. May be asked by another thread."""
        arrived = next(iter(self._ready.copy().values()), None)
        return max(0.0, self._clock() - arrived) if arrived is not None else 0.0

    def add(self, key: K) -> None:
        """Work on it as soon as possible."""
        self._due.pop(key, None)
        if key in self._active:
            self._again.add(key)
        else:
            self._ready.setdefault(key, self._clock())

    def add_after(self, key: K, delay: float, now: float) -> None:
        """Work on it after `delay` seconds, or sooner if something else asks for it sooner."""
        if delay <= 0:
            self.add(key)
            return
        due = now + delay
        if key in self._ready or key in self._again or self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        self._counter += 1
        heapq.heappush(self._heap, (due, self._counter, key))

    def take(self, now: float) -> K | None:
        """The next key that is due; it counts as being worked on until `done` or `failed`. None: nothing is due."""
        self._ripen(now)
        if not self._ready:
            return None
        key = next(iter(self._ready))
        del self._ready[key]
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """It was worked on well: its failures are forgotten."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: K, now: float) -> float:
        """It must be tried again. Returns the seconds until then (added in the meantime, it is tried at once)."""
        failures = self._failures.get(key, 0) + 1
        self._failures[key] = failures
        wait = self._backoff.wait(failures, self._chance())
        self._release(key)
        self.add_after(key, wait, now)
        return wait

    def next_due(self) -> float | None:
        """When the next waiting key is due; None if none waits."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def _release(self, key: K) -> None:
        self._active.remove(key)
        if key in self._again:
            self._again.remove(key)
            self._ready.setdefault(key, self._clock())

    def _ripen(self, now: float) -> None:
        while (due := self.next_due()) is not None and due <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            if key in self._active:
                self._again.add(key)
            else:
                self._ready.setdefault(key, self._clock())


class Queue(Generic[K]):
    """The work queue on the event loop: wakes its server when something is added."""

    def __init__(self, work: WorkQueue[K] | None = None) -> None:
        self.work: WorkQueue[K] = work if work is not None else WorkQueue()
        self._wake = asyncio.Event()

    def add(self, key: K) -> None:
        """Work on it as soon as possible."""
        self.work.add(key)
        self._wake.set()

    def add_after(self, key: K, delay: float) -> None:
        """Work on it after `delay` seconds at the latest."""
        self.work.add_after(key, delay, _now())
        self._wake.set()

    async def serve(self, handle: Callable[[K], Awaitable[bool]], concurrency: int) -> None:
        """Work on keys until cancelled, at most `concurrency` at once; being cancelled, it waits for what it cancels.

        Args:
            handle: Works on a key; False means that it failed and must be tried again. It raises nothing.
            concurrency: Most keys at once.
        """
        tasks: set[asyncio.Task[None]] = set()

        def ended(task: asyncio.Task[None]) -> None:
            tasks.discard(task)
            self._wake.set()  # only now is there room for another

        try:
            while True:
                self._wake.clear()
                while len(tasks) < concurrency and (key := self.work.take(_now())) is not None:
                    task = asyncio.create_task(self._work_on(key, handle))
                    tasks.add(task)
                    task.add_done_callback(ended)
                due = self.work.next_due() if len(tasks) < concurrency else None
                await self._woken(None if due is None else max(0.0, due - _now()))
        finally:
            for task in tuple(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _woken(self, seconds: float | None) -> None:
        timer = asyncio.get_running_loop().call_later(seconds, self._wake.set) if seconds is not None else None
        try:
            await self._wake.wait()
        finally:
            if timer is not None:
                timer.cancel()

    async def _work_on(self, key: K, handle: Callable[[K], Awaitable[bool]]) -> None:
        try:
            good = await handle(key)
        except BaseException:  # cancelled: whoever leads next starts with all keys
            self.work.done(key)
            raise
        if good:
            self.work.done(key)
        else:
            self.work.failed(key, _now())


def _now() -> float:
    return asyncio.get_running_loop().time()
