"""A worker that dies in a replay, before and after the sink has committed: each row is loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.fixtures import unique
from tests.support.letters import Rejecting
from tests.support.worker import Pool, eventually, runs_on

ROWS = 500


@pytest.fixture
async def here(pool: Pool) -> AsyncIterator[Rejecting]:
    """A pipeline with letters, whose spec is mended by now."""
    async with runs_on(pool) as runs:
        made = Rejecting(pool, runs, unique("p"))
        made.write("0,1,good,m", *(f"{n},13,bad,m" for n in range(1, ROWS)))
        pool.start()
        result = await made.run(key="first")
        assert (result.result, result.rows_rejected) == ("Succeeded", ROWS - 1)
        yield made


# What the worker waits for when it dies: the table (COPY), its own ledger of rows (before COMMIT), the letters (after).
LOCKS = (
    ("LOCK TABLE public.{name} IN ACCESS EXCLUSIVE MODE", "0"),
    ("LOCK TABLE tidemill.replayed IN SHARE MODE", "0"),
    ("SELECT FROM tidemill.dead_letters FOR UPDATE", str(ROWS - 1)),
)


@pytest.mark.parametrize(("lock", "committed"), LOCKS, ids=["before COPY", "before COMMIT", "after COMMIT"])
@pytest.mark.parametrize("disposition", ["Append", "Merge"])
async def test_rows_are_loaded_once(here: Rejecting, disposition: str, lock: str, committed: str) -> None:
    spec = here.spec()
    spec["steps"][0]["validate"]["rules"][0]["expression"] = "month <= 13"
    keys = {"primaryKey": ["id"]} if disposition == "Merge" else {}
    spec["sinks"][0] |= {"writeDisposition": disposition, **keys}
    holder = await asyncpg.connect(here.pool.database.dsn)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute(lock.format(name=here.name))
    handle = await here.runs.start(spec, pipeline=here.name, key="again", replay={"deadLetters": {"step": "valid"}})

    async def waits() -> bool:
        rows = await asyncio.to_thread(
            here.query,
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        return rows != [["0"]]

    await eventually(waits)
    here.pool.processes[0].kill()
    if committed != "0":
        assert here.query("SELECT count(*) FROM tidemill.replayed") == [[committed]]
    await transaction.rollback()
    await holder.close()

    here.pool.start()
    result = await here.runs.result(handle)

    assert (result.result, result.error, result.rows_loaded) == ("Succeeded", None, ROWS - 1)
    assert here.query("SELECT count(*), count(DISTINCT id) FROM {table}") == [[str(ROWS), str(ROWS)]]
    assert here.query("SELECT status, replayed_by, count(*) FROM tidemill.dead_letters GROUP BY 1, 2") == [
        ["Replayed", "again", str(ROWS - 1)]
    ]
    assert here.query("SELECT sink, run_key, count(*) FROM tidemill.replayed GROUP BY 1, 2") == [
        ["out", "again", str(ROWS - 1)]
    ]
