"""Tables that get columns, and wider ones, by the contracts of sources: in each way of writing, and disturbed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.support.engine import RUN, World, database_pool, execution, spec_of
from tests.support.fixtures import Database, unique
from tidemill_api.errors import ColumnMissing, Fenced, NewColumn, PostgresUnavailable, SinkRefused, TableMismatch
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.contracts import Allowed
from tidemill_worker.engine import RunRef, planning_json
from tidemill_worker.engine.postgres import altered, altering
from tidemill_worker.engine.postgres.altered import noted
from tidemill_worker.engine.postgres.ddl import table_rights
from tidemill_worker.engine.postgres.tables import columns_of
from tidemill_worker.engine.quoting import quoted
from tidemill_worker.engine.rehearsal import Rehearsal

ID: Final = {"name": "id", "type": "int32", "required": True}
NAME: Final = {"name": "name", "type": "string"}
DISPOSITIONS: Final[dict[str, dict[str, Any]]] = {
    "Append": {"writeDisposition": "Append"},
    "AtEnd": {"writeDisposition": "Append", "commit": "AtEnd"},
    "Upsert": {"writeDisposition": "Merge", "primaryKey": ["id"]},
    "InsertOnly": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "InsertOnly"},
    "DeleteInsert": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "DeleteInsert"},
    "SCD2": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "SCD2"},
    "Replace": {"writeDisposition": "Replace"},
    "Swap": {"writeDisposition": "Replace", "replaceStrategy": "Swap"},
    "Partitions": {"writeDisposition": "Replace", "partitionBy": ["id"]},
}


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


def pipeline(columns: Sequence[dict[str, Any]] = (ID, NAME), size: str = "1Mi", **parts: Any) -> DataPipelineSpec:
    contract = parts.pop("contract", {"newColumns": "Add"})
    source = {"columns": columns, "contract": contract, **parts.pop("source", {})}
    return spec_of(source=source, execution={"chunk": {"maxBytes": size}}, **parts)


def of_day(day: int) -> RunRef:
    moment = RUN.run_time + timedelta(days=day)
    return replace(RUN, run_key=moment.isoformat(), run_time=moment)


async def rows(world: World, columns: str = "*") -> list[tuple[Any, ...]]:
    return await world.fetch(f"SELECT {columns} FROM public.out ORDER BY id, 2, 3")


async def kinds(world: World) -> dict[str, str]:
    async with world.pool.acquire() as connection:
        found = await columns_of(connection, "public.out") or {}
    return {name: column.type for name, column in found.items()}


@pytest.mark.parametrize("disposition", DISPOSITIONS)
async def test_a_column_that_appears_is_added_and_may_be_missing_again(world: World, disposition: str) -> None:
    sink = DISPOSITIONS[disposition]
    spec = pipeline(size="16", sink=sink)
    world.write("a.csv", "id,name\n1,one\n2,two\n")
    await world.run(spec)
    world.write("a.csv", "id,name\n2,zwei\n")
    world.write("b.csv", "tip,id,name\n1.5,3,three\n,4,four\n-2,5,five\n")
    await world.run(spec, of_day(1))
    assert (await kinds(world))["tip"] == "double precision"
    assert await noted(spec, of_day(1), world) == ("sink out: public.out has the column tip (double precision) now",)
    fresh = [(3, "three", 1.5), (4, "four", None), (5, "five", -2.0)]
    found = await rows(world, "id, name, tip")
    assert [row for row in found if row[0] > 2] == fresh
    assert all(tip is None for number, _, tip in found if number <= 2)

    (world.root / "b.csv").unlink()
    world.write("a.csv", "id,name\n3,drei\n6,six\n")
    await world.run(spec, of_day(2))
    assert (await kinds(world))["tip"] == "double precision"
    found = await rows(world, "id, name, tip")
    assert (6, "six", None) in found
    assert await noted(spec, of_day(2), world) == ()
    expected = {
        "Upsert": [(3, "drei", 1.5)],  # columns that the rows don't have are left as they are
        "InsertOnly": [(3, "three", 1.5)],
        "DeleteInsert": [(3, "drei", None)],
        "Replace": [(3, "drei", None)],
        "Swap": [(3, "drei", None)],
        "Partitions": [(3, "drei", None)],
    }.get(disposition, [(3, "drei", None), (3, "three", 1.5)])
    assert [row for row in found if row[0] == 3] == expected


async def test_what_a_query_leaves_out_reaches_no_table(world: World) -> None:
    """`SELECT *` carries a new column to its sink; a query that names its columns doesn't."""
    steps = [
        {"name": "all", "inputs": ["raw"], "sql": {"query": "SELECT * FROM raw"}},
        {"name": "some", "inputs": ["raw"], "sql": {"query": "SELECT id, name FROM raw"}},
    ]
    sinks = [
        {
            "name": name,
            "input": name,
            "connection": "warehouse",
            "postgres": {"table": f"public.{name}"},
            "writeDisposition": "Append",
        }
        for name in ("all", "some")
    ]
    spec = pipeline(steps=steps, sinks=sinks)
    world.write("a.csv", "id,name\n1,one\n")
    await world.run(spec)
    world.write("a.csv", "id,name,when\n2,two,2026-01-31\n")
    await world.run(spec, of_day(1))
    async with world.pool.acquire() as connection:
        tables = {name: list(await columns_of(connection, f"public.{name}") or {}) for name in ("all", "some")}
    assert tables == {"all": ["id", "name", "when"], "some": ["id", "name"]}


