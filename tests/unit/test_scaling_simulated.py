"""The scaler in a world: each load under it, under KEDA's algorithm and an HPA's, in simulated time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import pytest

from tests.support.scaling import loads
from tests.support.scaling.loads import MINUTE, Load, Run
from tests.support.scaling.plots import COLD, outcome
from tests.support.scaling.scalers import APPLY, SWEEP, BuiltIn, simulate
from tests.support.scaling.world import STATISTICS, Outcome
from tidemill_operator.pool.scaling import Signals

MAKERS = [pytest.param(make, id=make().name) for make in loads.LOADS]
_LOOK = SWEEP * 1.1


@dataclass(frozen=True)
class Against:
    """What is promised of a load in comparison with KEDA's defaults."""

    cost: float
    """Pod-seconds, of KEDA's, at most."""
    wait: float = 1.0
    """What 95 % of tasks wait at most, and the longest too, of KEDA's."""
    turns: int = 100
    """Changes of direction at most."""


COMPARED = {
    # Work that comes at once, lasts, hangs or was known beforehand: cheaper by far, and sooner.
    "bursts": Against(cost=0.5, wait=0.6, turns=14),
    "long tasks": Against(cost=0.4, wait=0.05, turns=6),
    "stuck tasks": Against(cost=0.2, wait=1.0, turns=12),
    "slow start": Against(cost=0.6, wait=0.9, turns=8),
    "scheduled minute": Against(cost=0.4, wait=0.4, turns=10),
    # Work that never ceases: KEDA's has fewer workers than there is work for. Tasks wait for that, and busy ones are
    # told to go.
    "waves": Against(cost=1.3, wait=0.5, turns=80),
    "flapping": Against(cost=1.8, wait=0.5, turns=12),
    "steady": Against(cost=1.3, wait=0.7, turns=6),
    # Small runs at any time: who goes to zero sooner starts more often.
    "recorded": Against(cost=0.85, wait=10.0, turns=50),
}


@pytest.mark.parametrize("load", COMPARED)
def test_against_keda(load: str) -> None:
    ours, kedas, promised = outcome(load, "BuiltIn"), outcome(load, "KEDA"), COMPARED[load]
    assert ours.pod_seconds <= promised.cost * kedas.pod_seconds
    assert ours.wait(0.95) <= promised.wait * kedas.wait(0.95)
    assert ours.wait(1) <= min(promised.wait, 1) * kedas.wait(1)
    assert ours.turns() <= promised.turns
    assert ours.unfinished == 0


def test_all_loads_are_compared() -> None:
    assert set(COMPARED) == {make().name for make in loads.LOADS}


@pytest.mark.parametrize("make", MAKERS)
def test_laws_of_every_load(make: Callable[[], Load]) -> None:
    ours = outcome(make().name, "BuiltIn")
    assert ours.interrupted == 0, "who goes ends what it has"
    assert ours.busy_removed <= 0.3 * len(ours.moves), "only what was taken in the seconds since it was heard of"
    assert all(0 <= replicas <= 20 for _, replicas in ours.moves)
    tolerated = 10 if make().name == "waves" else 0
    assert max(ours.reactions, default=0) <= tolerated + 2 * _LOOK + STATISTICS, "so old are figures, and slots"


def test_no_worker_that_showed_a_task_is_told_to_go() -> None:
    scaler = BuiltIn()
    simulate(loads.waves(hours=2), scaler)
    removed = 0
    for _, signals, decision in scaler.decisions:
        used = {worker.pod: worker.used for worker in signals.workers or ()}
        assert all(used[pod] == 0 for pod in decision.remove)
        removed += len(decision.remove)
    assert removed > 20


@pytest.mark.parametrize("sleeping", [True, False], ids=["from zero", "beside busy workers"])
def test_a_decision_comes_within_a_look_of_its_signal(sleeping: bool) -> None:
    first = () if sleeping else (Run(10, "before", (300.0,) * 8, parallel=8),)
    many = Run(100, "many", (30.0,) * 40, parallel=40)
    scaler = BuiltIn()
    seen = simulate(Load("one", (*first, many), 400), scaler)
    known = next(at for at, signals, _ in scaler.decisions if at > 100 and _more_waits(signals, sleeping))
    moved = next(at for at, replicas in seen.moves if at > 100)
    assert known - 100 <= _LOOK + (0 if sleeping else STATISTICS)
    assert moved - known <= APPLY + 1e-9


def _more_waits(signals: Signals, sleeping: bool) -> bool:
    return bool(signals.open_runs) if sleeping else signals.backlog is not None and signals.backlog.count > 0


def test_at_the_scheduled_minute_nobody_waits() -> None:
    """Six pipelines in one minute, on a pool that sleeps at zero: the first time nothing is known of them."""
    warm, cold = outcome("scheduled minute", "BuiltIn"), outcome("scheduled minute", COLD)
    assert any(replicas == 0 for _, replicas in warm.moves[1:-1]), "it sleeps in between"
    assert _later(warm) < 1
    assert _later(cold) > 5
    assert warm.pod_seconds < 1.2 * cold.pod_seconds
    assert _later(outcome("slow start", "BuiltIn")) < 5, "pods differ by 25 s there; most were ready"
    assert _later(outcome("slow start", COLD)) > 50


