"""What became of the times that a backfill asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tidemill_worker.metastore.store import Metastore


async def came_to(store: Metastore, uid: str, keys: Sequence[str]) -> Mapping[str, str]:
    """Of those keys that have been processed, what the newest execution came to (`Running` while it is open)."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT DISTINCT ON (run_key) run_key, result FROM tidemill.runs "
            "WHERE uid = $1 AND run_key = ANY ($2::text[]) AND execution > 0 ORDER BY run_key, execution DESC",
            uid,
            list(keys),
        )
    return {row["run_key"]: row["result"] for row in rows}
