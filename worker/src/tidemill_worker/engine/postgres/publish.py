"""From staged rows to a sink's table, in one transaction: readers see a run whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import asyncpg

from tidemill_api.contract import SinkCount
from tidemill_api.errors import OlderThanPublished, SinkRefused, TableMismatch
from tidemill_api.names import content_hash
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipeline import Sink
from tidemill_check.stages import stages
from tidemill_worker.connections.zombies import end_holders
from tidemill_worker.engine.model import Chunk, Connections, RunRef
from tidemill_worker.engine.postgres import fence
from tidemill_worker.engine.postgres.errors import typed
from tidemill_worker.engine.postgres.fence import Connection
from tidemill_worker.engine.postgres.tables import (
    MAKING,
    ORDER,
    PUBLISHING,
    Target,
    columns_of,
    quoted_table,
    staging_columns,
)
from tidemill_worker.engine.postgres.types import TEXT
from tidemill_worker.engine.sandbox import literal, quoted


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that go from staging to the table, each with the type that it must be cast to, if any."""

    casts: tuple[tuple[str, str | None], ...]

    @property
    def names(self) -> str:
        """Quoted, for INSERT."""
        return ", ".join(quoted(name) for name, _ in self.casts)

    def values(self, alias: str) -> str:
        """Expressions over the staging table."""
        return ", ".join(self.value(alias, name) for name, _ in self.casts)

    def value(self, alias: str, name: str) -> str:
        """Expression of one column over the staging table."""
        cast = dict(self.casts)[name]
        return f"{alias}.{quoted(name)}" + (f"::{cast}" if cast else "")


def staging_table(run: RunRef, sink: str) -> str:
    """The staging table of a run and sink: `tidemill.s_...`."""
    return f"tidemill.s_{content_hash([run.uid, run.run_key, run.execution, sink])[:48]}"


async def make_staging(connection: Connection, run: RunRef, target: Target) -> None:
    """Make the run's staging table for a sink. It is logged: its rows must outlive a crash, as the ledger's do."""
    table = staging_table(run, target.sink.name)
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({MAKING.replace('$1', literal(table))})")
        await fence.hold(connection, run)
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {quoted_table(table)} ({staging_columns(target)})")


async def publish(
    spec: DataPipelineSpec, run: RunRef, sink: str, chunks: Sequence[Chunk], connections: Connections
) -> SinkCount:
    """See `engine.publish`."""
    declared = next(each for each in spec.sinks if each.name == sink)
    pool = await connections.postgres(declared.connection)
    stage_chunks = _chunks_of(spec, sink, chunks)
    with typed(sink, declared.connection):
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SET LOCAL TimeZone = 'UTC'")
            await fence.hold(connection, run)
            done = await published(connection, run, sink)
            if done is not None:
                return done
            await _whole(connection, run, declared, stage_chunks)
            table = staging_table(run, sink)
            await end_holders(connection, table)
            count = await move(connection, run, declared, table, await _columns(connection, declared, table))
            await connection.execute(f"DROP TABLE {quoted_table(table)}")
            return count


def _chunks_of(spec: DataPipelineSpec, sink: str, chunks: Sequence[Chunk]) -> set[int]:
    mine = {place for place, stage in enumerate(stages(spec)) if sink in stage.sinks}
    return {chunk.index for chunk in chunks if chunk.stage in mine}


async def published(connection: Connection, run: RunRef, sink: str) -> SinkCount | None:
    """What this execution has published, if it has."""
    row = await connection.fetchrow(
        "SELECT rows, inserted, updated FROM tidemill.published WHERE uid = $1 AND sink = $2 AND run_key = $3 "
        "AND execution = $4",
        run.uid,
        sink,
        run.run_key,
        run.execution,
    )
    return (
        None
        if row is None
        else SinkCount(sink=sink, rows=row["rows"], inserted=row["inserted"], updated=row["updated"])
    )


async def _whole(connection: Connection, run: RunRef, sink: Sink, chunks: set[int]) -> None:
    """That all chunks have been staged, and are still."""
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
    if await connection.fetchval("SELECT to_regclass($1)", staging_table(run, sink.name)) is None:
        raise SinkRefused(f"sink {sink.name}: the staging table of this run is gone, so the run can't be published")


