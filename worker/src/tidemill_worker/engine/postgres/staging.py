"""The staging tables of runs, as names: who they belong to, which are there, and that they go. Light, as `fence` is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import asyncpg

from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.connections.zombies import end_holders
from tidemill_worker.engine.model import Connections, RunRef
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.quoting import quoted_table


def staging_table(run: RunRef, sink: str) -> str:
    """The staging table of a run and sink: `tidemill.s_...`."""
    return staging_name(run.uid, run.run_key, run.execution, sink)


def staging_name(uid: str, run_key: str, execution: int, sink: str) -> str:
    """As `staging_table`, of what a run is told by."""
    return f"tidemill.s_{content_hash([uid, run_key, execution, sink])[:48]}"


async def staged_there(pool: asyncpg.Pool) -> frozenset[str]:
    """All staging tables of a database, by their names."""
    rows = await pool.fetch(
        "SELECT 'tidemill.' || relname AS name FROM pg_class WHERE relnamespace = to_regnamespace('tidemill') "
        "AND relkind = 'r' AND relname ~ '^s_[0-9a-f]{48}$'"
    )
    return frozenset(row["name"] for row in rows)


async def drop_staging(pool: asyncpg.Pool, tables: Iterable[str]) -> None:
    """Drop staging tables of runs that have ended; sessions that hold them still are ended."""
    async with pool.acquire() as connection:
        for table in tables:
            await _drop(connection, table)


async def clean(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """See `engine.clean`. Drops the staging tables of this and older executions; a newer one's stay."""
    for name, sink in {sink.connection: sink.name for sink in spec.sinks if sink.postgres is not None}.items():
        pool = await connections.postgres(name)
        with typed(sink, name):
            async with pool.acquire() as connection:
                for execution in range(1, run.execution + 1):
                    former = replace(run, execution=execution)
                    for each in spec.sinks:
                        await _drop(connection, staging_table(former, each.name))


async def _drop(connection: Connection, staging: str) -> None:
    if await connection.fetchval("SELECT to_regclass($1)", staging) is not None:
        await end_holders(connection, staging)
        await connection.execute(f"DROP TABLE IF EXISTS {quoted_table(staging)}")
