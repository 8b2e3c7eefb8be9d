"""How many workers a pool is to have: one decision a row, and short stories."""
# ruff: noqa: E501 - a row of a table is a line

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tidemill_operator.pool.scaling import (
    REASONS,
    Backlog,
    Decision,
    Due,
    History,
    Idle,
    ScalingSpec,
    Signals,
    WorkerSeen,
    decide,
)

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SPEC = ScalingSpec(slots=8, min_replicas=0, max_replicas=20)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


def waits(count: int, age: float = 3, **more: float) -> Backlog:
    return Backlog(count, seconds(age), **more)


def workers(*used: int, heard: float = 1) -> tuple[WorkerSeen, ...]:
    """A worker for each figure, with so many of eight slots in use."""
    return tuple(WorkerSeen(f"w{place}", use, 8 - use, NOW - seconds(heard)) for place, use in enumerate(used))


def starts(*chunks: int | None, after: float = 15) -> tuple[Due, ...]:
    return tuple(Due(NOW + seconds(after), f"p{place}", each) for place, each in enumerate(chunks))


def signals(replicas: int, **more: Any) -> Signals:
    """All quiet, but for what is given."""
    return replace(Signals(replicas, Backlog(0), workers(*(0,) * replicas), 0), **more)


def settled(idle: int = 0, *, quiet: float | None = None, **more: Any) -> History:
    """All was seen for ten minutes; so many workers were idle all the time."""
    since = NOW - seconds(600)
    return replace(
        History(since, NOW - seconds(3)),
        idle=tuple(Idle(f"w{place}", since, 0) for place in range(idle)),
        quiet_since=None if quiet is None else NOW - seconds(quiet),
        **more,
    )


SILENT: dict[str, Any] = {"backlog": None, "workers": None, "open_runs": None}

UP = [
    # id, spec, signals, replicas, reason
    ("nothing to do", {}, signals(0), 0, "Idle"),
    ("from zero by the backlog", {}, signals(0, backlog=waits(3), open_runs=1), 1, "Backlog"),
    ("from zero by a run alone", {}, signals(0, open_runs=1), 1, "RunsOpen"),
    ("as many as have slots for all", {}, signals(0, backlog=waits(40), open_runs=1), 5, "Backlog"),
    ("fewer, where more may wait", {"target_backlog": 20}, signals(0, backlog=waits(40), open_runs=1), 2, "Backlog"),
    ("besides those that are busy", {}, signals(2, backlog=waits(40), workers=workers(8, 8), open_runs=1), 7, "Backlog"),
    ("on their way to free slots", {}, signals(1, backlog=waits(6, 0.2), workers=workers(1), open_runs=1), 1, "Working"),
    ("no more than allowed", {"max_replicas": 4}, signals(0, backlog=waits(99), open_runs=1), 4, "Maximum"),
    ("all there that are allowed", {"max_replicas": 4}, signals(4, backlog=waits(99), workers=workers(8, 8, 8, 8)), 4, "Maximum"),
    ("no less than wished", {"min_replicas": 2}, signals(0), 2, "Minimum"),
    ("ten at once", {}, signals(0, backlog=waits(150), open_runs=1), 10, "ScaleUpLimit"),
    ("as it is limited", {"scale_up_pods": 2, "scale_up_percent": 0}, signals(1, backlog=waits(40), workers=workers(8), open_runs=1), 3, "ScaleUpLimit"),
    ("as many again as there are", {"scale_up_pods": 1}, signals(4, backlog=waits(99), workers=workers(8, 8, 8, 8), open_runs=1), 8, "ScaleUpLimit"),
    ("one of twenty more", {"max_replicas": 40}, signals(20, backlog=waits(8), workers=workers(*(8,) * 20), open_runs=9), 20, "WithinTolerance"),
    ("for long enough", {"max_replicas": 40}, signals(20, backlog=waits(8, 12), workers=workers(*(8,) * 20), open_runs=9), 21, "Backlog"),
    ("one of twenty more for a start", {"max_replicas": 40}, signals(20, workers=workers(*(8,) * 20), due=starts(8), open_runs=9), 21, "ScheduledStart"),
    ("without tolerance", {"max_replicas": 40, "tolerance": 0.0}, signals(20, backlog=waits(8), workers=workers(*(8,) * 20), open_runs=9), 21, "Backlog"),
    ("a start is near", {}, signals(0, due=starts(20)), 3, "ScheduledStart"),
    ("many starts in a minute", {}, signals(0, due=starts(8, 8, 8, 8, 8)), 5, "ScheduledStart"),
    ("a start of which nothing is known", {}, signals(0, due=starts(None)), 1, "ScheduledStart"),
    ("a start is far", {}, signals(0, due=starts(20, after=25)), 0, "Idle"),
    ("not ahead", {"prewarm": timedelta()}, signals(0, due=starts(20)), 0, "Idle"),
    ("a start besides busy workers", {}, signals(1, workers=workers(6), due=starts(10), open_runs=1), 2, "ScheduledStart"),
    ("a start that begins now isn't counted twice", {}, signals(2, workers=workers(8, 8), due=starts(16, after=-1), open_runs=1), 2, "Working"),
    ("a start that never came", {}, signals(0, due=starts(20, after=-121)), 0, "Idle"),
    ("Temporal's clock is ahead", {}, signals(0, due=starts(20, after=25), ahead=seconds(8)), 3, "ScheduledStart"),
    ("Temporal's clock is behind", {}, signals(0, due=starts(20), ahead=seconds(-8)), 0, "Idle"),
    ("a start in several steps begins sooner", {"scale_up_pods": 4, "scale_up_percent": 0}, signals(0, due=starts(80, after=32)), 4, "ScaleUpLimit"),
    ("Temporal says nothing", {}, signals(3, **SILENT), 3, "TemporalUnknown"),
    ("but a start is known", {}, signals(0, **SILENT, due=starts(20)), 3, "ScheduledStart"),
    ("and the least is the least", {"min_replicas": 2}, signals(0, **SILENT), 2, "Minimum"),
    ("no list: by the backlog", {}, signals(2, backlog=waits(16), workers=None, open_runs=1), 4, "Backlog"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "seen", "replicas", "reason"), [row[1:] for row in UP], ids=[row[0] for row in UP])
