"""Parquet files into PostgreSQL: all rows or their letters, chunk by chunk, and whole for joins."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet as pq

from tests.support.engine import World, database_pool, spec_of
from tests.support.fixtures import Database
from tidemill_api.errors import BadRow

SOURCE = {
    "files": {"path": "*.parquet", "format": {"parquet": {}}},
    "columns": [{"name": "id", "type": "int32", "required": True}, {"name": "name", "type": "string"}],
}
CHUNK = {"execution": {"chunk": {"maxRows": 4}}}


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


def written(world: World, name: str, ids: list[int | None]) -> None:
    table = pa.table({"id": pa.array(ids, pa.int64()), "name": [f"n{i}\0"[: 3 if i == 3 else 2] for i in ids]})
    pq.write_table(table, world.root / name, row_group_size=2)


@pytest.mark.parametrize("disposition", ["Append", "Replace"])
async def test_each_bad_row_is_a_letter_and_the_others_load(world: World, disposition: str) -> None:
    written(world, "a.parquet", [1, 2, 3, 2**40, 5])
    written(world, "b.parquet", [None, 7])
    done = await world.run(spec_of(source=SOURCE, sink={"writeDisposition": disposition}, **CHUNK))
    assert (done.chunks, done.steps["raw"]) == (3, (7, 4, 3, 0))
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [(n, f"n{n}") for n in (1, 2, 5, 7)]
    found = [
        (a["file"], a["byte_offset"], a["line"], a["error"], json.loads(a["row_text"])) for a in world.letters.all()
    ]
    assert found == [
        ("a.parquet", 2, 3, "name: 'n3\ufffd' is not of type string", {"id": 3, "name": "n3\ufffd"}),
        ("a.parquet", 3, 4, f"id: '{2**40}' is not of type int32", {"id": 2**40, "name": "n1"}),
        ("b.parquet", 0, 1, "id is required and has no value", {"id": None, "name": "nN"}),
    ]


async def test_rules_and_keys_name_the_row(world: World) -> None:
    written(world, "a.parquet", [1, 2, None])
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    spec = spec_of(
        source=SOURCE | {"columns": columns},
        steps=[
            {
                "name": "valid",
                "inputs": ["raw"],
                "validate": {"rules": [{"name": "not-two", "expression": "id IS NULL OR id <> 2"}]},
            }
        ],
        sink={"input": "valid", "writeDisposition": "Merge", "primaryKey": ["id"]},
    )
    await world.run(spec)
    assert await world.fetch("SELECT id FROM public.out") == [(1,)]
    assert [(each["step"], each["line"], each["reason"]) for each in world.letters.all()] == [
        ("out", 3, "BadKey"),
        ("valid", 2, "RuleBroken"),
    ]


async def test_a_bad_row_fails_the_run_where_the_contract_says_so(world: World) -> None:
    written(world, "a.parquet", [1, None])
    with pytest.raises(BadRow, match="the row at row 2 of "):
        await world.run(spec_of(source=SOURCE | {"contract": {"badValues": "Fail"}}))


async def test_parquet_is_joined_whole_to_csv(world: World) -> None:
    world.write("a.csv", "id,n\n1,10\n2,20\n9,90\n")
    written(world, "names.parquet", [1, 2, None])
    names = {"name": "names", "connection": "landing"} | SOURCE
    spec = spec_of(
        sources=[
            {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}},
            names | {"files": {"path": "names.parquet", "format": {"parquet": {}}}},
        ],
        steps=[
            {
                "name": "named",
                "inputs": ["raw", "names"],
                "sql": {"query": "SELECT raw.*, names.name FROM raw LEFT JOIN names USING (id)"},
            }
        ],
        sink={"input": "named"},
    )
    done = await world.run(spec)
    assert await world.fetch("SELECT id, n, name FROM public.out ORDER BY id") == [
        (1, 10, "n1"), (2, 20, "n2"), (9, 90, None),
    ]  # fmt: skip
    assert done.steps == {"raw": (3, 3, 0, 0), "names": (3, 2, 1, 0)}


async def test_a_chunk_is_one_transaction_and_a_second_time_nothing(world: World) -> None:
    written(world, "a.parquet", list(range(10, 20)))
    spec = spec_of(source=SOURCE, **CHUNK)
    chunks = await world.plan(spec)
    assert [(chunk.part.start, chunk.part.end) for chunk in chunks] == [(0, 4), (4, 8), (8, 10)]
    first = [await world.load(spec, chunk, chunks) for chunk in chunks]
    again = [await world.load(spec, chunk, chunks) for chunk in reversed(chunks)][::-1]
    assert first == again
    assert await world.fetch("SELECT count(*), count(DISTINCT id) FROM public.out") == [(10, 10)]
    assert await world.fetch("SELECT DISTINCT part FROM tidemill.ledger") == [(0,)]
    assert all(outcome.bytes_read == chunk.bytes > 0 for outcome, chunk in zip(first, chunks, strict=True))
