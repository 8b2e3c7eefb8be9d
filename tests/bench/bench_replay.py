"""Rows a second into dead letters, and from them into the table by one replay, after the rule was mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from tests.bench.measurement import Measurement, say
from tests.bench.pooled import into, pooled, timed

LETTERS, QUICK_LETTERS = 100_000, 10_000
PIPELINE = "replayed"


def spec(most: int) -> dict[str, Any]:
    """Rows whose month is at most that go into a table."""
    rule = {"name": "month-in-range", "expression": f"month BETWEEN 1 AND {most}"}
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "bad.csv", "format": {"csv": {}}},
                "columns": [
                    {"name": "id", "type": "int64", "required": True},
                    {"name": "month", "type": "int32"},
                    {"name": "name", "type": "string"},
                ],
            }
        ],
        "steps": [{"name": "valid", "inputs": ["raw"], "validate": {"rules": [rule]}}],
        "sinks": [into("mended", "valid")],
    }


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """One run that rejects nearly all rows, one replay of them."""
    letters = QUICK_LETTERS if quick else LETTERS
    async with pooled() as runs:
        pool = runs.pool
        rows = [f"{number},{13 if number else 1},name of row {number}\n" for number in range(letters + 1)]
        (pool.landing / "bad.csv").write_text("id,month,name\n" + "".join(rows))
        await asyncio.to_thread(pool.start)
        rejecting, result = await timed(runs, spec(12), PIPELINE)
        if result.rows_rejected != letters:
            raise RuntimeError(f"{result.rows_rejected} rows were rejected, not {letters}")
        yield Measurement("replay_rejecting", letters / rejecting, "rows/s", n=letters)
        replaying, result = await timed(runs, spec(13), PIPELINE, replay={"deadLetters": {}})
        there = pool.database.query("SELECT count(*), count(DISTINCT id) FROM public.mended")
        if there != [[str(letters + 1)] * 2] or result.rows_loaded != letters:
            raise RuntimeError(f"the table has {there} rows, and {result.rows_loaded} were loaded")
        say(f"  {letters} rows: rejected in {rejecting:.1f} s, replayed in {replaying:.1f} s")
        yield Measurement("replay_replaying", letters / replaying, "rows/s", n=letters)