def test_up(spec: dict[str, Any], seen: Signals, replicas: int, reason: str) -> None:
    decision, _ = decide(replace(SPEC, **spec), seen, settled(), NOW)
    assert (decision.replicas, decision.reason) == (replicas, reason), decision.message
    assert decision.remove == ()


DOWN = [
    # id, spec, history, signals, replicas, reason, who goes
    ("idle for long enough", {}, settled(2, quiet=60), signals(2), 0, "Idle", ["w0", "w1"]),
    ("not yet", {}, settled(2, quiet=58), signals(2), 2, "Stabilizing", []),
    ("idle, but one is to stay", {"min_replicas": 1}, settled(2, quiet=90), signals(2), 1, "Idle", ["w0"]),
    ("a run is open", {}, settled(2), signals(2, open_runs=1), 1, "Surplus", ["w0"]),
    ("a run may be open", {}, settled(2), signals(2, open_runs=None), 1, "Surplus", ["w0"]),
    ("and then the last one stays", {}, settled(1), signals(1, open_runs=None), 1, "RunsOpen", []),
    ("the next start is almost near", {}, settled(2, quiet=90), signals(2, due=starts(8, after=35)), 1, "Idle", ["w0"]),
    ("the next start is far", {}, settled(2, quiet=90), signals(2, due=starts(8, after=300)), 0, "Idle", ["w0", "w1"]),
    ("only the idle ones go", {}, settled(3), signals(4, workers=workers(0, 0, 0, 1), open_runs=1), 1, "Surplus", ["w0", "w1", "w2"]),
    ("all are busy", {}, settled(), signals(4, workers=workers(1, 1, 1, 1), open_runs=1), 4, "WorkersBusy", []),
    ("some are busy", {}, settled(1), signals(4, workers=workers(0, 1, 1, 1), open_runs=1), 3, "Surplus", ["w0"]),
    ("more was needed a moment ago", {}, settled(2, needs=((NOW - seconds(50), 2),)), signals(2, open_runs=1), 2, "Stabilizing", []),
    ("long ago", {}, settled(2, needs=((NOW - seconds(61), 2),)), signals(2, open_runs=1), 1, "Surplus", ["w0"]),
    ("long ago, but that was regretted", {}, settled(2, needs=((NOW - seconds(61), 2),), premature=1, regretted=NOW), signals(2, open_runs=1), 2, "Stabilizing", []),
    ("one of twenty less", {}, settled(20), signals(20, workers=workers(*(8,) * 18, 0, 0), open_runs=9), 20, "WithinTolerance", []),
    ("an idle one wasn't heard of", {}, settled(2), signals(2, workers=workers(0, 0, heard=30), open_runs=1), 2, "WorkersBusy", []),
    ("an idle one was busy just now", {}, settled(), signals(2, workers=workers(0, 8), open_runs=1), 2, "WorkersBusy", []),
    ("some are still starting", {}, settled(1), signals(3, workers=workers(0), open_runs=1), 3, "WorkersStarting", []),
    ("some never came", {}, settled(1, starting_since=NOW - seconds(121)), signals(3, workers=workers(0), open_runs=1), 1, "Surplus", []),
    ("pods take long", {}, settled(1, starting_since=NOW - seconds(121), warm_ups=(seconds(90),)), signals(3, workers=workers(0), open_runs=1), 3, "WorkersStarting", []),
    ("more than are allowed: idle ones go at once", {"max_replicas": 2}, settled(3), signals(4, workers=workers(0, 0, 0, 8), open_runs=1, backlog=waits(99)), 2, "Surplus", ["w0", "w1"]),
    ("more than are allowed: busy ones stay", {"max_replicas": 2}, settled(), signals(4, workers=workers(8, 8, 8, 8), open_runs=1), 4, "WorkersBusy", []),
    ("no list, runs open", {}, settled(), signals(4, workers=None, open_runs=1), 4, "WorkersUnknown", []),
    ("no list, runs unknown", {}, settled(quiet=90), signals(4, workers=None, open_runs=None), 4, "WorkersUnknown", []),
    ("no list, no runs", {}, settled(quiet=90), signals(4, workers=None), 0, "Idle", []),
    ("Temporal says nothing", {}, settled(4, quiet=90), signals(4, **SILENT), 4, "TemporalUnknown", []),
    ("only the backlog is missing", {}, settled(4, quiet=90), signals(4, backlog=None), 4, "TemporalUnknown", []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "history", "seen", "replicas", "reason", "gone"), [row[1:] for row in DOWN], ids=[row[0] for row in DOWN]
)
def test_down(
    spec: dict[str, Any], history: History, seen: Signals, replicas: int, reason: str, gone: list[str]
) -> None:
    decision, _ = decide(replace(SPEC, **spec), seen, history, NOW)
    assert (decision.replicas, decision.reason) == (replicas, reason), decision.message
    assert list(decision.remove) == gone


