"""The worker process: configuration, metastore, Temporal; then it works until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tidemill_api.contract import WorkerConfig
from tidemill_api.errors import TidemillError
from tidemill_worker import health, sdk_metrics
from tidemill_worker.measures import Measures
from tidemill_worker.start import settle

if TYPE_CHECKING:
    from temporalio.client import Client
    from temporalio.worker import Worker

    from tidemill_codec.folder import KeyFolder
    from tidemill_worker.connections import PoolConnections
    from tidemill_worker.metastore import Metastore

_log = logging.getLogger("tidemill.worker")
T = TypeVar("T")

LONGEST_WAIT = 10.0
"""Seconds between two attempts to reach what isn't there yet."""

WARM_AFTER = 1.0

FOR_STORES = ("tidemill_worker.connections", "tidemill_worker.metastore", "tidemill_worker.migrations")
FOR_CLIENT = ("temporalio.client", "temporalio.contrib.pydantic", "tidemill_codec.converter")
FOR_WORK = (
    "temporalio.worker",
    "tidemill_worker.activities",
    "tidemill_worker.workflows.run",
    "tidemill_worker.workflows.backfill",
    "tidemill_check.times",
)
"""What a start imports, in this order."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says."""

    config: WorkerConfig
    secrets: Path
    health: tuple[str, int] | None
    grace: float
    """Seconds that open chunks get to end after SIGTERM."""


