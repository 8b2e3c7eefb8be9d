"""Temporal, Postgres, Redis and a pool of workers, for benchmarks of whole runs; everything ends with the block."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.support.fixtures import Database, unique
from tests.support.worker import Pool, Runs, runs_on
from tidemill_api.contract import RunResult
from tidemill_cli.dev.components import postgres, redis, temporal
from tidemill_cli.dev.components.component import running

LONGEST_RUN = 1800.0
"""Seconds after which a run is given up."""


@contextlib.asynccontextmanager
async def pooled(*more: dict[str, Any]) -> AsyncIterator[Runs]:
    """Runs on a pool without workers yet (`runs.pool.start()`), on a durable server; `more` connections."""
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        Path(folder).chmod(0o755)
        server = temporal.describe(Path(folder, "temporal"), persistent=False)
        database = postgres.describe(Path(folder, "postgres"), durable=True)
        cache = redis.describe(Path(folder, "redis"), persistent=False)
        async with running(server.component), running(database.component), running(cache.component):
            pool = Pool(Path(folder), Database(database, postgres.DATABASE), unique("i"), server)
            pool.write_key("cache", "url", cache.url)
            url = {"secretKeyRef": {"name": "cache", "key": "url"}}
            pool.write(connections=[*pool.connections, *more], cache={"redis": {"url": url}})
            try:
                async with runs_on(pool) as runs:
                    yield runs
            finally:
                for process in pool.processes:
                    await asyncio.to_thread(process.stop)


async def timed(runs: Runs, spec: Mapping[str, Any], pipeline: str, **order: Any) -> tuple[float, RunResult]:
    """Seconds of a run, from its start to its result. Raises RuntimeError if it didn't succeed."""
    began = time.perf_counter()
    async with asyncio.timeout(LONGEST_RUN):
        result = await runs.result(await runs.start(spec, pipeline=pipeline, **order))
    if result.result != "Succeeded":
        raise RuntimeError(f"{pipeline}: {result.result}: {result.error}")
    return time.perf_counter() - began, result


def into(table: str, given: str, **more: Any) -> dict[str, Any]:
    """A sink that adds rows to a table of the schema public."""
    return {
        "name": "out",
        "input": given,
        "connection": "warehouse",
        "postgres": {"table": f"public.{table}"},
        "writeDisposition": "Append",
        **more,
    }
