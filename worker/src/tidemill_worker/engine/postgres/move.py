"""From a staging table into a sink's table, as its write disposition says; within a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from tidemill_api.contract import SinkCount
from tidemill_api.errors import SinkRefused
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_worker.engine.model import RunRef
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.merging import merge
from tidemill_worker.engine.postgres.replacing import replace
from tidemill_worker.engine.postgres.staged import Columns, append
from tidemill_worker.engine.postgres.tables import PUBLISHING
from tidemill_worker.engine.quoting import literal, quoted_table


async def move(connection: Connection, run: RunRef, sink: Sink, staging: str, columns: Columns) -> SinkCount:
    """Within a transaction that holds the fence: put the staged rows into the table, and note that they are.

    `staging` is a table's name, quoted or not needing it. Raises OlderThanPublished, asyncpg.PostgresError.
    """
    await connection.execute(f"SELECT pg_advisory_xact_lock({PUBLISHING.replace('$1', literal(sink.table))})")
    rows = await connection.fetchval(f"SELECT count(*) FROM {staging}")
    updated: int | None = None
    with _naming_casts(sink, columns):
        match sink.write_disposition:
            case "Replace":
                inserted = await replace(connection, run, sink, staging, columns)
            case "Merge":
                inserted, updated = await merge(connection, run, sink, staging, columns)
            case "Append":
                inserted = await append(connection, quoted_table(sink.table), staging, columns)
    count = SinkCount(sink=sink.name, rows=rows, inserted=inserted, updated=updated)
    if sink.at_end:
        await note(connection, run, count)
    return count


async def note(connection: Connection, run: RunRef, count: SinkCount) -> None:
    """Note that the run is in the sink's table."""
    await connection.execute(
        """
        INSERT INTO tidemill.published (uid, sink, run_key, execution, run_time, rows, inserted, updated)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (uid, sink, run_key) DO UPDATE SET execution = excluded.execution, run_time = excluded.run_time,
            rows = excluded.rows, inserted = excluded.inserted, updated = excluded.updated, published_at = now(),
            checks = NULL
        """,
        run.uid,
        count.sink,
        run.run_key,
        run.execution,
        run.run_time,
        count.rows,
        count.inserted,
        count.updated,
    )


@contextmanager
def _naming_casts(sink: Sink, columns: Columns) -> Iterator[None]:
    """A value that Postgres can't cast: it doesn't say of which column, but only cast ones come into question."""
    try:
        yield
    except asyncpg.DataError as error:
        cast = ", ".join(f"{name} ({kind})" for name, kind in columns.casts if kind)
        if not cast:
            raise
        raise SinkRefused(
            f"sink {sink.name}: a value can't become what {sink.table} has for {cast} (SQLSTATE "
            f"{error.sqlstate}): declare the type in the source's columns, or cast it by TRY_CAST in a sql step, so "
            "that such a row is rejected by itself"
        ) from error
