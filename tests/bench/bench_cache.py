"""Runs a second that find answers of an API, and a joined table, in the cache; against runs that ask and read anew.

The API is on this machine and takes 20 ms for a page; the table is in the same database as the sink's.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from tests.bench.measurement import Measurement, compared, say
from tests.bench.pooled import into, pooled, timed
from tests.support.fixtures import unique
from tests.support.web_server import Asked, Reply, WebServer

PAGES, LOOKED_UP, ROUNDS = 200, 500_000, 5
QUICK_PAGES, QUICK_LOOKED_UP, QUICK_ROUNDS = 50, 100_000, 3
ROWS_A_PAGE = 100
LATENCY = 0.02
"""Seconds that the API takes for a page."""


def of_api(*, cached: bool) -> dict[str, Any]:
    """Rows of all pages into a table."""
    http = {"path": "rows", "rows": "rows", "paging": {"page": {"total": "pages"}}}
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    raw = {"name": "raw", "connection": "api", "http": http | ({"cache": {}} if cached else {}), "columns": columns}
    return {"workerPoolRef": {"name": "etl"}, "sources": [raw], "sinks": [into("answers", "raw")]}


def of_lookup(*, cached: bool) -> dict[str, Any]:
    """A few rows of a file that are joined with a table."""
    table: dict[str, Any] = {"table": "public.names"} | ({"cache": {}} if cached else {})
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": "few.csv", "format": {"csv": {}}},
                "columns": columns[:1],
            },
            {"name": "names", "connection": "warehouse", "postgres": table, "columns": columns},
        ],
        "steps": [
            {
                "name": "named",
                "inputs": ["raw", "names"],
                "sql": {"query": "SELECT raw.id, names.name FROM raw LEFT JOIN names USING (id)"},
            }
        ],
        "sinks": [into("looked_up", "named")],
    }


def _page(asked: Asked, pages: int) -> Reply:
    time.sleep(LATENCY)
    first = (int(asked.query["page"]) - 1) * ROWS_A_PAGE
    rows = [{"id": number, "name": f"name of {number}"} for number in range(first, first + ROWS_A_PAGE)]
    return Reply(json.dumps({"pages": pages, "rows": rows}).encode(), headers={"Content-Type": "application/json"})


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Runs with and without the cache by turns, on one worker; the first of each isn't counted."""
    pages, names, rounds = (QUICK_PAGES, QUICK_LOOKED_UP, QUICK_ROUNDS) if quick else (PAGES, LOOKED_UP, ROUNDS)
    with WebServer().running() as server:
        server.serve("/rows", lambda asked: _page(asked, pages))
        async with pooled({"name": "api", "http": {"url": server.url}}) as runs:
            pool = runs.pool
            (pool.landing / "few.csv").write_text("id\n" + "".join(f"{number}\n" for number in range(1000)))
            pool.database.query(
                "CREATE TABLE public.names AS "
                f"SELECT n AS id, 'name of ' || n AS name FROM generate_series(1, {names}) n"
            )
            await asyncio.to_thread(pool.start)
            for name, made, anew in (
                (f"cache_api_{pages}_pages", of_api, "asked anew"),
                (f"cache_lookup_{names}_rows", of_lookup, "read anew"),
            ):
                found: dict[bool, list[float]] = {False: [], True: []}
                for number in range(rounds + 1):
                    for cached, speeds in found.items():
                        # A pipeline of its own for both ways, so that neither has the other's ledger to look through.
                        seconds, _ = await timed(runs, made(cached=cached), unique("cache-"))
                        if number:
                            speeds.append(1 / seconds)
                say(f"  {name}: {found[True][-1] / found[False][-1]:.2f} x {anew}")
                yield compared(name, found[True], "runs/s", anew, found[False])
