r"""Rows a second into a large indexed table by each disposition; against the same work by hand: `\copy` and SQL.

Both ways have a table of their own, filled alike, and get the same files in turn: half of a file's keys are in the
tables, half are new. By hand means a staging table, `\copy` into it, and the statements that do the same, in one
transaction.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.bench_load import output
from tests.bench.loading import COLUMNS, create_table
from tests.bench.measurement import Measurement, compared, say
from tidemill_cli.dev.components import postgres
from tidemill_cli.dev.components.component import running

ROWS, CHANGED, ROUNDS = 10_000_000, 1_000_000, 3
QUICK_ROWS, QUICK_CHANGED, QUICK_ROUNDS = 500_000, 100_000, 2
DAYS = 100
"""Partitions of the table; a file has rows of a few of them, as a backfill has."""
_NAMES = ", ".join(COLUMNS)
_WINNERS = f"SELECT DISTINCT ON (id) {_NAMES} FROM staged ORDER BY id, seq DESC"
_UPDATES = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
_DIFFERS = " OR ".join(f"t.{name} IS DISTINCT FROM w.{name}" for name in COLUMNS if name != "id")
_MERGE: dict[str, Any] = {"writeDisposition": "Merge", "primaryKey": ["id"]}


@dataclass(frozen=True)
class Way:
    """A disposition, and the statements that do the same with the rows of `staged`; `{t}` is the table."""

    sink: dict[str, Any]
    by_hand: tuple[str, ...]
    versions: bool = False


_NEW = "NOT EXISTS (SELECT FROM {t} t WHERE t.id = w.id AND t.valid_to IS NULL)"
_ENDING = f"UPDATE {{t}} t SET valid_to = now() FROM winner w WHERE t.id = w.id AND t.valid_to IS NULL AND ({_DIFFERS})"
WAYS = {
    "append_at_end": Way(
        {"writeDisposition": "Append", "commit": "AtEnd"}, (f"INSERT INTO {{t}} SELECT {_NAMES} FROM staged",)
    ),
    "merge_upsert": Way(
        _MERGE | {"mergeStrategy": "Upsert"},
        (f"INSERT INTO {{t}} {_WINNERS} ON CONFLICT (id) DO UPDATE SET {_UPDATES}",),
    ),
    "merge_insert_only": Way(
        _MERGE | {"mergeStrategy": "InsertOnly"}, (f"INSERT INTO {{t}} {_WINNERS} ON CONFLICT (id) DO NOTHING",)
    ),
    "merge_delete_insert": Way(
        _MERGE | {"mergeStrategy": "DeleteInsert"},
        ("DELETE FROM {t} t USING staged s WHERE s.id = t.id", f"INSERT INTO {{t}} {_WINNERS}"),
    ),
    "merge_scd2": Way(
        _MERGE | {"mergeStrategy": "SCD2"},
        (
            f"CREATE TEMP TABLE winner AS {_WINNERS}",
            _ENDING,
            f"INSERT INTO {{t}} ({_NAMES}, valid_from) SELECT {_NAMES}, now() FROM winner w WHERE {_NEW}",
        ),
        versions=True,
    ),
    "replace_partitions": Way(
        {"writeDisposition": "Replace", "partitionBy": ["day"]},
        (
            "DELETE FROM {t} t USING (SELECT DISTINCT day FROM staged) d WHERE t.day = d.day",
            f"INSERT INTO {{t}} SELECT {_NAMES} FROM staged",
        ),
    ),
    "replace_swap": Way(
        {"writeDisposition": "Replace", "replaceStrategy": "Swap"},
        (
            "CREATE TABLE public.fresh (LIKE {t} INCLUDING ALL)",
            f"INSERT INTO public.fresh SELECT {_NAMES} FROM staged",
            "DROP TABLE {t}",
            "ALTER TABLE public.fresh RENAME TO {name}",
        ),
    ),
    "replace_truncate": Way(
        {"writeDisposition": "Replace"}, ("TRUNCATE {t}", f"INSERT INTO {{t}} SELECT {_NAMES} FROM staged")
    ),
}
QUICK = ("merge_upsert", "replace_truncate")


def write_changes(path: Path, number: int, rows: int, there: int) -> None:
    """Rows of a round: half of the keys are in the table, each key once; the same each time."""
    made = random.Random(number)
    old = made.sample(range(there), rows // 2)
    keys = [*old, *range(there + number * rows, there + number * rows + rows - len(old))]
    made.shuffle(keys)
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(COLUMNS) + "\n")
        for place, key in enumerate(keys):
            day = f"2013-{1 + place % 4:02d}-01"
            file.write(
                f"{key},{day}T{place % 24:02d}:15:{place % 60:02d},{day},{made.choice(('UA', 'AA', 'DL', 'B6'))},"
                f"{made.randrange(100_000)},{made.random():.6f},true,note number {place} of round {number}\n"
            )


@dataclass(frozen=True)
class _Bench:
    server: postgres.PostgresServer
    folder: Path
    there: int
    changed: int

    async def psql(self, *commands: str) -> str:
        options = [option for command in commands for option in ("-c", command)]
        base = (str(self.server.psql), "--no-psqlrc", "-qAt", "-v", "ON_ERROR_STOP=1", self.server.dsn)
        return await output(*base, *options)

    async def filled(self, way: Way) -> None:
        """Both tables as they were, with their indexes."""
        versions = ", valid_from timestamptz NOT NULL, valid_to timestamptz" if way.versions else ""
        began = ", '2000-01-01', NULL" if way.versions else ""
        key = "(id, valid_from)" if way.versions else "(id)"
        repeats = way.sink["writeDisposition"] == "Append" or "partitionBy" in way.sink
        unique = [] if repeats else [f"ADD PRIMARY KEY {key}"]
        await self.psql("DROP SCHEMA IF EXISTS tidemill CASCADE")
        for name in ("ours", "hand"):
            await self.psql(
                f"DROP TABLE IF EXISTS public.{name}",
                create_table(f"public.{name}").removesuffix(")") + f"{versions})",
                f"INSERT INTO public.{name} SELECT n, '2013-01-01'::timestamp + n * interval '1 s', "
                f"'2013-01-01'::date + (n % {DAYS})::integer, (ARRAY['UA','AA','DL','B6'])[1 + n % 4], n % 100000, "
                f"0.5, true, 'note number ' || n || ' of the row' {began} FROM generate_series(0, {self.there - 1}) n",
                *(f"ALTER TABLE public.{name} {statement}" for statement in unique),
                *([] if unique else [f"CREATE INDEX ON public.{name} (id)"]),
                *([f"CREATE UNIQUE INDEX ON public.{name} (id) WHERE valid_to IS NULL"] if way.versions else []),
                f"CREATE INDEX ON public.{name} (day, carrier)",
                f"VACUUM ANALYZE public.{name}",
                "CHECKPOINT",
            )

    async def by_hand(self, way: Way, file: Path) -> float:
        r"""Rows a second of `\copy` and the statements."""
        await self.psql("CHECKPOINT")
        began = time.perf_counter()
        await self.psql(
            f"CREATE TABLE staged AS SELECT {_NAMES} FROM public.hand WITH NO DATA",
            "ALTER TABLE staged ADD COLUMN seq bigserial",
            f"\\copy staged ({_NAMES}) FROM '{file}' WITH (FORMAT csv, HEADER)",
            "BEGIN; " + "; ".join(each.format(t="public.hand", name="hand") for each in way.by_hand) + "; COMMIT",
            "DROP TABLE staged",
        )
        return self.changed / (time.perf_counter() - began)

    async def ours(self, way: Way, file: Path) -> float:
        """Rows a second of the engine, in a process of its own."""
        await self.psql("CHECKPOINT")
        sink = json.dumps({"postgres": {"table": "public.ours"}} | way.sink)
        told = await output(sys.executable, "-m", "tests.bench.loading", "sink", self.server.dsn, str(file), sink)
        return float(self.changed / json.loads(told)["seconds"])

    async def same(self, way: Way) -> None:
        """Raises RuntimeError if the two tables differ."""
        versions = ", valid_to IS NULL" if way.versions else ""
        summed = f"SELECT count(*), sum(hashtext(t::text)::bigint) FROM (SELECT {_NAMES}{versions} FROM public."
        ours, hand = [await self.psql(f"{summed}{name}) t") for name in ("ours", "hand")]
        if ours != hand:
            raise RuntimeError(f"the tables differ: {ours.strip()}, and by hand {hand.strip()}")


async def measure(quick: bool) -> AsyncIterator[Measurement]:
    """Interleaved rounds on one durable server, one disposition after the other."""
    there, changed, rounds = (QUICK_ROWS, QUICK_CHANGED, QUICK_ROUNDS) if quick else (ROWS, CHANGED, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="tidemill-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.describe(Path(folder) / "postgres", durable=True)
        files = [Path(folder) / "rows" / f"{number}.csv" for number in range(rounds)]
        files[0].parent.mkdir()
        for number, file in enumerate(files):
            await asyncio.to_thread(write_changes, file, number, changed, there)
        async with running(server.component):
            bench = _Bench(server, Path(folder), there, changed)
            for name in QUICK if quick else WAYS:
                way = WAYS[name]
                await bench.filled(way)
                ours, hand = [], []
                for file in files:
                    hand.append(await bench.by_hand(way, file))
                    ours.append(await bench.ours(way, file))
                    say(f"  {name}: {ours[-1] / hand[-1]:.2f} x by hand")
                await bench.same(way)
                yield compared(f"load_{name}", ours, "rows/s", "by hand", hand)
