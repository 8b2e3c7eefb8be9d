"""What pools have to do: runs with their chunks, generated from seeds, or recorded."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

MINUTE: Final = 60.0
HOUR: Final = 3600.0
PLAN: Final = 0.2
"""Seconds that a run needs to plan its chunks, in an activity of its own."""
_RECORDED: Final = Path(__file__).parents[2] / "golden" / "histories"


@dataclass(frozen=True, slots=True)
class Run:
    """A run: it plans, then has up to `parallel` chunks in flight. Times in seconds of the simulation."""

    at: float
    pipeline: str
    chunks: tuple[float, ...]
    """Seconds that each takes."""
    parallel: int = 8
    scheduled: bool = False
    """Its start was known beforehand."""


@dataclass(frozen=True, slots=True)
class Load:
    """All that happens to a pool."""

    name: str
    runs: tuple[Run, ...]
    until: float
    warm_up: tuple[float, float] = (6.0, 12.0)
    """A pod polls between so many seconds after it was asked for."""
    stuck: tuple[tuple[float, float, int], ...] = ()
    """From when to when how many tasks wait that nobody takes."""
    silent: tuple[tuple[float, float], ...] = ()
    """From when to when Temporal doesn't answer those who scale; workers work on."""


def bursts(seed: int = 1, hours: float = 3) -> Load:
    """Now and then, unforeseen, a run of many chunks."""
    chance = random.Random(seed)
    runs, at = [], 5 * MINUTE
    while at < (hours - 0.5) * HOUR:
        runs.append(Run(at, "burst", _seconds(chance, chance.randint(60, 200), 4, 20), parallel=80))
        at += chance.uniform(12, 40) * MINUTE
    return Load("bursts", tuple(runs), hours * HOUR)


def waves(seed: int = 2, hours: float = 4) -> Load:
    """A day in `hours`: runs come by chance, many at noon, hardly any at night."""
    chance = random.Random(seed)
    runs, at = [], 0.0
    while at < (hours - 0.5) * HOUR:
        share = (1 - math.cos(2 * math.pi * at / (hours * HOUR))) / 2
        at += chance.expovariate((0.1 + 10 * share**2) / MINUTE)
        runs.append(Run(at, "wave", _seconds(chance, chance.randint(4, 20), 5, 50), parallel=16))
    return Load("waves", tuple(runs), hours * HOUR)


def long_tasks(seed: int = 3, hours: float = 4) -> Load:
    """Chunks of many minutes: whoever looks at what waits sees nothing to do."""
    chance = random.Random(seed)
    runs = [
        Run(at * MINUTE, "long", _seconds(chance, chance.randint(20, 40), 5 * MINUTE, 25 * MINUTE), parallel=40)
        for at in (5, 65, 125)
    ]
    return Load("long tasks", tuple(runs), hours * HOUR)


def stuck_tasks(seed: int = 4, hours: float = 2) -> Load:
    """An hour of tasks that no worker takes, beside ordinary work."""
    chance = random.Random(seed)
    runs = [Run(at * MINUTE, "some", _seconds(chance, 8, 3, 10)) for at in range(4, 100, 8)]
    return Load("stuck tasks", tuple(runs), hours * HOUR, stuck=((10 * MINUTE, 70 * MINUTE, 40),))


def slow_start(seed: int = 5, hours: float = 2) -> Load:
    """Runs each half hour, and pods that need over a minute to poll."""
    chance = random.Random(seed)
    runs = [
        Run(at * MINUTE, f"slow-{n}", _seconds(chance, 24, 3, 10), parallel=24, scheduled=True)
        for at in range(10, int(hours * 60) - 10, 30)
        for n in range(2)
    ]
    return Load("slow start", tuple(runs), hours * HOUR, warm_up=(55.0, 80.0))


def flapping(seed: int = 6, hours: float = 2) -> Load:
    """Much work for half a minute, little for the next, over and over: just as long as to lure workers away."""
    chance = random.Random(seed)
    runs = [Run(at, "much", _seconds(chance, 64, 20, 30), parallel=64) for at in _every(110, (hours - 0.2) * HOUR)]
    little = [Run(at, "little", _seconds(chance, 2, 10, 20)) for at in _every(20, (hours - 0.2) * HOUR)]
    return Load("flapping", tuple(sorted((*runs, *little), key=lambda run: run.at)), hours * HOUR)


def scheduled_minute(seed: int = 7, hours: float = 3, pipelines: int = 6) -> Load:
    """Several pipelines that are due in the same minute, each half hour, and nothing in between."""
    chance = random.Random(seed)
    runs = [
        Run(at, f"due-{n}", _seconds(chance, chance.randint(6, 16), 4, 12), parallel=8, scheduled=True)
        for at in _every(30 * MINUTE, (hours - 0.25) * HOUR)
        for n in range(pipelines)
    ]
    return Load("scheduled minute", tuple(runs), hours * HOUR)


def steady(seed: int = 8, hours: float = 1.5) -> Load:
    """Much the same work all the time."""
    chance = random.Random(seed)
    runs = [Run(at, "steady", _seconds(chance, 10, 20, 50), parallel=10) for at in _every(20, (hours - 0.2) * HOUR)]
    return Load("steady", tuple(runs), hours * HOUR)


def recorded(seed: int = 9, hours: float = 2) -> Load:
    """Activities of recorded runs (`tests/golden/histories`), a hundred times as long, one run after another."""
    chance = random.Random(seed)
    kept = [each for file in sorted(_RECORDED.glob("*.json")) if (each := _activities(file))]
    runs = [
        Run(at, "recorded", tuple(100 * seconds for seconds in chance.choice(kept)), parallel=4)
        for at in sorted(chance.uniform(0, (hours - 0.5) * HOUR) for _ in range(60))
    ]
    return Load("recorded", tuple(runs), hours * HOUR)


LOADS: Final[tuple[Callable[[], Load], ...]] = (
    bursts,
    waves,
    long_tasks,
    stuck_tasks,
    slow_start,
    flapping,
    scheduled_minute,
    steady,
    recorded,
)


def _seconds(chance: random.Random, chunks: int, least: float, most: float) -> tuple[float, ...]:
    return tuple(chance.uniform(least, most) for _ in range(chunks))


def _every(seconds: float, until: float) -> Iterator[float]:
    at = seconds
    while at < until:
        yield at
        at += seconds


def _activities(file: Path) -> tuple[float, ...]:
    """Seconds from the start to the end of each activity in a history."""
    begun: dict[str, datetime] = {}
    found = []
    for event in json.loads(file.read_text(encoding="utf-8"))["events"]:
        at = datetime.fromisoformat(event["eventTime"])
        if event["eventType"] == "EVENT_TYPE_ACTIVITY_TASK_STARTED":
            begun[event["eventId"]] = at
        started = event.get("activityTaskCompletedEventAttributes", {}).get("startedEventId")
        if started in begun:
            found.append((at - begun[started]).total_seconds())
    return tuple(found)
