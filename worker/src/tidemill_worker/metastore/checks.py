"""What checks came to, run by run: shown to people, and what later runs are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from tidemill_api.contract import CheckResult
from tidemill_api.v1alpha1.check import Check
from tidemill_worker.engine.checking import meaning
from tidemill_worker.metastore.store import Connection, Metastore, RunId


async def former(
    store: Metastore, run: RunId, checks: Sequence[Check], run_time: datetime
) -> dict[str, tuple[float, ...]]:
    """Values of the last other runs up to `run_time` that succeeded, newest first, of the checks that ask for them.

    Run times are whole seconds, so that runs by hand may share one.
    """
    found: dict[str, tuple[float, ...]] = {}
    asking = [check for check in checks if check.within_percent_of_last is not None]
    if not asking:
        return found
    async with store.connection() as connection:
        for check in asking:
            assert check.within_percent_of_last is not None
            rows = await connection.fetch(
                "SELECT c.value FROM tidemill.check_results c JOIN tidemill.runs r USING (uid, run_key, execution) "
                "WHERE c.uid = $1 AND c.run_key <> $2 AND c.name = $3 AND c.meaning = $4 AND c.value IS NOT NULL "
                "AND r.result = 'Succeeded' AND r.run_time <= $5 "
                "ORDER BY r.run_time DESC, r.started_at DESC LIMIT $6",
                *(run.uid, run.run_key, check.name, meaning(check), run_time, check.within_percent_of_last.runs),
            )
            found[check.name] = tuple(row["value"] for row in rows)
    return found


async def keep(store: Metastore, run: RunId, checks: Sequence[Check], results: Sequence[CheckResult]) -> None:
    """Keep what checks came to, in place of what an earlier attempt may have left."""
    if not results:
        return
    meanings = {check.name: meaning(check) for check in checks}
    async with store.transaction() as connection:
        await connection.executemany(
            "INSERT INTO tidemill.check_results "
            "(uid, run_key, execution, name, sink, metric, severity, passed, value, message, meaning) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (uid, run_key, execution, name) "
            "DO UPDATE SET passed = excluded.passed, value = excluded.value, message = excluded.message, "
            "checked_at = now()",
            [
                (*run.columns, r.check, r.sink, r.metric, r.severity, r.passed, r.value, r.message, meanings[r.check])
                for r in results
            ],
        )


async def failed(connection: Connection, run: RunId) -> tuple[CheckResult, ...]:
    """Those of a run that didn't pass. For use within a transaction."""
    rows = await connection.fetch(
        "SELECT name AS check, sink, metric, severity, passed, value, message FROM tidemill.check_results "
        "WHERE uid = $1 AND run_key = $2 AND execution = $3 AND NOT passed ORDER BY name",
        *run.columns,
    )
    return tuple(CheckResult(**dict(row)) for row in rows)
