"""Sessions of attempts that nobody waits for any more: of a worker that is frozen, or on a node that is cut off.

What such an attempt wrote is never committed, but its open transaction holds locks for as long as the server takes its
connection for alive; who does its work anew would wait for them. It is known by waiting for its client while somebody
waits for it: a statement that takes minutes (a Merge, a migration) is at work, and is left alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import asyncpg.pool

_log = logging.getLogger(__name__)

PATIENCE: Final = 5.0
"""Seconds for which a session must have stood still while it blocks us; a worker that lives never lets one."""

_HOLDERS: Final = """
SELECT count(pg_terminate_backend(held.pid))
FROM pg_locks held JOIN pg_stat_activity session USING (pid) JOIN pg_database here ON here.oid = held.database
WHERE held.relation = to_regclass($1) AND here.datname = current_database() AND held.pid <> pg_backend_pid()
    AND session.usename = current_user AND session.application_name = 'tidemill'
"""
_STALLED: Final = """
SELECT session.pid, session.backend_start, session.query_start, session.state_change, copied.bytes_processed
FROM pg_stat_activity session LEFT JOIN pg_stat_progress_copy copied USING (pid)
WHERE session.pid = ANY(pg_blocking_pids($1)) AND session.usename = current_user
    AND session.application_name = 'tidemill'
    AND (session.state LIKE 'idle in transaction%' OR session.wait_event_type = 'Client')
"""
"""Sessions of ours that block $1 and wait for their own client, and how far they have come."""
_END: Final = "SELECT count(pg_terminate_backend(pid)) FROM unnest($1::int[]) pid"


async def end_holders(connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, table: str) -> None:
    """End other sessions of ours that hold a table which nobody but a zombie can hold. `table` needs no quotes."""
    _tell(await connection.fetchval(_HOLDERS, table))


@contextlib.asynccontextmanager
async def not_blocked(
    pool: asyncpg.Pool, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy
) -> AsyncIterator[None]:
    """Around statements that only another attempt at the same work could block: a frozen one is ended.

    One that works is waited for, however long that takes. If it is alive after all, it is told that it lost its
    connection, and tries again.
    """
    watching = asyncio.create_task(_watch(pool, connection.get_server_pid()))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(pool: asyncpg.Pool, pid: int) -> None:
    before: set[asyncpg.Record] = set()
    while True:
        await asyncio.sleep(PATIENCE)
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            async with pool.acquire(timeout=PATIENCE) as connection:
                stalled = set(await connection.fetch(_STALLED, pid))
                frozen = [session["pid"] for session in stalled & before]
                before = stalled
                if frozen:
                    _tell(await connection.fetchval(_END, frozen))


def _tell(ended: int) -> None:
    if ended:
        _log.warning("ended %d sessions of a worker that is frozen or cut off: its work is done anew", ended)
