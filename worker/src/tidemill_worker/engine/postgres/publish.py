"""From staged rows to a sink's table, in one transaction: readers see a run whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Sequence

import asyncpg

from tidemill_api.contract import CheckResult, SinkCount
from tidemill_api.errors import SinkRefused, TableMismatch, TidemillError
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.check import Check
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.stages import stages
from tidemill_worker.connections.zombies import end_holders, not_blocked
from tidemill_worker.engine.checking import refusal
from tidemill_worker.engine.model import AlsoCommitted, Connections, Former, Published, RunRef
from tidemill_worker.engine.postgres import checks, fence, ledger
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.move import move
from tidemill_worker.engine.postgres.staged import Columns
from tidemill_worker.engine.postgres.staging import staging_table
from tidemill_worker.engine.postgres.tables import (
    MAKING,
    ORDER,
    PUBLISHING,
    Target,
    columns_of,
    staging_columns,
)
from tidemill_worker.engine.quoting import literal, quoted_table
from tidemill_worker.engine.work import Work


async def make_staging(connection: Connection, run: RunRef, target: Target) -> None:
    """Make the run's staging table for a sink. It is logged: its rows must outlive a crash, as the ledger's do."""
    table = staging_table(run, target.sink.name)
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MAKING.replace('$1', literal(table))})")
        await fence.hold(connection, run)
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {quoted_table(table)} ({staging_columns(target)})")


class _RefusedError(Exception):
    """A check doesn't hold. Raised so that the transaction is rolled back."""

    def __init__(self, checks: tuple[CheckResult, ...], why: TidemillError) -> None:
        super().__init__(str(why))
        self.checks = checks
        self.why = why


async def publish(
    spec: DataPipelineSpec,
    run: RunRef,
    sink: str,
    chunks: Sequence[Work],
    connections: Connections,
    former: Former,
    also: AlsoCommitted | None = None,
) -> Published:
    """See `engine.publish`."""
    declared = next(each for each in spec.sinks if each.name == sink)
    mine = tuple(check for check in spec.checks if check.sink == sink)
    pool = await connections.postgres(declared.connection)
    stage_chunks = chunks_of(spec, sink, chunks)
    with typed(sink, declared.connection):
        try:
            async with pool.acquire() as connection, connection.transaction():
                await connection.execute("SET LOCAL TimeZone = 'UTC'")
                await fence.hold(connection, run)
                if not declared.at_end:
                    rows = await ledger.loaded(connection, run, sink)
                    found = await checks.results(connection, declared, mine, rows, former)
                    return Published(SinkCount(sink=sink, rows=rows), found, refusal(found))
                # Another attempt that is at it still (its worker lost Temporal, not Postgres) is waited for.
                async with not_blocked(pool, connection):
                    table = literal(staging_table(run, sink))
                    await connection.execute(f"SELECT pg_advisory_xact_lock({PUBLISHING.replace('$1', table)})")
                done = await published(connection, run, declared)
                if done is not None:
                    return done
                await _whole(connection, run, declared, stage_chunks)
                moved = await _moved(connection, run, declared, mine, former)
                if also is not None:
                    await also.write(connection, sink)
                return moved
        except _RefusedError as refused:
            return Published(SinkCount(sink=sink), refused.checks, refused.why)


async def _moved(connection: Connection, run: RunRef, sink: Sink, mine: tuple[Check, ...], former: Former) -> Published:
    """The staged rows into the table, if the checks hold of it then. Raises _RefusedError, and as `move`."""
    table = staging_table(run, sink.name)
    await end_holders(connection, table)
    count = await move(connection, run, sink, table, await _columns(connection, sink, table))
    await connection.execute(f"DROP TABLE {quoted_table(table)}")
    found = await checks.results(connection, sink, mine, count.rows, former)
    why = refusal(found)
    if why is not None:
        raise _RefusedError(found, why)
    if found:
        await note_checks(connection, run, sink.name, found)
    return Published(count, found)


async def note_checks(connection: Connection, run: RunRef, sink: str, found: Sequence[CheckResult]) -> None:
    """Note with what has been published what its checks came to."""
    told = json.dumps([result.model_dump(by_alias=True) for result in found])
    await connection.execute(
        "UPDATE tidemill.published SET checks = $4 WHERE uid = $1 AND sink = $2 AND run_key = $3",
        *(run.uid, sink, run.run_key, told),
    )


def chunks_of(spec: DataPipelineSpec, sink: str, chunks: Sequence[Work]) -> set[int]:
    """Numbers of the chunks whose rows go to a sink."""
    mine = {place for place, stage in enumerate(stages(spec)) if sink in stage.sinks}
    return {chunk.index for chunk in chunks if chunk.stage in mine}


async def published(connection: Connection, run: RunRef, sink: Sink) -> Published | None:
    """What this execution has published, if it has. Rows appended to a table aren't again by a later one."""
    row = await connection.fetchrow(
        "SELECT rows, inserted, updated, checks::text FROM tidemill.published WHERE uid = $1 AND sink = $2 "
        "AND run_key = $3 AND (execution = $4 OR $5)",
        run.uid,
        sink.name,
        run.run_key,
        run.execution,
        sink.write_disposition == "Append" and sink.files is None,
    )
    if row is None:
        return None
    count = SinkCount(sink=sink.name, rows=row["rows"], inserted=row["inserted"], updated=row["updated"])
    return Published(count, tuple(map(CheckResult.model_validate, json.loads(row["checks"] or "[]"))))


async def published_by(pool: asyncpg.Pool, run: RunRef, sink: str) -> int | None:
    """The execution of this run key whose rows are in the sink's table, if any are."""
    found: int | None = await pool.fetchval(
        "SELECT execution FROM tidemill.published WHERE uid = $1 AND sink = $2 AND run_key = $3",
        *(run.uid, sink, run.run_key),
    )
    return found


async def all_staged(connection: Connection, run: RunRef, sink: Sink, chunks: set[int]) -> None:
    """That all chunks have been staged. Raises SinkRefused."""
    rows = await connection.fetch(
        "SELECT chunk FROM tidemill.ledger WHERE uid = $1 AND run_key = $2 AND execution = $3 AND sink = $4 AND last",
        run.uid,
        run.run_key,
        run.execution,
        sink.name,
    )
    missing = sorted(chunks - {row["chunk"] for row in rows})
    if missing:
        raise SinkRefused(
            f"sink {sink.name}: chunks {', '.join(map(str, missing[:20]))} have not been staged, so the run "
            f"can't be published"
        )


async def _whole(connection: Connection, run: RunRef, sink: Sink, chunks: set[int]) -> None:
    """That all chunks have been staged, and are still."""
    await all_staged(connection, run, sink, chunks)
    if await connection.fetchval("SELECT to_regclass($1)", staging_table(run, sink.name)) is None:
        raise SinkRefused(f"sink {sink.name}: the staging table of this run is gone, so the run can't be published")


async def _columns(connection: Connection, sink: Sink, staging: str) -> Columns:
    staged = await columns_of(connection, staging) or {}
    columns = await columns_of(connection, sink.table) or {}
    own = [column for column in staged.values() if column.name not in {name for name, _ in ORDER}]
    gone = [column.name for column in own if column.name not in columns]
    if gone:
        raise TableMismatch(f"sink {sink.name}: {sink.table} has no column {', '.join(gone)} any more")
    return Columns(
        tuple((c.name, columns[c.name].free if columns[c.name].free != c.free else None) for c in own),
        frozenset(c.name for c in own if c.base == "text"),
    )
