"""The plan of an execution, chunk by chunk, and what became of each. Written so that a repetition changes nothing."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from tidemill_api.contract import SinkCount
from tidemill_worker.engine.model import ChunkOutcome
from tidemill_worker.engine.work import Work, work_from_json
from tidemill_worker.metastore.store import Connection, Metastore, RunId

PUBLISHING = -1
"""Stands for the publishing of a staged sink, in place of a chunk's index."""


@dataclass(frozen=True, slots=True)
class PlanSize:
    """How much there is to do."""

    chunks: int
    bytes: int
    staged: tuple[str, ...]
    """Sinks to publish after the chunks, in the manifest's order."""


async def planned(store: Metastore, run: RunId) -> PlanSize | None:
    """The plan's size if there is one already."""
    async with store.connection() as connection:
        row = await connection.fetchrow(
            "SELECT r.chunks, r.staged, (SELECT coalesce(sum(c.bytes), 0)::bigint FROM tidemill.chunks c "
            "WHERE c.uid = r.uid AND c.run_key = r.run_key AND c.execution = r.execution) AS bytes "
            "FROM tidemill.runs r WHERE r.uid = $1 AND r.run_key = $2 AND r.execution = $3 AND r.staged IS NOT NULL",
            *run.columns,
        )
    return None if row is None else PlanSize(row["chunks"], row["bytes"], tuple(row["staged"]))


async def keep_plan(
    store: Metastore,
    run: RunId,
    chunks: Sequence[Work],
    staged: tuple[str, ...],
    also: Callable[[Connection], Awaitable[None]] | None = None,
) -> PlanSize:
    """Keep the plan, unless there is one already: then that one counts. `also` keeps what belongs to a fresh one."""
    async with store.transaction() as connection:
        first = await connection.fetchval(
            "UPDATE tidemill.runs SET chunks = $4, staged = $5 "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3 AND staged IS NULL RETURNING true",
            *run.columns,
            len(chunks),
            list(staged),
        )
        if first:
            await _add(connection, run, chunks)
            if also is not None:
                await also(connection)
            return PlanSize(len(chunks), sum(chunk.bytes for chunk in chunks), staged)
    return await _kept(store, run)


async def extend_plan(
    store: Metastore, run: RunId, before: int, chunks: Sequence[Work], staged: tuple[str, ...]
) -> PlanSize:
    """Add the work of a later wave to a plan of `before` pieces, unless that has been done already."""
    async with store.transaction() as connection:
        first = await connection.fetchval(
            "UPDATE tidemill.runs SET chunks = $4, staged = $5 "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunks = $6 AND staged IS NOT NULL RETURNING true",
            *(*run.columns, before + len(chunks), list(staged), before),
        )
        if first:
            await _add(connection, run, chunks)
    return await _kept(store, run)


async def _add(connection: Connection, run: RunId, chunks: Iterable[Work]) -> None:
    await connection.copy_records_to_table(
        "chunks",
        schema_name="tidemill",
        columns=("uid", "run_key", "execution", "chunk", "source", "file", "bytes", "plan"),
        records=_records(run, chunks),
    )


async def _kept(store: Metastore, run: RunId) -> PlanSize:
    kept = await planned(store, run)
    if kept is None:
        raise LookupError(f"the metastore has no execution {run.execution} of run {run.run_key}")
    return kept


def _records(run: RunId, chunks: Iterable[Work]) -> Iterable[tuple[object, ...]]:
    for chunk in chunks:
        yield (*run.columns, chunk.index, chunk.source, chunk.file, chunk.bytes, json.dumps(chunk.to_json()))


async def chunk_of(store: Metastore, run: RunId, index: int) -> tuple[Work, int]:
    """One piece of work of the plan, and how many there are. Raises LookupError if there is none of that number."""
    async with store.connection() as connection:
        row = await connection.fetchrow(
            "SELECT c.plan, r.chunks FROM tidemill.chunks c JOIN tidemill.runs r USING (uid, run_key, execution) "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4",
            *run.columns,
            index,
        )
    if row is None:
        raise LookupError(f"the plan of run {run.run_key}, execution {run.execution}, has no chunk {index}")
    return work_from_json(json.loads(row["plan"])), row["chunks"]


async def chunks_of(store: Metastore, run: RunId) -> tuple[Work, ...]:
    """The whole plan so far, in order."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT plan FROM tidemill.chunks WHERE uid = $1 AND run_key = $2 AND execution = $3 ORDER BY chunk",
            *run.columns,
        )
    return tuple(work_from_json(json.loads(row["plan"])) for row in rows)


async def keep_outcome(store: Metastore, run: RunId, chunk: Work, outcome: ChunkOutcome) -> None:
    """Keep what a chunk came to, in place of what an earlier attempt may have left; all of it, or nothing."""
    steps, sinks = outcome.steps, outcome.sinks
    async with store.connection() as connection:
        await connection.execute(
            _KEEP_OUTCOME,
            *(*run.columns, chunk.index, outcome.rows_read, outcome.bytes_read, chunk.source),
            *([s.step for s in steps], [s.rows_in for s in steps], [s.rows_out for s in steps]),
            *([s.rejected for s in steps], [s.skipped for s in steps]),
            [json.dumps(s.nulled) if s.nulled else None for s in steps],
            *([s.sink for s in sinks], [s.rows for s in sinks], [s.inserted for s in sinks]),
            [s.updated for s in sinks],
        )


async def keep_published(store: Metastore, run: RunId, sink: SinkCount) -> None:
    """Keep what the publishing of a staged sink came to."""
    async with store.connection() as connection:
        await connection.execute(_KEEP_SINK, *_sink(run, PUBLISHING, sink))


_SINKS = "INSERT INTO tidemill.chunk_sinks (uid, run_key, execution, chunk, sink, rows, inserted, updated)"
_AGAIN = (
    "ON CONFLICT (uid, run_key, execution, sink, chunk) "
    "DO UPDATE SET rows = excluded.rows, inserted = excluded.inserted, updated = excluded.updated"
)
_KEEP_SINK = f"{_SINKS} VALUES ($1, $2, $3, $4, $5, $6, $7, $8) {_AGAIN}"
_KEEP_OUTCOME = f"""
WITH counted AS (
    UPDATE tidemill.chunks SET rows_read = $5, bytes_read = $6, finished_at = now()
    WHERE uid = $1 AND run_key = $2 AND execution = $3 AND chunk = $4
), stepped AS (
    INSERT INTO tidemill.chunk_steps
        (uid, run_key, execution, source, chunk, step, rows_in, rows_out, rejected, skipped, nulled)
    SELECT $1, $2, $3, $7, $4, *
    FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::jsonb[])
    ON CONFLICT (uid, run_key, execution, step, source, chunk) DO UPDATE SET rows_in = excluded.rows_in,
        rows_out = excluded.rows_out, rejected = excluded.rejected, skipped = excluded.skipped,
        nulled = excluded.nulled
)
{_SINKS} SELECT $1, $2, $3, $4, * FROM unnest($14::text[], $15::bigint[], $16::bigint[], $17::bigint[]) {_AGAIN}
"""


def _sink(run: RunId, chunk: int, sink: SinkCount) -> tuple[object, ...]:
    return (*run.columns, chunk, sink.sink, sink.rows, sink.inserted, sink.updated)
