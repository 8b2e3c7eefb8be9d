"""Runs of very many small chunks: what each costs beyond its rows, and that memory and history don't grow with them."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowHandle

from tests.bench.measurement import Measurement, say
from tests.support.fixtures import Database, unique
from tests.support.worker import Pool, Runs, WorkerProcess, runs_on
from tidemill_api.contract import RunResult
from tidemill_cli.dev.components import postgres, temporal
from tidemill_cli.dev.components.component import running

ROWS_A_CHUNK = 2
LOOK_EVERY = 0.5
"""Seconds between two looks at memory and history."""


def spec(*, answer: bool) -> dict[str, Any]:
    """Rows straight into a table; with `answer` they are kept too, and an aggregate over all of them is loaded."""
    step = {"name": "total", "inputs": ["raw"], "sql": {"query": "SELECT count(*) AS n, sum(id) AS ids FROM raw"}}
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "many.csv", "format": {"csv": {}}},
                "columns": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
            }
        ],
        "steps": [step] if answer else [],
        "sinks": [_sink("out", "raw", "Append"), *([_sink("totals", "total", "Replace")] if answer else [])],
        "execution": {"chunk": {"maxRows": ROWS_A_CHUNK}, "parallelism": 16, "timeout": "2h"},
    }


def _sink(table: str, given: str, disposition: str) -> dict[str, Any]:
    return {
        "name": table,
        "input": given,
        "connection": "warehouse",
        "writeDisposition": disposition,
        "postgres": {"table": f"public.{table}", "createTable": "IfMissing"},
    }


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """See the module."""
    chunks = 1_000 if quick else 10_000
    with tempfile.TemporaryDirectory() as folder:
        server = temporal.describe(Path(folder, "temporal"), persistent=False)
        database = postgres.describe(Path(folder, "postgres"), durable=True)
        async with running(server.component), running(database.component):
            pool = Pool(Path(folder), Database(database, postgres.DATABASE), unique("i"), server)
            pool.write(artifacts={"connection": "landing"})
            rows = chunks * ROWS_A_CHUNK
            (pool.landing / "many.csv").write_text("id,name\n" + "".join(f"{n},name {n}\n" for n in range(rows)))
            async with runs_on(pool) as runs:
                for workers, answer in ((1, False), (2, False), (1, True)):
                    name = f"long.{chunks}_chunks.{workers}_worker{'s' * (workers > 1)}{'.answer' * answer}"
                    say(name)
                    async for measurement in _run(pool, runs, name, chunks, workers, answer=answer):
                        yield measurement


@dataclass
class Watched:
    """What was seen while a run was on."""

    megabytes: list[float] = field(default_factory=list[float])
    events: int = 0

    async def follow(self, workers: list[WorkerProcess], handle: WorkflowHandle[Any, Any], runs: Runs) -> None:
        """Look again and again; for ever."""
        while True:
            self.megabytes.append(max(_megabytes(worker.child.pid) for worker in workers))
            described = await runs.client.get_workflow_handle(handle.id).describe()
            self.events = max(self.events, described.history_length)
            await asyncio.sleep(LOOK_EVERY)

    @property
    def growth(self) -> float:
        """Of memory, from the first third of the run to the last one."""
        third = max(1, len(self.megabytes) // 3)
        return max(self.megabytes[-third:]) - max(self.megabytes[:third])


async def _run(
    pool: Pool, runs: Runs, name: str, chunks: int, workers: int, *, answer: bool
) -> AsyncIterator[Measurement]:
    processes = [pool.start() for _ in range(workers)]
    watched = Watched()
    began = time.perf_counter()
    handle = await runs.start(spec(answer=answer), pipeline=unique("long-"))
    following = asyncio.create_task(watched.follow(processes, handle, runs))
    result: RunResult = await runs.result(handle)
    took = time.perf_counter() - began
    following.cancel()
    if result.result != "Succeeded" or result.rows_read != chunks * ROWS_A_CHUNK:
        raise RuntimeError(f"{name}: {result}")
    for process in processes:
        await asyncio.to_thread(process.stop)
    yield Measurement(f"{name}.a_chunk", 1000 * took / chunks, "ms", n=chunks)
    yield Measurement(f"{name}.memory", max(watched.megabytes), "MB", n=chunks)
    yield Measurement(f"{name}.memory_growth", watched.growth, "MB", n=chunks)
    yield Measurement(f"{name}.longest_history", watched.events, "events", n=chunks)


def _megabytes(pid: int) -> float:
    """What a process holds in memory now."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)