class Story:
    """A look each three seconds."""

    def __init__(self, spec: ScalingSpec = SPEC, warm_up: timedelta | None = None) -> None:
        self.spec = spec
        self.now = NOW
        self.history = History.begin(NOW, warm_up)
        self.replicas = 0

    def look(self, *, after: float = 3, obey: bool = True, **more: Any) -> Decision:
        """Workers given as slots in use are heard of just now."""
        self.now += seconds(after)
        if "used" in more:
            found = workers(*more.pop("used"))
            more["workers"] = tuple(replace(worker, heard=self.now) for worker in found)
        decision, self.history = decide(self.spec, signals(self.replicas, **more), self.history, self.now)
        self.replicas = decision.replicas if obey else self.replicas
        return decision

    def until(self, wish: int, **more: Any) -> float:
        """Seconds until the decision is a number."""
        begin = self.now
        while self.now - begin < seconds(3600):
            if self.look(**more).replicas == wish:
                return (self.now - begin).total_seconds()
        raise AssertionError(f"never {wish}: {self.look(**more)}")


def test_a_restarted_operator_takes_nothing_away_for_the_time_that_it_has_to_look() -> None:
    story = Story()
    story.replicas = 4
    assert story.until(0, used=(0, 0, 0, 0)) == pytest.approx(63, abs=3)
    story = Story()
    story.replicas = 4
    assert story.until(1, used=(0, 0, 0, 0), open_runs=1) == pytest.approx(63, abs=3)