@pytest.mark.parametrize("form", ["jsonLines", "json", "parquet", "postgres"])
async def test_columns_of_other_sorts_of_sources(world: World, form: str) -> None:
    old, new = [{"id": 1, "name": "one"}], [{"id": 2, "name": "two", "n": 7}, {"id": 3, "name": "three", "n": None}]
    if form == "postgres":
        await world.pool.execute("CREATE TABLE public.given (id int, name text, n smallint)")
        await world.pool.executemany(
            "INSERT INTO given VALUES ($1, $2, $3)", [(row["id"], row["name"], row.get("n")) for row in [*old, *new]]
        )
        source: dict[str, Any] = {"connection": "warehouse", "files": None, "postgres": {"table": "public.given"}}
    else:
        source = {"files": {"path": f"*.{form}", "format": {form: {}}}}
        for name, part in (("a", old), ("b", new)):
            file = world.root / f"{name}.{form}"
            if form == "parquet":
                parquet.write_table(pa.Table.from_pylist(part), file)
            else:
                lines = "\n".join(map(json.dumps, part))
                file.write_text(json.dumps(part) if form == "json" else lines)
    await world.pool.execute("CREATE TABLE public.out (id int, name text)")
    await world.run(pipeline(source=source))
    assert await rows(world) == [(1, "one", None), (2, "two", 7), (3, "three", None)]
    assert (await kinds(world))["n"] == ("smallint" if form == "postgres" else "bigint")


async def test_columns_that_a_function_gives(world: World) -> None:
    """They are told by its rows; what `preview` and `test` show is what a run loads."""
    entrypoint = "tests.support.author_steps:orders"
    source = {"name": "raw", "python": {"entrypoint": entrypoint}, "columns": [ID], "contract": {"newColumns": "Add"}}
    spec = spec_of(sources=[source])
    done = await world.run(spec)
    assert done.steps == {"raw": (6, 5, 1, 0)}
    rehearsal = Rehearsal(spec, {}, RUN.run_time, {})
    rehearsal.run()
    shown = rehearsal.sinks["out"].table
    assert shown.column_names == ["id", "name", "beside"]
    assert await rows(world, "id, name, beside") == sorted(tuple(row.values()) for row in shown.to_pylist())
    assert (await kinds(world))["beside"] == "bigint"


