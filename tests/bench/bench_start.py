"""How soon a worker works, and what a run costs beyond its own reading and loading; against the SDK's simplest."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

from tests.bench.bare_worker import Simplest
from tests.bench.measurement import Measurement, compared, say
from tests.support.fixtures import Database, unique
from tests.support.worker import Pool, Runs, WorkerProcess, runs_on
from tidemill_api.contract import RunResult
from tidemill_cli.dev.components import postgres, temporal
from tidemill_cli.dev.components.component import running

ONE_ROW: dict[str, Any] = {
    "workerPoolRef": {"name": "etl"},
    "sources": [
        {
            "name": "raw",
            "connection": "landing",
            "files": {"path": "one.csv", "format": {"csv": {}}},
            "columns": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
        }
    ],
    "sinks": [
        {
            "name": "out",
            "input": "raw",
            "connection": "warehouse",
            "writeDisposition": "Append",
            "postgres": {"table": "public.out", "createTable": "IfMissing"},
        }
    ],
}


@dataclass
class _Bench:
    pool: Pool
    runs: Runs

    async def bare(self, queue: str) -> asyncio.subprocess.Process:
        """The SDK's simplest worker."""
        script = str(Path(__file__).with_name("bare_worker.py"))
        return await asyncio.create_subprocess_exec(sys.executable, script, self.pool.temporal.address, queue)

    async def bare_start(self) -> float:
        """Seconds from process start to the end of a workflow that waits already."""
        queue = unique("bare-")
        handle: WorkflowHandle[Any, Any] = await self.runs.client.start_workflow(
            Simplest.run, id=queue, task_queue=queue
        )
        began = time.perf_counter()
        worker = await self.bare(queue)
        await handle.result()
        took = time.perf_counter() - began
        worker.kill()
        await worker.wait()
        return took

    async def our_start(self, key: str | None) -> float:
        """The same with ours: a run that loads a row, or (`key`) one that finds that there is nothing to do."""
        handle = await self.runs.start(ONE_ROW, key=key)
        began = time.perf_counter()
        worker = self.pool.start(ready=False)
        await handle.result()
        took = time.perf_counter() - began
        await asyncio.to_thread(_ended, worker)
        return took


def _ended(worker: WorkerProcess) -> None:
    if worker.stop() != 0:
        raise RuntimeError(worker.log.read_text())


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """See the module."""
    with tempfile.TemporaryDirectory() as folder:
        server = temporal.describe(Path(folder, "temporal"), persistent=False)
        database = postgres.describe(Path(folder, "postgres"), durable=True)
        async with running(server.component), running(database.component):
            pool = Pool(Path(folder), Database(database, postgres.DATABASE), unique("i"), server)
            pool.write()
            (pool.landing / "one.csv").write_text("id,name\n1,one\n")
            async with runs_on(pool) as runs:
                bench = _Bench(pool, runs)
                async for measurement in _starts(bench, 3 if quick else 7):
                    yield measurement
                async for measurement in _overhead(bench, 40 if quick else 150):
                    yield measurement


async def _starts(bench: _Bench, rounds: int) -> AsyncIterator[Measurement]:
    await bench.our_start("done")  # makes the tables, and a key that is done
    bares, tasks, loads = [], [], []
    for n in range(rounds):
        say(f"start: round {n + 1} of {rounds}")
        bares.append(await bench.bare_start())
        tasks.append(await bench.our_start("done"))
        loads.append(await bench.our_start(None))
    yield compared("worker.start.first_task", tasks, "s", "bare SDK worker, one activity", bares)
    yield compared("worker.start.first_row_loaded", loads, "s", "bare SDK worker, one activity", bares)


async def _overhead(bench: _Bench, rounds: int) -> AsyncIterator[Measurement]:
    """Runs by turns on two warm workers; times are the server's."""
    ours = bench.pool.start()
    queue = unique("bare-")
    theirs = await bench.bare(queue)
    try:
        own, simple = [], []
        for n in range(rounds + 5):
            mine = await bench.runs.start(ONE_ROW)
            result: RunResult = await mine.result()
            if result.rows_loaded != 1:
                raise RuntimeError(f"a run loaded {result.rows_loaded} rows: {result}")
            bare: WorkflowHandle[Any, Any] = await bench.runs.client.start_workflow(
                Simplest.run, id=unique("bare-"), task_queue=queue
            )
            await bare.result()
            if n >= 5:  # the first ones import, connect and make the table
                own.append(await timed(mine))
                simple.append(await timed(bare))
        yield compared("run.whole", [t.whole for t in own], "ms", "simplest workflow", [t.whole for t in simple])
        yield compared(
            "run.overhead", [t.overhead for t in own], "ms", "simplest workflow", [t.overhead for t in simple]
        )
    finally:
        theirs.kill()
        await theirs.wait()
        await asyncio.to_thread(_ended, ours)


@dataclass(frozen=True)
class Times:
    """Milliseconds of one workflow run."""

    whole: float
    activities: float

    @property
    def overhead(self) -> float:
        """Outside of durable activities."""
        return self.whole - self.activities


async def timed(handle: WorkflowHandle[Any, Any]) -> Times:
    """By the history of a run, as the server has it."""
    history = await handle.fetch_history()
    started: dict[int, datetime] = {}
    activities = 0.0
    for event in history.events:
        at = event.event_time.ToDatetime()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED:
            started[event.event_id] = at
        elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            began = started[event.activity_task_completed_event_attributes.started_event_id]
            activities += (at - began).total_seconds() * 1000
    first, last = history.events[0].event_time.ToDatetime(), history.events[-1].event_time.ToDatetime()
    return Times((last - first).total_seconds() * 1000, activities)