async def _columns(connection: Connection, sink: Sink, staging: str) -> Columns:
    staged = await columns_of(connection, staging) or {}
    columns = await columns_of(connection, sink.postgres.table) or {}
    own = [column for column in staged.values() if column.name not in {name for name, _ in ORDER}]
    gone = [column.name for column in own if column.name not in columns]
    if gone:
        raise TableMismatch(f"sink {sink.name}: {sink.postgres.table} has no column {', '.join(gone)} any more")
    return Columns(tuple((c.name, columns[c.name].free if columns[c.name].free != c.free else None) for c in own))


async def move(connection: Connection, run: RunRef, sink: Sink, staging: str, columns: Columns) -> SinkCount:
    """Within a transaction that holds the fence: put the staged rows into the table, and note that they are.

    `staging` is a table's name, quoted or not needing it. Raises OlderThanPublished, asyncpg.PostgresError.
    """
    await connection.execute(f"SELECT pg_advisory_xact_lock({PUBLISHING.replace('$1', literal(sink.postgres.table))})")
    rows = await connection.fetchval(f"SELECT count(*) FROM {staging}")
    updated: int | None = None
    with _naming_casts(sink, columns):
        match sink.write_disposition:
            case "Replace":
                await _refuse_older(connection, run, sink)
                inserted = await _replace(connection, sink, staging, columns)
            case "Merge":
                inserted, updated = await _merge(connection, sink, staging, columns)
            case "Append":
                inserted = await _append(connection, sink, staging, columns)
    count = SinkCount(sink=sink.name, rows=rows, inserted=inserted, updated=updated)
    if sink.write_disposition != "Append":
        await _note(connection, run, count)
    return count


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
            f"sink {sink.name}: a value can't become what {sink.postgres.table} has for {cast} (SQLSTATE "
            f"{error.sqlstate}): declare the type in the source's columns, or cast it by TRY_CAST in a sql step, so "
            "that such a row is rejected by itself"
        ) from error


async def _refuse_older(connection: Connection, run: RunRef, sink: Sink) -> None:
    newer = await connection.fetchrow(
        "SELECT run_key FROM tidemill.published WHERE uid = $1 AND sink = $2 AND run_time > $3 ORDER BY "
        "run_time DESC LIMIT 1",
        run.uid,
        sink.name,
        run.run_time,
    )
    if newer is not None:
        raise OlderThanPublished(
            f"sink {sink.name}: {sink.postgres.table} holds run {newer['run_key']}, which is newer than "
            f"{run.run_key}: Replace would bring back old rows"
        )


async def _replace(connection: Connection, sink: Sink, staging: str, columns: Columns) -> int:
    table = quoted_table(sink.postgres.table)
    try:
        async with connection.transaction():
            await connection.execute(f"TRUNCATE {table}")
    except asyncpg.FeatureNotSupportedError:  # another table refers to it: TRUNCATE won't look whether its rows do
        await connection.execute(f"DELETE FROM {table}")
    return await _append(connection, sink, staging, columns)


async def _append(connection: Connection, sink: Sink, staging: str, columns: Columns) -> int:
    table = quoted_table(sink.postgres.table)
    return _rows(
        await connection.execute(f"INSERT INTO {table} ({columns.names}) SELECT {columns.values('s')} FROM {staging} s")
    )


