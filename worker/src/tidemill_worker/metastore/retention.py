"""Dead letters go when they are older than their pipeline's `spec.deadLetter.retention`; a bounded bit at a time."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from tidemill_worker.metastore.store import Metastore, RunId

BATCH: Final = 5_000
"""Letters that are removed in one transaction."""
LOOKED_AT: Final = 20_000
"""Runs among which those are looked for that have left something."""
AT_MOST: Final = 2.0
"""Seconds that one pass may take; what is left is for the next."""


async def keep_for(store: Metastore, uid: str, retention: timedelta) -> None:
    """Note how long the pipeline's letters are kept."""
    async with store.connection() as connection:
        await connection.execute(
            "INSERT INTO tidemill.dead_letter_keeping AS k (uid, retention) VALUES ($1, $2) "
            "ON CONFLICT (uid) DO UPDATE SET retention = excluded.retention "
            "WHERE k.retention IS DISTINCT FROM excluded.retention",
            uid,
            retention,
        )


async def expire(store: Metastore) -> int:
    """Remove letters of all pipelines of the metastore whose time is over, and rows of replays that have ended.

    Returns how many letters have gone.
    """
    limit, gone = time.monotonic() + AT_MOST, 0
    async with store.connection() as connection:
        await connection.execute(_ENDED)
        old = await connection.fetch(_WHOSE)
        for uid in sorted(row["uid"] for row in old):
            while time.monotonic() < limit:
                removed = int((await connection.execute(_REMOVE, uid, BATCH)).rsplit(" ", 1)[-1])
                gone += removed
                if removed < BATCH:
                    break
    return gone


async def sinks_of_ended(store: Metastore) -> list[tuple[RunId, tuple[str, ...]]]:
    """Runs that have ended, the last ones first, with the names of their sinks."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT uid, run_key, execution, jsonb_path_query_array(spec, '$.sinks[*].name') AS sinks "
            "FROM tidemill.runs WHERE execution > 0 AND result <> 'Running' AND spec IS NOT NULL "
            "ORDER BY finished_at DESC LIMIT $1",
            LOOKED_AT,
        )
    return [(RunId(row["uid"], row["run_key"], row["execution"]), tuple(json.loads(row["sinks"]))) for row in rows]


async def ended(store: Metastore, runs: Sequence[RunId]) -> dict[RunId, bool]:
    """Which of these executions have ended; those that the metastore doesn't know are left out."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT r.uid, r.run_key, r.execution, r.result <> 'Running' AS ended FROM tidemill.runs r "
            "JOIN unnest($1::text[], $2::text[], $3::int[]) AS a (uid, run_key, execution) "
            "USING (uid, run_key, execution)",
            *([run.uid for run in runs], [run.run_key for run in runs], [run.execution for run in runs]),
        )
    return {RunId(row["uid"], row["run_key"], row["execution"]): row["ended"] for row in rows}


_ENDED: Final = """
DELETE FROM tidemill.replay_rows p USING tidemill.runs r
WHERE (r.uid, r.run_key, r.execution) = (p.uid, p.run_key, p.execution) AND r.result <> 'Running'
"""
"""A replay that was terminated has left its rows behind."""
_WHOSE: Final = """
SELECT DISTINCT l.uid FROM tidemill.dead_letters l JOIN tidemill.dead_letter_keeping k USING (uid)
WHERE l.last_seen < now() - (SELECT min(retention) FROM tidemill.dead_letter_keeping WHERE letters > 0)
    AND l.last_seen < now() - k.retention
"""
"""The first condition is one that an index of times can answer."""
_REMOVE: Final = """
DELETE FROM tidemill.dead_letters WHERE ctid = ANY (ARRAY(
    SELECT l.ctid FROM tidemill.dead_letters l
    WHERE l.uid = $1 AND l.last_seen < now() - (
        SELECT retention FROM tidemill.dead_letter_keeping WHERE uid = $1)
    LIMIT $2 FOR UPDATE SKIP LOCKED))
"""
