"""Runs are counted once each, whatever becomes of the operator; a promise of freshness is kept by what succeeded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, SETTINGS, pipeline, seen_run
from tests.unit.pipeline_world import observed, planned, settled, told
from tidemill_api import conditions as said
from tidemill_api.contract import ScheduleMemo
from tidemill_api.v1alpha1.run_totals import RunTotals
from tidemill_operator.actions import LookAgain
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.report import report
from tidemill_operator.pipeline.totals import LATE, MOST_MARKS, add_up, is_counted
from tidemill_operator.standing import condition
from tidemill_operator.sweep import differing, fold
from tidemill_operator.views import RunSeen

SECOND = timedelta(seconds=1)


def ended(name: str, result: str = "Succeeded", ago: timedelta = 10 * SECOND) -> RunSeen:
    closed = NOW - ago
    return seen_run(name, result=result, run_id=f"{name}-0000000", closed=closed, started=closed - 3 * SECOND)


def counted(totals: Any) -> tuple[int, int, int]:
    totals = totals or {}
    RunTotals.model_validate(totals)
    return totals.get("succeeded", 0), totals.get("failed", 0), totals.get("rowsRead", 0)


A, B, C = ended("a", ago=30 * SECOND), ended("b", "Failed", 20 * SECOND), ended("c", ago=10 * SECOND)
OLD = ended("old", ago=timedelta(hours=3))
LATER = NOW + timedelta(minutes=1)
MUCH_LATER = NOW + timedelta(minutes=10)

STORIES: dict[str, tuple[Sequence[tuple[datetime, Sequence[RunSeen]]], tuple[int, int, int]]] = {
    "none": ([(NOW, [])], (0, 0, 0)),
    "one": ([(NOW, [A])], (1, 0, 9)),
    "the same again": ([(NOW, [A, B]), (NOW, [A, B]), (LATER, [B, A])], (1, 1, 18)),
    "twice in one look": ([(NOW, [A, A])], (1, 0, 9)),
    "one after the other": ([(NOW, [A]), (NOW, [A, B]), (LATER, [B, C])], (2, 1, 27)),
    "out of order": ([(NOW, [C]), (LATER, [A, B, C])], (2, 1, 27)),
    "a new leader that looks back for a day": ([(NOW, [OLD, A]), (MUCH_LATER, [OLD, A, B])], (2, 1, 27)),
    "after the marks have gone": (
        [(NOW, [A]), (MUCH_LATER, [ended("d", ago=-500 * SECOND)]), (MUCH_LATER, [A])],
        (2, 0, 18),
    ),
    "no result of its own": ([(NOW, [replace(A, state="Failed", result=None)])], (0, 1, 0)),
    "still open": ([(NOW, [seen_run("open")])], (0, 0, 0)),
}


@pytest.mark.parametrize("name", STORIES)
def test_each_run_counts_once(name: str) -> None:
    looks, expected = STORIES[name]
    totals: Any = None
    for now, runs in looks:
        totals = add_up(totals, runs, now)
        totals = json.loads(json.dumps(totals))  # what a restart leaves of it

    assert counted(totals) == expected


def test_marks_are_bounded_and_what_lies_behind_them_is_never_counted_again() -> None:
    many = [ended(f"r{number:03}", ago=timedelta(milliseconds=100 * (500 - number))) for number in range(500)]

    totals = add_up(None, many, NOW)

    assert totals is not None
    assert len(totals["counted"]) == MOST_MARKS
    assert counted(totals)[0] == 500
    assert add_up(totals, many, NOW) is totals
    assert all(is_counted(totals, run) for run in many)


def test_marks_go_when_listings_are_surely_complete() -> None:
    totals = add_up(add_up(None, [A], NOW), [replace(C, closed=NOW + 2 * LATE)], NOW + 2 * LATE)

    assert totals is not None
    assert len(totals["counted"]) == 1
    assert totals["countedUntil"] == "2026-05-01T11:59:30.000000Z"


def test_sums_seconds_letters_and_failures_in_a_row() -> None:
    last = replace(C, result=C.result.model_copy(update={"dead_letters": 7}) if C.result else None)
    totals = add_up(None, [ended("x", "Failed", 40 * SECOND), A, B, ended("y", "Skipped", 15 * SECOND)], NOW)
    assert totals is not None
    assert (totals["failuresInRow"], totals["seconds"], totals["skipped"]) == (1, 12.0, 1)
    assert totals["lastSuccessAt"] == "2026-05-01T11:59:30.000000Z"

    totals = add_up(totals, [last], NOW)

    assert totals is not None
    assert (totals["failuresInRow"], totals["deadLetters"]) == (0, 7)


def test_status_keeps_the_sums_and_leaves_out_a_former_self() -> None:
    former = ScheduleMemo(installation="inst", namespace="travel", name="flights", uid="uid-former")

    status = told(observed(settled(), ended=(A, replace(B, pipeline=former))))

    assert counted(status["totals"]) == (1, 0, 9)
    assert "totals" not in told(observed(settled()))


def test_a_sweep_keeps_what_ended_until_it_is_counted() -> None:
    done: list[str] = []

    def is_done(_pipeline: str, run: RunSeen) -> bool:
        return run.run_id in done

    first = fold({}, [], [C], counted=is_done)
    late = fold(first, [], [C, A], counted=is_done)
    quiet = fold(late, [], [], counted=is_done)
    done += [A.run_id, C.run_id]
    after = fold(quiet, [], [A, C], counted=is_done)
    name = next(iter(first))

    assert [{run.run_id for run in each[name].ended} for each in (first, late, quiet, after)] == [
        {C.run_id},
        {A.run_id, C.run_id},
        {A.run_id, C.run_id},
        set(),
    ]
    # One that shows late is news, though it isn't the newest; that it was counted is none.
    assert [differing(*pair, {}) for pair in ((first, late), (late, quiet), (quiet, after))] == [(name,), (), ()]


# The promise

PROMISE = {"freshness": {"within": "2h"}}
MADE = "2026-05-01T09:00:00Z"  # three hours ago


@pytest.mark.parametrize(
    ("spec", "made", "runs", "status", "left"),
    [
        ({}, MADE, [A], None, None),
        (PROMISE, MADE, [A], "True", timedelta(hours=2) - 29 * SECOND),
        (PROMISE, MADE, [B], "False", None),
        (PROMISE, MADE, [], "False", None),
        (PROMISE, "2026-05-01T11:00:00Z", [], "True", timedelta(hours=1) + SECOND),
        (PROMISE, MADE, [ended("was", ago=timedelta(minutes=121))], "False", None),
        (PROMISE, MADE, [ended("was", ago=timedelta(minutes=119))], "True", timedelta(minutes=1) + SECOND),
    ],
    ids=["no promise", "kept", "failed", "never ran", "too young to have run", "just broken", "just kept"],
)
def test_a_promise_is_watched(
    spec: dict[str, Any], made: str, runs: list[RunSeen], status: str | None, left: timedelta | None
) -> None:
    seen = observed(settled(spec=spec, creationTimestamp=made), ended=tuple(runs))

    claim = condition(told(seen), said.FRESH)

    assert (claim["status"] if claim else None) == status
    looks = [action.after for action in planned(seen) if isinstance(action, LookAgain)]
    assert looks == ([left] if left is not None else [])


def test_telling_a_broken_promise_again_changes_nothing() -> None:
    manifest = settled(spec=PROMISE, creationTimestamp=MADE)
    first = told(observed(manifest))

    later = report(
        desire(observed(manifest), SETTINGS), observed(manifest | {"status": first}), (), NOW + timedelta(hours=5)
    )

    assert later is not None
    assert condition(later, said.FRESH) == condition(first, said.FRESH)


def test_a_pipeline_without_a_promise_has_no_such_condition() -> None:
    assert condition(told(observed(pipeline(), ended=(A,))), said.FRESH) is None