@pytest.mark.parametrize("silence", [1, 200], ids=["one look", "ten minutes"])
def test_after_a_silence_all_windows_begin_anew(silence: int) -> None:
    story = Story()
    story.replicas = 2
    story.look(used=(0, 0))
    for _ in range(silence):
        assert story.look(**SILENT).reason == "TemporalUnknown"
    assert story.until(0, used=(0, 0)) == pytest.approx(63, abs=3)
    story.replicas = 2
    story.look(used=(8, 8), open_runs=1)
    for _ in range(19):
        story.look(used=(0, 0), open_runs=1)
    for _ in range(silence):
        story.look(**SILENT)
    assert story.until(1, used=(0, 0), open_runs=1) == pytest.approx(63, abs=3)


def test_the_longest_idle_go_first() -> None:
    story = Story(replace(SPEC, stabilization=seconds(600)))
    story.replicas = 4
    for used in ((8, 0, 8, 8), (8, 0, 8, 0), (0, 0, 8, 0)):
        for _ in range(10):
            story.look(used=used, open_runs=1)
    story.spec = replace(SPEC, max_replicas=2)
    assert story.look(used=(0, 0, 8, 0), open_runs=1).remove == ("w1", "w3")


def test_a_gap_between_looks_is_no_idleness() -> None:
    story = Story()
    story.replicas = 2
    story.look(used=(0, 0))
    assert story.look(after=600, used=(0, 0)).replicas == 2
    assert story.look(after=-600, used=(0, 0)).replicas == 2, "nor is a clock that was set back"
    assert story.until(0, used=(0, 0)) == pytest.approx(60, abs=3)


def test_work_between_two_looks_is_seen_by_what_was_ended() -> None:
    story = Story()
    story.replicas = 1
    for ended in range(1, 40):
        worker = WorkerSeen("w0", 0, 8, story.now + seconds(3), processed=ended)
        assert story.look(workers=(worker,)).replicas == 1


def test_how_long_pods_take_is_learned_once_a_pod_and_slow_ones_count() -> None:
    story = Story()
    story.replicas = 10
    took = [*range(30, 39), 600]
    seen = tuple(WorkerSeen(f"w{place}", 0, 8, NOW + seconds(3), 0, seconds(each)) for place, each in enumerate(took))
    assert story.look(workers=seen).warm_up == seconds(38), "nine of ten"
    assert story.look(workers=seen).warm_up == seconds(38)
    assert len(story.history.warm_ups) == 10
    story.replicas = 0
    far, near = ((Due(story.now + seconds(each), "p", 8),) for each in (50, 45))
    assert story.look(due=far, workers=()).replicas == 0
    assert story.look(after=0, due=near, workers=()).replicas == 1, "38 s and a margin before"


@pytest.mark.parametrize(
    ("kept", "spec", "before"),
    [(None, 20, 20), (seconds(3), 20, 20), (seconds(40), 20, 45), (seconds(40), 90, 90), (seconds(4000), 20, 600)],
    ids=["nothing learned", "the spec is a floor", "learned", "the spec is more", "bounded"],
)
def test_how_long_before_a_start_workers_are_started(kept: timedelta | None, spec: int, before: int) -> None:
    story = Story(replace(SPEC, prewarm=seconds(spec)), kept)
    at = NOW + seconds(800)
    decision = story.look(due=(Due(at, "p", 8),))
    assert decision.replicas == 0
    assert decision.wake == at - seconds(before)
    story.now = at - seconds(before + 1)
    assert story.look(after=0, due=(Due(at, "p", 8),)).replicas == 0
    assert story.look(after=1, due=(Due(at, "p", 8),)).reason == "ScheduledStart"