@dataclass
class App:
    """One worker. `run` returns when it has stopped as told, and raises what ended it otherwise."""

    options: Options
    waits_for: str | None = "starting"
    """Why the worker isn't ready; None when it is."""
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    sdk_port: int = 0
    """Of the loopback, where the SDK's metrics are; 0: not yet."""
    measures: Measures = field(init=False)

    def __post_init__(self) -> None:
        """What is counted bears the pool's name."""
        config = self.options.config
        self.measures = Measures(config.namespace, config.pool)
        self.measures.ready = lambda: self.waits_for is None
        self.measures.slots = config.concurrency.activities

    async def run(self) -> None:
        """Start, work, stop. Raises ConfigError and whatever ends a worker that can't go on."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop.set)
        server = None
        if self.options.health is not None:
            server = await health.serve(*self.options.health, self._answer)
        working = asyncio.create_task(self._work())
        stopping = asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
            if self.stop.is_set():
                self.waits_for = "stopping"
                working.cancel()
            await asyncio.gather(working, return_exceptions=self.stop.is_set())
        finally:
            stopping.cancel()
            if server is not None:
                server.close()

    async def _work(self) -> None:
        """Connect and work. Answers are waited for while the next libraries are imported."""
        from tidemill_worker.temporal import connect, credentials_of, follow_credentials, runtime_of

        config, secrets = self.options.config, self.options.secrets
        keys = await self._until_there(_keys_now)
        await _imported(*FOR_STORES)
        connections, store = self._stores(keys)
        looking = asyncio.create_task(self._until_there(store.check))
        await _imported(*FOR_CLIENT)
        self.sdk_port = sdk_metrics.free_port()
        runtime = runtime_of(self.sdk_port, {"pool_namespace": config.namespace, "pool": config.pool})

        async def client_now() -> Client:
            return await connect(config.temporal, credentials_of(config.temporal, secrets), runtime, keys)

        connecting = asyncio.create_task(self._until_there(client_now))
        await _imported(*FOR_WORK)
        client, _ = await asyncio.gather(connecting, looking)
        worker = self._worker(client, connections, store)
        polling = asyncio.create_task(worker.run())
        following = asyncio.gather(
            follow_credentials(worker, config.temporal, secrets, runtime, self.measures.secret, keys),
            connections.follow(),
        )
        warming = asyncio.create_task(_warm_when_idle())
        try:
            self.waits_for = None
            written = f"encrypted with the key {keys.ring().active}" if keys is not None else "not encrypted"
            _log.info("ready: task queue %s, pool %s, payloads %s", config.task_queue, config.pool, written)
            await asyncio.shield(polling)
        finally:
            following.cancel()
            warming.cancel()
            if not polling.done():
                _log.info("stopping: open chunks have %g s to end", self.options.grace)
                await worker.shutdown()
            await connections.close()

    def _stores(self, keys: KeyFolder | None) -> tuple[PoolConnections, Metastore]:
        from tidemill_worker.connections import PoolConnections
        from tidemill_worker.metastore import Metastore
        from tidemill_worker.migrations import ensure

        config = self.options.config
        connections = PoolConnections(
            config.connections,
            self.options.secrets,
            ensure,
            self.measures.secret,
            config.artifacts,
            config.metastore.connection,
        )
        connections.measured = self.measures
        self.measures.pools = connections.open_pools
        if config.cache is not None:
            from tidemill_worker.cache.opening import cache_of

            connections.cache = cache_of(config, self.options.secrets, self.measures, self.measures.cache_waited, keys)
        name = config.metastore.connection
        return connections, Metastore(name, lambda: connections.metastore(name))

    def _worker(self, client: Client, connections: PoolConnections, store: Metastore) -> Worker:
        from temporalio.worker import Worker

        from tidemill_worker.activities import Resources, all_activities
        from tidemill_worker.workflows.backfill import DataPipelineBackfill
        from tidemill_worker.workflows.report import DataPipelineReport
        from tidemill_worker.workflows.run import DataPipelineRun

        config = self.options.config
        resources = Resources(config=config, connections=connections, store=store, measures=self.measures)
        return Worker(
            client,
            task_queue=config.task_queue,
            workflows=[DataPipelineRun, DataPipelineBackfill, DataPipelineReport],
            activities=all_activities(resources),
            max_concurrent_activities=config.concurrency.activities,
            graceful_shutdown_timeout=timedelta(seconds=self.options.grace),
            # A run that is cancelled, or whose worker must stop, hears of it by a heartbeat's answer.
            max_heartbeat_throttle_interval=timedelta(seconds=2),
            default_heartbeat_throttle_interval=timedelta(seconds=2),
        )

    async def _until_there(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try until it succeeds or a retry can't help; `/readyz` and the log say what is missing."""
        wait = 0.2
        while True:
            try:
                return await attempt()
            except TidemillError as error:
                if not error.retryable:
                    raise
                if self.waits_for != str(error):
                    _log.warning("waiting: %s", error)
                self.waits_for = str(error)
            await asyncio.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    async def _answer(self, path: str, accept: str) -> health.Answer | None:
        match path:
            case "/healthz":
                return HTTPStatus.OK, health.TEXT, b"ok\n"
            case "/readyz" if self.waits_for is None:
                return HTTPStatus.OK, health.TEXT, b"ok\n"
            case "/readyz":
                return HTTPStatus.SERVICE_UNAVAILABLE, health.TEXT, f"{self.waits_for}\n".encode()
            case "/metrics":
                return await self._metrics(accept)
            case _:
                return None

    async def _metrics(self, accept: str) -> health.Answer:
        """Ours and the SDK's. Made in a thread: the loop has better things to do."""
        (ours, content_type), theirs = await asyncio.gather(
            asyncio.to_thread(self.measures.exposition, accept), sdk_metrics.asked(self.sdk_port)
        )
        return HTTPStatus.OK, content_type, sdk_metrics.together(ours, theirs, content_type)


async def _keys_now() -> KeyFolder | None:
    """The key ring that the environment names. Raises KeyRingInvalid."""
    from tidemill_codec.folder import keys_of

    return keys_of()


async def _imported(*modules: str) -> None:
    """Import them in a thread, one after the other: the loop goes on with what it waits for."""
    await asyncio.to_thread(lambda: [import_module(module) for module in modules])


async def _warm_when_idle() -> None:
    """Make ready what the first chunk needs, but not while the first tasks begin: they import what they need."""
    try:
        await asyncio.sleep(WARM_AFTER)
        await asyncio.to_thread(_warm)
    finally:
        settle()


def _warm() -> None:
    started = time.monotonic()
    from tidemill_worker.engine.warming import warm

    warm()
    _log.debug("the engine is warm after %.3f s", time.monotonic() - started)
