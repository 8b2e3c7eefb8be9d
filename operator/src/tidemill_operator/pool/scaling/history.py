"""What is remembered from one decision to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from tidemill_operator.pool.scaling.needs import Need, is_stuck, taken, warm_up
from tidemill_operator.pool.scaling.signals import History, Idle, ScalingSpec, Signals, WorkerSeen

GAP: Final = timedelta(seconds=60)
"""Longer without a look: what was in between isn't known."""
_SAMPLES: Final = 20
_LONGEST_WINDOW: Final = timedelta(minutes=5)
_FORGET: Final = timedelta(minutes=30)
_MOST_REGRETS: Final = 3
_REGRET: Final = timedelta(seconds=30)
"""Workers needed again so soon after they went were better kept; and within thrice what they take to start."""


def window(spec: ScalingSpec, history: History) -> timedelta:
    """The stabilization window: longer while scale-ins were regretted, up to five minutes."""
    return max(spec.stabilization, min(spec.stabilization * (1 << history.premature), _LONGEST_WINDOW))


def looked(spec: ScalingSpec, signals: Signals, before: History, now: datetime) -> History:
    """The history after a look, before the decision."""
    broken = now < before.seen or now - before.seen > GAP or signals.backlog is None
    history = replace(before, since=now, needs=(), quiet_since=None, idle=()) if broken else before
    workers = signals.workers
    if workers is not None:
        history = replace(
            history,
            idle=tuple(_idle(workers, history.idle, now)),
            warm_ups=(*history.warm_ups, *_warm_ups(workers, history.known))[-_SAMPLES:],
            known=frozenset(worker.pod for worker in workers),
        )
    if signals.backlog != history.figure:
        history = replace(history, figure=signals.backlog, taken=taken(signals))
    if workers is not None and signals.backlog is not None and is_stuck(signals, history, now):
        history = replace(history, untaken=(now, signals.backlog.count))
    starting = workers is not None and len(workers) < signals.replicas
    return _forgetting(
        replace(
            history,
            seen=now,
            ups=tuple((at, added) for at, added in history.ups if now - at < spec.scale_up_period),
            quiet_since=(history.quiet_since or now) if _is_quiet(signals, history) else None,
            starting_since=(history.starting_since or now) if starting else None,
        ),
        now,
    )


def needed(spec: ScalingSpec, history: History, need: Need, now: datetime) -> History:
    """The history with this need: one that a later need reaches says nothing more."""
    kept = [(at, workers) for at, workers in history.needs if workers > need.workers]
    first = now - window(spec, history)
    return replace(history, needs=(*((at, workers) for at, workers in kept if at > first), (now, need.workers)))


def grown(history: History, before: int, after: int, now: datetime) -> History:
    """When workers are added; if as many again are needed as went a moment ago, it wasn't worth their going."""
    history = replace(history, ups=(*history.ups, (now, after - before)), grew=now)
    if history.shrunk is None or after < history.shrunk[1]:
        return history
    if now - history.shrunk[0] <= max(_REGRET, 3 * (warm_up(history) or timedelta())):
        history = replace(history, premature=min(history.premature + 1, _MOST_REGRETS), regretted=now)
    return replace(history, shrunk=None)


def shrunk(spec: ScalingSpec, history: History, before: int, now: datetime) -> History:
    """When workers are taken away while there is work."""
    last = history.shrunk
    again = last is not None and now - last[0] <= window(spec, history)
    return replace(history, shrunk=(now, max(before, last[1]) if last is not None and again else before))


def _idle(workers: Sequence[WorkerSeen], before: tuple[Idle, ...], now: datetime) -> Iterator[Idle]:
    known = {idle.pod: idle for idle in before}
    for worker in workers:
        if worker.used == 0:
            idle = known.get(worker.pod)
            same = idle is not None and idle.processed == worker.processed
            yield idle if idle is not None and same else Idle(worker.pod, now, worker.processed)


def _warm_ups(workers: Sequence[WorkerSeen], known: frozenset[str]) -> Iterator[timedelta]:
    for worker in workers:
        if worker.pod not in known and worker.warm_up is not None and worker.warm_up >= timedelta():
            yield worker.warm_up


def _is_quiet(signals: Signals, history: History) -> bool:
    """Whether there is no work at all, and there was none since the last look."""
    if signals.backlog is None or signals.backlog.count or signals.open_runs != 0:
        return False
    if signals.workers is None:
        return True
    since = {idle.pod: idle.since for idle in history.idle}
    begun = history.quiet_since
    return all(
        worker.used == 0 and (begun is None or since[worker.pod] <= begun or worker.processed == 0)
        for worker in signals.workers
    )


def _forgetting(history: History, now: datetime) -> History:
    if history.regretted is None or now - history.regretted < _FORGET:
        return history
    fewer = history.premature - 1
    return replace(history, premature=fewer, regretted=now if fewer else None)
