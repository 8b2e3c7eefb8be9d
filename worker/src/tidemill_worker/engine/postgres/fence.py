"""The fence: of all executions of a run key only the newest may commit."""

from __future__ import annotations

import asyncpg

from tidemill_api.errors import Fenced
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine.bookkeeping import books_of
from tidemill_worker.engine.model import Connections, RunRef
from tidemill_worker.engine.postgres.errors import typed

Connection = asyncpg.Connection | asyncpg.pool.PoolConnectionProxy


async def claim(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """See `engine.claim`. Waits for transactions of older executions that are about to commit."""
    claimed = set[str]()
    for sink in spec.sinks:
        books = await books_of(sink, connections)
        if books.connection in claimed:
            continue
        claimed.add(books.connection)
        with typed(sink.name, books.connection):
            newest = await books.pool.fetchval(
                """
                INSERT INTO tidemill.fence AS f (uid, run_key, execution) VALUES ($1, $2, $3)
                ON CONFLICT (uid, run_key) DO UPDATE SET execution = greatest(f.execution, excluded.execution)
                RETURNING execution
                """,
                run.uid,
                run.run_key,
                run.execution,
            )
        _must_be(run, newest)


async def hold(connection: Connection, run: RunRef) -> None:
    """Within a transaction: a newer execution can't claim before this transaction has ended. Raises Fenced."""
    _must_be(run, await connection.fetchval(_NEWEST + " FOR SHARE", run.uid, run.run_key))


async def look(connection: Connection, run: RunRef) -> None:
    """A cheap look before work is begun, within its transaction, whose time zone becomes UTC. Raises Fenced."""
    newest = await connection.fetchval(
        "SELECT (SELECT execution FROM tidemill.fence WHERE uid = $1 AND run_key = $2) "
        "FROM set_config('TimeZone', 'UTC', true)",
        *(run.uid, run.run_key),
    )
    _must_be(run, newest)


_NEWEST = "SELECT execution FROM tidemill.fence WHERE uid = $1 AND run_key = $2"


def _must_be(run: RunRef, newest: int | None) -> None:
    if newest is None:
        raise Fenced(f"run {run.run_key}: execution {run.execution} has not been claimed in this database")
    if newest != run.execution:
        raise Fenced(f"run {run.run_key}: execution {newest} has taken over from {run.execution}")
