"""Tables of Postgres as sources: all rows once, in ranges of a key, with their values as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.engine import World, database_pool, spec_of
from tests.support.fixtures import Database
from tidemill_api.errors import (
    ColumnMissing,
    NewColumn,
    PostgresUnavailable,
    SourceMissing,
    SourceUnreadable,
    SpecError,
    TidemillError,
)
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine import Stopped


@dataclass
class Reading(World):
    """A world whose sources are read by a user that may only read."""

    reader: asyncpg.Pool | None = None

    async def reading(self, name: str) -> asyncpg.Pool:
        """The reader's pool."""
        del name
        assert self.reader is not None
        return self.reader


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[Reading]:
    pool = await database_pool(migrated.dsn)
    reader = await database_pool(migrated.dsn, max_size=2)
    yield Reading(tmp_path, pool, reader=reader)
    reader.terminate()
    pool.terminate()


def table(
    name: str = "public.orders", split_by: str | None = None, most: int = 100_000, **source: Any
) -> DataPipelineSpec:
    postgres = {"table": name} | ({"splitBy": split_by} if split_by else {})
    read = {"files": None, "postgres": postgres, "connection": "warehouse"} | source
    return spec_of(source=read, execution={"chunk": {"maxRows": most}})


ROWS = """
CREATE TYPE public.mood AS ENUM ('ok');
CREATE TABLE public.orders (
    id bigint PRIMARY KEY, small smallint, n integer, ok boolean, r real, d double precision, price numeric(10,2),
    wide numeric, t text, code varchar(3), day date, at timestamp(3), atz timestamptz, u uuid, j jsonb, a integer[],
    b bytea, m public.mood, gone text
);
ALTER TABLE public.orders DROP COLUMN gone;
INSERT INTO public.orders VALUES
    (1, -5, 7, true, 0.1, 0.1, 12.50, 1.10, 'x', 'abc', '2026-01-31', '2026-01-31 10:00:00.123',
     '2026-01-31 10:00:00.123456+02', '00000000-0000-0000-0000-000000000001', '{"a": [1]}', '{1,NULL}',
     '\\x00ff', 'ok'),
    (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (3, 0, 0, false, 'Infinity', 'NaN', 0, 0, '', '\\N', '0001-01-01', '9999-12-31 23:59:59', '2026-07-01 00:00+00',
     '00000000-0000-0000-0000-000000000002', 'null', '{}', '', 'ok'),
    (4, 0, 0, false, 0, 0, 0, 0, E'a,"b"\\nc\\r\\n;\\\\N', NULL, 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""


async def test_values_of_every_type(world: Reading) -> None:
    await world.pool.execute(ROWS)
    done = await world.run(table())
    assert done.steps == {"raw": (4, 3, 1, 0)}
    same = "id, small, n, ok, r, d, price, t, code, day, at, atz"
    texts = ("wide", "u", "j", "a", "b", "m")
    loaded = await world.fetch(f"SELECT {same}, {', '.join(texts)} FROM public.out ORDER BY id")
    as_text = ", ".join(f"{name}::text" for name in texts)
    assert str(loaded) == str(  # there is a NaN among them
        await world.fetch(f"SELECT {same}, {as_text} FROM public.orders WHERE id < 4 ORDER BY id")
    )
    assert await world.fetch("SELECT t, code FROM public.out WHERE id IN (2, 3) ORDER BY id") == [
        (None, None), ("", "\\N"),
    ]  # fmt: skip
    kinds = await world.fetch(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = 'public.out'::regclass AND attnum > 0"
    )
    assert dict(kinds) == {
        "id": "bigint", "small": "smallint", "n": "integer", "ok": "boolean", "r": "real", "d": "double precision",
        "price": "numeric(10,2)", "wide": "text", "t": "text", "code": "text", "day": "date",
        "at": "timestamp without time zone", "atz": "timestamp with time zone", "u": "text", "j": "text", "a": "text",
        "b": "text", "m": "text",
    }  # fmt: skip
    (letter,) = world.letters.all()
    assert (letter["file"], letter["line"], letter["error"]) == (
        "public.orders", 4, "day: 'infinity' is not of type date",
    )  # fmt: skip


KEYS = {
    "bigint": ("bigint", "x * 3 - 100"),
    "smallint": ("smallint", "x"),
    "bigint from end to end": (
        "bigint",
        "CASE x WHEN 1 THEN -9223372036854775808 WHEN 2 THEN 9223372036854775807 ELSE x END",
    ),
    "date": ("date", "date '2026-01-01' + x"),
    "timestamp": (
        "timestamp",
        "CASE x WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' ELSE timestamp '2026-01-01' + x * interval '1.7 s' END",
    ),
    "timestamptz": ("timestamptz(3)", "timestamptz '2026-03-29 00:00+01' + x * interval '17 min'"),
    "equal": ("integer", "5"),
    "missing": ("integer", "NULL"),
    "some missing": ("integer", "NULLIF(x % 4, 0)"),
}


@pytest.mark.parametrize("case", KEYS)
async def test_ranges_of_a_key_have_every_row_once(world: Reading, case: str) -> None:
    kind, value = KEYS[case]
    await world.pool.execute(
        f'CREATE TABLE public.orders (x integer, "the Key" {kind}); '
        f"INSERT INTO public.orders SELECT x, {value} FROM generate_series(1, 100) AS x"
    )
    done = await world.run(table(split_by="the Key", most=7))
    expected = 1 if case in {"equal", "missing"} else 3 if case == "some missing" else None
    assert expected in {None, done.chunks}
    assert done.chunks <= 15
    infinite = 2 if case == "timestamp" else 0  # which no column of ours can hold
    assert done.steps == {"raw": (100, 100 - infinite, infinite, 0)}
    assert await world.fetch("SELECT count(*), count(DISTINCT x) FROM public.out") == [(100 - infinite,) * 2]


async def test_rows_that_come_later_are_read_by_the_outer_ranges(world: Reading) -> None:
    await world.pool.execute("CREATE TABLE public.orders AS SELECT x FROM generate_series(1, 20) AS x")
    spec = table(split_by="x", most=5)
    chunks = await world.plan(spec)
    assert len(chunks) == 4
    await world.pool.execute("INSERT INTO public.orders VALUES (-50), (90), (NULL)")
    for chunk in chunks:
        await world.load(spec, chunk, chunks)
    assert await world.fetch("SELECT count(*) FROM public.out") == [(23,)]


async def test_views_declared_columns_and_joins(world: Reading) -> None:
    await world.pool.execute(
        'CREATE TABLE public.orders ("Order Nr" integer, who text, secret text); '
        "INSERT INTO public.orders VALUES (1, 'a', 's'), (2, 'b', 's'), (70000, 'c', 's'); "
        'CREATE VIEW public.seen AS SELECT "Order Nr", who FROM public.orders'
    )
    world.write("names.csv", "who,name\na,Ann\n")
    columns = [{"name": "nr", "from": "Order Nr", "type": "int16"}, {"name": "who", "type": "string"}]
    spec = table("public.seen", columns=columns)
    named = {"name": "names", "connection": "landing", "files": {"path": "names.csv", "format": {"csv": {}}}}
    query = "SELECT raw.*, names.name FROM raw LEFT JOIN names USING (who)"
    spec = DataPipelineSpec.model_validate(
        spec.to_json()
        | {
            "sources": [spec.to_json()["sources"][0], named],
            "steps": [{"name": "joined", "inputs": ["raw", "names"], "sql": {"query": query}}],
            "sinks": [spec.to_json()["sinks"][0] | {"input": "joined"}],
        }
    )
    await world.run(spec)
    assert await world.fetch("SELECT nr, who, name FROM public.out ORDER BY nr") == [(1, "a", "Ann"), (2, "b", None)]
    assert [(each["row_text"], each["error"]) for each in world.letters.all()] == [
        ("70000,c", "nr: '70000' is not of type int16")
    ]


async def test_a_table_is_joined_whole(world: Reading) -> None:
    await world.pool.execute(
        "CREATE TABLE public.names AS SELECT x AS id, 'n' || x AS name FROM generate_series(1, 3) x"
    )
    world.write("a.csv", "id\n1\n3\n9\n")
    names = {"name": "names", "connection": "warehouse", "postgres": {"table": "public.names"}}
    raw = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    step = {"name": "named", "inputs": ["raw", "names"], "sql": {"query": "SELECT * FROM raw JOIN names USING (id)"}}
    done = await world.run(spec_of(sources=[raw, names], steps=[step], sink={"input": "named"}))
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [(1, "n1"), (3, "n3")]
    assert done.steps == {"raw": (3, 3, 0, 0), "names": (3, 3, 0, 0)}


REFUSED: dict[str, tuple[DataPipelineSpec, type[TidemillError], str]] = {
    "no table": (table("public.gone"), SourceMissing, "there is no table public.gone"),
    "no column": (table(columns=[{"name": "y", "type": "int32"}]), ColumnMissing, "has no column y; it has x, t"),
    "a new column": (
        table(columns=[{"name": "x", "type": "int32"}], contract={"newColumns": "Fail"}), NewColumn, "declared: t",
    ),
    "no key": (table(split_by="y", most=1), SpecError, "public.orders has no column y"),
    "no key to split by": (table(split_by="t", most=1), SpecError, "t is of type text: only whole numbers"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_when_a_run_is_planned(world: Reading, case: str) -> None:
    await world.pool.execute("CREATE TABLE public.orders AS SELECT 1 AS x, 'a' AS t UNION SELECT 2, 'b'")
    spec, error, says = REFUSED[case]
    with pytest.raises(error, match=says):
        await world.plan(spec)


async def test_what_a_user_may_not_read_and_may_not_do(world: Reading, migrated: Database) -> None:
    await world.pool.execute(
        "CREATE TABLE public.orders AS SELECT 1 AS x; "
        "CREATE FUNCTION public.writes() RETURNS integer LANGUAGE sql VOLATILE AS "
        "$$INSERT INTO public.orders VALUES (2) RETURNING x$$; "
        "CREATE VIEW public.seen AS SELECT public.writes() AS x"
    )
    with pytest.raises(PostgresUnavailable, match="the server is read-only now"):
        await world.run(table("public.seen"))
    assert await world.fetch("SELECT x FROM public.orders") == [(1,)]
    role = f"reader_{migrated.name}"
    await world.pool.execute(f"CREATE ROLE {role}; GRANT USAGE ON SCHEMA public TO {role}")
    try:
        world.reader = await asyncpg.create_pool(migrated.dsn, min_size=0, max_size=2, server_settings={"role": role})
        with pytest.raises(SourceUnreadable, match="InsufficientPrivilege"):
            await world.run(table())
    finally:
        if world.reader is not None:
            world.reader.terminate()
        await world.pool.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


async def test_a_lost_connection_is_an_outage_and_a_second_attempt_loads_all(world: Reading) -> None:
    await world.pool.execute(
        "CREATE TABLE public.orders AS SELECT x, repeat('y', 100) AS t FROM generate_series(1, 200000) x"
    )
    spec = table(most=10**6)
    (chunk,) = chunks = await world.plan(spec)
    loading = asyncio.create_task(world.load(spec, chunk, chunks))
    copying = "query LIKE 'COPY (SELECT%' AND state = 'active'"
    killed = f"SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE {copying}"
    while not loading.done() and (await world.fetch(killed)) == [(0,)]:
        await asyncio.wait([loading], timeout=0.01)
    with pytest.raises(PostgresUnavailable):
        await loading
    assert await world.fetch("SELECT count(*) FROM public.out") == [(0,)]
    await world.load(spec, chunk, chunks)
    assert await world.fetch("SELECT count(*), count(DISTINCT x) FROM public.out") == [(200_000, 200_000)]


async def test_a_chunk_that_is_cancelled_gives_its_connection_back(world: Reading) -> None:
    await world.pool.execute(
        "CREATE TABLE public.orders AS SELECT x, repeat('y', 100) AS t FROM generate_series(1, 200000) x"
    )
    spec = table(most=10**6)
    (chunk,) = chunks = await world.plan(spec)
    with pytest.raises(Stopped):
        await world.load(spec, chunk, chunks, asked_to_stop=lambda: True)
    for _ in range(3):
        await world.plan(spec)  # the reader's pool has two connections
    await world.load(spec, chunk, chunks)
    assert await world.fetch("SELECT count(*) FROM public.out") == [(200_000,)]
