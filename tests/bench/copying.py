"""Ways to bring a table from one Postgres database to another, each as a process: `copying WAY FROM_DSN TO_DSN`.

Prints one JSON object: the seconds that it took (without starting Python) and the process' peak memory in MB.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from tests.bench.loading import COLUMNS, as_worker, peak_megabytes
from tests.support.engine import RUN, World, database_pool
from tidemill_api.v1alpha1 import DataPipelineSpec


def spec() -> dict[str, Any]:
    """All columns of public.origin, in chunks by its key, into public.loaded."""
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "origin",
                "postgres": {"table": "public.origin", "splitBy": "id"},
                "columns": [{"name": name, "type": kind} for name, (kind, _) in COLUMNS.items()],
            }
        ],
        "sinks": [
            {
                "name": "out",
                "input": "raw",
                "connection": "warehouse",
                "postgres": {"table": "public.loaded"},
                "writeDisposition": "Append",
            }
        ],
    }


@dataclass
class Pair(World):
    """A world with a second database, which is read."""

    origin: asyncpg.Pool | None = None

    async def postgres(self, name: str) -> asyncpg.Pool:
        """The database of a connection."""
        if name == "origin":
            assert self.origin is not None
            return self.origin
        return self.pool

    def identity(self, name: str) -> str:
        """Two databases."""
        return name


async def tidemill(origin: str, target: str) -> float:
    """The engine as a worker drives it, two chunks at a time. Returns seconds from the plan to the last commit."""
    from tidemill_worker.engine.warming import warm

    warm()
    with tempfile.TemporaryDirectory() as folder:
        world = Pair(Path(folder), await database_pool(target), origin=await asyncpg.create_pool(origin, min_size=0))
        declared = DataPipelineSpec.model_validate(spec())
        began = time.perf_counter()
        chunks = await world.plan(declared, RUN)
        bound = asyncio.Semaphore(2)

        async def one(number: int) -> None:
            async with bound:
                await world.load(declared, chunks[number], chunks, RUN)

        await asyncio.gather(*map(one, range(len(chunks))))
        seconds = time.perf_counter() - began
        world.pool.terminate()
        assert world.origin is not None
        world.origin.terminate()
        return seconds


def dlt(origin: str, target: str) -> float:
    """Dlt's fastest way: Arrow tables, loaded as CSV. Returns seconds of its run, without its imports."""
    import dlt
    from dlt.destinations import postgres
    from dlt.sources.sql_database import sql_table

    source = origin.replace("postgresql://", "postgresql+psycopg2://", 1)
    with tempfile.TemporaryDirectory() as folder:
        rows = sql_table(source, table="origin", schema="public", backend="pyarrow", chunk_size=100_000)
        rows.apply_hints(table_name="loaded_by_dlt", write_disposition="append")
        pipeline = dlt.pipeline("copying", destination=postgres(target), dataset_name="public", pipelines_dir=folder)
        began = time.perf_counter()
        pipeline.run(rows, loader_file_format="csv")
        return time.perf_counter() - began


def main() -> None:
    """Run one way and print what it took."""
    way, origin, target = sys.argv[1:]
    match way:
        case "tidemill":
            seconds = as_worker(tidemill(origin, target))
        case "dlt":
            seconds = dlt(origin, target)
        case _:
            raise SystemExit(f"unknown way {way}")
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