async def test_pipelines_that_add_to_one_table_at_once(world: World) -> None:
    """Chunks of three runs race; each column is there once, each row too."""
    await world.pool.execute("CREATE TABLE public.out (id int, name text)")
    worlds, columns = [], ("x", "x", "y")
    for place, column in enumerate(columns):
        folder = world.root / str(place)
        folder.mkdir()
        part = World(folder, world.pool)
        for file in range(3):
            part.write(f"{file}.csv", f"id,name,{column}\n{place},n,{file}\n")
        worlds.append(part)
    runs = [replace(RUN, uid=f"uid-{place}") for place in range(3)]
    await asyncio.gather(*(part.run(pipeline(), run) for part, run in zip(worlds, runs, strict=True)))
    assert list(await kinds(world)) in (["id", "name", "x", "y"], ["id", "name", "y", "x"])
    found = await world.fetch("SELECT id, x, y FROM public.out ORDER BY id, x, y")
    assert found == [(place, *((f, None) if place < 2 else (None, f))) for place in range(3) for f in range(3)]
    told = [await noted(pipeline(), run, world) for run in runs]
    assert sorted(map(len, told)) == [0, 1, 1]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("disposition", ["Append", "AtEnd", "Upsert", "Swap"])
async def test_a_kill_at_the_alteration(
    world: World, monkeypatch: pytest.MonkeyPatch, disposition: str, moment: str
) -> None:
    """Before its commit nothing is altered; after it there is a column without values. What comes then is the same."""
    spec = pipeline(size="16", sink=DISPOSITIONS[disposition])
    world.write("a.csv", "id,name\n1,one\n")
    await world.run(spec)
    world.write("a.csv", "id,name,x\n1,one,10\n2,two,20\n3,three,30\n")

    async def killed(connection: Any, *args: Any) -> Any:
        if moment == "before":
            await altered.note(connection, *args)
        await world.pool.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        return await connection.fetchval("SELECT 1")

    with monkeypatch.context() as patched:
        patched.setattr(altering, "note" if moment == "before" else "prepare", killed)
        chunks = await world.plan(spec, of_day(1))
        with pytest.raises(PostgresUnavailable):
            await world.load(spec, chunks[0], chunks, of_day(1))
    assert ("x" in await kinds(world)) == (moment == "after")
    assert len(await noted(spec, of_day(1), world)) == (moment == "after")
    await world.run(spec, of_day(1))
    doubled = [(1, "one", None)] if disposition in {"Append", "AtEnd"} else []
    loaded = [(1, "one", 10), (2, "two", 20), (3, "three", 30)]
    assert sorted(await rows(world, "id, name, x"), key=repr) == sorted([*doubled, *loaded], key=repr)
    assert await noted(spec, of_day(1), world) == ("sink out: public.out has the column x (bigint) now",)


async def test_an_older_execution_alters_nothing(world: World) -> None:
    spec = pipeline()
    world.write("a.csv", "id,name\n1,one\n")
    await world.run(spec)
    world.write("a.csv", "id,name,x\n1,one,10\n")
    chunks = await world.plan(spec, of_day(1))
    await world.plan(spec, execution(2, of_day(1)))
    with pytest.raises(Fenced):
        await world.load(spec, chunks[0], chunks, of_day(1))
    assert "x" not in await kinds(world)


