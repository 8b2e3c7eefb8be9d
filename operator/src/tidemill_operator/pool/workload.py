"""What a pool's scaling is decided from, out of the last look at Temporal. Pure, over what the store remembers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.names import PipelineId
from tidemill_api.v1alpha1 import WorkerPoolSpec, parse_duration
from tidemill_api.v1alpha1.scaling import Scaling
from tidemill_operator.clients import Key, Store
from tidemill_operator.pool.scaling import HORIZON, Backlog, Due, ScalingSpec, Signals, WorkerSeen
from tidemill_operator.queues import Queues, WorkerHeard
from tidemill_operator.views import ConnectionKey

LATE: Final = timedelta(minutes=2)
"""A start that is still listed so long after its time counts as one that comes."""
_PARALLELISM: Final = 8
"""Chunks in flight of a pipeline that says nothing about it."""


def settings_of(spec: WorkerPoolSpec, scaling: Scaling) -> ScalingSpec:
    """The pool's spec as the decision takes it."""
    return ScalingSpec(
        slots=spec.concurrency.activities,
        min_replicas=scaling.min_replicas,
        max_replicas=scaling.max_replicas,
        target_backlog=scaling.target_backlog_per_replica,
        idle_timeout=parse_duration(scaling.idle_timeout),
        prewarm=parse_duration(scaling.prewarm),
        stabilization=parse_duration(scaling.stabilization),
        tolerance=scaling.tolerance,
        scale_up_pods=scaling.scale_up.pods,
        scale_up_percent=scaling.scale_up.percent,
        scale_up_period=parse_duration(scaling.scale_up.period),
        mode="Apply" if scaling.mode == "Active" else "Advise",
    )


def signals_of(
    queues: Queues | None, queue: str, replicas: int, due: tuple[Due, ...], created: Mapping[str, datetime]
) -> Signals:
    """The signals of the pool that polls `queue`. `created`: when its pods were made, of those that were seen."""
    if queues is None:
        return Signals(replicas, None, None, None, due)
    listed = queues.workers.get(queue, ()) if queues.workers is not None else None
    return Signals(
        replicas=replicas,
        backlog=_backlog(queues, queue),
        workers=workers_of(listed, created) if listed is not None else None,
        open_runs=queues.open.get(queue, 0),
        due=due,
    )


def _backlog(queues: Queues, queue: str) -> Backlog | None:
    """Where nothing is open nothing waits. None: something is, but it couldn't be asked for."""
    waiting = queues.backlogs.get(queue)
    if waiting is not None:
        return Backlog(waiting.count, waiting.age, waiting.added, waiting.dispatched)
    return None if queue in queues.in_work else Backlog(0)


def workers_of(listed: tuple[WorkerHeard, ...], created: Mapping[str, datetime]) -> tuple[WorkerSeen, ...]:
    """The workers by their pods. A container that started anew has two for a moment: the later one counts."""
    newest: dict[str, WorkerHeard] = {}
    for each in sorted(listed, key=lambda each: each.worker.started):
        newest[each.worker.pod] = each
    return tuple(_seen(pod, each, created.get(pod)) for pod, each in sorted(newest.items()))


def _seen(pod: str, heard: WorkerHeard, created: datetime | None) -> WorkerSeen:
    worker = heard.worker
    return WorkerSeen(
        pod=pod,
        used=worker.used,
        free=worker.free,
        heard=heard.heard,
        processed=worker.processed,
        warm_up=worker.started - created if created is not None else None,
    )


def due_of(store: Store, installation: str, connection: ConnectionKey, pool: Key, now: datetime) -> tuple[Due, ...]:
    """Scheduled starts of the pool's pipelines that are near, by time."""
    found: list[Due] = []
    for name in store.pipelines_of_pool(pool.namespace, pool.name):
        schedule = PipelineId(installation, pool.namespace, name).schedule
        seen = store.in_temporal(connection, schedule)
        if seen.entry is None or seen.entry.paused:
            continue
        peak = store.peak(connection, schedule)
        chunks = min(peak, _parallelism(store, pool.namespace, name)) if peak is not None else None
        found += [Due(at, name, chunks) for at in seen.entry.next_runs if now - LATE <= at <= now + HORIZON]
    return tuple(sorted(found, key=lambda due: (due.at, due.pipeline)))


def next_start(store: Store, installation: str, connection: ConnectionKey, pool: Key, now: datetime) -> datetime | None:
    """The next scheduled start of any of the pool's pipelines."""
    times = [
        at
        for name in store.pipelines_of_pool(pool.namespace, pool.name)
        if (entry := store.in_temporal(connection, PipelineId(installation, pool.namespace, name).schedule).entry)
        and not entry.paused
        for at in entry.next_runs
        if at > now
    ]
    return min(times, default=None)


def _parallelism(store: Store, namespace: str, pipeline: str) -> int:
    manifest = store.get("DataPipeline", namespace, pipeline)
    execution = (manifest["spec"].get("execution") if manifest is not None else None) or {}
    given = execution.get("parallelism") if isinstance(execution, Mapping) else None
    return given if isinstance(given, int) else _PARALLELISM
