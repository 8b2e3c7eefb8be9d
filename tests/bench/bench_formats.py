r"""Rows a second of the same rows as CSV, JSON Lines and Parquet into a table; against `\copy` of the CSV file."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import duckdb

from tests.bench.bench_load import Bench
from tests.bench.loading import COLUMNS, write_file
from tests.bench.measurement import Measurement, compared, say
from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.component import running

ROWS, ROUNDS = 2_000_000, 3
QUICK_ROWS, QUICK_ROUNDS = 300_000, 2
FORMATS = {"csv": "", "jsonl": "(FORMAT json)", "parquet": "(FORMAT parquet)"}
"""By a file's ending: how DuckDB writes it from the CSV file."""


def write_others(file: Path) -> None:
    """The rows of a CSV file in the other formats, beside it."""
    types = {"int64": "BIGINT", "int32": "INTEGER", "float64": "DOUBLE", "string": "VARCHAR"}
    columns = {name: types.get(kind, kind.upper()) for name, (kind, _) in COLUMNS.items()}
    with duckdb.connect() as connection:
        rows = f"SELECT * FROM read_csv('{file}', header = true, columns = {columns})"
        for ending, options in FORMATS.items():
            if options:
                connection.execute(f"COPY ({rows}) TO '{file.with_suffix(f'.{ending}')}' {options}")


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Interleaved rounds on one durable server."""
    rows, rounds = (QUICK_ROWS, QUICK_ROUNDS) if quick else (ROWS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.describe(Path(folder) / "postgres", durable=True)
        file = Path(folder) / "rows" / "mixed.csv"
        file.parent.mkdir()
        await asyncio.to_thread(write_file, file, rows)
        await asyncio.to_thread(write_others, file)
        async with running(server.component):
            copies: list[float] = []
            found: dict[str, list[float]] = {ending: [] for ending in FORMATS}
            memory = dict.fromkeys(FORMATS, 0.0)
            for number in range(rounds):
                copies.append(await Bench(server, file, rows).copy())
                for ending in FORMATS:
                    bench = Bench(server, file.with_suffix(f".{ending}"), rows)
                    speed, megabytes = await bench.way("tidemill-no-rules")
                    found[ending].append(speed)
                    memory[ending] = max(memory[ending], megabytes)
                told = ", ".join(f"{ending} {found[ending][-1] / copies[-1]:.2f}" for ending in FORMATS)
                say(f"  round {number + 1} of {rounds}: x copy: {told}")
            for ending in FORMATS:
                yield compared(f"formats_{ending}", found[ending], "rows/s", "psql \\copy of the CSV file", copies)
                yield Measurement(f"formats_{ending}_peak_memory", memory[ending], "MB", n=rounds)
