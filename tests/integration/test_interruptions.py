"""Workers that die, stop or lose Postgres in the middle of a load: the rows are those of one clean load."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Database
from tests.support.halfway import rows_are_exact, spec, until_half_way, write
from tests.support.worker import Pool, Runs, WorkerProcess, eventually, runs_on
from tidemill_cli.dev.components import component, postgres
from tidemill_cli.dev.components.temporal import TemporalServer


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
@pytest.mark.parametrize("end", [WorkerProcess.stop, WorkerProcess.kill])
async def test_another_worker_takes_over(
    pool: Pool, runs: Runs, disposition: str, end: Callable[[WorkerProcess], Any]
) -> None:
    write(pool)
    first = pool.start("--grace", "0")
    handle = await runs.start(spec(disposition, retry={"maximumAttempts": 4}))
    await until_half_way(pool)

    code = await asyncio.to_thread(end, first)
    assert code in {0, None}
    assert (await handle.describe()).close_time is None
    pool.start()

    await rows_are_exact(pool, runs, handle)


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
async def test_a_worker_that_nobody_hears_of_any_more_writes_nothing(pool: Pool, runs: Runs, disposition: str) -> None:
    """Frozen, as on a node that is cut off: another one does its chunks, and it wakes up to find them done."""
    write(pool)
    first = pool.start()
    handle = await runs.start(spec(disposition))
    await until_half_way(pool)

    first.child.send_signal(signal.SIGSTOP)
    try:
        pool.start()
        # What Temporal hands to the frozen one's open polls is lost until a timeout, several times over.
        await rows_are_exact(pool, runs, handle, within=270)
    finally:
        first.child.send_signal(signal.SIGCONT)
    assert await asyncio.to_thread(first.stop) == 0

    await rows_are_exact(pool, runs, handle)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"schemas": ["other"]}, "spec.sinks[0].postgres.table: the pool doesn't allow the schema public"),
        ({"access": "Read"}, "spec.sinks[0].connection: the pool gives warehouse for reading only"),
    ],
)
async def test_a_worker_whose_pool_grants_less_goes_no_further(
    pool: Pool, runs: Runs, change: dict[str, Any], field: str
) -> None:
    """The run was planned by a worker of the former configuration."""
    write(pool)
    first = pool.start("--grace", "0")
    handle = await runs.start(spec("Append"))
    await until_half_way(pool)
    await asyncio.to_thread(first.stop)
    loaded = pool.database.query("SELECT count(*) FROM public.out")

    secret = {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}
    pool.write(
        connections=[
            {"name": "landing", "files": {"url": pool.landing.as_uri() + "/"}},
            {"name": "warehouse", "postgres": secret | change},
            {"name": "runs", "postgres": secret},
        ],
        metastore={"connection": "runs"},
    )
    pool.start()

    async with asyncio.timeout(120):
        result = await runs.result(handle)
    assert (result.result, result.error.type if result.error else None) == ("Failed", "SpecError")
    assert result.error is not None
    assert field in result.error.message
    assert pool.database.query("SELECT count(*) FROM public.out") == loaded


async def test_a_worker_that_has_time_ends_its_chunks(pool: Pool, runs: Runs) -> None:
    write(pool)
    first = pool.start("--grace", "30")
    handle = await runs.start(spec("Append", retry={"maximumAttempts": 1}))
    await until_half_way(pool)

    assert await asyncio.to_thread(first.stop) == 0
    assert "HandedBack" not in first.log.read_text()
    pool.start()

    await rows_are_exact(pool, runs, handle)


class Restartable:
    """A Postgres that can go away and come back."""

    def __init__(self, folder: Path) -> None:
        self.server = postgres.describe(folder, durable=True)
        self.running: component.Running | None = None

    def start(self) -> None:
        self.running = component.start(self.server.component)
        self.running.ready_blocking()

    def stop(self) -> None:
        if self.running is not None:
            self.running.stop()
            self.running = None


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Restartable]:
    made = Restartable(tmp_path / "postgres")
    made.start()
    yield made
    made.stop()


@pytest.mark.parametrize("disposition", ["Append", "Merge"])
async def test_postgres_goes_away_and_comes_back(
    tmp_path: Path, restartable: Restartable, temporal_server: TemporalServer, installation_id: str, disposition: str
) -> None:
    database = Database(restartable.server, postgres.DATABASE)
    pool = Pool(tmp_path, database, installation_id, temporal_server)
    pool.write()
    write(pool)
    worker = pool.start()
    try:
        async with runs_on(pool) as runs:
            handle = await runs.start(spec(disposition, retry={"initialInterval": "200ms", "maximumInterval": "1s"}))
            await until_half_way(pool)
            await asyncio.to_thread(restartable.stop)
            await eventually(lambda: "PostgresUnavailable" in worker.log.read_text())
            assert (await handle.describe()).close_time is None
            await asyncio.to_thread(restartable.start)

            await rows_are_exact(pool, runs, handle)
        assert worker.stop() == 0
    finally:
        worker.kill()
