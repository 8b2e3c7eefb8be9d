"""A pipeline's decisions and how it stands, as tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, pipeline, pool, schedule, seen_run
from tests.unit.pipeline_world import kinds, observed, planned, ready_of, settled, told
from tidemill_api import conditions as said
from tidemill_api.contract import ScheduleMemo
from tidemill_operator.actions import (
    AddFinalizer,
    CancelRun,
    CreateSchedule,
    DeleteSchedule,
    LookAgain,
    Outcome,
    RemoveFinalizer,
    SetPause,
    UpdateSchedule,
)
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.plan import QUERIES_ANEW, WHILE_WAITING
from tidemill_operator.pipeline.queries import Queries
from tidemill_operator.pipeline.report import report
from tidemill_operator.standing import condition, waits

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
RELEASE = {"tidemill.dev/release": "true"}
CALLED_OFF = {"tidemill.dev/cancel": "a,c"}
PAUSED = {"tidemill.dev/paused": "holiday"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
OTHERS = ScheduleMemo(installation="inst", namespace="travel", name="flights", uid="uid-former")
ELSEWHERE = ("travel", "old")


PLANS: dict[str, tuple[Observed, list[str]]] = {
    "new": (observed(pipeline(finalizers=[])), ["AddFinalizer", "CreateSchedule"]),
    "in step": (observed(settled(), schedule()), []),
    "never written down": (observed(pipeline(), schedule()), ["UpdateSchedule"]),
    "edited": (
        observed(pipeline(spec={"schedule": {"crons": ["1 * * * *"]}}) | {"status": settled()["status"]}, schedule()),
        ["UpdateSchedule"],
    ),
    "changed in Temporal": (observed(settled(), schedule(made="by hand")), ["UpdateSchedule"]),
    "deleted in Temporal": (observed(settled()), ["CreateSchedule"]),
    "over": (observed(settled(spec={"schedule": {"crons": ["1 * * * *"], "endAt": "2026-04-01T00:00:00Z"}})), []),
    "on demand": (observed(pipeline(spec={"schedule": None})), []),
    "no longer scheduled": (observed(pipeline(spec={"schedule": None}), schedule()), ["DeleteSchedule"]),
    "suspended": (observed(settled(spec={"suspend": True}), schedule()), ["SetPause"]),
    "paused by annotation": (observed(settled(annotations=PAUSED), schedule()), ["SetPause"]),
    "paused in Temporal": (observed(settled(), schedule(paused=True, note="by hand")), []),
    "suspended, and paused in Temporal before": (
        observed(settled(spec={"suspend": True}), schedule(paused=True, note="by hand")),
        [],
    ),
    "a stranger's": (observed(pipeline(), schedule(memo=None)), []),
    "a former self's": (observed(pipeline(), schedule(memo=OTHERS)), []),
    "a former self's, adopted": (
        observed(pipeline(annotations={"tidemill.dev/adopt-uid": "uid-former"}), schedule(memo=OTHERS)),
        ["UpdateSchedule"],
    ),
    "no pool": (observed(pipeline(), with_pool=False), []),
    "no pool any more": (observed(settled(), schedule(made="by hand"), with_pool=False), []),
    "pool on its way out": (observed(settled(), schedule(), pool=pool(**GOING)), []),
    "invalid": (observed(pipeline(spec={"schedule": {"crons": ["99 * * * *"]}})), []),
    "invalid edit": (observed(pipeline(spec={"schedule": {"crons": ["99 * * * *"]}}), schedule()), []),
    "invalid edit, suspended": (
        observed(pipeline(spec={"schedule": {"crons": ["99 * * * *"]}, "suspend": True}), schedule()),
        ["SetPause"],
    ),
    "unreachable": (observed(pipeline(), trouble=UNREACHABLE), ["LookAgain"]),
    "moved to another Temporal": (
        observed(settled(), elsewhere=(There(ELSEWHERE, schedule=schedule()),)),
        ["DeleteSchedule", "CreateSchedule"],
    ),
    "moved, the old one unreachable": (
        observed(settled(), elsewhere=(There(ELSEWHERE, trouble=UNREACHABLE),)),
        ["LookAgain"],
    ),
    "seen through another connection too": (
        observed(settled(), schedule(), elsewhere=(There(ELSEWHERE, schedule=schedule()),)),
        [],
    ),
    "one of before a move": (
        observed(settled(), schedule(), elsewhere=(There(ELSEWHERE, schedule=schedule(created="before")),)),
        ["DeleteSchedule"],
    ),
    "moved, a stranger's there": (
        observed(settled(), elsewhere=(There(ELSEWHERE, schedule=schedule(memo=None)),)),
        ["CreateSchedule"],
    ),
    "going": (observed(settled(**GOING), schedule()), ["DeleteSchedule", "LookAgain"]),
    "some runs called off": (
        observed(settled(annotations=CALLED_OFF), schedule(), open_runs=(seen_run("a"), seen_run("b"), seen_run("c"))),
        ["CancelRun", "CancelRun"],
    ),
    "runs called off, unreachable": (
        observed(settled(annotations=CALLED_OFF), open_runs=(seen_run("a"),), trouble=UNREACHABLE),
        ["LookAgain"],
    ),
    "going, open runs": (observed(settled(**GOING), open_runs=(seen_run(),)), ["LookAgain"]),
    "going, open runs, Cancel": (
        observed(settled(**GOING, spec={"deletionPolicy": "Cancel"}), open_runs=(seen_run(), seen_run("b"))),
        ["CancelRun", "CancelRun", "LookAgain"],
    ),
    "going, all gone": (observed(settled(**GOING)), ["RemoveFinalizer"]),
    "going, a stranger's Schedule": (observed(settled(**GOING), schedule(memo=None)), ["RemoveFinalizer"]),
    "going, unreachable": (observed(settled(**GOING), trouble=UNREACHABLE), ["LookAgain"]),
    "going, unreachable, released": (
        observed(settled(**GOING, annotations=RELEASE), trouble=UNREACHABLE),
        ["RemoveFinalizer"],
    ),
    "going, released though reachable": (
        observed(settled(**GOING, annotations=RELEASE), schedule()),
        ["DeleteSchedule", "LookAgain"],
    ),
    "going, never had a Temporal": (Observed(pipeline(**GOING), None, None), ["RemoveFinalizer"]),
    "going, left alone": (observed(pipeline(**GOING, finalizers=["another/one"]), schedule()), []),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan(name: str) -> None:
    seen, expected = PLANS[name]

    assert kinds(planned(seen)) == expected


READY: dict[str, tuple[Observed, tuple[str, str]]] = {
    "in step": (observed(settled(), schedule()), ("True", said.SCHEDULED)),
    "over": (PLANS["over"][0], ("True", said.SCHEDULED)),
    "on demand": (PLANS["on demand"][0], ("True", said.ON_DEMAND)),
    "suspended": (PLANS["suspended"][0], ("True", said.SUSPENDED)),
    "paused in Temporal": (PLANS["paused in Temporal"][0], ("True", said.SCHEDULED)),
    "a stranger's": (PLANS["a stranger's"][0], ("False", said.SCHEDULE_CONFLICT)),
    "no pool": (PLANS["no pool"][0], ("False", said.WAITING_FOR_POOL)),
    "pool on its way out": (PLANS["pool on its way out"][0], ("False", said.WAITING_FOR_POOL)),
    "invalid": (PLANS["invalid"][0], ("False", said.INVALID_SCHEDULE)),
    "invalid, whatever else": (
        observed(pipeline(spec={"schedule": {"crons": ["99 * * * *"]}}), trouble=UNREACHABLE, with_pool=False),
        ("False", said.INVALID_SCHEDULE),
    ),
    "unreachable": (PLANS["unreachable"][0], ("False", said.TEMPORAL_UNREACHABLE)),
    "unreachable elsewhere": (PLANS["moved, the old one unreachable"][0], ("False", said.TEMPORAL_UNREACHABLE)),
    "going, unreachable": (PLANS["going, unreachable"][0], ("False", said.TEMPORAL_UNREACHABLE)),
    "going, open runs": (PLANS["going, open runs"][0], ("False", said.WAITING_FOR_RUNS)),
    "pool is wrong itself": (
        observed(pipeline(), pool=pool(spec={"connections": []})),
        ("False", said.WAITING_FOR_POOL),
    ),
    "connection the pool hasn't": (
        observed(pipeline(), pool=pool(spec={"connections": pool()["spec"]["connections"][1:]})),
        ("False", said.UNKNOWN_CONNECTION),
    ),
    "not chosen": (
        observed(pipeline(), pool=pool(spec={"allowedPipelines": {"matchLabels": {"team": "a"}}})),
        ("False", said.POOL_DENIED),
    ),
}


@pytest.mark.parametrize("name", READY)
def test_how_it_stands(name: str) -> None:
    seen, expected = READY[name]
    status = told(seen)

    assert ready_of(seen) == expected
    terminal = expected[1] in (said.SCHEDULE_CONFLICT, said.INVALID_SCHEDULE, said.UNKNOWN_CONNECTION, said.POOL_DENIED)
    assert (condition(status, said.STALLED) is not None) == terminal
    assert (condition(status, said.RECONCILING) is not None) == (expected[0] == "False" and not terminal)


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (PLANS["invalid edit"][0], ["spec.schedule.crons[0]", "goes on with the last valid spec"]),
        (PLANS["no pool"][0], ["spec.workerPoolRef.name", "WorkerPool etl"]),
        (PLANS["a former self's"][0], ["uid-former", "tidemill.dev/adopt-uid: uid-former", "keep the annotation"]),
        (PLANS["going, unreachable"][0], ["can't be reached", 'tidemill.dev/release: "true"']),
        (PLANS["going, open runs"][0], ["again", "deletionPolicy"]),
        (READY["pool is wrong itself"][0], ["the WorkerPool etl is invalid", "spec.connections"]),
    ],
)
def test_the_message_names_what_would_be_right(seen: Observed, words: list[str]) -> None:
    found = condition(told(seen), said.READY)

    assert found is not None
    assert [word for word in words if word not in found["message"]] == []


def test_two_schedules_are_never_there_at_once() -> None:
    """The one elsewhere goes before the one here is made."""
    first, second = planned(PLANS["moved to another Temporal"][0])

    assert first == DeleteSchedule(ELSEWHERE, PIPELINE.schedule)
    assert isinstance(second, CreateSchedule)


def test_a_persons_pause_moves_along_whenever_the_operator_dies() -> None:
    """The paused one is made before the one that knows of the pause goes; neither starts a run."""
    former = There(ELSEWHERE, schedule=schedule(paused=True, note="by hand"))
    create, delete = planned(observed(settled(), elsewhere=(former,)))

    assert isinstance(create, CreateSchedule)
    assert (create.paused, create.note) == (True, "by hand")
    assert delete == DeleteSchedule(ELSEWHERE, PIPELINE.schedule)

    made = schedule(paused=True, note="by hand", created="after")
    assert planned(observed(settled(), made, elsewhere=(former,))) == (delete,)


def test_a_strangers_pause_stays_where_it_is() -> None:
    theirs = There(ELSEWHERE, schedule=schedule(memo=None, paused=True, note="by hand"))
    [create] = planned(observed(settled(), elsewhere=(theirs,)))

    assert isinstance(create, CreateSchedule)
    assert not create.paused


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({}, {"suspend": True}, False),
        ({}, {"deletionPolicy": "Cancel"}, False),
        ({}, {"schedule": {"crons": ["16 * * * *"]}}, True),
        ({}, {"schedule": {"crons": ["15 * * * *"], "overlapPolicy": "AllowAll"}}, True),
        ({}, {"execution": {"parallelism": 3}}, True),
        ({}, {"parameters": [{"name": "carrier", "default": "UA"}]}, True),
    ],
)
def test_the_schedule_changes_only_with_what_matters_to_it(
    before: dict[str, Any], after: dict[str, Any], changes: bool
) -> None:
    hashes = [
        desire(observed(pipeline(spec=spec, generation=generation)), SETTINGS).reading.wish_hash
        for generation, spec in enumerate((before, after), start=1)
    ]

    assert (hashes[0] != hashes[1]) == changes


def test_the_input_of_a_run_is_a_snapshot_without_what_runs_dont_need() -> None:
    manifest = pipeline(
        generation=7, spec={"suspend": True, "schedule": {"crons": ["1 * * * *"], "overlapPolicy": "BufferOne"}}
    )
    wish = desire(observed(manifest), SETTINGS).reading.wish

    assert wish is not None
    assert set(wish.input["spec"]) == {"workerPoolRef", "sources", "sinks"}
    assert wish.input["overlapPolicy"] == "BufferOne"
    assert (wish.input["uid"], wish.input["generation"], wish.input["trigger"]) == ("uid-p", 7, "Schedule")
    assert "runKey" not in wish.input
    assert wish.task_queue == "inst/travel/etl"


def test_a_drift_is_put_right_and_counted() -> None:
    seen = observed(settled(), schedule(made="by hand"))
    [update] = planned(seen)
    assert isinstance(update, UpdateSchedule)
    assert update.repairs_drift

    status = told(seen, Outcome(update, "Done", schedule=schedule(made="made-2")))

    assert status["schedule"]["made"] == "made-2"
    assert status["schedule"]["driftRepaired"] == 1


def test_an_edit_is_no_drift() -> None:
    seen = PLANS["edited"][0]
    [update] = planned(seen)
    assert isinstance(update, UpdateSchedule)

    status = told(seen, Outcome(update, "Done", schedule=schedule(made="made-2")))

    assert status["schedule"] == {
        "id": PIPELINE.schedule,
        "wished": update.wish.hash(),
        "made": "made-2",
        "driftRepaired": 0,
    }


@pytest.mark.parametrize(("key", "after"), [("sql", QUERIES_ANEW), ("other", WHILE_WAITING)])
def test_queries_in_config_maps_are_read_again_by_itself(key: str, after: timedelta) -> None:
    queries = Queries((("queries", "sql"),), (("queries", ((key, "SELECT 1"),)),))
    assert LookAgain(after) in planned(observed(settled(), schedule(), queries=queries))


def test_a_conflict_writes_no_status() -> None:
    seen = PLANS["edited"][0]
    [update] = planned(seen)

    assert report(desire(seen, SETTINGS), seen, [Outcome(update, "Conflict")], NOW) is None


@pytest.mark.parametrize(
    ("action", "result", "expected"),
    [
        (PLANS["new"][0], "Refused", ("False", said.INVALID_SCHEDULE)),
        (PLANS["new"][0], "Unreachable", ("False", said.TEMPORAL_UNREACHABLE)),
        (PLANS["suspended"][0], "Unreachable", ("False", said.TEMPORAL_UNREACHABLE)),
    ],
)
def test_what_didnt_go_through_shows(action: Observed, result: Any, expected: tuple[str, str]) -> None:
    failed = Outcome(planned(action)[-1], result, "the server's own sentence")

    assert ready_of(action, failed) == expected
    found = condition(told(action, failed), said.READY)
    assert found is not None
    assert "the server's own sentence" in found["message"]
    assert "schedule" not in told(PLANS["new"][0], failed)


def test_telling_it_again_changes_nothing() -> None:
    for seen, _ in PLANS.values():
        again = Observed(
            seen.manifest | {"status": told(seen)}, seen.pool, seen.here, seen.elsewhere, seen.entry, seen.last_closed
        )
        status = report(desire(again, SETTINGS), again, (), NOW + timedelta(minutes=1))
        assert status == again.manifest["status"]


ACTION_KINDS = (
    *(AddFinalizer, RemoveFinalizer, LookAgain, CancelRun),
    *(CreateSchedule, UpdateSchedule, SetPause, DeleteSchedule),
)


def test_the_table_of_plans_has_every_action() -> None:
    assert {name for _, names in PLANS.values() for name in names} == {kind.__name__ for kind in ACTION_KINDS}
