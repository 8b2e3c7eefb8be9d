"""The sweep's look at task queues: who works, what waits, and which pools that concerns.

One listing of workers a Temporal namespace, however many pools, and the backlog of those pools only that have something
open, so many of them at one look and no more: the others' turn comes at the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from tidemill_api.errors import TidemillError
from tidemill_api.names import pipeline_of_workflow, task_queue
from tidemill_operator.clients import Key, Object, Temporal
from tidemill_operator.pool.place import connection_of_pool, decides
from tidemill_operator.pool.workload import due_of
from tidemill_operator.queues import Queues, WorkersHeard, heard, opened, peaks
from tidemill_operator.store import MemoryStore
from tidemill_operator.views import ConnectionKey, QueueBacklog, RunSeen

MOST_BACKLOGS: Final = 20
"""Queues asked for their backlog at one look at a Temporal; two requests each."""


class Demand:
    """Keeps what is known of the task queues of pools that are scaled, and adds the keys of pools that it concerns."""

    def __init__(
        self, store: MemoryStore, installation: str, in_scope: Callable[[str], bool], add: Callable[[Key], None]
    ):
        """`in_scope` tells whether a Kubernetes namespace is looked after."""
        self._store = store
        self._installation = installation
        self._in_scope = in_scope
        self._add = add
        self._told: dict[Key, object] = {}
        self._asked: dict[str, datetime] = {}

    async def look(self, connection: ConnectionKey, temporal: Temporal, runs: Iterable[RunSeen]) -> None:
        """After the listings of Schedules and runs: those of workers and backlogs, if any pool here is scaled."""
        pools = self._pools(connection)
        view = self._store.temporal(connection)
        view.silent = False
        if not pools:
            view.queues = None
            return
        found = tuple(runs)
        view.peaks = peaks(view.peaks, found)
        ids = frozenset(run.workflow_id for run in found if pipeline_of_workflow(run.workflow_id) is not None)
        open_runs, in_work = opened(found, ids)
        workers, unlisted = await self._workers(temporal, view.queues.workers if view.queues is not None else None)
        backlogs = await self._backlogs(temporal, sorted(in_work & set(pools)), view.queues)
        view.queues = Queues(datetime.now(UTC), open_runs, in_work, workers, unlisted, backlogs)
        for queue, pool in pools.items():
            self._tell(connection, queue, pool)

    def silent(self, connection: ConnectionKey) -> None:
        """Temporal doesn't answer: what was known counts no more, and its pools are told."""
        view = self._store.temporal(connection)
        told, view.silent, view.queues = view.silent, True, None
        if told:
            return
        for pool in self._pools(connection).values():
            key = Key("WorkerPool", pool["metadata"]["namespace"], pool["metadata"]["name"])
            self._told.pop(key, None)
            self._add(key)

    def _pools(self, connection: ConnectionKey) -> dict[str, Object]:
        """The scaled pools whose workers poll this Temporal, by task queue."""
        found: dict[str, Object] = {}
        for pool in self._store.objects("WorkerPool"):
            namespace, name = pool["metadata"]["namespace"], pool["metadata"]["name"]
            if decides(pool) and connection_of_pool(pool) == connection and self._in_scope(namespace):
                found[task_queue(self._installation, namespace, name)] = pool
        return found

    async def _workers(self, temporal: Temporal, before: WorkersHeard | None) -> tuple[WorkersHeard | None, str]:
        try:
            listed = [worker async for worker in temporal.list_workers()]
        except TidemillError as error:
            return None, str(error)
        return heard(before, listed, datetime.now(UTC)), ""

    async def _backlogs(
        self, temporal: Temporal, queues: list[str], before: Queues | None
    ) -> Mapping[str, QueueBacklog]:
        """Those asked longest ago come first; what isn't asked for this time stays as it was."""
        known = before.backlogs if before is not None else {}
        kept = {queue: known[queue] for queue in queues if queue in known}
        never = datetime.min.replace(tzinfo=UTC)
        due = sorted(queues, key=lambda queue: self._asked.get(queue, never))[:MOST_BACKLOGS]
        self._asked = {queue: self._asked[queue] for queue in queues if queue in self._asked}
        answers = await asyncio.gather(*(temporal.backlog(queue) for queue in due), return_exceptions=True)
        for queue, answer in zip(due, answers, strict=True):
            self._asked[queue] = datetime.now(UTC)
            kept.pop(queue, None)
            if isinstance(answer, QueueBacklog):
                kept[queue] = answer
            elif not isinstance(answer, TidemillError):
                raise answer
        return kept

    def _tell(self, connection: ConnectionKey, queue: str, pool: Object) -> None:
        """Put the pool's key on the queue if anything that its decision looks at has changed."""
        view = self._store.temporal(connection)
        queues = view.queues
        if queues is None:
            return
        metadata = pool["metadata"]
        key = Key("WorkerPool", metadata["namespace"], metadata["name"])
        workers = queues.workers.get(queue, ()) if queues.workers is not None else None
        now = (
            queues.open.get(queue, 0),
            queues.backlogs.get(queue),
            tuple((each.worker.key, each.worker.used, each.worker.free) for each in workers)
            if workers is not None
            else None,
            due_of(self._store, self._installation, connection, key, queues.looked),
        )
        if self._told.get(key) != now:
            self._told[key] = now
            self._add(key)
