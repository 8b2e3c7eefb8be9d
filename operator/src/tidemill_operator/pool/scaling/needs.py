"""How many workers the work of this moment needs, and that of starts that are near. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from tidemill_operator.pool.scaling.signals import Backlog, History, Reason, ScalingSpec, Signals, WorkerSeen

MARGIN: Final = timedelta(seconds=5)
"""Added to what pods took: between two looks, and for the way of a decision to the cluster."""
LONGEST: Final = timedelta(minutes=10)
"""Nobody is warmed up for longer, however slow pods were."""
LATE: Final = timedelta(minutes=2)
"""A start that is still listed so long after its time isn't waited for any more."""
YOUNG: Final = timedelta(seconds=1)
"""Tasks that wait for less are on their way to a free slot, if there is one."""
STUCK_AFTER: Final = timedelta(seconds=30)
_UNTAKEN: Final = 0.25
"""So large a share of slots is free, seen after the oldest task came: then it isn't for want of slots that it waits."""


@dataclass(frozen=True, slots=True)
class Need:
    """How many workers are needed, within no bounds."""

    workers: int
    reason: Reason
    due: int
    """Of them for starts that are near."""
    busy: int
    """Slots in use."""
    waiting: int
    """Tasks that wait for slots."""
    chunks: int
    """Chunks expected of starts that are near."""


def lead(spec: ScalingSpec, history: History) -> timedelta:
    """How long before a start its workers are asked for; zero: they aren't."""
    if not spec.prewarm:
        return timedelta()
    learned = warm_up(history)
    return spec.prewarm if learned is None else min(max(spec.prewarm, learned + MARGIN), max(LONGEST, spec.prewarm))


def warm_up(history: History) -> timedelta | None:
    """What nine of ten pods didn't exceed; None if none was seen yet."""
    samples = sorted(history.warm_ups)
    return samples[ceil(0.9 * len(samples)) - 1] if samples else None


def need_of(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> Need:
    """What work, open runs and near starts take together."""
    workers = signals.workers or ()
    busy = sum(worker.used for worker in workers)
    stuck = signals.backlog is not None and is_stuck(signals, signals.backlog, history, now)
    waiting = 0 if signals.backlog is None or stuck else _waiting(workers, signals.backlog, now)
    past, coming = _due(spec, signals, history, now)
    if signals.workers is None and signals.backlog is not None and waiting:
        busy = signals.replicas * spec.slots  # nobody says so, but tasks wait
    carried = ceil(busy / spec.slots) + ceil(waiting / spec.target_backlog)
    # A start whose time has come may show as slots in use already: it isn't counted twice.
    base = max(carried, ceil(past / spec.slots))
    total = max(base, ceil((busy + coming) / spec.slots) + ceil(waiting / spec.target_backlog)) if coming else base
    reason: Reason = "Backlog" if waiting else "Working" if busy else "Idle"
    if total > carried:
        reason = "ScheduledStart"
    if stuck:
        total, reason = max(total, 1), "Stuck"
    if total == 0 and signals.open_runs:
        total, reason = 1, "RunsOpen"
    return Need(total, reason, total - carried if past or coming else 0, busy, waiting, past + coming)


def is_stuck(signals: Signals, backlog: Backlog, history: History, now: datetime) -> bool:
    """Whether tasks wait that no more workers would take sooner."""
    if not backlog.count or backlog.age < STUCK_AFTER:
        return False
    if signals.workers is not None:
        return _untaken(signals.workers, now - backlog.age + YOUNG)
    took = warm_up(history) or timedelta()
    grown = history.grew is not None and now - history.grew >= took + STUCK_AFTER
    return grown and signals.replicas > 0 and backlog.dispatch_rate == 0


def _waiting(workers: Sequence[WorkerSeen], backlog: Backlog, now: datetime) -> int:
    """Tasks for which slots are missing. Free slots that a heartbeat showed may have been taken since."""
    free = sum(worker.free for worker in workers)
    if backlog.age < YOUNG and free >= backlog.count:
        return 0
    return 0 if _untaken(workers, now - backlog.age + YOUNG) else backlog.count


def _untaken(workers: Sequence[WorkerSeen], since: datetime) -> bool:
    """Whether many slots were free when the oldest task waited already."""
    free = sum(worker.free for worker in workers if worker.heard >= since)
    return free > 0 and free >= _UNTAKEN * sum(worker.used + worker.free for worker in workers)


def _due(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> tuple[int, int]:
    """Chunks of the starts whose time has come and of those that come within the lead."""
    ahead = lead(spec, history)
    if not ahead:
        return 0, 0
    times = [(due.at - signals.ahead, max(due.chunks or 1, 1)) for due in signals.due]
    past = sum(chunks for at, chunks in times if now - LATE <= at <= now)
    coming = sum(chunks for at, chunks in times if now < at <= now + ahead)
    # Where scale-up is limited, the first of several steps begins so much earlier.
    steps = _steps(spec, signals.replicas, sum(chunks for at, chunks in times if now < at <= now + 2 * ahead))
    sooner = ahead + max(steps - 1, 0) * spec.scale_up_period
    coming = sum(chunks for at, chunks in times if now < at <= now + sooner) if steps > 1 else coming
    return past, coming


def _steps(spec: ScalingSpec, replicas: int, chunks: int) -> int:
    """In how many steps the workers for so many chunks are added."""
    wanted, steps = min(ceil(chunks / spec.slots), spec.max_replicas), 0
    while replicas < wanted and steps < 20:
        replicas += max(spec.scale_up_pods, replicas * spec.scale_up_percent // 100)
        steps += 1
    return steps
