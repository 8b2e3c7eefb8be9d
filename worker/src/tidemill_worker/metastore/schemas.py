"""The columns that runs read, run by run."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tidemill_worker.engine.schemas import Schemas, changes
from tidemill_worker.metastore.store import Connection, Metastore, RunId


async def keep(connection: Connection, run: RunId, columns: Schemas) -> None:
    """Keep what a plan reads, and how it differs from the plan before. For use within a transaction.

    A backfill's run is of the past: nothing is compared with it, nor it with others.
    """
    row = await connection.fetchrow(_BEFORE, *run.columns)
    if row is None or not columns:
        return
    before = {} if row["before"] is None else json.loads(row["before"])
    found = () if row["backfill"] is not None else changes(before, columns)
    # A source that had nothing to read keeps what is known of it, for the next run to be compared with.
    told = {source: dict(names) for source, names in {**before, **columns}.items()}
    await connection.execute(
        "UPDATE tidemill.runs SET columns = $4, schema_changes = $5 WHERE uid = $1 AND run_key = $2 AND execution = $3",
        *(*run.columns, json.dumps(told), list(found)),
    )


async def keep_altered(store: Metastore, run: RunId, what: Sequence[str]) -> None:
    """Keep with the run's changes what it has altered of its sinks' tables, each sentence once."""
    if not what:
        return
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE tidemill.runs SET schema_changes = coalesce(schema_changes, '{}') || ARRAY(SELECT each FROM "
            "unnest($4::text[]) AS each WHERE each <> ALL (coalesce(schema_changes, '{}'))) "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3",
            *(*run.columns, list(what)),
        )


_BEFORE = """
SELECT r.backfill, (
    SELECT b.columns FROM tidemill.runs b
    WHERE b.namespace = r.namespace AND b.pipeline = r.pipeline AND b.uid = r.uid AND b.backfill IS NULL
        AND b.columns IS NOT NULL AND (b.run_key, b.execution) <> (r.run_key, r.execution)
    ORDER BY b.started_at DESC LIMIT 1
) AS before
FROM tidemill.runs r WHERE r.uid = $1 AND r.run_key = $2 AND r.execution = $3
"""
