"""Kubernetes Events: which transitions are worth one (pure), and how they are posted (never in the way of the work)."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

from tidemill_api.conditions import IMAGE_UNAVAILABLE, PODS_REFUSED, READY, STALLED, UNSCHEDULABLE, WORKERS_FAILING
from tidemill_api.errors import TidemillError
from tidemill_operator.clients import Object
from tidemill_operator.standing import counted

log: Final = logging.getLogger(__name__)

DRIFT_REPAIRED: Final = "DriftRepaired"
RUN_STARTED: Final = "RunStarted"
CHECKS_FAILED: Final = "ChecksFailed"
SCHEMA_CHANGED: Final = "SchemaChanged"
VALUES_NULLED: Final = "ValuesNulled"
SCALED: Final = "Scaled"
SCALING_ADVISED: Final = "ScalingAdvised"
SCALING_HELD: Final = "ScalingHeld"
SCALING_RESUMED: Final = "ScalingResumed"
RECONCILE_FAILED: Final = "ReconcileFailed"
RELEASED: Final = "Released"
OTHER_INSTALLATION: Final = "OtherInstallation"
_NOTE_BYTES: Final = 1000
_TROUBLES: Final = frozenset({IMAGE_UNAVAILABLE, PODS_REFUSED, UNSCHEDULABLE, WORKERS_FAILING})
"""Reasons that may pass without an edit, but seldom do."""


@dataclass(frozen=True, slots=True)
class Note:
    """An Event to be: a stable reason, a sentence, and what was going on (`action`)."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