async def test_only_the_owner_may_alter(world: World, migrated: Database) -> None:
    role = unique("loader")
    spec = pipeline()
    await world.pool.execute("CREATE TABLE public.out (id int, name text)")
    await world.pool.execute(
        f"CREATE ROLE {role}; GRANT ALL ON SCHEMA tidemill TO {role}; GRANT ALL ON ALL TABLES IN SCHEMA tidemill TO "
        f"{role}; GRANT INSERT ON public.out TO {role}"
    )
    pool = await asyncpg.create_pool(migrated.dsn, min_size=0, server_settings={"role": role, "timezone": "UTC"})
    theirs = World(world.root, pool)
    try:
        world.write("a.csv", "id,name,x\n1,one,10\n")
        with pytest.raises(SinkRefused) as refused:
            await theirs.run(spec)
        assert str(refused.value) == (
            f"sink out: only the owner of public.out may alter it, and {role} isn't that: have it done (ALTER TABLE "
            '"public"."out" ADD COLUMN "x" bigint), or make it the owner (`tidemill ddl` says how)'
        )
        for statement in table_rights(spec.sinks[0], role, checked=False, alters=True):
            await world.pool.execute(statement)
        await theirs.run(spec)
        assert await rows(world) == [(1, "one", 10)]
    finally:
        pool.terminate()
        await world.pool.execute(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


async def test_a_lock_that_isnt_given_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(altering, "LOCK_TIMEOUT", "100ms")
    await world.pool.execute("CREATE TABLE public.out (id int, name text)")
    world.write("a.csv", "id,name,x\n1,one,10\n")
    async with world.pool.acquire() as reader, reader.transaction():
        await reader.execute("LOCK TABLE public.out IN ACCESS SHARE MODE")
        with pytest.raises(PostgresUnavailable, match="a lock couldn't be had"):
            await world.run(pipeline())
    await world.run(pipeline())
    assert await rows(world) == [(1, "one", 10)]


REFUSED: Final[dict[str, tuple[dict[str, str], str, type[Exception], str]]] = {
    "another file altogether": ({"a.csv": "id,name\n1,a\n", "b.csv": "x,y\n1,2\n"}, "", ColumnMissing, "no column id"),
    "a header that is data": (
        {"a.csv": "id,name,2026-01-31\n1,a,2\n"}, "", Exception, "names don't look like some",
    ),
    "only the case differs": (
        {"a.csv": "id,name,Total\n1,a,2\n"}, ", total int", TableMismatch,
        "the rows have Total, and public.out has total: a column that differs only in case isn't added",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("written", "more", "kind", "words"), REFUSED.values(), ids=REFUSED.keys())
async def test_what_isnt_added(
    world: World, written: dict[str, str], more: str, kind: type[Exception], words: str
) -> None:
    await world.pool.execute(f"CREATE TABLE public.out (id int, name text{more})")
    for name, text in written.items():
        world.write(name, text)
    with pytest.raises(kind, match=words):
        await world.run(pipeline())
    assert await world.fetch("SELECT count(*) FROM public.out") == [(0,)]


async def test_a_key_that_only_later_rows_have_fails_the_run(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The columns of a run are fixed when it is planned, by the beginnings of all files: nothing is lost unsaid."""
    sampled = planning_json.JSONPlanner._sample
    monkeypatch.setattr(planning_json, "SAMPLE_BYTES", 20)
    monkeypatch.setattr(planning_json.JSONPlanner, "_sample", lambda self, ref, size=20: sampled(self, ref, size))
    world.write("a.jsonl", '{"id":1,"name":"a"}\n{"id":2,"name":"b","x":1}\n')
    spec = pipeline(source={"files": {"path": "*.jsonl", "format": {"jsonLines": {}}}})
    with pytest.raises(NewColumn, match=r"keys that aren't declared: x; the beginnings of the files don't have them"):
        await world.run(spec)


# Wider types.

WIDER: Final = {
    "smallint": (["32767", "-32768"], ["integer", "bigint", "numeric(7,2)", "real", "double precision"]),
    "integer": (["2147483647", "-2147483648"], ["bigint", "numeric(12,2)", "double precision"]),
    "bigint": (["9223372036854775807"], ["numeric(21,2)"]),
    "real": (["3.4028235e+38", "1.1", "NaN"], ["double precision"]),
    "numeric(5,2)": (["999.99", "-0.01"], ["numeric(9,2)", "numeric(7,4)"]),
    "date": (["0001-01-01", "2026-02-28"], ["timestamp without time zone"]),
}
ROWS_OF: Final[dict[str, pa.DataType]] = {
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "numeric(7,2)": pa.decimal128(4, 2),
    "numeric(12,2)": pa.decimal128(4, 2),
    "numeric(21,2)": pa.decimal128(4, 2),
    "numeric(9,2)": pa.decimal128(9, 2),
    "numeric(7,4)": pa.decimal128(6, 4),
    "timestamp without time zone": pa.timestamp("us"),
}


async def test_what_is_widened_keeps_its_values_and_says_when_the_table_is_rewritten(world: World) -> None:
    """Postgres itself is asked: are all values what they were, and has the table another file now?"""
    sink = pipeline().sinks[0]
    for before, (values, afters) in WIDER.items():
        for after in afters:
            await world.pool.execute(f"DROP TABLE IF EXISTS public.out; CREATE TABLE public.out (v {before})")
            await world.pool.execute("INSERT INTO public.out SELECT unnest($1::text[])::" + before, values)
            async with world.pool.acquire() as connection:
                columns = await columns_of(connection, "public.out") or {}
                found = altering.alterations(sink, {"v": ROWS_OF[after]}, columns, Allowed(widen=True))
                assert [each.clause for each in found] == [f'ALTER COLUMN "v" TYPE {after}'], (before, after)
                file = await connection.fetchval("SELECT pg_relation_filenode('public.out')")
                await connection.execute(f"ALTER TABLE public.out {found[0].clause}")
                rewritten = file != await connection.fetchval("SELECT pg_relation_filenode('public.out')")
                assert rewritten == found[0].rewrites, (before, after)
                lost = "SELECT count(*) FROM public.out o WHERE NOT EXISTS (SELECT FROM unnest($1::text[]) t(v) WHERE "
                assert await connection.fetchval(f"{lost} t.v::{before}::{after} = o.v)", values) == 0
                back = await connection.fetch(f"SELECT v::{before}::text AS v FROM public.out")
                assert sorted(row["v"] for row in back) == sorted(values), (before, after)


async def test_a_column_is_widened_for_rows_that_need_it(world: World) -> None:
    columns = [{"name": "id", "type": "int64"}, {"name": "cost", "type": "decimal(12,3)"}]
    spec = pipeline(columns, contract={"widerTypes": "Widen"}, sink=DISPOSITIONS["Upsert"])
    await world.pool.execute("CREATE TABLE public.out (id int PRIMARY KEY, cost numeric(5,2))")
    world.write("a.csv", "id,cost\n1,1.5\n3000000000,123456789.125\n")
    kept = await world.run(pipeline(columns, sink=DISPOSITIONS["Upsert"]))
    assert kept.steps["out"] == (2, 1, 1, 0)
    await world.run(spec, of_day(1))
    assert [(row[0], str(row[1])) for row in await rows(world, "id, cost, 1")] == [
        (1, "1.500"), (3000000000, "123456789.125"),
    ]  # fmt: skip
    assert await noted(spec, of_day(1), world) == (
        "sink out: cost of public.out is numeric(12,3) now, and was numeric(5,2) (the table was written anew)",
        "sink out: id of public.out is bigint now, and was integer (the table was written anew)",
    )


async def test_a_large_table_isnt_written_anew_unasked(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(altering, "MOST_REWRITTEN", 0)
    spec = pipeline([ID | {"type": "int64"}], contract={"widerTypes": "Widen"})
    await world.pool.execute("CREATE TABLE public.out (id int); INSERT INTO public.out VALUES (1)")
    world.write("a.csv", "id\n3000000000\n")
    with pytest.raises(TableMismatch, match=r'do it when it suits \(ALTER TABLE "public"."out" ALTER COLUMN "id" TYPE'):
        await world.run(spec)
    assert (await kinds(world))["id"] == "integer"
    monkeypatch.undo()
    await world.pool.execute(f"CREATE VIEW public.{quoted('seen')} AS SELECT id FROM public.out")
    with pytest.raises(TableMismatch, match="a view that uses the column say"):
        await world.run(spec, of_day(1))


async def test_numbers_with_fractions_arent_rounded_into_whole_ones(world: World) -> None:
    await world.pool.execute("CREATE TABLE public.out (id int, n bigint, d int)")
    columns: list[dict[str, Any]] = [ID, {"name": "n", "type": "float64"}, {"name": "d", "type": "decimal(4,1)"}]
    world.write("a.csv", "id,n,d\n1,2.0,3.0\n2,2.5,3\n3,2,3.5\n4,1e300,1\n5,,\n")
    done = await world.run(pipeline(columns))
    assert done.steps["out"] == (5, 2, 3, 0)
    assert await rows(world) == [(1, 2, 3), (5, None, None)]
