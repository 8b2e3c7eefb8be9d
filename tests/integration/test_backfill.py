"""Backfills on a real worker: each time once, under its own key, whatever fails, is stopped or dies meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from tests.support.fixtures import unique
from tests.support.worker import Pool, Runs, eventually, runs_on
from tidemill_api.contract import (
    BACKFILL_MEMO_KEY,
    PROGRESS_QUERY,
    BackfillInput,
    BackfillProgress,
    RunInput,
    RunResult,
)
from tidemill_api.names import BACKFILL_WORKFLOW, PipelineId

DAILY = {"crons": ["0 0 * * *"]}
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def day(number: int) -> str:
    return (FIRST + timedelta(days=number - 1)).strftime("%Y-%m-%d")


def key(number: int) -> str:
    return f"{day(number)}T00:00:00Z"


@dataclass
class Bench:
    """One pipeline with a file for each day, and its backfills."""

    pool: Pool
    runs: Runs
    name: str

    @property
    def pipeline(self) -> PipelineId:
        return PipelineId(self.pool.installation, self.pool.namespace, self.name)

    def write(self, *numbers: int) -> None:
        folder = self.pool.landing / self.name
        folder.mkdir(exist_ok=True)
        for number in numbers:
            (folder / f"{day(number)}.csv").write_text(f"id,day\n{number},{day(number)}\n")

    def spec(self, **changes: Any) -> dict[str, Any]:
        sink = {"name": "out", "input": "raw", "connection": "warehouse", "writeDisposition": "Append"}
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": f"{self.name}/{{run_time:%Y-%m-%d}}.csv", "format": {"csv": {}}},
                    "columns": [{"name": "id", "type": "int64"}, {"name": "day", "type": "date"}],
                }
            ],
            "sinks": [{**sink, "postgres": {"table": f"public.{self.name}"}}],
            **changes,
        }

    async def start(self, days: int, *, name: str = "", spec: dict[str, Any] | None = None, **asked: Any) -> Handle:
        named = name or unique("b")
        order = RunInput(
            installation=self.pipeline.installation,
            namespace=self.pipeline.namespace,
            pipeline=self.name,
            uid=f"uid-{self.name}",
            spec=spec or self.spec(),
            schedule=DAILY,
            run_key=named,
        )
        backfill = BackfillInput.model_validate({"run": order, "start": key(1), "end": key(days + 1), **asked})
        return await self.runs.client.start_workflow(
            BACKFILL_WORKFLOW,
            backfill,
            id=self.pipeline.workflow(named),
            task_queue=self.pool.queue,
            result_type=RunResult,
        )

    async def backfill(self, days: int, **asked: Any) -> tuple[RunResult, BackfillProgress]:
        handle = await self.start(days, **asked)
        return await result(handle), await told(handle)

    def query(self, sql: str) -> list[list[str]]:
        named = sql.replace("{table}", f"public.{self.name}").replace("{uid}", f"uid-{self.name}")
        return self.pool.database.query(named)

    def loaded(self) -> list[int]:
        return [int(row[0]) for row in self.query("SELECT id FROM {table} ORDER BY id")]

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """While somebody holds the table, so that loads wait at their COPY."""
        self.query("CREATE TABLE IF NOT EXISTS {table} (id bigint, day date)")
        connection = await asyncpg.connect(self.pool.database.dsn)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE public.{self.name} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    async def until_waiting(self, loads: int) -> None:
        """Until so many loads wait for the lock."""
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{table}'::regclass"

        async def are() -> bool:
            return await asyncio.to_thread(self.query, waiting) == [[str(loads)]]

        await eventually(are)


Handle = WorkflowHandle[Any, RunResult]


async def result(handle: Handle) -> RunResult:
    try:
        return await handle.result()
    except WorkflowFailureError as error:
        if isinstance(error.cause, ApplicationError) and error.cause.details:
            return RunResult.model_validate(error.cause.details[0])
        raise


async def told(handle: Handle) -> BackfillProgress:
    """What the memo says, which is all that the operator looks at."""
    return BackfillProgress.model_validate(await (await handle.describe()).memo_value(BACKFILL_MEMO_KEY))


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    return Bench(worker_runs.pool, worker_runs, unique("p"))


async def test_each_time_is_run_under_its_own_key(here: Bench) -> None:
    here.write(*range(1, 11))

    done, progress = await here.backfill(10, concurrency=3, name="january")

    assert (done.result, done.error, done.run_key) == ("Succeeded", None, "january")
    assert (done.rows_read, done.rows_loaded, done.chunks) == (10, 10, 10)
    assert progress == BackfillProgress(total=10, succeeded=10)
    assert here.loaded() == list(range(1, 11))
    kept = here.query(
        "SELECT run_key, trigger, backfill, interval_start = run_time - interval '1 day' FROM tidemill.runs "
        "WHERE uid = '{uid}' ORDER BY run_key"
    )
    assert kept == [[key(number), "Backfill", "january", "t"] for number in range(1, 11)]
    assert here.query("SELECT count(*) FROM tidemill.slots WHERE uid = '{uid}'") == [["0"]]


async def test_a_run_that_fails_stops_no_other_and_is_run_again_when_asked(here: Bench) -> None:
    here.write(1, 2, 4, 5)

    failed, progress = await here.backfill(5)

    assert (failed.result, failed.rows_loaded) == ("Failed", 4)
    assert failed.error is not None
    assert failed.error.type == "BackfillIncomplete"
    assert failed.error.message.startswith(f"1 of 5 runs failed, first {key(3)}: SourceMissing: ")
    assert progress == BackfillProgress(total=5, succeeded=4, failed=1, failed_keys=(key(3),))

    here.write(3, 6)
    left, progress = await here.backfill(5)
    assert (left.result, progress) == ("Succeeded", BackfillProgress(total=5, skipped=5))
    again, progress = await here.backfill(6, reprocess="Failed")
    assert (again.result, progress) == ("Succeeded", BackfillProgress(total=6, succeeded=2, skipped=4))
    assert here.loaded() == [1, 2, 3, 4, 5, 6]


async def test_what_was_completed_is_processed_again_only_when_asked(here: Bench) -> None:
    here.write(1, 2, 3)
    merge = here.spec()
    merge["sinks"][0] |= {"writeDisposition": "Merge", "primaryKey": ["day"]}
    await here.backfill(3, spec=merge)
    (here.pool.landing / here.name / f"{day(2)}.csv").write_text(f"id,day\n22,{day(2)}\n")

    again, progress = await here.backfill(3, spec=merge, reprocess="Completed")

    assert (again.error, progress) == (None, BackfillProgress(total=3, succeeded=3))
    assert here.loaded() == [1, 3, 22]
    newest = "SELECT max(execution) FROM tidemill.runs WHERE uid = '{uid}' GROUP BY run_key"
    assert here.query(newest) == [["2"], ["2"], ["2"]]


async def test_partitions_are_replaced_each_by_its_own_run(here: Bench) -> None:
    here.write(*range(1, 6))
    spec = here.spec()
    spec["sinks"][0] |= {"writeDisposition": "Replace", "partitionBy": ["day"]}
    assert (await here.runs.run(spec, key=key(5), pipeline=here.name, uid=f"uid-{here.name}")).error is None
    (here.pool.landing / here.name / f"{day(2)}.csv").write_text(f"id,day\n22,{day(2)}\n23,{day(2)}\n")

    done, progress = await here.backfill(5, spec=spec, concurrency=2)

    assert (done.error, progress) == (None, BackfillProgress(total=5, succeeded=4, skipped=1))
    assert here.loaded() == [1, 3, 4, 5, 22, 23]


@pytest.mark.parametrize(
    ("changes", "asked", "kind", "says"),
    [
        ({"writeDisposition": "Replace"}, {}, "SpecError", "replaces the whole table with each run"),
        ({}, {"start": "2026-01-01T00:00:01Z", "end": "2026-01-02T00:00:00Z"}, "BackfillRefused", "names no time"),
        ({}, {"start": "2126-01-01T00:00:00Z", "end": "2126-02-01T00:00:00Z"}, "BackfillRefused", "names no time"),
        ({}, {"schedule": {"intervals": [{"every": "1s"}]}}, "BackfillRefused", "has more than 100000 times"),
        ({}, {"schedule": None}, "BackfillRefused", "has no schedule"),
    ],
)
async def test_refused(here: Bench, changes: dict[str, Any], asked: dict[str, Any], kind: str, says: str) -> None:
    spec = here.spec()
    spec["sinks"][0] |= changes
    order = RunInput(
        installation=here.pipeline.installation,
        namespace=here.pipeline.namespace,
        pipeline=here.name,
        uid=here.name,
        spec=spec,
        schedule=asked.pop("schedule", DAILY),
        run_key="b",
    )
    refused, _ = await here.backfill(9, **{"run": order, **asked})
    assert refused.error is not None
    assert (refused.result, refused.error.type) == ("Failed", kind)
    assert says in refused.error.message


async def test_the_schedule_goes_on_beside_it(here: Bench) -> None:
    here.write(1, 2, 3, 9)
    async with here.locked():
        backfill = await here.start(3, concurrency=2)
        await here.until_waiting(2)
        scheduled = await here.runs.start(here.spec(), key=key(9), pipeline=here.name, uid=f"uid-{here.name}")
        await here.until_waiting(3)
        second = await here.runs.run(here.spec(), key=key(8), pipeline=here.name, uid=f"uid-{here.name}")
        assert (second.result, second.error and second.error.type) == ("Skipped", "Overlap")
        same = await here.runs.run(here.spec(), key=key(1), pipeline=here.name, uid=f"uid-{here.name}")
        assert (same.result, same.error and same.error.type) == ("Skipped", "Overlap")
        assert await backfill.query(PROGRESS_QUERY, result_type=BackfillProgress) == BackfillProgress(
            total=3, running=2, next=key(3)
        )
    assert (await here.runs.result(scheduled)).result == "Succeeded"
    assert (await result(backfill)).result == "Succeeded"
    assert here.loaded() == [1, 2, 3, 9]


async def test_a_key_that_is_open_elsewhere_is_left_out(here: Bench) -> None:
    here.write(1, 2)
    async with here.locked():
        other = await here.start(1)
        await here.until_waiting(1)
        mine = await here.start(2)
        await here.until_waiting(2)
    assert (await result(mine)).result == "Succeeded"
    assert await told(mine) == BackfillProgress(total=2, succeeded=1, skipped=1)
    assert (await result(other)).result == "Succeeded"
    assert here.loaded() == [1, 2]


async def test_cancelled_and_resumed(here: Bench) -> None:
    here.write(*range(1, 7))
    await here.backfill(2)
    async with here.locked():
        handle = await here.start(6, concurrency=2)
        await here.until_waiting(2)
        await handle.cancel()
        with pytest.raises(WorkflowFailureError) as ended:
            await handle.result()
        assert isinstance(ended.value.cause, CancelledError)
    progress = await told(handle)
    assert (progress.total, progress.skipped, progress.succeeded, progress.failed) == (6, 2, 0, 0)
    assert progress.running == 0

    resumed, progress = await here.backfill(6, reprocess="Failed")

    assert (resumed.error, progress) == (None, BackfillProgress(total=6, succeeded=4, skipped=2))
    assert here.loaded() == [1, 2, 3, 4, 5, 6]


@pytest.fixture
async def alone(pool: Pool) -> AsyncIterator[Bench]:
    """A pool of the test's own, without a worker yet."""
    async with runs_on(pool) as runs:
        yield Bench(pool, runs, unique("p"))


async def test_a_worker_that_dies_costs_time_only(alone: Bench) -> None:
    alone.write(*range(1, 9))
    first = alone.pool.start()
    async with alone.locked():
        handle = await alone.start(8, concurrency=3)
        await alone.until_waiting(3)
        first.kill()
    second = alone.pool.start()
    assert (await result(handle)).error is None
    assert (await told(handle)).succeeded == 8
    assert alone.loaded() == list(range(1, 9))
    assert second.stop() == 0
