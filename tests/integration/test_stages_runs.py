"""Runs of several waves on real workers: shared by several, and with workers that die in each of their phases."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest
from temporalio.client import WorkflowHandle

from tests.support.worker import Pool, Runs, WorkerProcess, eventually
from tidemill_api.contract import RunResult
from tidemill_api.v1alpha1.workerpool import Artifacts, Connection, FilesConnection
from tidemill_worker.activities.housekeeping import FORGOTTEN, YOUNG, forget_artifacts
from tidemill_worker.connections import PoolConnections
from tidemill_worker.metastore import Metastore
from tidemill_worker.migrations import ensure

ROWS = 60_000
CARRIERS = 7


def spec(disposition: str = "Replace", query: str = "", **execution: Any) -> dict[str, Any]:
    """Some sixty chunks, an answer over all their rows, and chunks of this answer."""
    query = query or "SELECT id % 7 AS carrier, id, row_number() OVER (ORDER BY id) AS place FROM valid"
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "*.csv", "format": {"csv": {}}},
                "columns": [{"name": "id", "type": "int64"}, {"name": "text", "type": "string"}],
            }
        ],
        "steps": [
            {
                "name": "valid",
                "inputs": ["raw"],
                "validate": {"rules": [{"name": "thousand", "expression": "id % 1000 <> 7"}]},
            },
            {"name": "ranked", "inputs": ["valid"], "sql": {"query": query}},
            {
                "name": "even",
                "inputs": ["ranked"],
                "validate": {"rules": [{"name": "seventh", "expression": "carrier > 0"}]},
            },
        ],
        "sinks": [
            sink("rows", "valid", "Append"),
            sink("places", "even", disposition),
        ],
        "execution": {"chunk": {"maxBytes": "16k", "maxRows": 5000}, "parallelism": 4, **execution},
    }


def sink(table: str, given: str, disposition: str) -> dict[str, Any]:
    return {
        "name": table,
        "input": given,
        "connection": "warehouse",
        "writeDisposition": disposition,
        "postgres": {"table": f"public.{table}", "createTable": "IfMissing"},
    } | ({"primaryKey": ["id"]} if disposition == "Merge" else {})


@pytest.fixture
def wide(pool: Pool) -> Pool:
    """A pool with a place for what passes between stages, and a file of rows."""
    (pool.folder / "kept").mkdir()
    connections = [
        {"name": "landing", "files": {"url": pool.landing.as_uri() + "/"}},
        {"name": "kept", "files": {"url": (pool.folder / "kept").as_uri() + "/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    pool.write(connections=connections, artifacts={"connection": "kept", "path": "stages"})
    rows = "".join(f"{n},row number {n}\n" for n in range(ROWS))
    (pool.landing / "big.csv").write_text("id,text\n" + rows)
    return pool


GOOD = [n for n in range(ROWS) if n % 1000 != 7]
PLACES = [(n, place) for place, n in enumerate(GOOD, 1) if n % 7]


async def rows_are_exact(pool: Pool, runs: Runs, handle: WorkflowHandle[Any, RunResult]) -> None:
    async with asyncio.timeout(180):
        result = await runs.result(handle)
    assert (result.result, result.error) == ("Succeeded", None)
    counts = {step.step: (step.rows_in, step.rows_out, step.rejected) for step in result.steps if step.step != "places"}
    assert counts == {
        "raw": (ROWS, ROWS, 0),
        "valid": (ROWS, len(GOOD), ROWS - len(GOOD)),
        "even": (len(GOOD), len(PLACES), len(GOOD) - len(PLACES)),
    }
    assert result.rows_read == ROWS
    assert pool.database.query("SELECT count(*), count(DISTINCT id) FROM public.rows") == [[str(len(GOOD))] * 2]
    assert pool.database.query("SELECT count(*), sum(id * place) FROM public.places") == [
        [str(len(PLACES)), str(sum(n * place for n, place in PLACES))]
    ]
    letters = pool.database.query("SELECT step, count(*) FROM tidemill.dead_letters GROUP BY step ORDER BY step")
    assert letters == [["even", str(len(GOOD) - len(PLACES))], ["valid", str(ROWS - len(GOOD))]]
    assert list((pool.folder / "kept").rglob("*.parquet")) == []


async def finished(pool: Pool, condition: str) -> int:
    found = await asyncio.to_thread(
        pool.database.query, f"SELECT count(*) FROM tidemill.chunks WHERE finished_at IS NOT NULL AND {condition}"
    )
    return int(found[0][0])


async def test_several_workers_share_one_run(wide: Pool, runs: Runs) -> None:
    first, second = wide.start(), wide.start()
    handle = await runs.start(spec())
    await rows_are_exact(wide, runs, handle)
    for worker in (first, second):
        text = worker.get("/metrics")[1]
        done = [line for line in text.splitlines() if line.startswith("tidemill_worker_chunks_total")]
        assert any(float(line.rsplit(" ", 1)[1]) > 0 for line in done), "each of them has had its share"


@pytest.mark.parametrize(
    ("reached", "disposition"),
    [
        # While kept rows are written, the sink whose disposition this is hasn't begun.
        pytest.param("source = 'raw'", "Replace", id="writing-kept-rows"),
        pytest.param("source = 'ranked' AND file <> ''", "Merge", id="following-load-Merge"),
        pytest.param("source = 'ranked' AND file <> ''", "Append", id="following-load-Append"),
    ],
)
async def test_a_worker_is_killed_while_it_works_on_chunks(
    wide: Pool, runs: Runs, reached: str, disposition: str
) -> None:
    first = wide.start()
    handle = await runs.start(spec(disposition))

    async def some() -> bool:
        return await finished(wide, reached) >= 2

    await eventually(some, 120)
    first.kill()
    assert (await handle.describe()).close_time is None
    wide.start()
    await rows_are_exact(wide, runs, handle)


@pytest.mark.parametrize("end", [WorkerProcess.stop, WorkerProcess.kill])
async def test_a_worker_is_killed_while_it_computes(
    wide: Pool, runs: Runs, end: Callable[[WorkerProcess], Any]
) -> None:
    """The first part of the answer is written: the file is there, and hasn't its name yet."""
    # Slow enough to be met: a product of rows that counts for nothing in the answer.
    query = (
        "SELECT id % 7 AS carrier, id, row_number() OVER (ORDER BY id) AS place FROM valid "
        "WHERE (SELECT count(*) FROM valid a, valid b WHERE a.id % 40 = 0 AND b.id % 2 = 0 AND a.id + b.id < 0) = 0"
    )
    first = wide.start("--grace", "0")
    handle = await runs.start(spec(query=query))
    writing = wide.folder / "kept" / "stages" / ".writing"

    async def computing() -> bool:
        done = await finished(wide, "source = 'raw'")
        planned = await asyncio.to_thread(
            wide.database.query, "SELECT count(*) FROM tidemill.chunks WHERE source = 'raw' AND finished_at IS NULL"
        )
        return done > 0 and planned == [["0"]] and any(writing.glob("*"))

    await eventually(computing, 120)
    await asyncio.to_thread(end, first)
    assert (await handle.describe()).close_time is None
    wide.start()
    await rows_are_exact(wide, runs, handle)


