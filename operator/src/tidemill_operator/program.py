"""The operator as one program: what it is made of, and in which order it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from tidemill_api.errors import TidemillError
from tidemill_codec.folder import KeyFolder
from tidemill_operator.adapters.kubernetes import KubernetesClient
from tidemill_operator.clients import Clients, Key, Object, Temporals
from tidemill_operator.demand import Demand
from tidemill_operator.events import Events
from tidemill_operator.health import Beats, HealthServer
from tidemill_operator.leader import Election
from tidemill_operator.measured import Measured
from tidemill_operator.metrics import Metrics
from tidemill_operator.notice import OUR_KINDS
from tidemill_operator.own_temporal import follow_files
from tidemill_operator.queue import Queue
from tidemill_operator.reconcile import Reconcile, Reconciler
from tidemill_operator.resync import Resync, Verify, orphans
from tidemill_operator.rotation import Rotation
from tidemill_operator.settings import OperatorSettings
from tidemill_operator.store import MemoryStore
from tidemill_operator.sweep import Sweep
from tidemill_operator.views import TemporalTarget

log: Final = logging.getLogger(__name__)

_RETRY: Final = 5.0

Event = tuple[str, str | None, Object]
Watching = Callable[[Callable[[Event], None], Callable[[], None]], Awaitable[None]]
"""Watches until cancelled; is given who receives events (in this loop) and what to call as a sign of life."""


class Program:
    """Everything wired. `run` is the whole life."""

    def __init__(
        self,
        settings: OperatorSettings,
        kubernetes: KubernetesClient,
        temporals: Callable[[MemoryStore], Temporals],
        kinds: Mapping[str, Reconciler[Any, Any]],
        metrics: Metrics,
        watching: Watching,
        keys: KeyFolder | None = None,
    ) -> None:
        """`kinds`: who decides for each kind; with `keys` payloads are encrypted. Nothing is started yet."""
        self._settings = settings
        self._kubernetes = kubernetes
        self._metrics = metrics
        self._watching = watching
        self._beats = Beats()
        self._store = MemoryStore()
        self._queue: Queue[Key] = Queue()
        self._held: dict[Key, list[Event]] = {}
        self._temporals = temporals(self._store)
        clients = Clients(self._store, kubernetes, self._temporals, settings.decisions, keys)
        self._events = Events(kubernetes, settings.identity)
        self._reconcile = Reconcile(kinds, clients, self._store, self._queue, self._events, metrics)
        self._resync = Resync(self._store, kubernetes, settings.namespaces, self._reconcile.learn, metrics)
        self._sweep = Sweep(
            self._store,
            self._temporals,
            self._in_scope,
            self._queue.add,
            metrics,
            settings.intervals.sweep,
            Demand(self._store, settings.decisions.installation, self._in_scope, self._queue.add),
        )
        self._verify = Verify(self._store, self._temporals, self._queue.add, settings.intervals.resync)
        self._election = Election(
            kubernetes, settings.lease_namespace, settings.lease_name, settings.identity, settings.intervals.lease
        )
        self._rotation = Rotation(keys, self._store, self._queue.add_after, metrics) if keys is not None else None
        self._leads = False
        self._measured().register()

    async def run(self) -> None:
        """Run until cancelled, then stop in order: work, Lease, watches, connections.

        Raises:
            ConfigError: The health address can't be used.
            RuntimeError: The watch has ended; only a new process helps.
        """
        health = HealthServer(self._settings.health, self._beats, self._waiting_for, self._metrics.exposition)
        log.info("health and figures on port %d", health.port)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep_beating())
                await self._synchronize()
                group.create_task(self._watched())
                group.create_task(self._resync.run(self._settings.intervals.resync, self._beat_of_resync))
                group.create_task(self._election.run(self._lead, self._beat_of_lease))
        finally:
            health.close()
            await self._kubernetes.close()

    def _waiting_for(self) -> str:
        return "" if self._resync.synced else "the first list of all objects isn't there yet"

    async def _synchronize(self) -> None:
        """Fill the store; waits for the CRDs and for the API server for as long as it takes."""
        said = ""
        while True:
            try:
                if await self._kubernetes.serves_our_kinds():
                    await self._resync.list_all()
                    return
                wrong = "the CRDs of tidemill.dev/v1alpha1 aren't installed (kubectl apply --server-side -f crds/)"
            except TidemillError as error:
                wrong = str(error)
            if wrong != said:
                log.warning("waiting: %s", wrong)
                said = wrong
            await asyncio.sleep(_RETRY)

    async def _watched(self) -> None:
        await self._watching(self._receive, lambda: self._beats.beat("watch", self._settings.intervals.stuck))

    def _receive(self, event: Event) -> None:
        """An event of a watch. What it told already (the echo of our own writes) stirs nothing."""
        kind, happened, manifest = event
        metadata = manifest["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        held = self._held.get(Key(kind, namespace, name))
        if held is not None:
            held.append(event)
            return
        self._metrics.watch_events.labels(kind).inc()
        if happened == "DELETED":
            old = self._store.remove(kind, namespace, name, metadata["uid"])
            if old is not None:
                self._reconcile.learn(kind, old, None)
            return
        old = self._store.get(kind, namespace, name)
        if self._store.put(kind, manifest):
            self._reconcile.learn(kind, old, manifest)

    async def _lead(self) -> None:
        """What only the leader does. Begins with a look at everything."""
        self._leads = True
        self._metrics.leader.set(1)
        self._metrics.leaderships.inc()
        try:
            await self._ask_for_temporals()
            await self._sweep.sweep()
            for kind in OUR_KINDS:
                for key in self._store.keys(kind):
                    self._queue.add(key)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._queue.serve(self._work_on, self._settings.concurrency))
                group.create_task(self._sweep.run(self._beat_of_sweep))
                group.create_task(self._verify.run())
                group.create_task(self._look_around())
                group.create_task(follow_files(self._settings, self._set_own))
                group.create_task(self._events.post())
                if self._rotation is not None:
                    group.create_task(self._rotation.run())
        finally:
            self._beats.forget("sweep")
            self._metrics.leader.set(0)
            self._leads = False

    async def _work_on(self, key: Key) -> bool:
        """One pass. What the watch says of the object meanwhile waits: the echo of a write may outrun its answer."""
        self._held[key] = []
        try:
            return await self._reconcile.handle(key)
        finally:
            for event in self._held.pop(key):
                self._receive(event)

    async def _ask_for_temporals(self) -> None:
        """Make the clients of all connections in use, so that the first sweep sees all of them."""
        wanted = {
            (pool["metadata"]["namespace"], name)
            for pool in self._store.objects("WorkerPool")
            if (name := ((pool["spec"].get("temporal") or {}).get("connectionRef") or {}).get("name"))
        }
        for connection in wanted:
            with contextlib.suppress(TidemillError):  # its own reconcile says what is wrong
                await self._temporals.get(connection)

    async def _look_around(self) -> None:
        """Once a resync: what no event tells, which is renewed or changed Secrets and what was left in Temporal."""
        while True:
            due = [*orphans(self._store, self._in_scope), *self._store.keys("TemporalConnection")]
            if self._rotation is not None:
                self._store.forget_key_rings()
                due += self._store.keys("WorkerPool")
            for key in due:
                self._queue.add(key)
            await asyncio.sleep(self._settings.intervals.resync)

    def _set_own(self, target: TemporalTarget) -> None:
        self._temporals.set(None, target)

    def _in_scope(self, namespace: str) -> bool:
        return not self._settings.namespaces or namespace in self._settings.namespaces

    # Signs of life and figures

    async def _keep_beating(self) -> None:
        while True:
            self._beats.beat("event loop", self._settings.intervals.stuck)
            await asyncio.sleep(1)

    def _beat_of_sweep(self) -> None:
        self._beats.beat("sweep", 20 * self._settings.intervals.sweep + 120)

    def _beat_of_resync(self) -> None:
        self._beats.beat("resync", 3 * self._settings.intervals.resync + 120)

    def _beat_of_lease(self) -> None:
        self._beats.beat("lease", 4 * self._settings.intervals.lease + 60)

    def _measured(self) -> Measured:
        return Measured(
            store=self._store,
            metrics=self._metrics,
            work=self._queue.work,
            sweep=self._sweep,
            limits=self._settings.limits,
            leads=lambda: self._leads,
            failing=lambda: self._reconcile.failing,
            dropped=lambda: self._events.dropped,
            clock=asyncio.get_running_loop().time,
        )


async def until_stopped(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> None:
    """Run until it ends or `stop` is set; then cancel it and wait for its orderly end."""
    task = asyncio.create_task(work)
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
