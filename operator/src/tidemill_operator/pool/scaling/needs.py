"""How many workers the work of this moment needs, and that of starts that are near. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from tidemill_operator.pool.scaling.signals import History, Reason, ScalingSpec, Signals

MARGIN: Final = timedelta(seconds=5)
"""Added to what pods took: between two looks, and for the way of a decision to the cluster."""
LONGEST: Final = timedelta(minutes=10)
"""Nobody is warmed up for longer, however slow pods were."""
LATE: Final = timedelta(minutes=2)
"""A start that is still listed so long after its time isn't waited for any more."""
YOUNG: Final = timedelta(seconds=1)
"""Tasks that wait for less are on their way to a free slot, if there is one."""
UNTAKEN: Final = timedelta(seconds=10)
"""A worker that is idle for so long while tasks wait doesn't take them. Temporal's figures are up to 5 s old."""
STUCK_AFTER: Final = timedelta(seconds=30)
"""Where workers aren't listed: so long after added workers poll, tasks should be taken."""


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
    busy = sum(worker.used for worker in signals.workers or ())
    stuck = is_stuck(signals, history, now)
    waiting = 0 if stuck else _waiting(signals, history, now)
    past, coming = _due(spec, signals, history, now)
    if signals.workers is None and waiting and _helped(history, now):
        busy = signals.replicas * spec.slots  # nobody says so, but tasks wait
    carried = _holding(spec, busy, waiting)
    # A start whose time has come may show as slots in use already: it isn't counted twice.
    base = max(carried, ceil(past / spec.slots))
    total = max(base, _holding(spec, busy + coming, waiting)) if coming else base
    reason: Reason = "Stuck" if stuck else "Backlog" if waiting else "Working" if busy else "Idle"
    if total > carried:
        reason = "ScheduledStart"
    if total == 0 and stuck:
        total = 1
    if total == 0 and (signals.open_runs or (signals.open_runs is None and signals.replicas)):
        total, reason = 1, "RunsOpen"  # or may be
    return Need(total, reason, total - carried if past or coming else 0, busy, waiting, past + coming)


def is_stuck(signals: Signals, history: History, now: datetime) -> bool:
    """Whether tasks wait that more workers wouldn't take sooner."""
    backlog = signals.backlog
    if backlog is None or not backlog.count or backlog.age < UNTAKEN:
        return False
    if signals.workers is not None:
        return any(now - idle.since >= UNTAKEN for idle in history.idle)
    added = history.grew is not None and signals.replicas > 0
    return added and _helped(history, now) and backlog.dispatch_rate == 0


def _helped(history: History, now: datetime) -> bool:
    """Whether workers that were added have had the time to help."""
    return history.grew is None or now - history.grew >= (warm_up(history) or timedelta()) + STUCK_AFTER


def taken(signals: Signals) -> int:
    """Tasks that the workers have taken since they began."""
    return sum(worker.used + worker.processed for worker in signals.workers or ())


def _waiting(signals: Signals, history: History, now: datetime) -> int:
    """Tasks for which slots are missing."""
    backlog, workers = signals.backlog, signals.workers or ()
    if backlog is None:
        return 0
    waiting = backlog.count - max(0, taken(signals) - history.taken)
    if history.untaken is not None and now - backlog.age <= history.untaken[0]:
        waiting -= history.untaken[1]
    # Free slots that a heartbeat showed may have been taken since, unless the tasks have only just come.
    on_their_way = backlog.age < YOUNG and sum(worker.free for worker in workers) >= waiting
    return 0 if on_their_way else max(0, waiting)


def _holding(spec: ScalingSpec, busy: int, waiting: int) -> int:
    """Workers for tasks in slots and tasks that wait: never more than have slots for all of them."""
    return min(ceil((busy + waiting) / spec.slots), ceil(busy / spec.slots) + ceil(waiting / spec.target_backlog))


def wake(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> datetime | None:
    """When the next start that isn't near yet will be near."""
    before = _sooner(spec, signals, history, now)
    times = (due.at - signals.ahead - before for due in signals.due) if before else ()
    return min((at for at in times if at > now), default=None)


def _due(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> tuple[int, int]:
    """Chunks of the starts whose time has come and of those that are near."""
    before = _sooner(spec, signals, history, now)
    if not before:
        return 0, 0
    return _chunks(signals, now - LATE, now), _chunks(signals, now, now + before)


def _sooner(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> timedelta:
    """The lead, and where scale-up is limited so much more as its first steps take."""
    ahead = lead(spec, history)
    chunks = _chunks(signals, now, now + 2 * ahead)
    replicas, wanted, steps = signals.replicas, min(ceil(chunks / spec.slots), spec.max_replicas), 0
    while ahead and replicas < wanted:
        replicas += max(spec.scale_up_pods, replicas * spec.scale_up_percent // 100)
        steps += 1
    return ahead + max(steps - 1, 0) * spec.scale_up_period


def _chunks(signals: Signals, after: datetime, until: datetime) -> int:
    """Chunks of the starts in a span of the operator's clock."""
    return sum(max(due.chunks or 1, 1) for due in signals.due if after < due.at - signals.ahead <= until)
