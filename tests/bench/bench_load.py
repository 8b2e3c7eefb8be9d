r"""Rows a second from a CSV file into Postgres: typed, six rules on, Append; against psql's `\copy` and against dlt."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.loading import create_table, write_file
from tests.bench.measurement import Measurement, compared, say
from tests.support import s3
from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.component import running

ROWS = 2_000_000
QUICK_ROWS = 1_000_000


@dataclass(frozen=True)
class Bench:
    r"""A server, a file to load, and how many rows it has."""

    server: postgres.PostgresServer
    file: Path
    rows: int

    async def psql(self, *commands: str) -> None:
        """Statements, one after the other."""
        options = [option for command in commands for option in ("-c", command)]
        await output(str(self.server.psql), "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", self.server.dsn, *options)

    async def fresh(self) -> None:
        """An empty table, no ledger, and nothing left to be written by the round before."""
        await self.psql(
            "DROP TABLE IF EXISTS public.loaded, public.loaded_by_dlt",
            "DROP SCHEMA IF EXISTS tidemill CASCADE",
            create_table("public.loaded"),
            "CHECKPOINT",
        )

    async def copy(self) -> float:
        r"""Rows a second of `\copy`."""
        await self.fresh()
        began = time.perf_counter()
        await self.psql(f"\\copy public.loaded FROM '{self.file}' WITH (FORMAT csv, HEADER)")
        return self.rows / (time.perf_counter() - began)

    async def way(self, name: str, *more: str, **environment: str) -> tuple[float, float]:
        """Rows a second and peak MB of another way, in a process of its own."""
        await self.fresh()
        command = (sys.executable, "-m", "tests.bench.loading", name, self.server.dsn, str(self.file), *more)
        told = json.loads(await output(*command, **environment))
        table = "loaded_by_dlt" if name == "dlt" else "loaded"
        counted = await output(
            str(self.server.psql), "--no-psqlrc", "-At", self.server.dsn, "-c", f"SELECT count(*) FROM public.{table}"
        )
        if int(counted) != self.rows:
            raise RuntimeError(f"{name} loaded {counted.strip()} rows, not {self.rows}")
        return self.rows / told["seconds"], told["megabytes"]

    async def from_a_bucket(self, folder: Path, rounds: int) -> list[float]:
        """Rows a second of the same file as an object of a local S3 server."""
        folder.mkdir()
        store = s3.describe(folder)
        async with running(store.component):
            client = await asyncio.to_thread(store.bucket, "bench")
            await asyncio.to_thread(client.ask, "PUT", self.file.name, body=lambda: self.file.open("rb"))
            store.close()
            told = {"url": "s3://bench/", "region": s3.REGION, "endpoint": f"http://{store.address}"}
            return [(await self.way("tidemill-s3", json.dumps(told), **s3.KEYS))[0] for _ in range(rounds)]


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    r"""Interleaved rounds on one durable server, the ways and `\copy` in turn."""
    rows, rounds = (QUICK_ROWS, 3) if quick else (ROWS, 5)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.describe(Path(folder) / "postgres", durable=True)
        file = Path(folder) / "rows" / "mixed.csv"
        file.parent.mkdir()
        await asyncio.to_thread(write_file, file, rows)
        async with running(server.component):
            bench = Bench(server, file, rows)
            copies, ours, bare, memory = [], [], [], []
            for number in range(rounds):
                copies.append(await bench.copy())
                speed, megabytes = await bench.way("tidemill")
                ours.append(speed)
                memory.append(megabytes)
                bare.append((await bench.way("tidemill-no-rules"))[0])
                say(
                    f"  round {number + 1} of {rounds}: {ours[-1] / copies[-1]:.2f} x copy, "
                    f"{bare[-1] / copies[-1]:.2f} without rules, {megabytes:.0f} MB"
                )
            yield compared("load_append_typed_rules", ours, "rows/s", "psql \\copy", copies)
            yield compared("load_append_typed", bare, "rows/s", "psql \\copy", copies)
            yield Measurement("load_peak_memory", max(memory), "MB", "", None, rounds)
            theirs = [(await bench.way("dlt"))[0] for _ in range(1 if quick else 2)]
            yield compared("load_append_typed_rules", ours[-len(theirs) :], "rows/s", "dlt, Arrow to CSV", theirs)
            stored = await bench.from_a_bucket(Path(folder) / "s3", rounds)
            yield compared("load_append_typed_rules_s3", stored, "rows/s", "the same from a folder", ours)


async def output(*command: str, **environment: str) -> str:
    """What a command writes; raises RuntimeError with its complaint if it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, **environment}
    )
    out, err = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed: {err.decode()[-2000:]}")
    return out.decode()
