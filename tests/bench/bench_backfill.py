"""Runs a second of a backfill over many small intervals, of one row each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from tests.bench.measurement import Measurement, say
from tests.bench.pooled import LONGEST_RUN, into, pooled
from tests.support.worker import Runs
from tidemill_api.contract import BackfillInput, RunInput, RunResult
from tidemill_api.names import BACKFILL_WORKFLOW, PipelineId

INTERVALS, QUICK_INTERVALS = 1_000, 100
AT_ONCE = (1, 8)
FIRST = datetime(2026, 1, 1, tzinfo=UTC)


def spec(table: str) -> dict[str, Any]:
    """The row of an interval, into a table."""
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "{run_time:%Y-%m-%dT%H}.csv", "format": {"csv": {}}},
                "columns": [{"name": "id", "type": "int64"}],
            }
        ],
        "sinks": [into(table, "raw")],
    }


async def backfilled(runs: Runs, intervals: int, at_once: int) -> float:
    """Seconds of a backfill over so many hours. Raises RuntimeError if a row is missing."""
    pool = runs.pool
    table = f"of_{at_once}"
    pool.database.query(f"CREATE TABLE public.{table} (id bigint)")
    pipeline = PipelineId(pool.installation, pool.namespace, f"at-once-{at_once}")
    order = RunInput(
        installation=pool.installation,
        namespace=pool.namespace,
        pipeline=pipeline.name,
        uid=f"uid-{at_once}",
        spec=spec(table),
        schedule={"crons": ["0 * * * *"]},
        run_key="backfill",
    )
    asked = BackfillInput(
        run=order,
        start=FIRST.isoformat(),
        end=(FIRST + timedelta(hours=intervals)).isoformat(),
        concurrency=at_once,
    )
    began = time.perf_counter()
    async with asyncio.timeout(LONGEST_RUN):
        handle: WorkflowHandle[Any, RunResult] = await runs.client.start_workflow(
            BACKFILL_WORKFLOW,
            asked,
            id=pipeline.workflow("backfill"),
            task_queue=pool.queue,
            result_type=RunResult,
        )
        result = await runs.result(handle)
    seconds = time.perf_counter() - began
    there = pool.database.query(f"SELECT count(DISTINCT id), count(*) FROM public.{table}")
    if result.result != "Succeeded" or there != [[str(intervals)] * 2]:
        raise RuntimeError(f"{result.result}, {result.error}; the table has {there}")
    return seconds


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """One worker; one run after the other, and several at once."""
    intervals = QUICK_INTERVALS if quick else INTERVALS
    async with pooled() as runs:
        for number in range(intervals):
            file = runs.pool.landing / f"{FIRST + timedelta(hours=number):%Y-%m-%dT%H}.csv"
            file.write_text(f"id\n{number}\n")
        await asyncio.to_thread(runs.pool.start)
        for at_once in AT_ONCE:
            seconds = await backfilled(runs, intervals, at_once)
            say(f"  {intervals} intervals, {at_once} at once: {seconds:.1f} s")
            yield Measurement(f"backfill_{at_once}_at_once", intervals / seconds, "runs/s", n=intervals)
