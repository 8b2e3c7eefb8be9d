"""What holds of every decision, whatever signals come one after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill_operator.pool.scaling import (
    REASONS,
    Backlog,
    Decision,
    Due,
    History,
    ScalingSpec,
    Signals,
    WorkerSeen,
    decide,
)
from tidemill_operator.pool.scaling.decide import FRESH

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
LOOKS = 12


@st.composite
def specs(draw: st.DrawFn) -> ScalingSpec:
    least = draw(st.integers(0, 4))
    return ScalingSpec(
        slots=draw(st.integers(1, 16)),
        min_replicas=least,
        max_replicas=draw(st.integers(max(least, 1), 30)),
        target_backlog=draw(st.integers(1, 50)),
        idle_timeout=timedelta(seconds=draw(st.integers(5, 120))),
        prewarm=timedelta(seconds=draw(st.sampled_from((0, 20, 90)))),
        stabilization=timedelta(seconds=draw(st.sampled_from((0, 0, 30, 60)))),
        tolerance=draw(st.sampled_from((0.0, 0.1, 0.5))),
        scale_up_pods=draw(st.integers(1, 20)),
        scale_up_percent=draw(st.sampled_from((0, 50, 100))),
        mode=draw(st.sampled_from(("Apply", "Apply", "Advise"))),
    )


@dataclass(frozen=True)
class Look:
    """What changes between two looks; workers as (slots used, seconds since heard of, tasks ended)."""

    after: float
    backlog: tuple[int, float, float] | None
    workers: tuple[tuple[int, float, int], ...] | None
    open_runs: int | None
    due: tuple[tuple[float, int | None], ...]
    lost: int
    """Workers that are asked for but don't poll."""


T = TypeVar("T")


def mostly(known: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    """One look in ten doesn't know it: more would hide what happens while all is known."""
    return st.integers(0, 9).flatmap(lambda chance: known if chance else st.none())


USED, HEARD, ENDED = st.sampled_from((0, 0, 0, 1, 16)), st.sampled_from((0.0, 3.0, 30.0)), st.sampled_from((0, 0, 1))
looks = st.builds(
    Look,
    after=st.sampled_from((3.0, 15.0, 30.0, 30.0, 45.0, 45.0, 61.0, -30.0)),
    backlog=mostly(st.tuples(st.sampled_from((0, 0, 0, 1, 9, 300)), st.floats(0, 600), st.sampled_from((0.0, 3.0)))),
    workers=mostly(st.lists(st.tuples(USED, HEARD, ENDED), max_size=10).map(tuple)),
    open_runs=mostly(st.sampled_from((0, 0, 1))),
    due=st.just(()) | st.lists(st.tuples(st.floats(-300, 900), st.none() | st.integers(0, 200)), max_size=4).map(tuple),
    lost=st.sampled_from((0, 0, 0, 1, 3)),
)


def seen(look: Look, spec: ScalingSpec, replicas: int, now: datetime) -> Signals:
    """The signals of a look: no more workers poll than are asked for."""
    backlog = (
        None
        if look.backlog is None
        else Backlog(look.backlog[0], timedelta(seconds=look.backlog[1]), 0, look.backlog[2])
    )
    workers = None
    if look.workers is not None:
        found = (*look.workers, *((0, 0.0, 0),) * replicas)[: max(0, replicas - look.lost)]
        workers = tuple(
            WorkerSeen(
                f"w{place}",
                min(used, spec.slots),
                spec.slots - min(used, spec.slots),
                now - timedelta(seconds=heard),
                ended,
                timedelta(seconds=10 * ended),
            )
            for place, (used, heard, ended) in enumerate(found)
        )
    due = tuple(Due(now + timedelta(seconds=at), f"p{n}", chunks) for n, (at, chunks) in enumerate(look.due))
    return Signals(replicas, backlog, workers, look.open_runs, due)


def holds(spec: ScalingSpec, signals: Signals, decision: Decision, history: History, now: datetime) -> None:
    """Every law of one decision."""
    before, after = signals.replicas, decision.replicas
    assert decision.reason in REASONS
    assert decision.message.endswith(".")
    assert "\n" not in decision.message
    assert decision.apply == (spec.mode == "Apply")
    assert decision.wake is None or decision.wake > now
    # Bounds: nothing is added above the most, nothing taken away below the least.
    assert after >= min(before, spec.min_replicas)
    assert before >= spec.min_replicas or after >= spec.min_replicas
    assert after <= max(before, spec.max_replicas)
    # Nothing is taken away blindly.
    if signals.backlog is None or (signals.workers is None and signals.open_runs != 0):
        assert after >= before
    if signals.open_runs != 0 and before:
        assert after, "a run may be open"
    # Busy workers stay, and those of which nothing is known.
    if after < before and signals.workers is not None:
        idle = {each.pod for each in signals.workers if not each.used and now - each.heard <= FRESH}
        assert set(decision.remove) <= idle
        assert len(set(decision.remove)) == len(decision.remove)
        assert before - after <= len(decision.remove) + before - len(signals.workers)
        assert after >= len(signals.workers) - len(idle)
    else:
        assert decision.remove == ()
    # What is remembered is bounded.
    assert len(history.needs) <= 30 * 16
    assert len(history.idle) <= before
    assert len(history.warm_ups) <= 20
    assert len(history.known) <= 30
    assert len(history.ups) <= 30
    assert 0 <= history.premature <= 3


@settings(max_examples=80)
@given(spec=specs(), story=st.lists(looks, min_size=1, max_size=LOOKS), replicas=st.integers(0, 14))
def test_laws(spec: ScalingSpec, story: list[Look], replicas: int) -> None:
    now, history = NOW, History.begin(NOW)
    for look in story:
        now += timedelta(seconds=look.after)
        signals = seen(look, spec, replicas, now)
        decision, later = decide(spec, signals, history, now)
        assert (decision, later) == decide(spec, signals, history, now), "the same again says the same"
        holds(spec, signals, decision, later, now)
        history, replicas = later, decision.replicas if decision.apply else replicas


@settings(max_examples=40)
@given(spec=specs(), replicas=st.integers(1, 30), looked=st.integers(0, 6))
def test_whoever_begins_takes_nothing_away_before_it_has_looked_for_its_time(
    spec: ScalingSpec, replicas: int, looked: int
) -> None:
    spec = replace(spec, max_replicas=30)
    now, history = NOW, History.begin(NOW)
    patience = min(spec.idle_timeout, max(spec.stabilization, timedelta(seconds=5)))
    for _ in range(looked):
        now += timedelta(seconds=3)
        if now - NOW >= patience:
            return
        quiet = Look(3, (0, 0, 0), (), 0, (), 0)
        decision, history = decide(spec, seen(quiet, spec, replicas, now), history, now)
        assert decision.replicas >= replicas


@settings(max_examples=60)
@given(
    spec=specs(),
    replicas=st.integers(0, 20),
    backlog=st.integers(1, 400),
    more=st.integers(0, 200),
)
def test_more_work_never_means_fewer_workers(spec: ScalingSpec, replicas: int, backlog: int, more: int) -> None:
    def wish(count: int) -> int:
        look = Look(3, (count, 12.0, 1.0), ((spec.slots, 0.0, 0),) * replicas, 1, (), 0)
        return decide(spec, seen(look, spec, replicas, NOW), History.begin(NOW), NOW)[0].replicas

    assert wish(backlog + more) >= wish(backlog) >= wish(0)