@pytest.mark.parametrize("pipelines", [1, 12])
def test_pipelines_that_are_due_in_one_minute_are_summed(pipelines: int) -> None:
    seen = simulate(loads.scheduled_minute(hours=1.3, pipelines=pipelines), BuiltIn())
    assert _later(seen) < 1


@pytest.mark.parametrize(
    ("ahead", "knows", "cost"),
    [(-4.0, False, 1.2), (4.0, False, 1.2), (90.0, True, 1.2), (-90.0, True, 1.2), (-90.0, False, 2.5)],
)
def test_clocks_that_differ(ahead: float, knows: bool, cost: float) -> None:
    """A few seconds are within the margin. Temporal behind: workers wait for it. Far ahead: that has to be known."""
    seen = simulate(loads.scheduled_minute(hours=1.3, pipelines=3), BuiltIn(ahead=ahead, knows_ahead=knows))
    assert _later(seen) < 1
    assert seen.pod_seconds < cost * _three_pipelines().pod_seconds


def test_flapping_ends_when_it_is_noticed() -> None:
    seen = outcome("flapping", "BuiltIn")
    late = [at for at, _ in seen.moves if 30 * MINUTE <= at <= 55 * MINUTE]
    assert len(late) <= 6, "work comes and goes thirteen times in that time"


def test_without_a_list_of_workers_nothing_is_taken_away_while_runs_are_open() -> None:
    load = loads.long_tasks(hours=3)
    scaler = BuiltIn(lists_workers=False)
    seen = simulate(load, scaler)
    assert (seen.busy_removed, seen.interrupted, seen.unfinished) == (0, 0, 0)
    assert seen.moves[-1][1] == 0, "when none is open any more"
    assert "WorkersUnknown" in {decision.reason for _, _, decision in scaler.decisions}


def test_while_temporal_is_silent_workers_stay() -> None:
    load = replace(loads.long_tasks(hours=2), silent=((6 * MINUTE, 90 * MINUTE),))
    scaler = BuiltIn()
    seen = simulate(load, scaler)
    assert not [at for at, _ in seen.moves if 6 * MINUTE + SWEEP < at < 90 * MINUTE]
    assert {each.reason for at, _, each in scaler.decisions if 6 * MINUTE <= at < 90 * MINUTE} == {"TemporalUnknown"}
    assert seen.interrupted == 0


def test_a_silence_costs_no_scheduled_minute() -> None:
    load = replace(loads.scheduled_minute(hours=1.3, pipelines=3), silent=((58 * MINUTE, 61 * MINUTE),))
    assert _later(simulate(load, BuiltIn())) < 1


def test_an_operator_that_restarts_now_and_then_interrupts_nothing() -> None:
    seen = simulate(loads.scheduled_minute(hours=1.3, pipelines=3), BuiltIn(restarts=tuple(range(20, 5400, 200))))
    assert _later(seen) < 1
    assert seen.interrupted == 0
    assert seen.pod_seconds <= 2.5 * _three_pipelines().pod_seconds, (
        "each start of the operator may cost a whole timeout"
    )


def test_stuck_tasks_do_not_scale_for_ever() -> None:
    ours, kedas = outcome("stuck tasks", "BuiltIn"), outcome("stuck tasks", "KEDA")
    stuck = [each.replicas for each in ours.moments if 15 * MINUTE < each.at < 70 * MINUTE]
    assert max(stuck) <= 2
    assert max(each.replicas for each in kedas.moments) >= 8


def test_the_simulation_says_the_same_each_time() -> None:
    load = loads.bursts(hours=1)
    first, again = simulate(load, BuiltIn(), seed=5), simulate(load, BuiltIn(), seed=5)
    assert first == again
    assert first.moves != simulate(load, BuiltIn(), seed=6).moves


def test_the_idle_timeout_and_the_least_are_what_the_spec_says() -> None:
    spec = replace(BuiltIn().spec, idle_timeout=timedelta(seconds=200), min_replicas=1)
    seen = simulate(Load("one", (Run(10, "one", (5.0,) * 16, parallel=16),), 400), BuiltIn(spec))
    (_, last), (_, least) = seen.moves[-2:]
    assert (last, least) == (2, 1)
    assert seen.moves[-1][0] == pytest.approx(10 + 11 + 5 + 200, abs=8)


@cache
def _three_pipelines() -> Outcome:
    return simulate(loads.scheduled_minute(hours=1.3, pipelines=3), BuiltIn())


def _later(seen: Outcome) -> float:
    """The longest wait at a scheduled minute after the first, of which nothing was known."""
    first = min(at for at, _ in seen.on_time)
    return max(wait for at, wait in seen.on_time if at > first)
