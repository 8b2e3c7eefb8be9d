"""Ways to load one CSV file into Postgres, each as a process of its own: `python -m tests.bench.loading WAY DSN FILE`.

The way `sink` takes the sink's fields as a fourth argument, JSON, and FILE is called by the number of its round;
`tidemill-s3` takes a `files` connection, in which FILE's name is an object's.

Prints one JSON object: the seconds that the load took (without starting Python) and the process' peak memory in MB.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections.abc import Coroutine, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tidemill_worker.files import Files

COLUMNS = {
    "id": ("int64", "bigint"),
    "created": ("timestamp", "timestamp"),
    "day": ("date", "date"),
    "carrier": ("string", "text"),
    "amount": ("int32", "integer"),
    "ratio": ("float64", "double precision"),
    "active": ("boolean", "boolean"),
    "note": ("string", "text"),
}
RULES = {
    "id-set": "id IS NOT NULL AND id >= 0",
    "month-in-range": "month(day) BETWEEN 1 AND 12",
    "known-carrier": "carrier IN ('UA', 'AA', 'DL', 'B6')",
    "sane-amount": "amount BETWEEN 0 AND 1000000",
    "sane-ratio": "ratio >= 0 AND ratio < 1",
    "short-note": "note IS NULL OR length(note) < 200",
}


def write_file(path: Path, rows: int) -> None:
    """Mixed columns, about 100 bytes a row, the same each time."""
    made = random.Random(1)
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for row in range(rows):
            day = f"2013-{1 + row % 12:02d}-{1 + row % 28:02d}"
            file.write(
                f"{row},{day}T{row % 24:02d}:15:{row % 60:02d},{day},{made.choice(('UA', 'AA', 'DL', 'B6'))},"
                f"{made.randrange(100_000)},{made.random():.6f},{'true' if row % 3 else 'false'},"
                f"note number {row % 1000} of the row with text\n"
            )


_FORMATS = {".csv": "csv", ".jsonl": "jsonLines", ".parquet": "parquet"}


def create_table(name: str) -> str:
    """SQL of the table that all ways load into."""
    return f"CREATE TABLE {name} ({', '.join(f'{column} {kind}' for column, (_, kind) in COLUMNS.items())})"


def spec(file: str, rules: bool) -> dict[str, Any]:
    """The pipeline: typed columns, and six rules if asked for."""
    checked = {
        "name": "valid",
        "inputs": ["raw"],
        "validate": {"rules": [{"name": n, "expression": e} for n, e in RULES.items()]},
    }
    return {
        "workerPoolRef": {"name": "etl"},
        "sources": [
            {
                "name": "raw",
                "connection": "landing",
                "files": {"path": file, "format": {_FORMATS[Path(file).suffix]: {}}},
                "columns": [{"name": name, "type": kind} for name, (kind, _) in COLUMNS.items()],
            }
        ],
        "steps": [checked] if rules else [],
        "sinks": [
            {
                "name": "out",
                "input": "valid" if rules else "raw",
                "connection": "warehouse",
                "postgres": {"table": "public.loaded"},
                "writeDisposition": "Append",
            }
        ],
    }


async def into(dsn: str, file: Path, sink: dict[str, Any]) -> float:
    """A whole run into a sink, published and cleaned up. Returns seconds, as `tidemill`."""
    from tests.support.engine import RUN, World, database_pool
    from tidemill_api.v1alpha1 import DataPipelineSpec
    from tidemill_worker.engine.warming import warm

    warm()
    world = World(file.parent, await database_pool(dsn))
    made = spec(file.name, rules=False)
    made["sinks"] = [made["sinks"][0] | sink]
    moment = RUN.run_time + timedelta(days=int(file.stem))
    run = replace(RUN, run_key=moment.isoformat(), run_time=moment)
    began = time.perf_counter()
    await world.run(DataPipelineSpec.model_validate(made), run)
    seconds = time.perf_counter() - began
    world.pool.terminate()
    return seconds


async def tidemill(dsn: str, file: Path, *, rules: bool, at_once: int, place: Files | None = None) -> float:
    """The engine as a worker drives it: chunk by chunk, `at_once` of them at a time.

    `place` has the file if not its folder. Returns seconds from the plan's begin to the last commit: a worker has
    warmed its engine and migrated the database long before.
    """
    from tests.support.engine import RUN, World, database_pool
    from tidemill_api.v1alpha1 import DataPipelineSpec
    from tidemill_worker.engine import Chunk
    from tidemill_worker.engine.warming import warm

    warm()
    world = World(file.parent, await database_pool(dsn), place=place)
    declared = DataPipelineSpec.model_validate(spec(file.name, rules))
    began = time.perf_counter()
    chunks = await world.plan(declared, RUN)
    bound = asyncio.Semaphore(at_once)

    async def one(chunk: Chunk) -> None:
        async with bound:
            await world.load(declared, chunk, chunks, RUN)

    await asyncio.gather(*(one(chunk) for chunk in chunks))
    seconds = time.perf_counter() - began
    world.pool.terminate()
    return seconds


def in_bucket(connection: dict[str, Any]) -> Files:
    """The place that a `files` connection of a bucket means, with the keys of the environment."""
    from tidemill_api.v1alpha1.workerpool import FilesConnection
    from tidemill_worker.connections.file_places import place_of

    return place_of(FilesConnection.model_validate(connection), "landing", Path())


def as_worker(load: Coroutine[Any, Any, float]) -> float:
    """Run it as a worker's process does: on its event loop, with its allocator's settings."""
    import uvloop

    from tidemill_worker.engine.memory import keep_freed_blocks

    keep_freed_blocks()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(load)


def dlt_arrow(dsn: str, file: Path) -> float:
    """Dlt's fastest way: Arrow tables, loaded as CSV. Returns seconds of its run, without its imports."""
    import dlt
    import pyarrow as pa
    from dlt.destinations import postgres
    from pyarrow import csv

    @dlt.resource(name="loaded_by_dlt", write_disposition="append")
    def rows() -> Iterator[pa.Table]:
        for batch in csv.open_csv(str(file)):
            yield pa.Table.from_batches([batch])

    folder = file.parent / "dlt"
    pipeline = dlt.pipeline("bench", destination=postgres(dsn), dataset_name="public", pipelines_dir=str(folder))
    began = time.perf_counter()
    pipeline.run(rows(), loader_file_format="csv")
    return time.perf_counter() - began


def peak_megabytes() -> float:
    """Peak resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1000


def main() -> None:
    """Run one way and print what it took."""
    way, dsn, file = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    match way:
        case "tidemill":
            seconds = as_worker(tidemill(dsn, file, rules=True, at_once=2))
        case "tidemill-no-rules":
            seconds = as_worker(tidemill(dsn, file, rules=False, at_once=2))
        case "tidemill-s3":
            seconds = as_worker(tidemill(dsn, file, rules=True, at_once=2, place=in_bucket(json.loads(sys.argv[4]))))
        case "dlt":
            seconds = dlt_arrow(dsn, file)
        case "sink":
            seconds = as_worker(into(dsn, file, json.loads(sys.argv[4])))
        case _:
            raise SystemExit(f"unknown way {way}")
    print(json.dumps({"seconds": seconds, "megabytes": peak_megabytes()}))


if __name__ == "__main__":
    main()
