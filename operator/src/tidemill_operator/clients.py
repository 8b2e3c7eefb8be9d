"""What the decisions and the appliance need of the outside: settings, Kubernetes, Temporal and the store, as protocols.

No I/O here. `adapters/` implements the clients, `store.py` the store; the four kinds import this module only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tidemill_api.contract import ScheduleMemo, TemporalAddress
from tidemill_api.errors import TidemillError, Unavailable
from tidemill_api.names import WORKFLOW, PipelineId
from tidemill_codec.ring import KeyRing
from tidemill_operator.actions import ScheduleWish
from tidemill_operator.queues import Queues
from tidemill_operator.views import (
    ConnectionKey,
    QueueBacklog,
    RunSeen,
    ScheduleEntry,
    ScheduleSeen,
    TemporalTarget,
    WorkerListed,
)

Object = dict[str, Any]
"""A Kubernetes object as JSON, as the API server gave it (without managedFields). Never changed in place."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """What the queue works on: one object of one kind (`DataPipeline`, `WorkerPool`, `Deployment`, ...)."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class KeyRingOfPools:
    """How the pools get the key ring: a Secret of that name in their namespace."""

    secret: str
    settle: float
    """Seconds that a new key waits until it writes."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the decisions need of the operator's settings."""

    installation: str
    temporal: TemporalAddress | None
    """The operator's own Temporal, as the pool's workers reach it; None: every pool must name a TemporalConnection."""
    image: str
    """Image of workers whose pool names none."""
    key_ring: KeyRingOfPools | None = None
    """How the pools get the key ring; None: nothing is encrypted."""
    release_after: float = 300.0
    """Seconds for which a deletion waits for a Temporal whose credentials are gone."""


class KubernetesError(TidemillError):
    """The API server's answer, in its own words. `code` is the HTTP status, `reason` the server's (`Invalid`, ...)."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class ConflictError(KubernetesError):
    """409: the object changed since it was read, or exists already. Read again and decide again."""

    retryable = True


class RefusedError(KubernetesError):
    """400, 403, 422 and the like: an edit, a right, a quota is needed; the sentence is the server's own."""


class NamespaceEndsError(RefusedError):
    """403: the namespace is being deleted, and nothing new is made in it."""


class KubernetesUnavailable(Unavailable):
    """The API server can't be reached, is overloaded or timed out."""


class Kubernetes(Protocol):
    """The API server, raw JSON in and out. Raises KubernetesError or KubernetesUnavailable."""

    async def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The object as it is now, or None if the server says 404."""
        ...

    async def select(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = "", most: int = 100
    ) -> tuple[Object, ...]:
        """Some objects of a namespace by label and field selectors, `most` at most, in the order of their names."""
        ...

    async def apply(self, kind: str, manifest: Object) -> Object:
        """Server-side apply with our field manager, forced.

        With `metadata.uid` set it raises ConflictError if the object of that name is another one, or gone.
        """
        ...

    async def merge(self, kind: str, namespace: str, name: str, patch: Object, *, status: bool = False) -> Object:
        """JSON merge patch of the object, or of its status; `metadata.resourceVersion` in it is a precondition."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> bool:
        """Delete exactly this object; False if it was gone already. Its dependents go in the background."""
        ...


