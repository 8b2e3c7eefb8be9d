"""Bookkeeping of runs that ended long ago: what nothing asks for any more goes, what a key still needs stays.

For ever stay, of each run key, the newest execution (without its spec) and what says which one that is: a key is the
same work each time, and has one result. Of a run that has left dead letters everything stays until these are gone,
since they can be replayed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from tidemill_worker.metastore.store import Metastore, RunId

BATCH: Final = 200
"""Runs that one pass looks at."""


@dataclass(frozen=True, slots=True)
class Old:
    """A run whose time is over."""

    run: RunId
    sinks: tuple[tuple[str, str], ...]
    """Name and connection of the sinks that don't append."""
    files: tuple[str, ...] = ()
    """Names of the sinks that are files, whose books are here."""


async def old_runs(store: Metastore, kept: timedelta) -> tuple[Old, ...]:
    """Some of the runs that ended longer ago than `kept`, and of which there is more than must stay."""
    async with store.connection() as connection:
        rows = await connection.fetch(_OLD, kept, BATCH)
    return tuple(
        Old(
            RunId(row["uid"], row["run_key"], row["execution"]),
            tuple(
                (sink["name"], sink["connection"])
                for sink in json.loads(row["sinks"])
                if sink.get("writeDisposition") != "Append" and not sink.get("files")
            ),
            tuple(sink["name"] for sink in json.loads(row["sinks"]) if sink.get("files")),
        )
        for row in rows
    )


async def without_letters(store: Metastore) -> list[str]:
    """Uids of pipelines that had dead letters and have none any more: there is nothing that could be replayed again."""
    async with store.connection() as connection:
        rows = await connection.fetch("SELECT uid FROM tidemill.dead_letter_keeping WHERE letters = 0")
    return [row["uid"] for row in rows]


async def forget(store: Metastore, runs: tuple[Old, ...]) -> None:
    """Forget what the metastore has of them beyond what must stay. Their sinks' bookkeeping must be gone before."""
    columns = [list(column) for column in zip(*(old.run.columns for old in runs), strict=True)]
    async with store.transaction() as connection:
        for table in ("chunks", "chunk_steps", "chunk_sinks", "notifications"):
            await connection.execute(f"DELETE FROM tidemill.{table} c USING ({_THESE}) t WHERE {_IS}", *columns)
        await connection.execute(
            f"UPDATE tidemill.runs c SET spec = NULL, watermarks = NULL FROM ({_THESE}) t WHERE {_IS}", *columns
        )
        await connection.execute(
            f"DELETE FROM tidemill.runs c USING ({_THESE}) t WHERE {_IS} AND EXISTS (SELECT FROM tidemill.runs n "
            "WHERE n.uid = c.uid AND n.run_key = c.run_key AND n.execution > c.execution AND n.execution > 0 "
            "AND (c.result <> 'Succeeded' OR n.result = 'Succeeded'))",
            *columns,
        )


_THESE: Final = "SELECT * FROM unnest($1::text[], $2::text[], $3::int[]) AS t (uid, run_key, execution)"
_IS: Final = "(c.uid, c.run_key, c.execution) = (t.uid, t.run_key, t.execution)"
_OLD: Final = """
SELECT r.uid, r.run_key, r.execution, coalesce(r.spec -> 'sinks', '[]') AS sinks FROM tidemill.runs r
WHERE r.execution > 0 AND r.result <> 'Running' AND r.spec IS NOT NULL AND r.finished_at < now() - $1::interval
    AND NOT EXISTS (SELECT FROM tidemill.dead_letters l
        WHERE l.uid = r.uid AND l.run_key = r.run_key AND l.execution = r.execution)
    AND NOT EXISTS (SELECT FROM tidemill.runs o
        WHERE o.uid = r.uid AND o.run_key = r.run_key AND o.result = 'Running')
ORDER BY r.finished_at LIMIT $2
"""
