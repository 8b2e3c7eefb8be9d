"""The decisions for runs by hand and for connections, as tables."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.unit.operator_world import NOW, OURS, SETTINGS, metadata, pipeline, pool, run, seen_run
from tests.unit.test_operator_certificates import pair
from tidemill_api import conditions as said
from tidemill_api.contract import BackfillProgress, RunInput
from tidemill_api.v1alpha1 import DataPipelineRunStatus, TemporalConnectionStatus
from tidemill_operator.actions import Action, AddFinalizer, Outcome, StartRun
from tidemill_operator.clients import Object
from tidemill_operator.connection import desire as connection_desire
from tidemill_operator.connection import observe as connection_observe
from tidemill_operator.connection import plan as connection_plan
from tidemill_operator.connection import report as connection_report
from tidemill_operator.connection.resolve import resolve_manifest
from tidemill_operator.run.desire import desire
from tidemill_operator.run.observe import Observed
from tidemill_operator.run.plan import plan
from tidemill_operator.run.report import report
from tidemill_operator.standing import condition, stalled, waits
from tidemill_operator.views import ConnectionPendingError, TemporalTarget

GOING = {"deletionTimestamp": "2026-05-01T11:59:00Z"}
RELEASE = {"tidemill.dev/release": "true"}
CALLED_OFF = {"tidemill.dev/cancel": "wrong files"}
UNREACHABLE = waits(said.TEMPORAL_UNREACHABLE, "Temporal at t:7233 can't be reached: refused")
OWNER = {"apiVersion": "tidemill.dev/v1alpha1", "kind": "DataPipeline", "name": "flights", "uid": "uid-p"}
NEW: Object = {"finalizers": []}
STARTED = {"status": {"phase": "Running", "run": {"key": "again", "result": "Running", "workflowId": "w"}}}
CANCELS = pipeline(**GOING, spec={"deletionPolicy": "Cancel"})
REPLACED = {
    "name": "flights",
    "input": "raw",
    "connection": "warehouse",
    "postgres": {"table": "public.flights"},
    "writeDisposition": "Replace",
}
VERSIONED = {**REPLACED, "writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "SCD2"}
WITH_PARAMETER = pipeline(spec={"parameters": [{"name": "carrier", "type": "string", "default": ""}]})


def over(phase: str) -> Object:
    return {"status": {"phase": phase, "run": {"key": "again", "result": phase, "workflowId": "w"}}}


def observed(manifest: Object | None = None, /, **more: Any) -> Observed:
    fields: dict[str, Any] = {"pipeline": pipeline(), "pool": pool(), **more}
    return Observed(manifest or run(), **fields)


def planned(seen: Observed) -> tuple[Action, ...]:
    return plan(desire(seen, SETTINGS), seen, NOW)


def told(seen: Observed, *outcomes: Outcome) -> Object:
    status = report(desire(seen, SETTINGS), seen, outcomes, NOW)
    assert status is not None
    DataPipelineRunStatus.model_validate(status)
    return status


PLANS: dict[str, tuple[Observed, list[str]]] = {
    "new": (observed(run(**NEW)), ["AddFinalizer", "StartRun"]),
    "not yet its pipeline's": (observed(run()), ["AddFinalizer", "StartRun"]),
    "prepared": (observed(run(ownerReferences=[OWNER])), ["StartRun"]),
    "suspended pipelines run by hand": (
        observed(run(ownerReferences=[OWNER]), pipeline=pipeline(spec={"suspend": True})),
        ["StartRun"],
    ),
    "no pipeline": (observed(pipeline=None, pool=None), []),
    "pipeline on its way out": (observed(pipeline=pipeline(**GOING)), []),
    "pipeline invalid": (observed(pipeline=pipeline(spec={"schedule": {"crons": ["99 * * * *"]}})), []),
    "no pool": (observed(pool=None), []),
    "unknown parameter": (observed(run(spec={"parameters": {"carrier": "UA"}})), []),
    "known parameter": (
        observed(run(ownerReferences=[OWNER], spec={"parameters": {"carrier": "UA"}}), pipeline=WITH_PARAMETER),
        ["StartRun"],
    ),
    "unreachable": (observed(trouble=UNREACHABLE), ["LookAgain"]),
    "open": (observed(run(**STARTED), run=seen_run()), []),
    "just ended": (observed(run(**STARTED), run=seen_run(result="Succeeded")), ["LookAgain"]),
    "forgotten by Temporal": (observed(run(**STARTED), lost=True), ["LookAgain"]),
    "over": (observed(run(**over("Succeeded"))), ["RemoveFinalizer"]),
    "failed and over": (observed(run(**over("Failed"))), ["RemoveFinalizer"]),
    "over and let go": (observed(run(**over("Failed"), **NEW)), []),
    "over, status of the workflow aside": (observed(run(**over("Failed"), **NEW), run=seen_run()), []),
    "going": (observed(run(**GOING)), ["RemoveFinalizer"]),
    "going, open": (observed(run(**GOING, **STARTED), run=seen_run()), ["CancelRun", "LookAgain"]),
    "going, ended": (observed(run(**GOING, **STARTED), run=seen_run(result="Failed")), ["RemoveFinalizer"]),
    "going with its pipeline, Wait": (
        observed(run(**GOING, **STARTED), run=seen_run(), pipeline=pipeline(**GOING)),
        ["LookAgain"],
    ),
    "going with its pipeline, Cancel": (
        observed(
            run(**GOING, **STARTED), run=seen_run(), pipeline=pipeline(**GOING, spec={"deletionPolicy": "Cancel"})
        ),
        ["CancelRun", "LookAgain"],
    ),
    "going, unreachable": (observed(run(**GOING, **STARTED), trouble=UNREACHABLE), ["LookAgain"]),
    "going, unreachable, released": (
        observed(run(**GOING, **STARTED, annotations=RELEASE), trouble=UNREACHABLE),
        ["RemoveFinalizer"],
    ),
    "cancelled, new": (observed(run(**NEW, annotations=CALLED_OFF)), ["LookAgain"]),
    "cancelled, prepared": (observed(run(annotations=CALLED_OFF)), ["LookAgain"]),
    "cancelled, prepared, and its pool is gone": (observed(run(annotations=CALLED_OFF), pool=None), []),
    "cancelled, open": (
        observed(run(**STARTED, annotations=CALLED_OFF), run=seen_run()),
        ["CancelRun", "LookAgain"],
    ),
    "cancelled, ended": (
        observed(run(**STARTED, annotations=CALLED_OFF), run=seen_run(result="Cancelled")),
        ["LookAgain"],
    ),
    "cancelled too late": (observed(run(**over("Succeeded"), **NEW, annotations=CALLED_OFF)), []),
    "cancelled, unreachable": (
        observed(run(**STARTED, annotations=CALLED_OFF), trouble=UNREACHABLE),
        ["LookAgain"],
    ),
    "going, left alone": (observed(run(**GOING, **NEW), run=seen_run()), []),
}


@pytest.mark.parametrize("name", PLANS)
def test_the_plan(name: str) -> None:
    seen, expected = PLANS[name]

    assert [type(action).__name__ for action in planned(seen)] == expected


STANDINGS: dict[str, tuple[Observed, str, str, str, str]] = {
    "no pipeline": (PLANS["no pipeline"][0], "Pending", "False", said.WAITING_FOR_PIPELINE, "DataPipeline flights"),
    "invalid": (PLANS["pipeline invalid"][0], "Pending", "False", said.WAITING_FOR_PIPELINE, "spec.schedule.crons[0]"),
    "no pool": (PLANS["no pool"][0], "Pending", "False", said.WAITING_FOR_POOL, "WorkerPool etl"),
    "parameter": (PLANS["unknown parameter"][0], "Pending", "False", said.INVALID_SPEC, "spec.parameters.carrier"),
    "unreachable": (PLANS["unreachable"][0], "Pending", "False", said.TEMPORAL_UNREACHABLE, "refused"),
    "open": (PLANS["open"][0], "Running", "False", said.RUNNING, "open"),
    "ended": (PLANS["just ended"][0], "Succeeded", "True", said.SUCCEEDED, "8 rows loaded, 1 rejected"),
    "failed": (
        observed(run(**STARTED), run=seen_run(state="Failed", closed=NOW, error="SinkRefused: disk full")),
        *("Failed", "False", said.FAILED, "SinkRefused: disk full"),
    ),
    "skipped": (observed(run(), run=seen_run(result="Skipped")), "Skipped", "False", said.SKIPPED, "Skipped"),
    "cancelled": (observed(run(), run=seen_run(result="Cancelled")), "Cancelled", "False", said.CANCELLED, "Cancelled"),
    "lost": (PLANS["forgotten by Temporal"][0], "Failed", "False", said.FAILED, "knows nothing"),
    "another's": (
        observed(run(), run=seen_run(result="Succeeded", asked_by="uid-former")),
        *("Succeeded", "True", said.SUCCEEDED, "choose another name"),
    ),
    "called off": (PLANS["cancelled, new"][0], "Cancelled", "False", said.CANCELLED, "before it began: wrong files"),
    "called off, open": (PLANS["cancelled, open"][0], "Running", "False", said.RUNNING, "open"),
    "called off, unreachable": (
        PLANS["cancelled, unreachable"][0],
        *("Running", "False", said.TEMPORAL_UNREACHABLE, "refused"),
    ),
    "going": (PLANS["going, open"][0], "Running", "False", said.WAITING_FOR_RUNS, "is cancelled"),
    "going, unreachable": (PLANS["going, unreachable"][0], "Running", "False", said.TEMPORAL_UNREACHABLE, "release"),
}


@pytest.mark.parametrize("name", STANDINGS)
def test_how_it_stands(name: str) -> None:
    seen, phase, status, reason, words = STANDINGS[name]

    found = told(seen)
    claim = condition(found, said.READY)

    assert found["phase"] == phase
    assert claim is not None
    assert (claim["status"], claim["reason"]) == (status, reason)
    assert words in claim["message"]


def test_a_run_begins_with_its_name_as_key() -> None:
    seen = PLANS["known parameter"][0]

    [start] = planned(seen)

    assert isinstance(start, StartRun)
    assert start.workflow_id == "inst/travel/flights/again"
    assert start.task_queue == "inst/travel/etl"
    assert (start.asked_by, start.pipeline.uid) == ("uid-r", "uid-p")
    assert (start.input["runKey"], start.input["trigger"]) == ("again", "Manual")
    assert start.input["parameters"] == {"carrier": "UA"}
    status = told(seen, Outcome(start, "Done", run=seen_run()))
    assert status["phase"] == "Running"
    assert status["run"]["workflowId"] == start.workflow_id


def test_a_replay_says_what_it_replays() -> None:
    asked = {"deadLetters": {"step": "valid", "since": "24h", "ids": [7]}}
    seen = observed(run(ownerReferences=[OWNER], spec={"replay": asked}))

    [start] = planned(seen)

    assert isinstance(start, StartRun)
    assert (start.input["replay"], start.input["runKey"]) == (asked, "again")


BACKFILL = {"start": "2026-01-01T00:00:00Z", "end": "2026-02-01T00:00:00Z", "concurrency": 4, "reprocess": "Failed"}
HOURLY = pipeline(spec={"schedule": {"crons": ["15 * * * *"], "timeZone": "America/New_York", "overlapPolicy": "Skip"}})


def test_a_backfill_is_a_workflow_of_its_own() -> None:
    seen = observed(run(ownerReferences=[OWNER], spec={"backfill": BACKFILL}), pipeline=HOURLY)

    [start] = planned(seen)

    assert isinstance(start, StartRun)
    assert (start.workflow, start.workflow_id) == ("DataPipelineBackfill", "inst/travel/flights/again")
    assert {name: start.input[name] for name in BACKFILL} == BACKFILL
    order = RunInput.model_validate(start.input["run"])
    assert (order.run_key, order.uid, order.schedule) == (
        "again",
        "uid-p",
        {"crons": ["15 * * * *"], "timeZone": "America/New_York"},
    )


def test_a_backfill_of_partitions() -> None:
    sinks = [{**REPLACED, "partitionBy": ["day"]}]
    schedule = {"crons": ["15 * * * *"]}
    seen = observed(
        run(ownerReferences=[OWNER], spec={"backfill": BACKFILL}),
        pipeline=pipeline(spec={"schedule": schedule, "sinks": sinks}),
    )

    assert [type(action).__name__ for action in planned(seen)] == ["StartRun"]


def test_a_backfill_by_every_names_its_own_times() -> None:
    asked = {**BACKFILL, "every": "1d", "start": "2026-01-01T06:00:00Z"}
    seen = observed(run(ownerReferences=[OWNER], spec={"backfill": asked}), pipeline=pipeline(spec={"schedule": None}))

    [start] = planned(seen)

    assert isinstance(start, StartRun)
    assert start.input["run"]["schedule"] == {"intervals": [{"every": "1d", "offset": "0d21600s"}]}


@pytest.mark.parametrize(
    ("asked", "of", "field", "says"),
    [
        (BACKFILL, {"schedule": None}, "spec.backfill.every", "is missing: the pipeline has no schedule"),
        ({**BACKFILL, "every": "1d"}, {}, "spec.backfill.every", "leave it out"),
        (BACKFILL, {"sinks": [REPLACED]}, "spec.backfill", "replaces the whole table with each run"),
        (BACKFILL, {"sinks": [VERSIONED]}, "spec.backfill", "one of the past can't be put in between"),
    ],
)
def test_a_backfill_that_cant_be(asked: Object, of: Object, field: str, says: str) -> None:
    schedule = {"schedule": {"crons": ["15 * * * *"]}}
    seen = observed(run(spec={"backfill": asked}), pipeline=pipeline(spec={**schedule, **of}))

    assert planned(seen) == ()
    claim = condition(told(seen), said.READY)
    assert claim is not None
    assert claim["reason"] == said.INVALID_SPEC
    assert claim["message"].startswith(f"{field}: ")
    assert says in claim["message"]


def test_the_progress_of_a_backfill() -> None:
    progress = BackfillProgress(
        total=31, succeeded=9, failed=1, skipped=2, running=4, next="2026-01-17T05:00:00Z", failed_keys=("k",)
    )
    seen = observed(run(**STARTED, spec={"backfill": BACKFILL}), run=seen_run(backfill=progress), pipeline=HOURLY)

    found = told(seen)

    assert found["backfill"] == {
        "total": 31,
        "succeeded": 9,
        "failed": 1,
        "skipped": 2,
        "running": 4,
        "next": "2026-01-17T05:00:00Z",
        "failedKeys": ["k"],
    }
    claim = condition(found, said.READY)
    assert claim is not None
    assert claim["message"] == ("12 of 31 runs are done (1 failed, 2 left out), 4 open, next 2026-01-17T05:00:00Z.")


def test_a_run_can_process_a_key_again() -> None:
    key = "2026-01-01T04:15:00Z"
    seen = observed(run(ownerReferences=[OWNER], spec={"runKey": key}))

    [start] = planned(seen)

    assert isinstance(start, StartRun)
    assert (start.workflow_id, start.input["runKey"]) == ("inst/travel/flights/again", key)
    assert told(seen, Outcome(start, "Done", run=seen_run()))["run"]["key"] == key


def test_a_run_belongs_to_its_pipeline() -> None:
    add, _ = planned(PLANS["new"][0])

    assert isinstance(add, AddFinalizer)
    assert add.owner == OWNER


def test_the_end_of_a_run_is_never_rewritten() -> None:
    for phase in ("Succeeded", "Failed", "Skipped", "Cancelled"):
        seen = observed(run(**over(phase)), run=seen_run(), pipeline=None)
        assert report(desire(seen, SETTINGS), seen, (), NOW) is None


def test_telling_it_again_changes_nothing() -> None:
    for seen, *_ in STANDINGS.values():
        again = replace(seen, manifest=seen.manifest | {"status": told(seen)})
        status = report(desire(again, SETTINGS), again, (), NOW + timedelta(minutes=1))
        assert status in (None, again.manifest["status"])


# Connections


def connection(**changes: Any) -> Object:
    spec = {"address": "t:7233", **changes.pop("spec", {})}
    return {**OURS, "kind": "TemporalConnection", "metadata": metadata("default", "uid-c", **changes), "spec": spec}


def seen_connection(manifest: Object, **more: Any) -> connection_observe.Observed:
    return connection_observe.Observed(manifest, **{"server_version": "1.32.0", "trouble": None, "pools": (), **more})


NO_SECRET = waits(said.WAITING_FOR_SECRET, "spec.tls.secretRef: the Secret tls isn't in this namespace (yet)")
CONNECTIONS: dict[str, tuple[connection_observe.Observed, list[str], tuple[str, str]]] = {
    "new": (seen_connection(connection(finalizers=[])), ["AddFinalizer"], ("True", said.CONNECTED)),
    "connected": (seen_connection(connection()), [], ("True", said.CONNECTED)),
    "no Secret": (
        seen_connection(connection(), server_version=None, trouble=NO_SECRET),
        ["LookAgain"],
        ("False", said.WAITING_FOR_SECRET),
    ),
    "unreachable": (
        seen_connection(connection(), server_version=None, trouble=UNREACHABLE),
        ["LookAgain"],
        ("False", said.TEMPORAL_UNREACHABLE),
    ),
    "garbage in its Secret": (
        seen_connection(connection(), server_version=None, trouble=stalled(said.INVALID_SECRET, "tls.key")),
        ["LookAgain"],
        ("False", said.INVALID_SECRET),
    ),
    "going, used": (seen_connection(connection(**GOING), pools=("etl",)), [], ("False", said.WAITING_FOR_POOL)),
    "going": (seen_connection(connection(**GOING)), ["RemoveFinalizer"], ("False", said.WAITING_FOR_POOL)),
    "going, used, released": (
        seen_connection(connection(**GOING, annotations=RELEASE), pools=("etl",)),
        ["RemoveFinalizer"],
        ("False", said.WAITING_FOR_POOL),
    ),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_a_connection(name: str) -> None:
    seen, expected, ready = CONNECTIONS[name]
    desired = connection_desire.desire(seen, SETTINGS)

    status = connection_report.report(desired, seen, (), NOW)

    assert [type(action).__name__ for action in connection_plan.plan(desired, seen, NOW)] == expected
    assert status is not None
    TemporalConnectionStatus.model_validate(status)
    claim = condition(status, said.READY)
    assert claim is not None
    assert (claim["status"], claim["reason"]) == ready
    again = replace(seen, manifest=seen.manifest | {"status": status})
    assert connection_report.report(desired, again, (), NOW + timedelta(minutes=1)) == status


class Secrets:
    """The one thing that resolving asks of the API server."""

    def __init__(self, **secrets: dict[str, str]) -> None:
        self._secrets = secrets

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        assert (kind, namespace) == ("Secret", "travel")
        if name not in self._secrets:
            return None
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in self._secrets[name].items()}}


TLS = {"tls": {"secretRef": {"name": "tls"}}}
API_KEY = {"apiKey": {"secretKeyRef": {"name": "cloud", "key": "token"}}}
PAIR = pair()
CERTIFICATE, KEY = (PAIR[name].encode() for name in ("tls.crt", "tls.key"))


@pytest.mark.parametrize(
    ("spec", "secrets", "expected"),
    [
        ({}, {}, TemporalTarget("t:7233")),
        ({"tls": {}}, {}, TemporalTarget("t:7233", tls=True)),
        (TLS, {"tls": PAIR}, TemporalTarget("t:7233", tls=True, cert=CERTIFICATE, key=KEY)),
        (
            {"namespace": "n", **TLS},
            {"tls": {**PAIR, "ca.crt": PAIR["tls.crt"]}},
            TemporalTarget("t:7233", "n", tls=True, ca=CERTIFICATE, cert=CERTIFICATE, key=KEY),
        ),
        (API_KEY, {"cloud": {"token": "secret\n"}}, TemporalTarget("t:7233", tls=True, api_key="secret")),
    ],
)
async def test_a_connection_is_resolved(spec: Object, secrets: Object, expected: TemporalTarget) -> None:
    assert await resolve_manifest(connection(spec=spec), Secrets(**secrets)) == expected


@pytest.mark.parametrize(
    ("spec", "secrets", "reason", "words"),
    [
        (TLS, {}, said.WAITING_FOR_SECRET, "spec.tls.secretRef: the Secret tls isn't"),
        (TLS, {"tls": {"tls.crt": "c"}}, said.WAITING_FOR_SECRET, "has no key tls.key"),
        (
            API_KEY,
            {"cloud": {}},
            said.WAITING_FOR_SECRET,
            "spec.apiKey.secretKeyRef: the Secret cloud has no key",
        ),
        ({"address": "nonsense"}, {}, said.INVALID_SPEC, "spec.address"),
    ],
)
async def test_what_a_connection_lacks_is_named(spec: Object, secrets: Object, reason: str, words: str) -> None:
    with pytest.raises(ConnectionPendingError, match=words.replace("(", r"\(")) as raised:
        await resolve_manifest(connection(spec=spec), Secrets(**secrets))

    assert raised.value.reason == reason


def test_no_secret_is_ever_printed() -> None:
    target = TemporalTarget("t:7233", ca=b"hush", cert=b"hush", key=b"hush", api_key="hush")

    assert "hush" not in repr(target)
