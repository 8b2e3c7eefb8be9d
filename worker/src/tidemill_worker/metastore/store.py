"""The way in: a connection of the metastore's pool, with outages as typed errors."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import asyncpg
import asyncpg.pool

from tidemill_worker.connections.outage import outages
from tidemill_worker.connections.zombies import not_blocked

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class RunId:
    """One execution of one run key of one pipeline: the first three columns of nearly every table."""

    uid: str
    run_key: str
    execution: int

    @property
    def columns(self) -> tuple[str, str, int]:
        """As arguments `$1, $2, $3` of a statement."""
        return self.uid, self.run_key, self.execution


def moment_of(kept: datetime | None) -> datetime | None:
    """A moment as it was written: asyncpg takes 0001-01-01 for -infinity, and gives that back without a time zone."""
    return kept.replace(tzinfo=UTC) if kept is not None and kept.tzinfo is None else kept


class Metastore:
    """Hands out connections to the metastore's database. `pool` is asked anew each time, since Secrets change."""

    def __init__(self, name: str, pool: Callable[[], Awaitable[asyncpg.Pool]]) -> None:
        self.name = name
        self._pool = pool

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection, outside of any transaction. Raises PostgresUnavailable, SecretMissing, ConfigError.

        A session of ours that keeps it waiting without doing anything belongs to a lost worker, and is ended.
        """
        pool = await self._pool()
        with outages(self.name):
            async with pool.acquire() as connection, not_blocked(pool, connection):
                yield connection

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection within a transaction, which commits when the body ends well."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def check(self) -> None:
        """Raise what stands in the way of using the metastore; nothing if it is there."""
        async with self.connection() as connection:
            await connection.fetchval("SELECT 1")