class Temporal(Protocol):
    """One Temporal namespace. Raises TemporalUnavailable or TemporalRefusedError; every call has a timeout."""

    @property
    def target(self) -> TemporalTarget:
        """Where it is and with which credentials."""
        ...

    async def describe_schedule(self, schedule: str) -> ScheduleSeen | None:
        """The Schedule as it is now, or None if there is none."""
        ...

    async def create_schedule(self, wish: ScheduleWish, *, paused: bool, note: str) -> ScheduleSeen:
        """Make it, and say what the server made of it. Raises TemporalConflictError if there is one of that id."""
        ...

    async def update_schedule(self, wish: ScheduleWish, *, paused: bool, note: str, token: bytes) -> ScheduleSeen:
        """Replace spec, action and policies. Raises TemporalConflictError if it changed since `token` was read."""
        ...

    async def set_pause(self, schedule: str, *, paused: bool, note: str, token: bytes) -> ScheduleSeen:
        """Change pause and note alone. Raises TemporalConflictError if it changed since `token` was read."""
        ...

    async def delete_schedule(self, schedule: str) -> bool:
        """Remove it; False if there was none."""
        ...

    async def open_runs(self, pipeline: PipelineId) -> tuple[RunSeen, ...]:
        """The pipeline's open runs."""
        ...

    async def open_runs_of_queue(self, task_queue: str) -> tuple[RunSeen, ...]:
        """Open runs that a pool's workers work on, whatever pipelines use the pool now."""
        ...

    async def start_run(
        self,
        workflow_id: str,
        task_queue: str,
        run_input: Mapping[str, Any],
        pipeline: ScheduleMemo,
        asked_by: str | None,
        workflow: str = WORKFLOW,
    ) -> RunSeen:
        """Start it, or find the one that was ever started under this id (open or closed): repetition is harmless."""
        ...

    async def describe_run(self, workflow_id: str, run_id: str | None = None) -> RunSeen | None:
        """One execution (the newest if no run id is given), or None if Temporal knows none."""
        ...

    async def cancel_run(self, workflow_id: str, run_id: str | None = None) -> None:
        """Ask an open run to stop; closed already is fine."""
        ...

    async def terminate_run(self, workflow_id: str, run_id: str, why: str) -> None:
        """End an open run at once, whoever works on it; closed already is fine."""
        ...

    def list_schedules(self) -> AsyncIterator[ScheduleEntry]:
        """All Schedules of this installation, page by page."""
        ...

    def list_runs(self, closed_since: datetime | None) -> AsyncIterator[RunSeen]:
        """All open runs of this installation, and those closed since then (None: all that are still kept)."""
        ...

    def list_workers(self, task_queue: str | None = None) -> AsyncIterator[WorkerListed]:
        """The running workers of this installation, or of one of its queues.

        Raises TemporalRefusedError where the server keeps no list of workers.
        """
        ...

    async def backlog(self, task_queue: str) -> QueueBacklog:
        """What waits on a task queue, some seconds behind."""
        ...

    async def server_version(self) -> str:
        """Version of the server, which also tells that it answers."""
        ...


class Temporals(Protocol):
    """All Temporal namespaces in use, by TemporalConnection."""

    async def get(self, connection: ConnectionKey) -> Temporal:
        """The client of a connection, connected.

        Raises TemporalUnavailable, or what keeps the client from being made (a missing connection or Secret).
        """
        ...

    def set(self, connection: ConnectionKey, target: TemporalTarget) -> Temporal:
        """Say where a connection leads now; the client for it, the old one if nothing changed."""
        ...

    def drop(self, connection: ConnectionKey) -> None:
        """The connection is gone."""
        ...

    def in_use(self) -> tuple[ConnectionKey, ...]:
        """Connections whose clients were asked for and still exist: what the sweep looks at."""
        ...


@dataclass(frozen=True, slots=True)
class PipelineInTemporal:
    """What the last sweep saw of one pipeline."""

    entry: ScheduleEntry | None = None
    open_runs: tuple[RunSeen, ...] = ()
    """By start, oldest first."""
    last_closed: RunSeen | None = None
    """The newest run that ended, as far as sweeps have seen."""
    times: tuple[tuple[str, str], ...] = ()
    """Of a pipeline that follows others or is followed: how its runs for a time stand, by that time, in order."""
    ended: tuple[RunSeen, ...] = field(default=(), compare=False)
    """Runs that ended and aren't in the sums of its status yet. That they are counted meanwhile makes no difference."""


