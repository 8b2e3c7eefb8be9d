"""Rows a second from one Postgres database into another; against `pg_dump | psql` and against dlt."""

from __future__ import annotations

import json
import shlex
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.bench_load import output
from tests.bench.loading import create_table
from tests.bench.measurement import Measurement, compared, say
from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.component import running

ROWS, ROUNDS, DLT_ROUNDS = 2_000_000, 3, 2
QUICK_ROWS, QUICK_ROUNDS, QUICK_DLT_ROUNDS = 300_000, 2, 1


@dataclass(frozen=True)
class _Bench:
    server: postgres.PostgresServer
    rows: int

    @property
    def origin(self) -> str:
        return self.server.dsn_of("origin")

    async def psql(self, dsn: str, *commands: str) -> str:
        options = [option for command in commands for option in ("-c", command)]
        return await output(str(self.server.psql), "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", dsn, *options)

    async def fill(self) -> None:
        """The table to be read, in a database of its own."""
        await self.psql(self.server.dsn, "CREATE DATABASE origin")
        await self.psql(
            self.origin,
            create_table("public.origin"),
            "INSERT INTO public.origin SELECT n, '2013-01-01'::timestamp + n * interval '1 s', "
            "'2013-01-01'::date + n % 365, (ARRAY['UA','AA','DL','B6'])[1 + n % 4], n * 7919::bigint % 100000, "
            f"random(), n % 3 > 0, 'note number ' || n || ' of the row' FROM generate_series(0, {self.rows - 1}) n",
            "ALTER TABLE public.origin ADD PRIMARY KEY (id)",
            "VACUUM ANALYZE public.origin",
        )

    async def fresh(self) -> None:
        """Empty tables, and nothing left to be written by the way before."""
        await self.psql(
            self.server.dsn,
            "DROP TABLE IF EXISTS public.loaded, public.loaded_by_dlt, public.origin",
            "DROP SCHEMA IF EXISTS tidemill CASCADE",
            create_table("public.loaded"),
            create_table("public.origin"),
            "CHECKPOINT",
        )

    async def dumped(self) -> float:
        """Rows a second of `pg_dump | psql`."""
        await self.fresh()
        dump = (self.server.psql.with_name("pg_dump"), "--data-only", "--table", "public.origin", self.origin)
        load = (self.server.psql, "--no-psqlrc", "-q", "-v", "ON_ERROR_STOP=1", self.server.dsn)
        began = time.perf_counter()
        piped = " | ".join(shlex.join(map(str, each)) for each in (dump, load))
        await output("bash", "-o", "pipefail", "-c", piped)
        seconds = time.perf_counter() - began
        await self.counted("origin")
        return self.rows / seconds

    async def way(self, name: str, table: str) -> tuple[float, float]:
        """Rows a second and peak MB of another way, in a process of its own."""
        await self.fresh()
        command = (sys.executable, "-m", "tests.bench.copying", name, self.origin, self.server.dsn)
        told = json.loads((await output(*command)).splitlines()[-1])
        await self.counted(table)
        return self.rows / told["seconds"], told["megabytes"]

    async def counted(self, table: str) -> None:
        """Raises RuntimeError if it hasn't all rows."""
        there = int(await self.psql(self.server.dsn, f"SELECT count(*) FROM public.{table}"))
        if there != self.rows:
            raise RuntimeError(f"public.{table} has {there} rows, not {self.rows}")


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Interleaved rounds on one durable server with two databases."""
    rows, rounds, dlt_rounds = (QUICK_ROWS, QUICK_ROUNDS, QUICK_DLT_ROUNDS) if quick else (ROWS, ROUNDS, DLT_ROUNDS)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.describe(Path(folder) / "postgres", durable=True)
        async with running(server.component):
            bench = _Bench(server, rows)
            await bench.fill()
            dumped, ours, memory, theirs = [], [], [], []
            for number in range(rounds):
                dumped.append(await bench.dumped())
                speed, megabytes = await bench.way("tidemill", "loaded")
                ours.append(speed)
                memory.append(megabytes)
                if number < dlt_rounds:
                    theirs.append((await bench.way("dlt", "loaded_by_dlt"))[0])
                say(f"  round {number + 1} of {rounds}: {ours[-1] / dumped[-1]:.2f} x pg_dump | psql")
            yield compared("copying_table", ours, "rows/s", "pg_dump | psql", dumped)
            yield compared("copying_table", ours[: len(theirs)], "rows/s", "dlt, Arrow to CSV", theirs)
            yield Measurement("copying_table_peak_memory", max(memory), "MB", n=rounds)