def transitions(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[Note, ...]:
    """What changed from one status to the next that people should see. Equal statuses give none."""
    notes = (*_readiness(old, new), *_drift(old, new), *_runs(old, new), *_phase(old, new))
    return (*notes, *_scaling(old.get("scaling") or {}, new.get("scaling") or {}))


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    return next((c for c in status.get("conditions") or () if c.get("type") == kind), {})


def _readiness(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Note]:
    before, now = _condition(old, READY), _condition(new, READY)
    if not now or "phase" in new or (before.get("status"), before.get("reason")) == (now["status"], now["reason"]):
        return
    if not before and now["status"] == "True":
        return  # well since it came: the condition says so, and a thousand pipelines need no thousand Events
    bad = _condition(new, STALLED).get("status") == "True" or now["reason"] in _TROUBLES
    yield Note("Warning" if bad else "Normal", now["reason"], now.get("message", ""), "Reconcile")


def _drift(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Note]:
    before = (old.get("schedule") or {}).get("driftRepaired", 0)
    if (new.get("schedule") or {}).get("driftRepaired", 0) > before:
        yield Note("Normal", DRIFT_REPAIRED, "the Schedule was changed in Temporal and put right", "Repair")


def _scaling(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Note]:
    """A change of the number of workers, and that none is decided on because something isn't known."""
    last = next(iter(new.get("lastDecisions") or ()), None)
    if last is not None and last != next(iter(old.get("lastDecisions") or ()), None):
        change = f"{last['from']} to {last['to']} workers ({last['reason']}): {last['message']}"
        yield Note("Normal", SCALING_ADVISED if new.get("mode") == "Advise" else SCALED, change, "Scale")
    if old and bool(old.get("held")) != bool(new.get("held")):
        message = str(new.get("message", ""))
        if new.get("held"):
            yield Note("Warning", SCALING_HELD, message, "Scale")
        else:
            yield Note("Normal", SCALING_RESUMED, message, "Scale")


def decided(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[Literal["up", "down"], str]]:
    """Changes of the number of a pool's workers that were carried out: the direction, and why."""
    scaling = new.get("scaling") or {}
    last = next(iter(scaling.get("lastDecisions") or ()), None)
    before = next(iter((old.get("scaling") or {}).get("lastDecisions") or ()), None)
    if last is not None and last != before and scaling.get("mode") == "Active":
        yield "up" if last["to"] > last["from"] else "down", last["reason"]


def _runs(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Note]:
    """Runs of a pipeline. An object without a status yet has only just come to us: its old runs are no news."""
    if not old:
        return
    known = {run.get("workflowRunId") for run in (*(old.get("activeRuns") or ()), old.get("lastRun") or {})}
    for run in new.get("activeRuns") or ():
        if run.get("workflowRunId") not in known:
            yield Note("Normal", RUN_STARTED, f"run {run.get('key')} has started", "Run")
    last = new.get("lastRun") or {}
    if last and last.get("workflowRunId") != (old.get("lastRun") or {}).get("workflowRunId"):
        yield from _ended(last)


def _phase(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Note]:
    """The run of a DataPipelineRun."""
    phase = new.get("phase")
    if phase == old.get("phase") or phase is None or phase == "Pending":
        return
    if phase == "Running":
        yield Note("Normal", RUN_STARTED, "the run has started", "Run")
    else:
        yield from _ended(new.get("run") or {"result": phase, "error": _condition(new, READY).get("message")})


def _ended(run: Mapping[str, Any]) -> Iterator[Note]:
    result = run.get("result", "")
    loaded, rejected = run.get("rowsLoaded", 0), run.get("rowsRejected", 0)
    rows = f"{counted(run.get('rowsRead', 0))} read, {loaded} loaded, {rejected} rejected"
    said = f": {run['error']}" if run.get("error") else f": {rows}"
    named = f"run {run['key']}" if run.get("key") else "the run"
    yield Note("Warning" if result == "Failed" else "Normal", f"Run{result}", f"{named} {result.lower()}{said}", "Run")
    if checks := run.get("failedChecks"):
        yield Note("Warning", CHECKS_FAILED, f"{named}: {'; '.join(checks)}", "Run")
    if nulled := run.get("nulledValues"):
        yield Note("Warning", VALUES_NULLED, f"{named} has loaded as NULL: {'; '.join(nulled)}", "Run")
    if changes := run.get("schemaChanges"):
        yield Note("Normal", SCHEMA_CHANGED, f"{named}: {'; '.join(changes)}", "Run")


class Poster(Protocol):
    """The part of the API server that posting needs."""

    async def create(self, kind: str, namespace: str, manifest: Object) -> Object:
        """A new Event."""
        ...


class Events:
    """Posts notes one after the other in the background. Too many at once, and the rest is dropped (and counted)."""

    def __init__(self, poster: Poster, identity: str, most: int = 2000) -> None:
        """`most`: how many may wait."""
        self._poster = poster
        self._identity = identity
        self._queue: asyncio.Queue[tuple[Object, Note, datetime]] = asyncio.Queue(most)
        self.dropped = 0

    def add(self, regarding: Object, notes: Sequence[Note]) -> None:
        """Post these about an object, some time soon."""
        for note in notes:
            try:
                self._queue.put_nowait((regarding, note, datetime.now(UTC)))
            except asyncio.QueueFull:
                self.dropped += 1

    async def post(self) -> None:
        """Post until cancelled. An Event that can't be posted is dropped: conditions hold the truth."""
        while True:
            regarding, note, moment = await self._queue.get()
            namespace = regarding["metadata"]["namespace"]
            try:
                await self._poster.create("Event", namespace, manifest(regarding, note, self._identity, moment))
            except TidemillError as error:
                self.dropped += 1
                log.debug("can't post an Event about %s: %s", regarding["metadata"]["name"], error)


def manifest(regarding: Object, note: Note, identity: str, moment: datetime) -> Object:
    """The Event as JSON (`events.k8s.io/v1`)."""
    metadata = regarding["metadata"]
    message = note.message.encode()[:_NOTE_BYTES].decode(errors="ignore")
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name'][:220]}.{uuid.uuid4().hex[:16]}", "namespace": metadata["namespace"]},
        "eventTime": moment.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": "tidemill.dev/operator",
        "reportingInstance": identity[:128],
        "action": note.action,
        "reason": note.reason,
        "type": note.type,
        "note": message,
        "regarding": {
            "apiVersion": regarding["apiVersion"],
            "kind": regarding["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
