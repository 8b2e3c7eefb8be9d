"""What a pipeline's status tells: its pauses, its runs, and since when its conditions hold."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.unit.operator_world import NOW, PIPELINE, SETTINGS, entry_of, pipeline, schedule, seen_run
from tests.unit.pipeline_world import observed, planned, settled, told
from tidemill_api import conditions as said
from tidemill_api.contract import CheckResult, ScheduleMemo, StepCount
from tidemill_operator.actions import (
    Outcome,
    SetPause,
)
from tidemill_operator.clients import Object
from tidemill_operator.pipeline.desire import desire
from tidemill_operator.pipeline.observe import There
from tidemill_operator.pipeline.report import report
from tidemill_operator.standing import condition, waits
from tidemill_operator.views import ScheduleSeen

PAUSED = {"tidemill.dev/paused": "holiday"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
OTHERS = ScheduleMemo(installation="inst", namespace="travel", name="flights", uid="uid-former")
ELSEWHERE = ("travel", "old")


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


def test_values_that_were_nulled_show_by_column() -> None:
    run = seen_run("k", result="Succeeded")
    assert run.result is not None
    steps = (
        StepCount(step="raw", rows_in=9, rows_out=9, nulled={"fare": 2, "tip": 1}),
        StepCount(step="other", rows_in=9, rows_out=9, nulled={f"c{number}": 1 for number in range(40)}),
    )

    found = told(
        observed(settled(), schedule(), last_closed=replace(run, result=run.result.model_copy(update={"steps": steps})))
    )

    claim = condition(found, said.SUCCEEDING)
    assert claim is not None
    assert "Loaded as NULL: source raw: 2 values of fare; source raw: 1 value of tip;" in claim["message"]
    assert len(found["lastRun"]["nulledValues"]) == 32
    assert found["lastRun"]["nulledValues"][-1] == "11 columns more"


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
