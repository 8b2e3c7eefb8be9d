"""How many workers there are to be: need against what there is, within bounds, limits and windows. Pure.

Up goes what is needed, at once. Down goes only what is known to be idle, and only after it wasn't needed for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Final

from tidemill_operator.pool.scaling.history import grown, looked, needed, shrunk, window
from tidemill_operator.pool.scaling.needs import Need, lead, need_of, wake, warm_up
from tidemill_operator.pool.scaling.signals import Decision, History, Reason, ScalingSpec, Signals

FRESH: Final = timedelta(seconds=20)
"""A worker that wasn't heard of for longer isn't known to be idle."""
SETTLED: Final = timedelta(seconds=5)
"""A worker that was at work a moment ago may be so again before it hears that it is to go."""
STARTING: Final = timedelta(minutes=2)
"""So long, and twice what pods usually take, workers that don't poll yet are waited for."""
_PRESSING: Final = timedelta(seconds=10)
"""Tasks that wait for longer are too old for tolerance."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    replicas: int
    reason: Reason
    message: str
    remove: tuple[str, ...] = ()


def decide(spec: ScalingSpec, signals: Signals, history: History, now: datetime) -> tuple[Decision, History]:
    """The decision, and what is to be remembered for the next one. `now` is the operator's clock."""
    history = looked(spec, signals, history, now)
    need = need_of(spec, signals, history, now)
    if signals.backlog is not None:
        history = needed(spec, history, need, now)
    floor = min(max(need.workers, spec.min_replicas), spec.max_replicas)
    if floor > signals.replicas:
        verdict = _more(spec, signals, history, need)
    elif floor < signals.replicas:
        verdict = _fewer(spec, signals, history, need, now)
    elif need.workers > spec.max_replicas:
        verdict = _Verdict(
            floor, "Maximum", f"{_work(need)}: {need.workers} workers would do more, {floor} are allowed."
        )
    else:
        verdict = _as_is(signals, need)
    decision = Decision(
        replicas=verdict.replicas,
        reason=verdict.reason,
        message=verdict.message,
        remove=verdict.remove,
        apply=spec.mode == "Apply",
        warm_up=warm_up(history),
        wake=wake(spec, signals, history, now),
    )
    return decision, _remembered(spec, signals, history, decision, now)


def _more(spec: ScalingSpec, signals: Signals, history: History, need: Need) -> _Verdict:
    current, wanted = signals.replicas, min(need.workers, spec.max_replicas)
    if wanted <= spec.min_replicas:
        return _Verdict(spec.min_replicas, "Minimum", f"At least {spec.min_replicas} workers are to be there.")
    if _tolerable(spec, signals, need, wanted - current):
        return _Verdict(current, "WithinTolerance", f"{_work(need)}: {wanted} workers would hardly do more.")
    added = sum(count for _, count in history.ups)
    limit = current - added + max(spec.scale_up_pods, ceil((current - added) * spec.scale_up_percent / 100))
    allowed = max(current, spec.min_replicas, min(wanted, limit))
    message = f"{_work(need)}: {_many(wanted)}."
    if allowed < wanted:
        return _Verdict(allowed, "ScaleUpLimit", f"{message} {allowed} now, more after a moment.")
    if need.workers > wanted:
        return _Verdict(
            allowed, "Maximum", f"{_work(need)}: {need.workers} workers would do more, {wanted} are allowed."
        )
    return _Verdict(allowed, need.reason, message)


def _tolerable(spec: ScalingSpec, signals: Signals, need: Need, more: int) -> bool:
    pressing = signals.backlog is not None and signals.backlog.age >= _PRESSING
    near = more <= spec.tolerance * signals.replicas
    return near and not pressing and not need.due and signals.replicas >= spec.min_replicas


def _fewer(spec: ScalingSpec, signals: Signals, history: History, need: Need, now: datetime) -> _Verdict:
    current, above = signals.replicas, signals.replicas - spec.max_replicas
    if signals.backlog is None:
        return _Verdict(current, "TemporalUnknown", f"Temporal says nothing of the pool: {_kept(current)}.")
    if signals.workers is None and signals.open_runs != 0:
        return _Verdict(
            current,
            "WorkersUnknown",
            f"Temporal doesn't list workers, so nobody knows which are busy: {_kept(current)} while runs are open.",
        )
    over = _is_over(spec, history, now)
    target = _target(spec, signals, history, need, now, over=over)
    if above > 0:
        target = min(target, spec.max_replicas)
    if target >= current:
        why = "less was needed only for a moment" if need.busy or need.waiting else "there was work a moment ago"
        return _Verdict(current, "Stabilizing", f"{_work(need)}, but {why}: {_kept(current)}.")
    small = current - target <= spec.tolerance * current
    if small and not over and above <= 0:
        return _Verdict(current, "WithinTolerance", f"{_work(need)}: {_many(target)} would hardly cost less.")
    return _without_idle(signals, history, need, target, now)


