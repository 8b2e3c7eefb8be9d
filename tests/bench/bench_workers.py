"""Rows a second of one run, from a large CSV file in many chunks, that one worker has, and that two workers share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.bench.loading import COLUMNS, create_table, write_file
from tests.bench.measurement import Measurement, compared, say
from tests.bench.pooled import into, pooled, timed
from tests.support.fixtures import unique

ROWS, ROUNDS = 4_000_000, 3
QUICK_ROWS, QUICK_ROUNDS = 500_000, 2
CHUNKS = 16


def spec(rows: int) -> dict[str, Any]:
    """Typed columns, straight into a table."""
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "mixed.csv", "format": {"csv": {"quotedNewlines": False}}},
                "columns": [{"name": name, "type": kind} for name, (kind, _) in COLUMNS.items()],
            }
        ],
        "sinks": [into("loaded", "raw")],
        "execution": {"chunk": {"maxRows": rows // CHUNKS}, "parallelism": 4},
    }


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Rounds with one worker and with two by turns."""
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if quick else (ROWS, ROUNDS)
    async with pooled() as runs:
        pool = runs.pool
        await asyncio.to_thread(write_file, pool.landing / "mixed.csv", rows)
        found: dict[int, list[float]] = {1: [], 2: []}
        for number in range(rounds):
            for workers, speeds in found.items():
                processes = [await asyncio.to_thread(pool.start) for _ in range(workers)]
                pool.database.query(f"DROP TABLE IF EXISTS public.loaded; {create_table('public.loaded')}; CHECKPOINT")
                seconds, result = await timed(runs, spec(rows), unique("workers-"))
                if result.rows_loaded != rows:
                    raise RuntimeError(f"{result.rows_loaded} rows were loaded, not {rows}")
                speeds.append(rows / seconds)
                for process in processes:
                    await asyncio.to_thread(process.stop)
            say(f"  round {number + 1} of {rounds}: two workers {found[2][-1] / found[1][-1]:.2f} x one")
        yield Measurement("workers_one", sorted(found[1])[rounds // 2], "rows/s", n=rounds)
        yield compared("workers_two", found[2], "rows/s", "one worker", found[1])
