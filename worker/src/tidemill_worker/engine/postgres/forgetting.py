"""What a sink's database notes of runs that ended long ago, as far as nothing asks for it any more.

Sinks that append keep all of it: by it a key that runs again knows which rows are there. So stay the fence, which is
one row a key, and of what has been published the newest run, than which no older one may replace a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import asyncpg


async def forget(pool: asyncpg.Pool, runs: Sequence[tuple[str, str, int, str]]) -> None:
    """Remove ledger and `published` of these: uid, run key, execution, and a sink that doesn't append."""
    arguments = [list(column) for column in zip(*runs, strict=True)]
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(_LEDGER, *arguments)
        await connection.execute(_PUBLISHED, *arguments)


async def forget_replayed(pool: asyncpg.Pool, uids: Sequence[str], kept: timedelta) -> None:
    """Remove what says which dead letters of these pipelines have been loaded; their letters are gone, too."""
    await pool.execute(
        "DELETE FROM tidemill.replayed WHERE uid = ANY($1) AND replayed_at < now() - $2::interval", uids, kept
    )


_THESE = "unnest($1::text[], $2::text[], $3::int[], $4::text[]) AS t (uid, run_key, execution, sink)"
_LEDGER = f"""
DELETE FROM tidemill.ledger l USING {_THESE}
WHERE (l.uid, l.run_key, l.sink, l.execution) = (t.uid, t.run_key, t.sink, t.execution)
"""
_PUBLISHED = f"""
DELETE FROM tidemill.published p USING {_THESE}
WHERE (p.uid, p.run_key, p.sink, p.execution) = (t.uid, t.run_key, t.sink, t.execution)
    AND p.run_time < (SELECT max(n.run_time) FROM tidemill.published n WHERE n.uid = p.uid AND n.sink = p.sink)
"""
