"""Pools in simulated time: Tidemill's scaler beside KEDA's Temporal scaler and an HPA on CPU, under the same loads.

Seconds and pods are the simulator's (`tests/support/scaling`), the same on every machine; only what a decision takes is
measured. Of each load the median of several seeds.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

from tests.bench.measurement import Measurement, say
from tests.support.scaling import loads
from tests.support.scaling.loads import Load
from tests.support.scaling.plots import COLD, without_prewarm
from tests.support.scaling.scalers import CPU, KEDA, BuiltIn, simulate, when
from tests.support.scaling.world import Outcome, Scaler
from tidemill_operator.pool.scaling import Backlog, Due, History, ScalingSpec, Signals, WorkerSeen, decide

ROUNDS = 5
OTHERS: dict[str, Callable[[], Scaler]] = {
    "KEDA": KEDA,
    "KEDA that counts runs": lambda: KEDA(counts_runs=True),
    "HPA on CPU": CPU,
}
FIGURES: tuple[tuple[str, str, Callable[[Outcome], float]], ...] = (
    ("pod_seconds", "s", lambda seen: seen.pod_seconds),
    ("queue_p50", "s", lambda seen: seen.wait(0.5)),
    ("queue_p95", "s", lambda seen: seen.wait(0.95)),
    ("queue_longest", "s", lambda seen: seen.wait(1)),
    ("reaction_longest", "s", lambda seen: max(seen.reactions, default=0.0)),
    ("told_to_go_with_a_task", "pods", lambda seen: seen.busy_removed),
    ("tasks_done_again", "tasks", lambda seen: seen.interrupted),
    ("turns", "changes", lambda seen: seen.turns()),
)


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """See the module."""
    for make in loads.LOADS:
        load = make()
        say(f"scaling: {load.name}")
        for measurement in _of(load, 1 if quick else ROUNDS):
            yield measurement
        if not quick:
            yield _as_quick(load)
    for workers in (1, 100, 1000):
        yield _decision(workers, 50 if quick else 300)


def _of(load: Load, rounds: int) -> list[Measurement]:
    name = load.name.replace(" ", "_")
    ours = [simulate(load, BuiltIn(), seed) for seed in range(rounds)]
    found = []
    for scaler, make in OTHERS.items():
        others = [simulate(load, make(), seed) for seed in range(rounds)]
        for figure, unit, take in FIGURES:
            values, against = list(map(take, ours)), list(map(take, others))
            found.append(_against(f"scaling.{name}.{figure}", values, unit, scaler, against))
    if any(run.scheduled for run in load.runs):
        cold = [simulate(load, without_prewarm(), seed) for seed in range(rounds)]
        kedas = [simulate(load, KEDA(), seed) for seed in range(rounds)]
        for scaler, others in ((COLD, cold), ("KEDA", kedas)):
            values, against = list(map(_scheduled, ours)), list(map(_scheduled, others))
            found.append(_against(f"scaling.{name}.queue_at_scheduled_minute", values, "s", scaler, against))
    return found


def _as_quick(load: Load) -> Measurement:
    """Our pod-seconds against KEDA's at the cheapest of 24 settings at which tasks wait no longer than with us."""
    ours = simulate(load, BuiltIn())
    settings = itertools.product((1, 2, 3, 5), (5.0, 30.0), (60.0, 300.0, 1800.0))
    others = [simulate(load, KEDA(target, polling=poll, cooldown=cool)) for target, poll, cool in settings]
    as_quick = [other.pod_seconds for other in others if other.wait(0.95) <= ours.wait(0.95)]
    name = f"scaling.{load.name.replace(' ', '_')}.pod_seconds_at_the_same_queue_p95"
    if not as_quick:
        return Measurement(name, ours.pod_seconds, "s", f"KEDA: none of {len(others)} settings", n=len(others))
    least = min(as_quick)
    return Measurement(name, ours.pod_seconds, "s", f"KEDA: {least:.6g}", ours.pod_seconds / least, len(others))


def _against(name: str, values: Sequence[float], unit: str, scaler: str, others: Sequence[float]) -> Measurement:
    """As `compared`, where the other may be 0; what it is stands with its name then."""
    other = statistics.median(others)
    ratio = statistics.median(values) / other if other else None
    return Measurement(name, statistics.median(values), unit, f"{scaler}: {other:.6g}", ratio, len(values))


def _scheduled(seen: Outcome) -> float:
    """The longest wait at a scheduled minute but the first, of which nothing is known."""
    first = min(at for at, _ in seen.on_time)
    return max(wait for at, wait in seen.on_time if at > first)


def _decision(workers: int, rounds: int) -> Measurement:
    """What one decision takes, of a pool with so many busy workers and as many starts ahead."""
    spec = ScalingSpec(max_replicas=1000)
    history = History.begin(when(0))
    taken = []
    for look in range(rounds):
        now = when(3.0 * look)
        seen = tuple(WorkerSeen(f"w{n}", n % 8, 8 - n % 8, now, look) for n in range(workers))
        due = tuple(Due(now + timedelta(seconds=n), f"p{n}", 8) for n in range(min(workers, 900)))
        signals = Signals(workers, Backlog(look % 7), seen, 3, due)
        began = time.perf_counter()
        _, history = decide(spec, signals, history, now)
        taken.append((time.perf_counter() - began) * 1e6)
    return Measurement(f"scaling.decision.{workers}_workers", statistics.median(taken), "us", n=rounds)
