"""What a worker's housekeeping clears away: what dead runs have staged, and the bookkeeping of old ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.pipeline import GOOD, HEADER, Bench
from tests.support.worker import Runs, eventually
from tidemill_api.v1alpha1._types import SecretKeyRef, SecretValue
from tidemill_api.v1alpha1.workerpool import Connection, PostgresConnection
from tidemill_worker.activities.housekeeping import forget_runs, forget_staging
from tidemill_worker.connections import PoolConnections
from tidemill_worker.metastore import Metastore
from tidemill_worker.migrations import ensure


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    """A pipeline of this test's own."""
    return Bench(worker_runs)


@contextlib.asynccontextmanager
async def housekeeping(here: Bench) -> AsyncIterator[tuple[Metastore, PoolConnections]]:
    """What a worker's housekeeping works with."""
    sinks = await asyncpg.create_pool(here.pool.database.dsn, min_size=0)
    dsn = SecretKeyRef(name="warehouse", key="dsn")
    connections = PoolConnections(
        (Connection(name="warehouse", postgres=PostgresConnection(dsn=SecretValue(secret_key_ref=dsn))),),
        here.pool.secrets,
        ensure,
    )
    await connections.postgres("warehouse")
    try:
        yield Metastore("warehouse", lambda: asyncio.sleep(0, sinks)), connections
    finally:
        sinks.terminate()
        await connections.close()


async def test_what_terminated_runs_have_staged_goes_when_they_are_known_to_have_ended(here: Bench) -> None:
    for file in "ab":
        here.write(HEADER + GOOD, f"{file}.csv")
    spec = here.spec(disposition="Merge")
    await here.run(spec, key="zero")
    blocked = await asyncpg.connect(here.pool.database.dsn)
    transaction = blocked.transaction()
    await transaction.start()
    await blocked.execute(f"LOCK TABLE public.{here.name} IN ACCESS EXCLUSIVE MODE")
    first = await here.start(spec, key="first")
    staged = "SELECT count(*) FROM pg_tables WHERE schemaname = 'tidemill' AND tablename LIKE 's\\_%'"
    await eventually(lambda: here.query(staged) == [["1"]])
    waits = "FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"
    await eventually(lambda: here.query(f"SELECT count(*) {waits}") == [["1"]])
    await first.terminate("by hand")
    here.query(f"SELECT pg_terminate_backend(pid) {waits}")
    await transaction.rollback()
    await blocked.close()
    async with housekeeping(here) as (store, connections):
        await forget_staging(store, connections)
    assert here.query(staged) == [["1"]], "nobody knows yet that the run has ended"
    here.query(
        "UPDATE tidemill.runs SET result = 'Failed', finished_at = now() "
        "WHERE pipeline = '{name}' AND result = 'Running'"
    )
    here.query(f"CREATE TABLE tidemill.s_{'0' * 48} (of_another_pool int)")
    async with housekeeping(here) as (store, connections):
        await forget_staging(store, connections)

    assert here.query(staged) == [["1"]]
    here.query(f"DROP TABLE tidemill.s_{'0' * 48}; DELETE FROM tidemill.slots WHERE run_key = 'first'")


async def test_the_bookkeeping_of_old_runs_goes_and_their_keys_stay_what_they_were(here: Bench) -> None:
    spec = here.spec(disposition="Merge")
    assert (await here.run(spec, key="first")).result == "Failed", "there is no file"
    here.write(HEADER + GOOD)
    assert (await here.run(spec, key="first")).execution == 2
    assert (await here.run(spec, key="rejecting")).result == "Succeeded"
    here.write(HEADER + GOOD + "x,1,bad\n")
    assert (await here.run(spec, key="letters")).rows_rejected == 1
    assert (await here.run(spec, key="young")).result == "Succeeded"
    appends = here.spec()
    appends["sinks"][0]["postgres"] = {"table": f"public.{here.name}_appended", "createTable": "IfMissing"}
    assert (await here.run(appends, key="appended", parameters={})).result == "Succeeded"
    here.query(
        "UPDATE tidemill.runs SET finished_at = now() - interval '91 days' "
        "WHERE pipeline = '{name}' AND run_key <> 'young'"
    )
    here.query("DELETE FROM tidemill.dead_letters WHERE pipeline = '{name}' AND run_key IN ('first', 'appended')")
    mine = "uid = (SELECT uid FROM tidemill.runs WHERE pipeline = '{name}' LIMIT 1)"
    kept = (
        "SELECT run_key, execution, spec IS NOT NULL, summary IS NOT NULL FROM tidemill.runs "
        f"WHERE {mine} ORDER BY 1, 2"
    )
    # Letters of a pipeline that has none any more can't be replayed again; those of another one can.
    here.query("INSERT INTO tidemill.dead_letter_keeping VALUES ('without', 0) ON CONFLICT DO NOTHING")
    for uid, key, age in (("'without'", "old", 91), ("'without'", "young", 1), ("uid", "old", 91)):
        here.query(
            f"INSERT INTO tidemill.replayed SELECT {uid}, 'out', '{key}', 'r', 1, now() - interval '{age} days' "
            "FROM tidemill.runs WHERE pipeline = '{name}' AND run_key = 'young'"
        )

    async with housekeeping(here) as (store, connections):
        await forget_runs(store, connections)
        once = here.query(kept)
        await forget_runs(store, connections)

    assert (
        here.query(kept)
        == once
        == [
            ["appended", "1", "f", "t"],
            ["first", "2", "f", "t"],
            ["letters", "1", "t", "t"],
            ["rejecting", "1", "f", "t"],
            ["young", "1", "t", "t"],
        ]
    )
    ledger = f"SELECT DISTINCT run_key FROM tidemill.ledger WHERE {mine} ORDER BY 1"
    assert here.query(ledger) == [["appended"], ["letters"], ["young"]]
    assert here.query(f"SELECT run_key FROM tidemill.chunks WHERE {mine} GROUP BY 1 ORDER BY 1") == [
        ["letters"],
        ["young"],
    ]
    replayed = f"SELECT uid = 'without', letter_key FROM tidemill.replayed WHERE uid = 'without' OR {mine} ORDER BY 1"
    assert here.query(replayed) == [["f", "old"], ["t", "young"]]
    assert here.query(f"SELECT count(*) FROM tidemill.fence WHERE {mine}") == [["5"]]
    again = await here.run(spec, key="first")
    assert (again.result, again.execution) == ("Skipped", 2)
    assert (await here.run(spec, key="first", reprocess="Completed")).execution == 3
    assert here.query("SELECT count(*) FROM {table}") == [["100"]]
    assert (await here.run(appends, key="appended", reprocess="Completed")).rows_loaded == 100
    assert here.query("SELECT count(*) FROM {table}_appended") == [["100"]]
