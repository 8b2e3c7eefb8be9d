"""The connections of a pool as a worker holds them: folders, and one pool of Postgres connections for each name."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg

from tidemill_api.errors import ConfigError, UnknownConnection
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.workerpool import Connection, PostgresConnection
from tidemill_worker.connections.folders import folder_of
from tidemill_worker.connections.outage import outages
from tidemill_worker.connections.secrets import read_secret

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 15.0
DRAIN_SECONDS = 300.0
"""How long connections of a former DSN may finish what they are doing."""

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:[0-9]*)?")

Prepare = Callable[[str, asyncpg.Pool], Awaitable[None]]
"""Called once for each database that may be written to, before its pool is handed out: (connection's name, pool)."""


@dataclass(slots=True)
class _Held:
    dsn: str
    pool: asyncpg.Pool
    prepared: bool


class PoolConnections:
    """Answers names with folders and pools. Pools are made when first asked for, and anew when their DSN changes."""

    def __init__(self, connections: tuple[Connection, ...], secrets: Path, prepare: Prepare) -> None:
        self._connections = {connection.name: connection for connection in connections}
        self._secrets = secrets
        self._prepare = prepare
        self._held: dict[str, _Held] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._draining: set[asyncio.Task[None]] = set()

    def folder(self, name: str) -> Path:
        """The folder of a `files` connection, resolved. Raises UnknownConnection, ConfigError."""
        files = self._named(name).files
        if files is None:
            raise UnknownConnection(f"connection {name} is not of kind files")
        return folder_of(files.url, name)

    async def postgres(self, name: str) -> asyncpg.Pool:
        """The pool of a `postgres` connection; a database that may be written to is migrated when you get it.

        Raises UnknownConnection, SecretMissing, ConfigError, PostgresUnavailable.
        """
        return await self._pool_of(name, name)

    async def metastore(self, name: str) -> asyncpg.Pool:
        """As `postgres`, but a pool apart.

        So a chunk that holds a connection of its sink can't wait in vain for another one to keep its dead letters.
        """
        return await self._pool_of(name, f"metastore {name}")

    async def _pool_of(self, name: str, key: str) -> asyncpg.Pool:
        settings = self._named(name).postgres
        if settings is None:
            raise UnknownConnection(f"connection {name} is not of kind postgres")
        ref = settings.dsn.secret_key_ref
        dsn = read_secret(self._secrets, ref.name, ref.key)
        held = self._held.get(key)
        if held is not None and held.prepared and held.dsn == dsn:
            return held.pool
        async with self._locks.setdefault(key, asyncio.Lock()):
            held = await self._current(name, key, settings, dsn)
            if not held.prepared:
                if settings.access == "Write":
                    await self._prepare(name, held.pool)
                held.prepared = True
            return held.pool

    async def close(self) -> None:
        """Close all pools, at once: what still runs in them is rolled back."""
        for task in self._draining:
            task.cancel()
        for held in self._held.values():
            held.pool.terminate()
        self._held.clear()

    async def _current(self, name: str, key: str, settings: PostgresConnection, dsn: str) -> _Held:
        held = self._held.get(key)
        if held is not None and held.dsn == dsn:
            return held
        made = _Held(dsn, await _pool(name, settings, dsn), prepared=False)
        self._held[key] = made
        if held is not None:
            _log.info("connection %s: its Secret has changed, new connections use it", name)
            draining = asyncio.create_task(_drain(held.pool))
            self._draining.add(draining)
            draining.add_done_callback(self._draining.discard)
        return made

    def _named(self, name: str) -> Connection:
        connection = self._connections.get(name)
        if connection is None:
            known = ", ".join(sorted(self._connections))
            raise UnknownConnection(f"the pool has no connection {name}; it has {known}")
        return connection


async def _pool(name: str, settings: PostgresConnection, dsn: str) -> asyncpg.Pool:
    """A pool that connects when used, so that it costs nothing until then. Raises ConfigError for a malformed DSN."""
    _check_dsn(name, dsn)
    with outages(name):
        return await asyncpg.create_pool(
            dsn,
            min_size=0,
            max_size=settings.pool.max_size,
            max_inactive_connection_lifetime=parse_duration(settings.pool.idle_timeout).total_seconds(),
            timeout=CONNECT_SECONDS,
            reset=_nothing,
            server_settings={"application_name": "tidemill", "timezone": "UTC"},
        )


async def _nothing(_connection: object) -> None:
    """In place of asyncpg's reset, one more round trip for each use of a connection.

    We leave nothing behind to reset: settings, locks and temporary tables are those of a transaction, and asyncpg
    rolls back by itself what is open.
    """


def _check_dsn(name: str, dsn: str) -> None:
    """What asyncpg would find only when it connects, and say with words that quote the password."""
    try:
        parts = urlsplit(dsn)
    except ValueError:  # brackets without their other half
        hosts, scheme = [], ""
    else:
        hosts, scheme = parts.netloc.rpartition("@")[2].split(","), parts.scheme
    if scheme not in {"postgresql", "postgres"} or not all(map(_is_host, hosts)):
        raise ConfigError(
            f"connection {name}: its Secret holds no connection string; "
            "write it like postgresql://user:password@host:5432/database"
        )


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and int((found[2] or ":")[1:] or 0) <= 65535


async def _drain(pool: asyncpg.Pool) -> None:
    try:
        await asyncio.wait_for(pool.close(), DRAIN_SECONDS)
    except (TimeoutError, asyncio.CancelledError):
        with contextlib.suppress(asyncpg.InterfaceError):
            pool.terminate()
