"""What a load refuses: files, types, tables that don't fit, each with its words and with no row anywhere."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import World, database_pool, spec_of
from tests.support.fixtures import Database
from tidemill_api.errors import (
    BadRow,
    ColumnMissing,
    NewColumn,
    SinkRefused,
    SourceMissing,
    SourceUnreadable,
    SQLError,
    StepFailed,
    TableMismatch,
    TableMissing,
    TidemillError,
)

ID_NAME = [{"name": "id", "type": "int32"}, {"name": "name", "type": "string"}]


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


REFUSED: dict[str, tuple[dict[str, str | bytes], dict[str, Any], type[TidemillError], str]] = {
    "no file": ({}, {}, SourceMissing, "no file matches"),
    "not gzip": (
        {"a.csv.gz": "id\n1\n"},
        {"source": {"files": {"path": "*.gz", "format": {"csv": {}}}}},
        SourceUnreadable,
        "a.csv.gz",
    ),
    "truncated gzip": (
        {"a.csv.gz": gzip.compress(b"id\n" + b"1\n" * 1000)[:-20]},
        {"source": {"files": {"path": "*.gz", "format": {"csv": {}}}}},
        SourceUnreadable,
        "truncated",
    ),
    "not zip": (
        {"a.zip": "id\n"},
        {"source": {"files": {"path": "*.zip", "format": {"csv": {}}}}},
        SourceUnreadable,
        "a.zip",
    ),
    "utf-16": ({"a.csv": "id\n1\n".encode("utf-16")}, {}, SourceUnreadable, "UTF-16"),
    "binary": ({"a.csv": b"\x7fELF\0\0\0\n"}, {}, SourceUnreadable, "no text file"),
    "empty and nothing declared": ({"a.csv": ""}, {}, SourceUnreadable, "empty"),
    "missing column": (
        {"a.csv": "id\n1\n"},
        {"source": {"columns": ID_NAME}},
        ColumnMissing,
        "no column name; it has id",
    ),
    "new column": (
        {"a.csv": "id,name,x\n1,a,b\n"},
        {"source": {"columns": ID_NAME, "contract": {"newColumns": "Fail"}}},
        NewColumn,
        "aren't declared: x",
    ),
    "duplicate header": ({"a.csv": "id,id\n1,2\n"}, {}, SourceUnreadable, "more than one column id"),
    "bad value": (
        {"a.csv": "id,name\n1,x\ny,z\n"},
        {"source": {"columns": ID_NAME, "contract": {"badValues": "Fail"}}},
        BadRow,
        "source raw: the row at line 3 (byte 12) of a.csv is bad: id is not of type int32; badValues is Fail",
    ),
    "broken rule": (
        {"a.csv": "id,name\n1,x\n2,z\n"},
        {
            "source": {"columns": ID_NAME},
            "steps": [
                {
                    "name": "v",
                    "inputs": ["raw"],
                    "validate": {"rules": [{"name": "one", "expression": "id = 1"}], "onError": "Fail"},
                }
            ],
            "sink": {"input": "v"},
        },
        BadRow,
        "step v: the row at line 3 (byte 12) of a.csv breaks one; onError is Fail",
    ),
    "unknown column in SQL": (
        {"a.csv": "id\n1\n"},
        {"steps": [{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT nope FROM raw"}}], "sink": {"input": "q"}},
        SQLError,
        "spec.steps[0].sql.query",
    ),
    "an answer that would be kept as something else": (
        {"a.csv": "id\n1\n"},
        {
            "steps": [{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT id::BIT AS bits FROM raw"}}],
            "sink": {"input": "q"},
        },
        SQLError,
        "the column bits is a BIT, which can't be kept",
    ),
    "unknown column in a rule": (
        {"a.csv": "id\n1\n"},
        {
            "steps": [
                {"name": "v", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": "nope > 1"}]}}
            ],
            "sink": {"input": "v"},
        },
        SQLError,
        "spec.steps[0].validate.rules[0].expression",
    ),
    "a rule that is no condition": (
        {"a.csv": "id\n1\n"},
        {
            "steps": [{"name": "v", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": "id + 1"}]}}],
            "sink": {"input": "v"},
        },
        SQLError,
        "true or false",
    ),
    "query that fails on a row": (
        {"a.csv": "id,name\n1,2\n2,secret\n"},
        {
            "source": {"columns": ID_NAME},
            "steps": [{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT id, name::INTEGER AS n FROM raw"}}],
            "sink": {"input": "q"},
        },
        StepFailed,
        "byte 12 of a.csv",
    ),
    "table missing": (
        {"a.csv": "id\n1\n"},
        {"sink": {"postgres": {"table": "public.nope", "createTable": "Never"}}},
        TableMissing,
        "public.nope",
    ),
    "column that the table has not": (
        {"a.csv": "id,extra\n1,2\n"},
        {"sink": {"postgres": {"table": "public.there"}}},
        TableMismatch,
        "extra",
    ),
    "column that the table needs": (
        {"a.csv": "id\n1\n"},
        {"sink": {"postgres": {"table": "public.needy"}}},
        TableMismatch,
        "must",
    ),
    "type that can't be cast": (
        {"a.csv": "day\n2026-01-01\n"},
        {"sink": {"postgres": {"table": "public.odd"}}},
        TableMismatch,
        "day is date",
    ),
    "struct": (
        {"a.csv": "id\n1\n"},
        {
            "steps": [{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT {'a': id} AS s FROM raw"}}],
            "sink": {"input": "q"},
        },
        TableMismatch,
        "column s",
    ),
    "constraint": (
        {"a.csv": "id\n-77\n"},
        {"sink": {"postgres": {"table": "public.there"}}},
        SinkRefused,
        "constraint positive",
    ),
    "schema missing": ({"a.csv": "id\n1\n"}, {"sink": {"postgres": {"table": "nowhere.t"}}}, SinkRefused, "3F000"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_refused_and_how(world: World, case: str) -> None:
    written, changes, kind, words = REFUSED[case]
    await world.pool.execute(
        "CREATE TABLE there (id bigint CONSTRAINT positive CHECK (id > 0)); "
        "CREATE TABLE needy (id bigint, must text NOT NULL); CREATE TABLE odd (day boolean)"
    )
    for name, content in written.items():
        world.write(name, content)
    with pytest.raises(kind) as caught:
        await world.run(spec_of(**changes))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "77" not in str(caught.value)
    for table in ("there", "needy", "odd"):
        assert await world.fetch(f"SELECT count(*) FROM {table}") == [(0,)]