async def test_a_cancelled_run_stops_computing_and_leaves_nothing(wide: Pool, runs: Runs) -> None:
    query = "SELECT 1 AS carrier, count(*) AS id FROM valid a, valid b WHERE a.id * b.id % 7 = 1"
    wide.start()
    handle = await runs.start(spec(query=query))
    writing = wide.folder / "kept" / "stages" / ".writing"

    async def computing() -> bool:
        return await finished(wide, "source = 'raw'") > 50 and any(writing.glob("*"))

    await eventually(computing, 120)
    await handle.cancel()

    async def cancelled() -> bool:
        described = await handle.describe()
        return described.status is not None and described.status.name == "CANCELED"

    await eventually(cancelled, 60)
    assert [path for path in (wide.folder / "kept").rglob("*") if path.is_file()] == []


async def test_a_pool_without_a_place_for_artifacts_refuses_the_run(pool: Pool, runs: Runs) -> None:
    (pool.landing / "big.csv").write_text("id,text\n1,a\n")
    pool.start()
    result = await runs.run(spec())
    assert result.error is not None
    assert result.error.type == "SpecError"
    assert "spec.steps[1].sql.query: the step needs all rows" in result.error.message
    assert "spec.artifacts of the WorkerPool etl" in result.error.message


async def test_what_terminated_runs_have_left_goes_by_age(wide: Pool, runs: Runs) -> None:
    handle = await runs.start(
        spec(query="SELECT 1 AS carrier, count(*) AS id FROM valid a, valid b WHERE a.id * b.id = 7")
    )
    first = wide.start()

    async def kept() -> bool:
        return await finished(wide, "source = 'raw'") >= 3

    await eventually(kept, 120)
    await handle.terminate()
    await asyncio.to_thread(first.kill)
    open_run = wide.folder / "kept/stages/u/other/1/valid"
    open_run.mkdir(parents=True)
    left = [path for path in (wide.folder / "kept/stages").glob("*/*/1") if path != open_run.parent]
    assert left

    asked = await asyncpg.create_pool(wide.database.dsn, min_size=0)
    store = Metastore("warehouse", lambda: asyncio.sleep(0, asked))
    connections = PoolConnections(
        (Connection(name="kept", files=FilesConnection(url=(wide.folder / "kept").as_uri())),),
        wide.secrets,
        ensure,
        artifacts=Artifacts(connection="kept", path="stages"),
    )
    now = time.time()
    try:
        await forget_artifacts(store, connections, now + 2 * YOUNG)
        assert all(path.exists() for path in left), "the metastore doesn't know yet that the run is over"
        await asked.execute("UPDATE tidemill.runs SET result = 'Failed'")
        await forget_artifacts(store, connections, now)
        assert all(path.exists() for path in left), "just written"
        await forget_artifacts(store, connections, now + 2 * YOUNG)
        assert not any(path.exists() for path in left)
        assert open_run.exists(), "nobody knows whose it is"
        await forget_artifacts(store, connections, now + 2 * FORGOTTEN)
        assert list((wide.folder / "kept/stages").rglob("*")) in ([], [wide.folder / "kept/stages/.writing"])
    finally:
        asked.terminate()
