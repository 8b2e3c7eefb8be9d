"""What is seen in Temporal, as frozen values: the adapter makes them, observe and report read them. No I/O here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from tidemill_api.contract import BackfillProgress, RunResult, ScheduleMemo
from tidemill_api.errors import TidemillError

ConnectionKey = tuple[str, str] | None
"""Which Temporal: (namespace, name) of a TemporalConnection, or None for the operator's own."""


@dataclass(frozen=True, slots=True)
class TemporalTarget:
    """How a Temporal is reached. Equal targets share one client; it holds secrets, so it is never printed."""

    address: str
    namespace: str = "default"
    tls: bool = False
    server_name: str | None = None
    ca: bytes | None = field(default=None, repr=False)
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ScheduleEntry:
    """A Schedule as a listing shows it: cheap, for all pipelines at once, a moment behind."""

    id: str
    memo: ScheduleMemo | None
    """None: not made by a Tidemill."""
    paused: bool
    note: str
    next_runs: tuple[datetime, ...]
    fingerprint: str
    """Of all in the entry that only a write changes (spec, workflow, pause, note): differs means describe again."""


@dataclass(frozen=True, slots=True)
class ScheduleSeen:
    """A Schedule as a full description shows it."""

    id: str
    memo: ScheduleMemo | None
    """None: not made by a Tidemill."""
    made: str
    """Hash of what the server holds: spec, action and policies, without pause and note."""
    paused: bool
    note: str
    token: bytes
    """Conflict token: a write with it is refused if somebody wrote since."""
    next_runs: tuple[datetime, ...]
    missed: int
    """Runs not started within the catch-up window, since the Schedule was made."""
    fingerprint: str
    """As in `ScheduleEntry`."""
    created: str = ""
    """When it was made, to the nanosecond: two connections that lead to one Temporal show the same."""
    sealed_with: str | None = None
    """Id of the key that its runs' input is encrypted with; None if it isn't encrypted."""


RunState = Literal["Running", "Succeeded", "Failed", "Cancelled"]


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run as a listing shows it."""

    workflow_id: str
    run_id: str
    state: RunState
    """Temporal's own verdict: terminated and timed out count as Failed. Links that continued as new are left out."""
    started: datetime
    closed: datetime | None
    result: RunResult | None
    """What the run itself says it came to; None while it is open, or if it ended by force."""
    pipeline: ScheduleMemo | None = None
    """Whose run it is."""
    asked_by: str | None = None
    """For a run by hand: uid of its DataPipelineRun."""
    error: str | None = None
    """What Temporal says of a run that ended without a result of its own."""
    backfill: BackfillProgress | None = None
    """Of a backfill: how far it is."""
    task_queue: str = ""
    """Whose workers work on it."""


@dataclass(frozen=True, slots=True)
class WorkerListed:
    """A running worker as Temporal lists it, by its last heartbeat."""

    key: str
    """Of this worker; another process has another one."""
    identity: str
    """`PID@POD`."""
    task_queue: str
    beat: datetime
    """The heartbeat's time by the worker's own clock: good for telling whether there was another one, no more."""
    started: datetime
    """When it began to poll, by its own clock."""
    used: int
    """Slots for activities that are in use."""
    free: int
    processed: int
    """Activities that it has ended."""

    @property
    def pod(self) -> str:
        """Name of its pod (of its host, where there is no pod)."""
        return self.identity.rpartition("@")[2]


@dataclass(frozen=True, slots=True)
class QueueBacklog:
    """What waits on a task queue, some seconds behind."""

    count: int
    age: timedelta
    """How long the oldest one has waited."""
    added: float
    """Tasks a second that came, lately."""
    dispatched: float
    """Tasks a second that workers took, lately."""


class ConnectionPendingError(TidemillError):
    """A Temporal can't be used yet: its TemporalConnection or Secret isn't there. `reason` is a condition's."""

    retryable = True

    def __init__(self, reason: str, message: str) -> None:
        """As a condition says it."""
        super().__init__(message)
        self.reason = reason


class TemporalRefusedError(TidemillError):
    """Temporal says no to a request, in its own words; the same again is refused again."""


class TemporalConflictError(TidemillError):
    """Somebody wrote in between, or it is there already: observe anew."""

    retryable = True
