"""Looks at the work of a pool that is scaled, and once more before any worker goes. The decisions are `scaling`'s."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.errors import TidemillError
from tidemill_api.names import task_queue
from tidemill_api.v1alpha1 import WorkerPoolSpec, parse_duration, parse_timestamp
from tidemill_api.v1alpha1.scaling import Scaling
from tidemill_operator.actions import SetDeletionCost
from tidemill_operator.clients import Clients, Key, Object, Temporal
from tidemill_operator.pool.children import ANNOTATION_REPLICAS, selector
from tidemill_operator.pool.place import connection_of_pool, decides
from tidemill_operator.pool.removal import choose
from tidemill_operator.pool.scaling import Decision, History, Reason, ScalingSpec, Signals, decide
from tidemill_operator.pool.scaling.needs import lead
from tidemill_operator.pool.workload import due_of, next_start, settings_of, signals_of
from tidemill_operator.queues import Queues, heard
from tidemill_operator.reading import Memory, annotation, read_spec, status_of
from tidemill_operator.views import ConnectionKey

SOON: Final = timedelta(seconds=3)
"""While a pool isn't at rest its decision is looked at again after so long, even if no signal changes."""
_MOST_PODS: Final = 3000

_READINGS: Final = Memory[tuple[Scaling, ScalingSpec] | None]()


@dataclass(frozen=True, slots=True)
class ScalingMemory:
    """What a pool's next decision needs of those before."""

    history: History
    created: Mapping[str, datetime] = field(default_factory=dict[str, datetime])
    """When its pods were made, by their names, as far as they were looked at."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """What came of a look."""

    acts: bool
    """Whether the decision is carried out; else it is advice."""
    was: int
    """Workers that were decided on before; for advice, those that the pool's owner wants."""
    signals: Signals
    decision: Decision
    marks: tuple[SetDeletionCost, ...] = ()
    """What pods are told before there are fewer."""
    unlisted: str = ""
    """Why Temporal doesn't tell of workers, in its own words."""
    next_due: datetime | None = None
    again: timedelta | None = None
    """When time alone may change the decision."""
    early: bool = False
    """Nothing was looked at yet, which the next sweep does."""

    @property
    def changed(self) -> bool:
        """Whether there are to be more or fewer workers."""
        return self.decision.replicas != self.was


@dataclass(frozen=True, slots=True)
class _Pool:
    """What a look is about."""

    key: Key
    connection: ConnectionKey
    queue: str
    spec: ScalingSpec
    deployment: Object | None
    memory: ScalingMemory


async def look(
    key: Key,
    manifest: Object,
    deployment: Object | None,
    pods: tuple[Object, ...] | None,
    clients: Clients,
    now: datetime,
) -> Scaled | None:
    """The pool's decision as of now; None if nobody decides. `pods`: those that were looked at anyway."""
    reading = _read(manifest) if decides(manifest) else None
    if reading is None:
        return None
    (scaling, spec), store = reading, clients.store
    installation, connection = clients.settings.installation, connection_of_pool(manifest)
    queue, queues = task_queue(installation, key.namespace, key.name), store.queues(connection)
    pool = _Pool(key, connection, queue, spec, deployment, _memory(manifest, pods, clients, now))
    was = _replicas(manifest, deployment, scaling)
    due = due_of(store, installation, connection, key, now)
    signals = signals_of(queues, queue, was, due, pool.memory.created)
    decision, history = decide(spec, signals, pool.memory.history, now)
    found = Scaled(scaling.acts, was, signals, decision, unlisted=queues.unlisted if queues is not None else "")
    if scaling.acts and decision.replicas < was and queues is not None:
        found, history = await _surely_fewer(found, history, pool, queues, clients, now)
    store.remember(manifest["metadata"]["uid"], replace(pool.memory, history=history))
    return replace(
        found,
        next_due=next_start(store, installation, connection, key, now),
        again=_again(found, spec, history, now),
        early=queues is None and not store.silent(connection),
    )


