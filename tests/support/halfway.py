"""A load of some sixty chunks to be met half way: spec, file, and what it comes to however it was disturbed."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.client import WorkflowHandle

from tests.support.worker import Pool, Runs, eventually
from tidemill_api.contract import RunResult

ROWS = 60_000
BAD = 60


def spec(disposition: str, **execution: Any) -> dict[str, Any]:
    """Some sixty chunks; one row in a thousand breaks a rule."""
    sink = {
        "name": "out",
        "input": "valid",
        "connection": "warehouse",
        "writeDisposition": disposition,
        "postgres": {"table": "public.out", "createTable": "IfMissing"},
    }
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
            }
        ],
        "sinks": [sink | ({"primaryKey": ["id"]} if disposition == "Merge" else {})],
        "execution": {"chunk": {"maxBytes": "16k"}, "parallelism": 4, **execution},
    }


def write(pool: Pool) -> None:
    rows = "".join(f"{n},row number {n}\n" for n in range(ROWS))
    (pool.landing / "big.csv").write_text("id,text\n" + rows)


async def until_half_way(pool: Pool) -> None:
    """Some chunks are done, others aren't."""

    async def half_way() -> bool:
        done = await asyncio.to_thread(
            pool.database.query, "SELECT count(*) FROM tidemill.chunks WHERE finished_at IS NOT NULL"
        )
        return int(done[0][0]) >= 8

    await eventually(half_way)


async def rows_are_exact(pool: Pool, runs: Runs, handle: WorkflowHandle[Any, RunResult], within: float = 120) -> None:
    async with asyncio.timeout(within):
        result = await runs.result(handle)
    assert result.result == "Succeeded", result.error
    assert (result.rows_read, result.rows_loaded, result.rows_rejected) == (ROWS, ROWS - BAD, BAD)
    assert pool.database.query("SELECT count(*), count(DISTINCT id), sum(id) FROM public.out") == [
        [str(ROWS - BAD), str(ROWS - BAD), str(sum(n for n in range(ROWS) if n % 1000 != 7))]
    ]
    assert pool.database.query("SELECT count(*) FROM tidemill.dead_letters") == [[str(BAD)]]
