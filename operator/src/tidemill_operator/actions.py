"""What a plan is made of: every write that the operator can do, as data. `apply` carries them out, in order.

A plan that meets a refusal or an outage stops there; the next pass observes anew and plans the rest.
Every action is harmless when repeated: it carries a uid, a resourceVersion, a conflict token or an id.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from tidemill_api.contract import ScheduleMemo
from tidemill_api.names import WORKFLOW, content_hash
from tidemill_check.cron import CalendarTimes
from tidemill_operator.views import ConnectionKey, RunSeen, ScheduleSeen

JSON = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """A Kubernetes object. `uid` (and `resource_version`) are preconditions of writes."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""

    @classmethod
    def of(cls, manifest: JSON) -> ObjectRef:
        """An object as it was read, as a target of writes."""
        metadata = manifest["metadata"]
        return cls(
            manifest["apiVersion"],
            manifest["kind"],
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            metadata.get("resourceVersion", ""),
        )


# Kubernetes


@dataclass(frozen=True, slots=True)
class AddFinalizer:
    """Put our finalizer on an object, and make it belong to `owner` if one is given (an ownerReference as JSON)."""

    object: ObjectRef
    owner: JSON | None = None


@dataclass(frozen=True, slots=True)
class RemoveFinalizer:
    """Take our finalizer off. Always the last action of a plan."""

    object: ObjectRef
    left: str = ""
    """What couldn't be cleaned up, as a sentence for an Event; empty if nothing is left."""


@dataclass(frozen=True, slots=True)
class ApplyObject:
    """Server-side apply of a child (forced: its fields are ours).

    A child of that name without an ownerReference to `owner_uid` is somebody else's: never overwritten, `Refused`.
    """

    object: JSON
    owner_uid: str


@dataclass(frozen=True, slots=True)
class ApplyKeyRing:
    """Server-side apply of the Secret with the key ring of a namespace's pools, unless it is there already.

    A Secret of that name that isn't ours is never overwritten: it is fine if it holds the same ring, else `Refused`.
    """

    namespace: str
    object: JSON = field(repr=False)


# Temporal


@dataclass(frozen=True)
class ScheduleWish:
    """A Schedule as we wish it, without pause and note (people's too). Lengths in seconds, moments RFC 3339."""

    id: str
    calendars: tuple[CalendarTimes, ...]
    """Of crons and calendars, parsed: the server's grammar reads some crons otherwise."""
    intervals: tuple[tuple[float, float], ...]
    """(every, offset)"""
    exclude: tuple[CalendarTimes, ...]
    start_at: str | None
    end_at: str | None
    time_zone: str
    jitter: float
    overlap: Literal["Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"]
    catchup_window: float
    pause_on_failure: bool
    workflow_id: str
    task_queue: str
    input: JSON
    """`contract.RunInput` as JSON."""
    memo: ScheduleMemo

    def hash(self) -> str:
        """Of all that makes a difference to what runs: not of the generation, which changes with every edit."""
        return self._hash

    @functools.cached_property  # it is asked for at each step of a write: the plan, the request, the proof, the status
    def _hash(self) -> str:
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        relevant = {name: value for name, value in self.input.items() if name != "generation"}
        return content_hash({**fields, "input": relevant, "memo": None})


@dataclass(frozen=True, slots=True)
class CreateSchedule:
    """Make the Schedule. If one of that id is there, nothing is done and the plan stops."""

    connection: ConnectionKey
    wish: ScheduleWish
    paused: bool
    note: str


@dataclass(frozen=True, slots=True)
class UpdateSchedule:
    """Make the Schedule what we wish, if nobody wrote since `token` was read. Pause and note as given here."""

    connection: ConnectionKey
    wish: ScheduleWish
    paused: bool
    note: str
    token: bytes = field(repr=False)
    repairs_drift: bool = False
    """The wish is the old one: somebody changed the Schedule elsewhere."""


@dataclass(frozen=True, slots=True)
class SetPause:
    """Change pause and note alone, all else as the server has it, if nobody wrote since `token` was read."""

    connection: ConnectionKey
    schedule: str
    paused: bool
    note: str
    token: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class DeleteSchedule:
    """Delete a Schedule whose memo says that it is ours. Gone already is fine."""

    connection: ConnectionKey
    schedule: str


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start the workflow of a run by hand, of a backfill, or of a pipeline that follows others.

    One that was ever started under that id is found, never started again.
    """

    connection: ConnectionKey
    workflow_id: str
    task_queue: str
    input: JSON
    """`contract.RunInput` as JSON, or a backfill's `BackfillInput`."""
    pipeline: ScheduleMemo
    """Whose run it is."""
    asked_by: str | None
    """uid of the DataPipelineRun; None: a pipeline's own run."""
    workflow: str = WORKFLOW
    """Its type: a run's, or a backfill's."""


@dataclass(frozen=True, slots=True)
class CancelRun:
    """Ask an open run to stop at its next border. Closed already is fine."""

    connection: ConnectionKey
    workflow_id: str
    run_id: str


@dataclass(frozen=True, slots=True)
class TerminateRun:
    """End an open run that nobody can carry on. Closed already is fine."""

    connection: ConnectionKey
    workflow_id: str
    run_id: str
    why: str


@dataclass(frozen=True, slots=True)
class SetDeletionCost:
    """Say of a pod how soon it goes when there are to be fewer: the least first; None: as any other. Gone is fine."""

    namespace: str
    pod: str
    uid: str
    cost: int | None


@dataclass(frozen=True, slots=True)
class LookAgain:
    """Nothing to do now; observe again after a while, though no event may come."""

    after: timedelta


KubernetesAction = AddFinalizer | RemoveFinalizer | ApplyObject | ApplyKeyRing | SetDeletionCost
TemporalAction = CreateSchedule | UpdateSchedule | SetPause | DeleteSchedule | StartRun | CancelRun | TerminateRun
Action = KubernetesAction | TemporalAction | LookAgain


# What became of an action


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one action.

    result:
        Done: carried out.
        Refused: the API server or Temporal says no, with its own sentence; the same again is refused again.
        Conflict: somebody wrote in between, or it is there already; observe anew (soon, it isn't an error).
        Unreachable: the API server or Temporal can't be reached (retry with backoff).
    """

    action: Action
    result: Literal["Done", "Refused", "Conflict", "Unreachable"]
    message: str = ""
    schedule: ScheduleSeen | None = None
    """After Create/UpdateSchedule and SetPause: what the server made of it."""
    run: RunSeen | None = None
    """After StartRun: the run, just started or found."""
    ending: bool = False
    """Refused because the namespace is being deleted: there is nothing to mend."""
    object: JSON | None = None
    """After ApplyObject: the object as the server holds it now."""