async def _surely_fewer(
    found: Scaled, history: History, pool: _Pool, queues: Queues, clients: Clients, now: datetime
) -> tuple[Scaled, History]:
    """The same, by what is true right now: workers become busy between two sweeps."""
    was, shrunk = found.was, pool.memory.history.shrunk
    try:
        temporal = await clients.temporals.get(pool.connection)
        signals = await _signals_now(temporal, found.signals, pool, queues, now)
        decision, history = decide(pool.spec, signals, pool.memory.history, now)
        found = replace(found, signals=signals, decision=decision)
        if decision.replicas >= was:
            return found, history
        labels = ",".join(f"{name}={value}" for name, value in selector(pool.key.name).items())
        pods = await clients.kubernetes.select("Pod", pool.key.namespace, labels=labels, most=_MOST_PODS)
    except TidemillError as error:
        said = f"Workers stay as they are, since it can't be seen who is busy: {error}"
        return _put_off(found, "TemporalUnknown", said, history, shrunk)
    if rolls(pool.deployment) and signals.open_runs and decision.replicas > 0:
        # Two ReplicaSets share the loss by their sizes: who goes then isn't ours to say.
        said = "New workers are being rolled out: none is taken away meanwhile."
        return _put_off(found, "WorkersStarting", said, history, shrunk)
    removal = choose(decision, was, pods)
    if removal.replicas == was:
        said = f"{decision.replicas} workers would do, but of none that could go it is known that it is idle."
        return _put_off(found, "WorkersBusy", said, history, shrunk)
    return replace(found, decision=replace(decision, replicas=removal.replicas), marks=removal.marks), history


def _put_off(
    found: Scaled, reason: Reason, message: str, history: History, shrunk: tuple[datetime, int] | None
) -> tuple[Scaled, History]:
    """Nobody goes, so the history doesn't have it that somebody went: `shrunk` is as it was."""
    decision = replace(found.decision, replicas=found.was, reason=reason, message=message, remove=())
    return replace(found, decision=decision), replace(history, shrunk=shrunk)


async def _signals_now(temporal: Temporal, signals: Signals, pool: _Pool, queues: Queues, now: datetime) -> Signals:
    runs = await temporal.open_runs_of_queue(pool.queue)
    workers = queues.workers
    if workers is not None:
        workers = heard(workers, [each async for each in temporal.list_workers(pool.queue)], now)
    fresh = replace(queues, workers=workers, open={**queues.open, pool.queue: len(runs)})
    return signals_of(fresh, pool.queue, signals.replicas, signals.due, pool.memory.created)


def rolls(deployment: Object | None) -> bool:
    """Whether a Deployment has pods of several makes, or may have."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    return bool(
        status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0)
        or status.get("updatedReplicas", 0) < status.get("replicas", 0)
    )


def _read(manifest: Object) -> tuple[Scaling, ScalingSpec] | None:
    """The settings; None if the spec is wrong, which is said elsewhere."""
    metadata = manifest["metadata"]

    def read() -> tuple[Scaling, ScalingSpec] | None:
        spec = read_spec(WorkerPoolSpec, manifest)
        if isinstance(spec, tuple) or spec.scaling is None:
            return None
        return spec.scaling, settings_of(spec, spec.scaling)

    return _READINGS.get(metadata["uid"], metadata.get("generation"), read)


def _replicas(manifest: Object, deployment: Object | None, scaling: Scaling) -> int:
    """Workers that were decided on: as noted on the Deployment, for its own number may have been changed by others."""
    wanted = manifest["spec"].get("replicas", 1)
    if not scaling.acts:
        return int(wanted)
    if deployment is None:
        return 0
    noted = annotation(deployment, ANNOTATION_REPLICAS)
    return int(noted) if noted is not None and noted.isdigit() else int(deployment["spec"].get("replicas", 1))


def _memory(manifest: Object, pods: tuple[Object, ...] | None, clients: Clients, now: datetime) -> ScalingMemory:
    """What was remembered; after a start, the little that the status tells."""
    memory = clients.store.remembered(manifest["metadata"]["uid"])
    if not isinstance(memory, ScalingMemory):
        told = (status_of(manifest).get("scaling") or {}).get("warmUp")
        memory = ScalingMemory(History.begin(now, parse_duration(told) if told else None))
    if not pods:
        return memory
    return replace(memory, created={**_still(memory.created, pods), **_created(pods)})


def _still(created: Mapping[str, datetime], pods: tuple[Object, ...]) -> dict[str, datetime]:
    there = {pod["metadata"]["name"] for pod in pods}
    return {name: at for name, at in created.items() if name in there}


def _created(pods: tuple[Object, ...]) -> dict[str, datetime]:
    return {
        pod["metadata"]["name"]: parse_timestamp(pod["metadata"]["creationTimestamp"])
        for pod in pods
        if pod["metadata"].get("creationTimestamp")
    }


def _again(found: Scaled, spec: ScalingSpec, history: History, now: datetime) -> timedelta | None:
    """At rest only a start that comes near can change the decision."""
    signals, ahead = found.signals, lead(spec, history)
    rests = (
        not found.changed
        and signals.open_runs == 0
        and signals.backlog is not None
        and signals.backlog.count == 0
        and not any(worker.used for worker in signals.workers or ())
        and found.decision.replicas == spec.min_replicas
    )
    if not rests:
        return SOON
    waits = [due.at - ahead - now for due in signals.due if due.at > now]
    near = min(waits, default=None)
    return SOON if near is not None and near <= timedelta() else near