def _is_over(spec: ScalingSpec, history: History, now: datetime) -> bool:
    """Whether there has been no work for the idle timeout."""
    return history.quiet_since is not None and now - history.quiet_since >= spec.idle_timeout


def _target(spec: ScalingSpec, signals: Signals, history: History, need: Need, now: datetime, *, over: bool) -> int:
    """To what the workers may go down."""
    soon = 2 * lead(spec, history)
    kept = any(now < due.at - signals.ahead <= now + soon for due in signals.due)
    if over:
        # Who would have to be started again at once needn't go.
        return min(signals.replicas, max(need.workers, spec.min_replicas, int(kept)))
    if history.quiet_since is not None or now - history.since < window(spec, history):
        return signals.replicas
    return max(spec.min_replicas, *(workers for _, workers in history.needs))


def _without_idle(signals: Signals, history: History, need: Need, target: int, now: datetime) -> _Verdict:
    """Down to the target, as far as workers are idle. Those that never came to poll go first: Kubernetes sees to it."""
    current = signals.replicas
    if signals.workers is None:
        return _Verdict(target, "Idle", f"No run is open and nothing waits: {_many(target)}.")
    absent = max(0, current - len(signals.workers))
    if absent and _waited_for(history, now):
        return _Verdict(current, "WorkersStarting", f"{_many(absent)} still to come: {_kept(current)}.")
    heard = {worker.pod: worker.heard for worker in signals.workers}
    idle = sorted(
        (idle for idle in history.idle if now - heard[idle.pod] <= FRESH and now - idle.since >= SETTLED),
        key=lambda idle: (idle.since, idle.pod),
    )
    replicas = max(target, current - absent - len(idle))
    remove = tuple(idle.pod for idle in idle[: max(0, current - replicas - absent)])
    if replicas == current:
        return _Verdict(
            current, "WorkersBusy", f"{_work(need)}: {_many(target)} would do, but no more of them are idle."
        )
    reason: Reason = "Surplus" if need.workers else "Idle"
    text = _work(need) if need.workers else "No run is open and nothing waits"
    return _Verdict(replicas, reason, f"{text}: {_many(replicas)}.", remove)


def _waited_for(history: History, now: datetime) -> bool:
    since = history.starting_since
    return since is not None and now - since < max(STARTING, 2 * (warm_up(history) or timedelta()))


def _as_is(signals: Signals, need: Need) -> _Verdict:
    current = signals.replicas
    if signals.backlog is None:
        return _Verdict(current, "TemporalUnknown", f"Temporal says nothing of the pool: {_kept(current)}.")
    if need.workers < current:
        return _Verdict(current, "Minimum", f"{_work(need)}: {_many(current)}, as minReplicas says.")
    return _Verdict(current, need.reason, f"{_work(need)}: {_many(current)}.")


def _remembered(spec: ScalingSpec, signals: Signals, history: History, decision: Decision, now: datetime) -> History:
    change = decision.replicas - signals.replicas
    if not decision.apply:
        return history
    if change > 0:
        return grown(history, signals.replicas, decision.replicas, now)
    if change < 0 and decision.reason == "Surplus":
        return shrunk(spec, history, signals.replicas, now)
    return history


def _work(need: Need) -> str:
    if need.reason == "Stuck":
        return "Tasks wait that idle workers don't take"
    parts = (
        *((f"{need.waiting} tasks wait",) if need.waiting else ()),
        *((f"{need.busy} slots are busy",) if need.busy else ()),
        *((f"runs of {need.chunks} chunks begin soon",) if need.due else ()),
    )
    return " and ".join(parts) or ("Runs are open, or may be" if need.workers else "There is no work")


def _kept(replicas: int) -> str:
    return f"{_many(replicas)} {'stays' if replicas == 1 else 'stay'}"


def _many(workers: int) -> str:
    return "no worker" if workers == 0 else "1 worker" if workers == 1 else f"{workers} workers"
