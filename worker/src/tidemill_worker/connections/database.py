"""Pools of connections to one database.

A pool stays the same one for as long as the worker lives, so whoever holds it goes on when the Secret changes: new
connections are made by the new one, those made by a former one end when they are given back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.workerpool import PostgresConnection
from tidemill_worker.connections.login import Connection, Login

_QUERIES: Final = 50_000
"""After which a connection is replaced; asyncpg's own default."""

Prepare = Callable[[str, asyncpg.Pool], Awaitable[None]]
"""Called once for each database that may be written to, before its pool is handed out: (connection's name, pool)."""


Told = Callable[[str, float, bool], None]
"""Told of each wait for a connection: of which connection of the pool's spec, the seconds, and whether it came."""


class Timed(asyncpg.Pool):
    """A pool that tells how long its users wait for a connection."""

    def tell(self, told: Callable[[float, bool], None]) -> None:
        """Who is told from now on."""
        self._told = told

    async def _acquire(self, timeout: float | None) -> asyncpg.pool.PoolConnectionProxy:  # noqa: ASYNC109 - asyncpg's
        began, had = time.perf_counter(), False
        try:
            # Every way to a connection leads through here; the stubs don't have it.
            made: asyncpg.pool.PoolConnectionProxy = await super()._acquire(timeout)  # type: ignore[misc]
            had = True
            return made
        finally:
            self._told(time.perf_counter() - began, had)


def _nobody(_name: str, _seconds: float, _had: bool) -> None:
    """Nobody counts."""


class Database:
    """One pool."""

    def __init__(
        self, name: str, settings: PostgresConnection, login: Login, prepare: Prepare, told: Told = _nobody
    ) -> None:
        self.name = name
        self._settings = settings
        self._login = login
        self._prepare = prepare
        self._told = told
        self._pool: asyncpg.Pool | None = None
        self._ready_for: int | None = None
        self._lock = asyncio.Lock()

    async def pool(self) -> asyncpg.Pool:
        """The pool; its database is prepared. Raises SecretMissing, ConfigError, PostgresUnavailable."""
        self._login.look()
        if self._pool is not None and self._ready_for == self._login.changes:
            return self._pool
        async with self._lock:
            if self._pool is None:
                self._pool = await self._made()
            if self._ready_for != self._login.changes:
                await self._make_ready(self._pool)
            return self._pool

    @property
    def opened(self) -> asyncpg.Pool | None:
        """The pool, if somebody has asked for it."""
        return self._pool

    def terminate(self) -> None:
        """End all connections; what still runs in them is rolled back."""
        if self._pool is not None:
            self._pool.terminate()

    async def _make_ready(self, pool: asyncpg.Pool) -> None:
        """After the first look, and after a change of the connection string, which may lead elsewhere."""
        if self._ready_for is not None:
            await pool.expire_connections()
        while self._ready_for != self._login.changes:
            changes = self._login.changes
            if self._settings.access == "Write":
                await self._prepare(self.name, pool)
            self._ready_for = changes

    async def _made(self) -> asyncpg.Pool:
        """A pool that connects when it is used, so that it costs nothing until then."""
        pool = Timed(
            connect=self._login.connect,
            init=_lively,
            setup=None,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            min_size=0,
            max_size=self._settings.pool.max_size,
            max_queries=_QUERIES,
            max_inactive_connection_lifetime=parse_duration(self._settings.pool.idle_timeout).total_seconds(),
            reset=_nothing,
        )
        pool.tell(lambda seconds, had: self._told(self.name, seconds, had))
        return await pool


async def _lively(connection: Connection) -> None:
    """Have the server look after half a minute whether we are still there.

    A worker on a lost node leaves transactions open, whose locks others may wait for; by its own defaults the server
    finds out after two hours. By a statement: poolers in between refuse such settings of a connection's start.
    """
    await connection.execute(
        "SELECT set_config('tcp_keepalives_idle', '15', false), set_config('tcp_keepalives_interval', '5', false), "
        "set_config('tcp_keepalives_count', '3', false)"
    )


async def _nothing(_connection: object) -> None:
    """In place of asyncpg's reset, one more round trip for each use of a connection.

    We leave nothing behind to reset: settings, locks and temporary tables are those of a transaction, and asyncpg
    rolls back by itself what is open.
    """