def test_scale_up_goes_on_when_its_period_is_over() -> None:
    story = Story()
    found = [story.look(backlog=waits(160), open_runs=1, workers=()).replicas for _ in range(7)]
    assert found == [10, 10, 10, 10, 10, 20, 20]


def test_tasks_that_were_taken_since_the_figure_was_made_do_not_wait() -> None:
    story = Story()
    assert story.look(backlog=waits(40), open_runs=1, workers=()).replicas == 5
    decision = story.look(backlog=waits(40), open_runs=1, used=(8, 8, 8, 6))
    assert decision.replicas == 5, decision.message
    assert story.look(backlog=waits(40, 8), open_runs=1, used=(8, 8, 8, 8, 8)).replicas == 10, "a new figure"


def test_stuck_tasks_add_no_workers_and_do_not_count_beside_others() -> None:
    story = Story()
    story.replicas = 1
    for _ in range(5):
        story.look(used=(0,), open_runs=1)
    came = story.now
    for _ in range(40):
        decision = story.look(backlog=Backlog(40, story.now + seconds(3) - came + seconds(10)), used=(0,), open_runs=1)
        assert (decision.replicas, decision.reason) == (1, "Stuck")
    busy = story.look(backlog=Backlog(40, story.now + seconds(13) - came), used=(8,), open_runs=1)
    assert busy.replicas == 1, "all slots are busy now, but those 40 aren't what more would be for"
    more = story.look(backlog=Backlog(56, story.now + seconds(13) - came), used=(8,), open_runs=1)
    assert more.replicas == 3
    other = story.look(backlog=Backlog(56, seconds(5)), used=(8, 0, 0), open_runs=1)
    assert other.replicas == 8, "others than those wait now"


def test_a_start_beside_stuck_tasks() -> None:
    seen = signals(1, backlog=waits(40, 60), due=starts(16), open_runs=1)
    decision, _ = decide(SPEC, seen, settled(1), NOW)
    assert (decision.replicas, decision.reason) == (2, "ScheduledStart")


def test_stuck_tasks_where_workers_are_not_listed() -> None:
    story = Story()
    found = [story.look(backlog=waits(40, 3 * n), workers=None, open_runs=1).replicas for n in range(1, 60)]
    assert max(found) == 5, "nothing was taken since five workers came: more wouldn't take more"
    assert story.look(backlog=waits(40, 200), workers=None, open_runs=1).reason == "WorkersUnknown"
    assert story.look(backlog=waits(40, 200, dispatch_rate=1.0), workers=None, open_runs=1).replicas == 10


def test_workers_that_are_needed_again_at_once_are_kept_longer_next_time() -> None:
    story = Story()
    story.replicas = 4
    idle, busy = (8, 0, 0, 0), (8, 8, 8, 8)
    story.look(used=busy, open_runs=1)
    first = story.until(1, used=idle, open_runs=1)
    story.look(used=(8,), backlog=waits(24), open_runs=1)
    assert story.replicas == 4
    story.look(used=busy, open_runs=1)
    assert first == pytest.approx(63, abs=3)
    assert story.until(1, used=idle, open_runs=1) == pytest.approx(123, abs=3)


def test_advice_is_not_carried_out() -> None:
    story = Story(replace(SPEC, mode="Advise"))
    advice = {story.look(backlog=waits(160), open_runs=1, workers=(), obey=False) for _ in range(9)}
    assert {(decision.apply, decision.replicas) for decision in advice} == {(False, 10)}
    assert decide(SPEC, signals(0), settled(), NOW)[0].apply


def test_at_rest_the_same_is_said_each_time() -> None:
    story = Story(replace(SPEC, min_replicas=1))
    story.replicas = 1
    assert len({story.look(used=(0,)).message for _ in range(50)}) == 1


def test_every_reason_is_used_and_explained() -> None:
    assert {row[-1] for row in UP} | {row[-2] for row in DOWN} | {"Stuck"} == set(REASONS)
