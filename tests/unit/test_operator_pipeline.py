"""A pipeline's decisions: what is wished, planned and told, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, entry_of, pipeline, pool, schedule, seen_run
from tidemill_api import conditions as said
from tidemill_api.contract import CheckResult, ScheduleMemo
from tidemill_api.v1alpha1 import DataPipelineStatus
from tidemill_operator.actions import (
    Action,
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
from tidemill_operator.clients import Object
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.plan import plan
from tidemill_operator.pipeline.report import report
from tidemill_operator.standing import condition, waits
from tidemill_operator.views import ScheduleSeen

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
RELEASE = {"tidemill.dev/release": "true"}
CALLED_OFF = {"tidemill.dev/cancel": "a,c"}
PAUSED = {"tidemill.dev/paused": "holiday"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
OTHERS = ScheduleMemo(installation="inst", namespace="travel", name="flights", uid="uid-former")
ELSEWHERE = ("travel", "old")


def observed(
    manifest: Object | None = None, found: ScheduleSeen | None = None, /, *, with_pool: bool = True, **more: Any
) -> Observed:
    here = There(None, schedule=found, **{name: more.pop(name) for name in ("trouble", "open_runs") if name in more})
    return Observed(manifest or pipeline(), more.pop("pool", pool()) if with_pool else None, here, **more)


def settled(**changes: Any) -> Object:
    """A pipeline whose Schedule was made as it is wished now."""
    plain = pipeline(**changes)
    wished = desire(observed(plain), SETTINGS).reading.wish_hash
    return plain | {"status": {"schedule": {"id": PIPELINE.schedule, "wished": wished, "made": "made-1"}}}


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


def kinds(actions: tuple[Action, ...]) -> list[str]:
    return [type(action).__name__ for action in actions]


def told(seen: Observed, *outcomes: Outcome) -> Object:
    status = report(desire(seen, SETTINGS), seen, outcomes, NOW)
    assert status is not None
    DataPipelineStatus.model_validate(status)
    return status


def ready_of(seen: Observed, *outcomes: Outcome) -> tuple[str, str]:
    found = condition(told(seen, *outcomes), said.READY)
    assert found is not None
    return found["status"], found["reason"]


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


# Pauses

PAUSES = {
    "suspend": (pipeline(spec={"suspend": True}), schedule(), (True, "tidemill: suspended")),
    "annotation": (pipeline(annotations=PAUSED), schedule(), (True, "tidemill: paused by annotation: holiday")),
    "both": (pipeline(annotations=PAUSED, spec={"suspend": True}), schedule(), (True, "tidemill: suspended")),
    "resumed": (pipeline(), schedule(paused=True, note="tidemill: suspended"), (False, "tidemill: resumed")),
    "lifted by hand though suspended": (
        pipeline(spec={"suspend": True}),
        schedule(note="resumed by ann"),
        (True, "tidemill: suspended"),
    ),
    "another annotation": (
        pipeline(annotations=PAUSED),
        schedule(paused=True, note="tidemill: paused by annotation: old"),
        (True, "tidemill: paused by annotation: holiday"),
    ),
}


@pytest.mark.parametrize("name", PAUSES)
def test_a_pause_of_ours_comes_and_goes(name: str) -> None:
    manifest, found, (paused, note) = PAUSES[name]
    wished = desire(observed(manifest), SETTINGS).reading.wish_hash
    manifest = manifest | {"status": {"schedule": {"id": PIPELINE.schedule, "wished": wished, "made": "made-1"}}}

    [action] = planned(observed(manifest, found))

    assert isinstance(action, SetPause)
    assert (action.paused, action.note.startswith(note)) == (paused, True)


@pytest.mark.parametrize(
    ("manifest", "found", "expected"),
    [
        (settled(), schedule(), None),
        (settled(spec={"suspend": True}), schedule(paused=True, note="tidemill: suspended"), None),
        (settled(), schedule(paused=True, note="by hand"), {"by": "Temporal", "note": "by hand"}),
        (settled(), schedule(paused=True), {"by": "Temporal", "note": ""}),
        (
            settled(annotations=PAUSED),
            schedule(paused=True, note="tidemill: x"),
            {"by": "Annotation", "note": "holiday"},
        ),
        (settled(annotations=PAUSED), schedule(paused=True, note="by hand"), {"by": "Temporal", "note": "by hand"}),
    ],
)
def test_a_pause_that_git_doesnt_know_of_shows(
    manifest: Object, found: ScheduleSeen, expected: dict[str, str] | None
) -> None:
    status = told(observed(manifest, found))
    claim = condition(status, said.PAUSED)

    assert status.get("paused") == expected
    assert (claim["reason"] if claim else None) == (expected["by"] if expected else None)


# Runs


def test_next_runs_are_those_to_come_of_whoever_is_newer() -> None:
    found = schedule()
    assert told(observed(settled(), found))["nextRuns"] == ["2026-05-01T13:00:00Z", "2026-05-01T14:00:00Z"]

    later = entry_of(schedule(next_runs=(NOW + timedelta(hours=3),)))
    assert told(observed(settled(), found, entry=later))["nextRuns"] == ["2026-05-01T15:00:00Z"]
    stale = entry_of(schedule(next_runs=(NOW + timedelta(hours=3),), fingerprint="of before the edit"))
    assert told(observed(settled(), found, entry=stale))["nextRuns"][0] == "2026-05-01T13:00:00Z"
    assert "nextRuns" not in told(observed(settled(), schedule(paused=True)))


@pytest.mark.parametrize(
    ("result", "status", "reason"),
    [
        ("Succeeded", "True", said.SUCCEEDED),
        ("Failed", "False", said.FAILED),
        ("Skipped", "Unknown", said.NO_RUN_YET),
        ("Cancelled", "Unknown", said.NO_RUN_YET),
    ],
)
def test_the_last_run_shows(result: str, status: str, reason: str) -> None:
    found = told(observed(settled(), schedule(), last_closed=seen_run("k", result=result)))
    claim = condition(found, said.SUCCEEDING)

    assert claim is not None
    assert (claim["status"], claim["reason"]) == (status, reason)
    assert found["lastRun"]["result"] == result
    assert found["lastRun"]["rowsLoaded"] == 8


def test_checks_that_warn_show() -> None:
    run = seen_run("k", result="Succeeded")
    assert run.result is not None
    warned = CheckResult(
        check="volume", sink="out", metric="rowCount", severity="Warn", passed=False, message="too few"
    )
    run = replace(run, result=run.result.model_copy(update={"failed_checks": (warned,)}))

    found = told(observed(settled(), schedule(), last_closed=run))

    claim = condition(found, said.SUCCEEDING)
    assert claim is not None
    assert claim["status"] == "True"
    assert claim["message"].endswith("Check volume (Warn): too few.")
    assert found["lastRun"]["failedChecks"] == ["volume (Warn): too few"]


def test_a_skipped_run_doesnt_hide_a_failure() -> None:
    manifest = settled()
    failed = told(observed(manifest, schedule(), last_closed=seen_run("k", result="Failed")))
    manifest = manifest | {"status": failed | {"schedule": manifest["status"]["schedule"]}}

    status = told(observed(manifest, schedule(), last_closed=seen_run("l", result="Skipped", closed=NOW)))

    claim = condition(status, said.SUCCEEDING)
    assert claim is not None
    assert claim["status"] == "False"
    assert status["lastRun"]["key"] == "l"


def test_a_run_that_temporal_has_forgotten_stays_told() -> None:
    manifest = settled()
    manifest["status"]["lastRun"] = told(observed(manifest, last_closed=seen_run("k", result="Succeeded")))["lastRun"]

    assert told(observed(manifest, schedule()))["lastRun"] == manifest["status"]["lastRun"]
    older = seen_run("j", result="Failed", closed=NOW - timedelta(days=1))
    assert told(observed(manifest, schedule(), last_closed=older))["lastRun"] == manifest["status"]["lastRun"]


def test_a_run_of_a_former_pipeline_of_this_name_isnt_ours() -> None:
    former = seen_run("k", result="Failed", pipeline=OTHERS)

    assert "lastRun" not in told(observed(settled(), schedule(), last_closed=former))
    adopting = settled(annotations={"tidemill.dev/adopt-uid": "uid-former"})
    assert told(observed(adopting, schedule(), last_closed=former))["lastRun"]["key"] == "k"


def test_why_a_run_failed_stays_told_though_listings_dont_say_it() -> None:
    manifest = settled()
    explained = seen_run("k", state="Failed", closed=NOW, error="SinkRefused: disk full")
    manifest["status"]["lastRun"] = told(observed(manifest, schedule(), last_closed=explained))["lastRun"]

    status = told(observed(manifest, schedule(), last_closed=replace(explained, error="Failed: no result")))

    assert status["lastRun"]["error"] == "SinkRefused: disk full"


def test_open_runs_show_with_their_keys() -> None:
    scheduled = seen_run("x", workflow_id=f"{PIPELINE.scheduled_workflow}-2026-05-01T11:15:00Z", started=NOW)
    status = told(observed(settled(), schedule(), open_runs=(scheduled, seen_run("by-hand"))))

    assert [run["key"] for run in status["activeRuns"]] == ["by-hand", "2026-05-01T11:15:00Z"]
    assert {run["result"] for run in status["activeRuns"]} == {"Running"}


def test_another_name_for_the_same_temporal_is_written_down() -> None:
    manifest = settled()
    manifest["status"]["schedule"]["connection"] = "former"

    assert "connection" not in told(observed(manifest, schedule()))["schedule"]
    unsure = There(("travel", "former"), trouble=UNREACHABLE)
    assert told(observed(manifest, schedule(), elsewhere=(unsure,)))["schedule"]["connection"] == "former"


def test_a_move_that_an_earlier_pass_began_is_written_down() -> None:
    """The operator died between making the new Schedule and deleting the former one."""
    manifest = settled()
    manifest["status"]["schedule"]["connection"] = ELSEWHERE[1]
    seen = observed(manifest, schedule(), elsewhere=(There(ELSEWHERE, schedule=schedule(created="before")),))
    [delete] = planned(seen)

    assert told(seen, Outcome(delete, "Done"))["schedule"] == {
        name: value for name, value in manifest["status"]["schedule"].items() if name != "connection"
    }
    without = observed(manifest, elsewhere=seen.elsewhere)
    assert "schedule" not in told(without, Outcome(delete, "Done"))


# Conditions


def test_a_condition_keeps_its_time_while_its_status_lasts() -> None:
    manifest = settled()
    manifest["status"] |= told(observed(manifest, schedule()))
    later = NOW + timedelta(hours=1)
    suspended = settled(spec={"suspend": True}) | {"status": manifest["status"]}
    seen = observed(suspended, schedule(paused=True, note="tidemill: s"))

    status = report(desire(seen, SETTINGS), seen, (), later)

    assert status is not None
    claim = condition(status, said.READY)
    assert claim is not None
    assert (claim["reason"], claim["lastTransitionTime"]) == (said.SUSPENDED, "2026-05-01T12:00:00Z")


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