async def _merge(connection: Connection, sink: Sink, staging: str, columns: Columns) -> tuple[int, int]:
    """Of rows with the same key the last one read wins. Returns rows inserted and updated."""
    table = quoted_table(sink.postgres.table)
    kept = await _keys(connection, sink)
    keys = ", ".join(kept.values())
    last = ", ".join(f"s.{name} DESC" for name, _ in ORDER)
    values = ", ".join(f"{kept.get(name) or columns.value('s', name)} AS {quoted(name)}" for name, _ in columns.casts)
    winners = f"SELECT DISTINCT ON ({keys}) {values} FROM {staging} s ORDER BY {keys}, {last}"
    others = [name for name, _ in columns.casts if name not in sink.primary_key]
    if await _has_unique_index(connection, sink):
        action = ", ".join(f"{quoted(name)} = excluded.{quoted(name)}" for name in others)
        row = await connection.fetchrow(
            f"""
            WITH winner AS ({winners}), written AS (
                INSERT INTO {table} AS t ({columns.names}) SELECT * FROM winner
                ON CONFLICT ({", ".join(quoted(name) for name in sink.primary_key)})
                DO {f"UPDATE SET {action}" if others else "NOTHING"} RETURNING (t.xmax = 0) AS new
            )
            SELECT (SELECT count(*) FROM winner) AS total, count(*) FILTER (WHERE new) AS inserted FROM written
            """
        )
        assert row is not None
        return row["inserted"], row["total"] - row["inserted"]
    await connection.execute(f"CREATE TEMP TABLE tidemill_winner ON COMMIT DROP AS {winners}")
    same = " AND ".join(f"t.{quoted(name)} = w.{quoted(name)}" for name in sink.primary_key)
    changes = ", ".join(f"{quoted(name)} = w.{quoted(name)}" for name in others or sink.primary_key)
    updated = _rows(await connection.execute(f"UPDATE {table} t SET {changes} FROM tidemill_winner w WHERE {same}"))
    inserted = _rows(
        await connection.execute(
            f"INSERT INTO {table} ({columns.names}) SELECT {columns.names} FROM tidemill_winner w "
            f"WHERE NOT EXISTS (SELECT FROM {table} t WHERE {same})"
        )
    )
    await connection.execute("DROP TABLE tidemill_winner")
    return inserted, updated


async def _keys(connection: Connection, sink: Sink) -> dict[str, str]:
    """The key's columns as the table will hold them, as expressions over the staging table `s`.

    Keys that differ in the rows may be one there: '7' and '007' as integer, 1.001 and 1.002 as numeric(10,2). Only
    text isn't cut to its length: the table shall refuse it.
    """
    columns = await columns_of(connection, sink.postgres.table) or {}
    kinds = {
        name: columns[name].free if columns[name].base in TEXT else columns[name].type for name in sink.primary_key
    }
    return {name: f"s.{quoted(name)}::{kind}" for name, kind in kinds.items()}


async def _has_unique_index(connection: Connection, sink: Sink) -> bool:
    """Whether ON CONFLICT finds an index over exactly the key's columns.

    Not of a partitioned table: it can't tell which rows were new.
    """
    found = await connection.fetchval(
        """
        SELECT EXISTS (
            SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE i.indrelid = to_regclass($1) AND c.relkind = 'r'
            AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL
            AND (
                SELECT array_agg(a.attname::text ORDER BY a.attname::text COLLATE "C")
                FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) AS k JOIN pg_attribute a ON a.attrelid =
                i.indrelid AND a.attnum = k
            ) = $2::text[]
        )
        """,
        quoted_table(sink.postgres.table),
        sorted(sink.primary_key),
    )
    return bool(found)


async def _note(connection: Connection, run: RunRef, count: SinkCount) -> None:
    await connection.execute(
        """
        INSERT INTO tidemill.published (uid, sink, run_key, execution, run_time, rows, inserted, updated)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (uid, sink, run_key) DO UPDATE SET execution = excluded.execution, run_time = excluded.run_time,
            rows = excluded.rows, inserted = excluded.inserted, updated = excluded.updated, published_at = now()
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


async def clean(spec: DataPipelineSpec, run: RunRef, connections: Connections) -> None:
    """See `engine.clean`. Drops the staging tables of this and older executions; a newer one's stay."""
    for name, sink in {sink.connection: sink.name for sink in spec.sinks}.items():
        pool = await connections.postgres(name)
        with typed(sink, name):
            async with pool.acquire() as connection:
                for execution in range(1, run.execution + 1):
                    former = RunRef(run.uid, run.run_key, execution, run.namespace, run.pipeline, run.run_time)
                    for each in spec.sinks:
                        await _drop(connection, staging_table(former, each.name))


async def _drop(connection: Connection, staging: str) -> None:
    if await connection.fetchval("SELECT to_regclass($1)", staging) is not None:
        await end_holders(connection, staging)
        await connection.execute(f"DROP TABLE IF EXISTS {quoted_table(staging)}")


def _rows(status: str) -> int:
    """`INSERT 0 5` -> 5."""
    return int(status.rsplit(" ", 1)[-1])
