"""Those who decide: Tidemill's own, KEDA's Temporal scaler with the HPA that it makes, and an HPA on CPU.

KEDA, from its source at 8b4f083 (2026-08-20): pollingInterval 30 s (`apis/keda/v1alpha1/withtriggers_types.go`),
cooldownPeriod 300 s (`pkg/scaling/executor/scale_executor.go`), from zero to one when active and to zero once it wasn't
for the cooldown (`scale_scaledobjects.go`), active when the backlog exceeds 0 and targetQueueSize 5, over queues of
workflows and activities (`pkg/scalers/temporal_scaler.go`); the target is an average value.

HPA, from https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ and
`pkg/controller/podautoscaler/replica_calculator.go`: sync period 15 s, tolerance 0.1, stabilization of scale-down
300 s, no more than the greater of 4 pods and 100 % added in 15 s, never to zero by itself; CPU of 80 % if no metric is
given, pods that aren't ready count as idle when it scales up and not at all when it scales down.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Final

from tests.support.scaling.loads import Load, Run
from tests.support.scaling.world import SLOTS, Outcome, Pod, Scaler, World
from tidemill_operator.pool.scaling import (
    HORIZON,
    Backlog,
    Decision,
    Due,
    History,
    ScalingSpec,
    Signals,
    WorkerSeen,
    decide,
)

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
SWEEP: Final = 3.0
APPLY: Final = 0.5
"""Seconds from a decision to its effect on pods."""
MOST: Final = 20


def when(seconds: float) -> datetime:
    """A moment of the simulation."""
    return EPOCH + timedelta(seconds=seconds)


class BuiltIn:
    """Tidemill's: looks every three seconds, as the operator's sweep does."""

    def __init__(
        self,
        spec: ScalingSpec | None = None,
        *,
        lists_workers: bool = True,
        ahead: float = 0.0,
        knows_ahead: bool = False,
        restarts: tuple[float, ...] = (),
        name: str = "BuiltIn",
    ) -> None:
        """`ahead`: by how many seconds Temporal's clock is ahead of the operator's; `restarts`: of the operator."""
        self.name = name
        self.spec = spec or ScalingSpec(slots=SLOTS, max_replicas=MOST)
        self.decisions: list[tuple[float, Signals, Decision]] = []
        self._lists_workers = lists_workers
        self._ahead = timedelta(seconds=ahead)
        self._knows_ahead = knows_ahead
        self._restarts = deque(restarts)
        self._warm_ups: dict[str, float] = {}

    def begin(self, world: World) -> None:
        """See `Scaler`."""
        self._world = world
        self._history = History.begin(self._clock())
        self._due = sorted((run for run in world.load.runs if run.scheduled), key=lambda run: run.at)
        self._peaks: dict[str, int] = {}
        world.at(0.0, self._sweep)

    def _clock(self) -> datetime:
        return when(self._world.now) - self._ahead

    def _sweep(self) -> None:
        world = self._world
        if self._restarts and world.now >= self._restarts[0]:
            self._restarts.popleft()
            self._history = History.begin(self._clock(), self.decisions[-1][2].warm_up)
        signals = self._signals()
        decision, self._history = decide(self.spec, signals, self._history, self._clock())
        self.decisions.append((world.now, signals, decision))
        if decision.apply and decision.replicas != world.replicas:
            world.at(world.now + APPLY, lambda: self._carry_out(decision))
        world.at(world.now + SWEEP * world.chance.uniform(0.9, 1.1), self._sweep)

    def _carry_out(self, decision: Decision) -> None:
        """Workers are looked at again before they go, as the operator does."""
        world = self._world
        if decision.replicas >= world.replicas or not self._lists_workers:
            world.scale(decision.replicas, decision.remove)
            return
        busy = {pod.name for pod in world.polling() if pod.heartbeat(world.now)[1]}
        absent = world.replicas - len(world.polling())
        idle = [pod.name for pod in world.polling() if pod.name not in busy and pod.name in decision.remove]
        world.scale(max(decision.replicas, world.replicas - absent - len(idle)), idle)

    def _signals(self) -> Signals:
        world = self._world
        if world.silent():
            return Signals(world.replicas, None, None, None, self._coming())
        count, age = world.waiting() if world.open or world.load.stuck else (0, 0.0)
        workers = tuple(map(self._seen, world.polling())) if self._lists_workers else None
        return Signals(
            replicas=world.replicas,
            backlog=Backlog(count, timedelta(seconds=age), dispatch_rate=float(bool(count and world.busy()))),
            workers=workers,
            open_runs=len(world.open),
            due=self._coming(),
            ahead=self._ahead if self._knows_ahead else timedelta(),
        )

    def _seen(self, pod: Pod) -> WorkerSeen:
        at, used, processed = pod.heartbeat(self._world.now)
        took = timedelta(seconds=pod.polls - pod.asked)
        return WorkerSeen(pod.name, used, SLOTS - used, when(at) - self._ahead, processed, took)

    def _coming(self) -> tuple[Due, ...]:
        """What a listing of Schedules shows: starts to come, each with the peak of the last run."""
        now = self._world.now
        while self._due and self._due[0].at <= now:
            run = self._due[0]
            self._peaks[run.pipeline] = _peak(run)
            del self._due[0]
        until = now + HORIZON.total_seconds()
        found = []
        for run in self._due:
            if run.at > until:
                break
            found.append(Due(when(run.at), run.pipeline, self._peaks.get(run.pipeline)))
        return tuple(found)


class _HPA:
    """What all HPAs do with a wish: bounds, windows and limits."""

    sync: Final = 15.0

    def __init__(self) -> None:
        self._wishes: deque[tuple[float, int]] = deque()
        self._ups: deque[tuple[float, int]] = deque()

    def settle(self, world: World, wish: int) -> None:
        """Scale to a wish, as far as that is allowed now."""
        now, current = world.now, world.replicas
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - 300:
            self._wishes.popleft()
        while self._ups and self._ups[0][0] <= now - 15:
            self._ups.popleft()
        stable = max(wishes for _, wishes in self._wishes) if wish < current else wish
        stable = min(stable, current) if wish < current else stable
        start = current - sum(added for _, added in self._ups)
        replicas = min(max(stable, 1), MOST, max(start + 4, start * 2, current))
        if replicas > current:
            self._ups.append((now, replicas - current))
        if replicas != current:
            world.scale(replicas)


class KEDA:
    """KEDA's Temporal scaler with its defaults."""

    def __init__(
        self, target: int = 5, *, polling: float = 30, cooldown: float = 300, counts_runs: bool = False
    ) -> None:
        """`target`: targetQueueSize; `counts_runs`: includeRunningWorkflowCount, which keeps a pod for open runs."""
        self.name = "KEDA"
        self._target = target
        self._polling = polling
        self._cooldown = cooldown
        self._counts_runs = counts_runs
        self._hpa = _HPA()
        self._active = -1e9

    def begin(self, world: World) -> None:
        """See `Scaler`. Both loops began at some time."""
        self._world = world
        world.at(world.chance.uniform(0, self._polling), self._poll)
        world.at(world.chance.uniform(0, _HPA.sync), self._sync)

    def _poll(self) -> None:
        world = self._world
        world.at(world.now + self._polling, self._poll)
        if world.silent():
            return
        if world.waiting()[0] > 0 or (self._counts_runs and world.open):
            self._active = world.now
            if world.replicas == 0:
                world.scale(1)
        elif world.replicas > 0 and self._active + self._cooldown < world.now:
            world.scale(0)

    def _sync(self) -> None:
        world = self._world
        world.at(world.now + _HPA.sync, self._sync)
        if world.replicas == 0 or world.silent():
            return
        value = world.waiting()[0]
        ratio = value / (self._target * world.replicas)
        self._hpa.settle(world, world.replicas if abs(1 - ratio) <= 0.1 else ceil(value / self._target))


