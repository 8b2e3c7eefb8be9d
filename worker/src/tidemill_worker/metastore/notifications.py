"""What has been told of runs, and what runs before them came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tidemill_worker.metastore.store import Metastore, RunId

State = Literal["Waiting", "Sent", "Unsent"]


async def ended_before(store: Metastore, run: RunId, most: int, *, scheduled: bool) -> tuple[str, ...]:
    """`Succeeded` or `Failed` of the pipeline's last runs that ended before this one, the newest first.

    Runs of backfills and replays say nothing about how the pipeline does, and aren't among them. `scheduled`: only
    those that the Schedule has started.
    """
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT r.result FROM tidemill.runs r, (SELECT finished_at AS moment FROM tidemill.runs "
            "WHERE uid = $1 AND run_key = $2 AND execution = $3) this "
            "WHERE r.uid = $1 AND r.result IN ('Succeeded', 'Failed') AND r.finished_at < this.moment "
            "AND r.backfill IS NULL AND r.replay IS NULL AND ($4::boolean IS FALSE OR r.trigger = 'Schedule') "
            "ORDER BY r.finished_at DESC LIMIT $5",
            *run.columns,
            scheduled,
            most,
        )
    return tuple(row["result"] for row in rows)


async def keep(
    store: Metastore,
    run: RunId,
    number: int,
    events: Sequence[str],
    to: tuple[str, str],
    state: State,
    error: str | None,
) -> None:
    """Note an attempt at a message: `to` is connection and path, `error` why it isn't there yet."""
    async with store.connection() as connection:
        await connection.execute(
            "INSERT INTO tidemill.notifications "
            "(uid, run_key, execution, number, events, connection, path, state, attempts, error) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, $9) ON CONFLICT (uid, run_key, execution, number) DO UPDATE "
            "SET state = excluded.state, attempts = notifications.attempts + 1, error = excluded.error, "
            "last_attempt = now() WHERE notifications.state <> 'Sent'",
            *run.columns,
            *(number, list(events), *to, state, error),
        )