class Store(Protocol):
    """The latest known objects and the last sweep, in memory. Reading it costs nothing and is never an API call."""

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """The latest known object. None: unknown, which is not proof that it doesn't exist."""
        ...

    def put(self, kind: str, manifest: Object) -> bool:
        """Keep an answer of the API server; older ones than what is kept are dropped. True if it was news."""
        ...

    def pipelines_of_pool(self, namespace: str, pool: str) -> tuple[str, ...]:
        """Names of the pipelines that use a pool."""
        ...

    def runs_of_pipeline(self, namespace: str, pipeline: str) -> tuple[str, ...]:
        """Names of the DataPipelineRuns of a pipeline."""
        ...

    def followers(self, namespace: str, pipeline: str) -> tuple[str, ...]:
        """Names of the pipelines that follow one."""
        ...

    def pools_of_connection(self, namespace: str, connection: str) -> tuple[str, ...]:
        """Names of the pools that use a TemporalConnection."""
        ...

    def in_temporal(self, connection: ConnectionKey, schedule: str) -> PipelineInTemporal:
        """What the last sweep of that Temporal saw of the pipeline with that Schedule id (empty if nothing)."""
        ...

    def swept(self, connection: ConnectionKey) -> bool:
        """Whether a sweep of that Temporal has succeeded (before that, `in_temporal` proves nothing)."""
        ...

    def run_in_temporal(self, connection: ConnectionKey, workflow_id: str) -> RunSeen | None:
        """The newest execution of a workflow id that a sweep saw."""
        ...

    def description(self, connection: ConnectionKey, schedule: str) -> ScheduleSeen | None:
        """The last description of a Schedule. None means: describe it.

        It is dropped when the sweep sees the Schedule change, and once a resync.
        """
        ...

    def keep_description(self, connection: ConnectionKey, description: ScheduleSeen) -> None:
        """Keep what a describe call said."""
        ...

    def drop_description(self, connection: ConnectionKey, schedule: str) -> None:
        """Forget a description, after a write or a conflict."""
        ...

    def surely_absent(self, connection: ConnectionKey, schedule: str) -> bool:
        """Whether a Schedule that we never made can be taken for absent without asking: making it would tell."""
        ...

    def pools_of_namespace(self, namespace: str) -> tuple[tuple[str, str], ...]:
        """Name and uid of each WorkerPool in a namespace."""
        ...

    def key_ring(self, namespace: str) -> str | None:
        """Mark of the key ring that was handed to a namespace's pools; None: unknown, so look."""
        ...

    def queues(self, connection: ConnectionKey) -> Queues | None:
        """What the last sweep saw of the task queues; None: it doesn't answer, or nobody asked."""
        ...

    def silent(self, connection: ConnectionKey) -> bool:
        """Whether the last sweep got no answer."""
        ...

    def peak(self, connection: ConnectionKey, schedule: str) -> int | None:
        """The most chunks of the last runs of the pipeline with that Schedule id; None: none has ended yet."""
        ...

    def remembered(self, uid: str) -> object | None:
        """What the last look at an object left for the next one; None: nothing, as after a start."""
        ...

    def remember(self, uid: str, memory: object) -> None:
        """Keep it until the object is gone, or this process."""
        ...

    def connections_with(self, schedule: str) -> tuple[ConnectionKey, ...]:
        """Every Temporal in which the last sweep saw a Schedule of this id (to find what was left behind)."""
        ...


class KeyRings(Protocol):
    """The key ring while it changes."""

    def ring(self) -> KeyRing:
        """The ring; `active` is the key that writes now."""
        ...

    def declared(self) -> KeyRing:
        """The ring as it was given: its `active` key may have to wait a while until it writes."""
        ...


@dataclass(frozen=True, slots=True)
class Clients:
    """What `observe` and `apply` work with."""

    store: Store
    kubernetes: Kubernetes
    temporals: Temporals
    settings: Settings
    keys: KeyRings | None = None
    """The key ring; None: nothing is encrypted."""