class CPU:
    """An HPA on CPU: a worker whose slots are all in use uses all the CPU that it requests."""

    def __init__(self, target: float = 0.8) -> None:
        """`target`: share of the requested CPU."""
        self.name = "HPA on CPU"
        self._target = target
        self._hpa = _HPA()

    def begin(self, world: World) -> None:
        """See `Scaler`. There is one pod from the beginning."""
        self._world = world
        world.scale(1)
        world.at(world.chance.uniform(0, _HPA.sync), self._sync)

    def _sync(self) -> None:
        world = self._world
        world.at(world.now + _HPA.sync, self._sync)
        ready = world.polling()
        if not ready:
            return
        used = sum(len(pod.tasks) for pod in ready) / SLOTS / self._target
        ratio = used / len(ready)
        unready = sum(not pod.leaving for pod in world.pods) - len(ready)
        pods = len(ready)
        if ratio > 1 and unready:
            pods += unready
            ratio = used / pods
            if ratio < 1:
                ratio = 1.0
        self._hpa.settle(world, world.replicas if abs(1 - ratio) <= 0.1 else ceil(ratio * pods))


def simulate(load: Load, scaler: Scaler, seed: int = 0) -> Outcome:
    """One load under one scaler."""
    return World(load, seed).live(scaler)


def _peak(run: Run) -> int:
    return min(run.parallel, len(run.chunks))
