"""A worker that dies in replays, before and after their sinks have committed: each row is loaded once."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from tests.support.fixtures import unique
from tests.support.letters import Rejecting
from tests.support.worker import Pool, Runs, eventually

ROWS = 500
WAYS: dict[str, dict[str, Any]] = {
    "Append": {"writeDisposition": "Append"},
    "Merge": {"writeDisposition": "Merge", "primaryKey": ["id"]},
}

# What the worker waits for when it dies: the table (COPY), its own ledger of rows (before COMMIT), the letters (after).
LOCKS = (
    ("LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE", "0"),
    ("LOCK TABLE tidemill.replayed IN SHARE MODE", "0"),
    ("SELECT FROM tidemill.dead_letters FOR UPDATE", str(ROWS - 1)),
)


async def rejecting(pool: Pool, runs: Runs) -> Rejecting:
    """A pipeline with letters."""
    made = Rejecting(pool, runs, unique("p"))
    made.write("0,1,good,m", *(f"{n},13,bad,m" for n in range(1, ROWS)))
    result = await made.run(key="first")
    assert (result.result, result.rows_rejected) == ("Succeeded", ROWS - 1)
    return made


def mended(here: Rejecting, way: str) -> dict[str, Any]:
    """Its spec, which takes all rows by now."""
    spec = here.spec()
    spec["steps"][0]["validate"]["rules"][0]["expression"] = "month <= 13"
    spec["sinks"][0] |= WAYS[way]
    return spec


def replayed(here: Rejecting) -> list[list[str]]:
    """How many rows the sink has taken for each replay of the pipeline, as its ledger has it."""
    return here.query(
        "SELECT sink, run_key, count(*) FROM tidemill.replayed "
        "WHERE uid = (SELECT DISTINCT uid FROM tidemill.runs WHERE pipeline = '{name}') GROUP BY 1, 2"
    )


@pytest.mark.parametrize(("lock", "committed"), LOCKS, ids=["before COPY", "before COMMIT", "after COMMIT"])
async def test_rows_are_loaded_once(pool: Pool, runs: Runs, lock: str, committed: str) -> None:
    """In both ways at once: what takes its time is that a dead worker is missed."""
    first = pool.start()
    pipelines = {way: await rejecting(pool, runs) for way in WAYS}
    holder = await asyncpg.connect(pool.database.dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(lock.format(tables=", ".join(f"public.{here.name}" for here in pipelines.values())))
    asked = {"deadLetters": {"step": "valid"}}
    handles = [
        await runs.start(mended(here, way), pipeline=here.name, key="again", replay=asked)
        for way, here in pipelines.items()
    ]

    async def both_wait() -> bool:
        rows = await asyncio.to_thread(
            pool.database.query,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        return rows == [["2"]]

    await eventually(both_wait)
    first.kill()
    if committed != "0":
        assert [replayed(here) for here in pipelines.values()] == [[["out", "again", committed]]] * 2
    await transaction.rollback()
    await holder.close()

    pool.start()
    for here, handle in zip(pipelines.values(), handles, strict=True):
        result = await runs.result(handle)

        assert (result.result, result.error, result.rows_loaded) == ("Succeeded", None, ROWS - 1)
        assert here.query("SELECT count(*), count(DISTINCT id) FROM {table}") == [[str(ROWS), str(ROWS)]]
        letters = "FROM tidemill.dead_letters WHERE pipeline = '{name}' GROUP BY 1, 2"
        assert here.query(f"SELECT status, replayed_by, count(*) {letters}") == [["Replayed", "again", str(ROWS - 1)]]
        assert replayed(here) == [["out", "again", str(ROWS - 1)]]
