"""A small model of the world for the operator's decisions: manifests, and a Temporal and a Kubernetes in memory.

It isn't a mock of a component: it is what plans are applied to when only the decisions are tested.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, assert_never

from tidemill_api.contract import RunResult, ScheduleMemo, TemporalAddress
from tidemill_api.names import FINALIZER, PipelineId, content_hash
from tidemill_operator.actions import (
    Action,
    AddFinalizer,
    ApplyKeyRing,
    ApplyObject,
    CancelRun,
    CreateSchedule,
    DeleteSchedule,
    LookAgain,
    Outcome,
    RemoveFinalizer,
    SetDeletionCost,
    SetPause,
    StartRun,
    TerminateRun,
    UpdateSchedule,
)
from tidemill_operator.clients import Object, Settings
from tidemill_operator.views import ConnectionKey, RunSeen, RunState, ScheduleEntry, ScheduleSeen

OURS: Object = {"apiVersion": "tidemill.dev/v1alpha1"}
NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SETTINGS = Settings(
    installation="inst", temporal=TemporalAddress(address="temporal:7233"), image="registry.example/worker:1"
)
PIPELINE = PipelineId("inst", "travel", "flights")


def metadata(name: str, uid: str, **more: Any) -> Object:
    return {
        "name": name,
        "namespace": "travel",
        "uid": uid,
        "generation": 1,
        "resourceVersion": "1",
        "finalizers": [FINALIZER],
        **more,
    }


def generation_of(spec: Object) -> int:
    """Another spec is another generation, as on a real server: decisions remember what they read of one."""
    return int(content_hash(spec)[:7], 16) + 1


def pipeline(**changes: Any) -> Object:
    """A DataPipeline; `spec` is laid over (None takes a field away), all else goes into metadata."""
    spec: Object = {
        "workerPoolRef": {"name": "etl"},
        "schedule": {"crons": ["15 * * * *"]},
        "sources": [{"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}],
        "sinks": [
            {
                "name": "out",
                "input": "raw",
                "connection": "warehouse",
                "postgres": {"table": "public.t"},
                "writeDisposition": "Append",
            }
        ],
    }
    laid = {**spec, **changes.pop("spec", {})}
    status = changes.pop("status", None)
    spec = {name: value for name, value in laid.items() if value is not None}
    changes.setdefault("generation", generation_of(spec))
    manifest: Object = {
        **OURS,
        "kind": "DataPipeline",
        "metadata": metadata("flights", "uid-p", **changes),
        "spec": spec,
    }
    return manifest | ({"status": status} if status is not None else {})


def pool(**changes: Any) -> Object:
    """A WorkerPool, changed as `pipeline`."""
    spec: Object = {
        "connections": [
            {"name": "landing", "files": {"url": "file:///data/"}},
            {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
        ],
        "metastore": {"connection": "warehouse"},
    }
    laid = {**spec, **changes.pop("spec", {})}
    status = changes.pop("status", None)
    name = changes.pop("name", "etl")
    changes.setdefault("generation", generation_of(laid))
    manifest: Object = {**OURS, "kind": "WorkerPool", "metadata": metadata(name, "uid-w", **changes), "spec": laid}
    return manifest | ({"status": status} if status is not None else {})


def run(**changes: Any) -> Object:
    """A DataPipelineRun, changed as `pipeline`."""
    spec = {"pipelineRef": {"name": "flights"}, **changes.pop("spec", {})}
    status = changes.pop("status", None)
    manifest: Object = {
        **OURS,
        "kind": "DataPipelineRun",
        "metadata": metadata("again", "uid-r", **changes),
        "spec": spec,
    }
    return manifest | ({"status": status} if status is not None else {})


def schedule(**changes: Any) -> ScheduleSeen:
    """A Schedule of our pipeline, as described."""
    seen = ScheduleSeen(
        id=PIPELINE.schedule,
        memo=ScheduleMemo(installation="inst", namespace="travel", name="flights", uid="uid-p"),
        made="made-1",
        paused=False,
        note="",
        token=b"1",
        next_runs=(NOW - timedelta(hours=1), NOW + timedelta(hours=1), NOW + timedelta(hours=2)),
        missed=0,
        fingerprint="fingerprint-1",
        created="2026-04-01T00:00:00.000000001Z",
    )
    return replace(seen, **changes)


def seen_run(key: str = "again", **changes: Any) -> RunSeen:
    """An open run of our pipeline; with `result`, one that ended so."""
    result = changes.pop("result", None)
    seen = RunSeen(
        workflow_id=PIPELINE.workflow(key),
        run_id=f"id-{key}",
        state="Running",
        started=NOW - timedelta(minutes=10),
        closed=None,
        result=None,
    )
    if isinstance(result, str):
        told = RunResult.model_validate(
            {"pipeline": "flights", "runKey": key, "result": result, "rowsRead": 9, "rowsLoaded": 8, "rowsRejected": 1}
        )
        state: RunState = "Cancelled" if result == "Cancelled" else "Failed" if result == "Failed" else "Succeeded"
        seen = replace(seen, state=state, closed=NOW - timedelta(minutes=5), result=told)
    return replace(seen, **changes)


@dataclass
class World:
    """Objects and Schedules; `carry_out` does what `apply` does on real ones."""

    schedules: dict[tuple[ConnectionKey, str], ScheduleSeen] = field(default_factory=dict)
    runs: dict[str, RunSeen] = field(default_factory=dict)
    children: dict[str, Object] = field(default_factory=dict)
    key_rings: dict[str, Object] = field(default_factory=dict)
    writes: int = 0

    def carry_out(self, manifest: Object, actions: Sequence[Action]) -> tuple[Outcome, ...]:
        """Outcomes up to the first that isn't Done. `manifest` is changed as its finalizer is."""
        outcomes: list[Outcome] = []
        for action in actions:
            outcome = self._one(manifest, action)
            outcomes.append(outcome)
            if outcome.result != "Done":
                break
        return tuple(outcomes)

    def _one(self, manifest: Object, action: Action) -> Outcome:
        match action:
            case AddFinalizer(owner=owner):
                manifest["metadata"]["finalizers"] = [FINALIZER]
                if owner is not None:
                    manifest["metadata"]["ownerReferences"] = [owner]
            case RemoveFinalizer():
                manifest["metadata"]["finalizers"] = []
            case ApplyObject(object=child):
                self.children[child["kind"]] = copy.deepcopy(dict(child))
                return Outcome(action, "Done", object=self.children[child["kind"]])
            case ApplyKeyRing(namespace=namespace, object=secret):
                self.key_rings[namespace] = copy.deepcopy(dict(secret))
            case CreateSchedule() | UpdateSchedule() | SetPause():
                return self._write_schedule(action)
            case DeleteSchedule(connection=connection, schedule=name):
                self.schedules.pop((connection, name), None)
            case StartRun(workflow_id=workflow_id, asked_by=asked_by):
                found = self.runs.setdefault(workflow_id, seen_run(workflow_id.rpartition("/")[2], asked_by=asked_by))
                return Outcome(action, "Done", run=found)
            case CancelRun(workflow_id=workflow_id) | TerminateRun(workflow_id=workflow_id):
                self.runs[workflow_id] = replace(self.runs[workflow_id], state="Cancelled", closed=NOW)
            case LookAgain() | SetDeletionCost():
                pass
            case _:
                assert_never(action)
        return Outcome(action, "Done")

    def _write_schedule(self, action: CreateSchedule | UpdateSchedule | SetPause) -> Outcome:
        name = action.schedule if isinstance(action, SetPause) else action.wish.id
        place = (action.connection, name)
        found = self.schedules.get(place)
        if isinstance(action, CreateSchedule):
            if found is not None:
                return Outcome(action, "Conflict", "it is there")
        elif found is None or found.token != action.token:
            return Outcome(action, "Conflict", "changed in between")
        self.writes += 1
        if isinstance(action, SetPause):
            assert found is not None
            made, memo = found.made, found.memo
        else:
            made, memo = f"made of {action.wish.hash()}", found.memo if found else action.wish.memo
        self.schedules[place] = schedule(
            id=name,
            memo=memo,
            made=made,
            paused=action.paused,
            note=action.note,
            token=f"token {self.writes}".encode(),
            fingerprint=content_hash([made, action.paused, action.note]),
            created=found.created if found is not None else f"at write {self.writes}",
        )
        return Outcome(action, "Done", schedule=self.schedules[place])


def entry_of(seen: ScheduleSeen) -> ScheduleEntry:
    """The Schedule as a listing shows it."""
    return ScheduleEntry(seen.id, seen.memo, seen.paused, seen.note, seen.next_runs, seen.fingerprint)
