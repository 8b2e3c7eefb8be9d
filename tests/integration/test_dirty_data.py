"""Dirty files and odd tables on a real Postgres: what loads, what is a dead letter, what fails, and in which words.

`Result` checks for each run that in = out + rejected + skipped; `letters_of` that each letter stands where it says.
"""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import World, database_pool, spec_of
from tests.support.fixtures import Database
from tidemill_api.errors import (
    ColumnMissing,
    SinkRefused,
    SourceMissing,
    SourceUnreadable,
    SQLError,
    StepFailed,
    TableMismatch,
    TidemillError,
)

ID_NAME = [{"name": "id", "type": "int32"}, {"name": "name", "type": "string"}]


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


def columns(*types: str) -> dict[str, Any]:
    """A source with the columns a, b, c... of these types."""
    return {"columns": [{"name": "abcdef"[place], "type": kind} for place, kind in enumerate(types)]}


def csv_at(path: str, **options: Any) -> dict[str, Any]:
    """A source's files."""
    return {"files": {"path": path, "format": {"csv": options}}}


def query(sql: str) -> dict[str, Any]:
    """A spec with one sql step over `raw`, and the file `u.txt` beside it where the query joins `u`."""
    sources = [spec_of().sources[0].to_json()]
    inputs = ["raw"]
    if " u " in sql:
        sources.append({"name": "u", "connection": "landing"} | csv_at("u.txt"))
        inputs.append("u")
    return {
        "sources": sources,
        "steps": [{"name": "q", "inputs": inputs, "sql": {"query": sql}}],
        "sink": {"input": "q"},
    }


def merge(*key: str) -> dict[str, Any]:
    """A sink that merges by these columns."""
    return {"sink": {"writeDisposition": "Merge", "primaryKey": list(key)}}


def zipped(*members: tuple[str, str]) -> bytes:
    """A zip; a name may come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, warnings.catch_warnings(action="ignore"):
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def letters_of(world: World) -> list[tuple[int, str]]:
    """Line and error of each letter, in reading order; each one's row must begin at its line and byte offset."""
    found = []
    for letter in sorted(world.letters.all(), key=lambda each: (each["file"], each["byte_offset"], each["part"])):
        data = (world.root / letter["file"]).read_bytes()
        offset, text = letter["byte_offset"], letter["row_text"]
        assert data[offset:].decode(errors="replace").replace("\0", "\ufffd").startswith(text)
        assert data[:offset].count(b"\n") + 1 == letter["line"]
        assert offset == 0 or data[offset - 1 : offset] == b"\n"
        found.append((letter["line"], letter["error"]))
    return found


@dataclass(frozen=True)
class Loads:
    """A run that succeeds."""

    files: Mapping[str, str | bytes]
    rows: list[tuple[Any, ...]]
    """Of public.out, in order."""
    letters: list[tuple[int, str]] = field(default_factory=list)
    spec: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    """SQL that makes the table beforehand."""
    show: str = "*"


def numbers(*values: str) -> str:
    """A file with the columns a (a running number) and b (these values)."""
    return "a,b\n" + "".join(f"{place},{value}\n" for place, value in enumerate(values))


LOADS: dict[str, Loads] = {
    "numbers beyond the range of floats": Loads(
        {"a.csv": numbers("1e308", "1e309", "-1e309", "inf", "-Infinity", "nan", "x")},
        [(0, "1e+308"), (3, "Infinity"), (4, "-Infinity"), (5, "NaN")],
        [
            (3, "b: '1e309' is not of type float64"),
            (4, "b: '-1e309' is not of type float64"),
            (8, "b: 'x' is not of type float64"),
        ],
        {"source": columns("int32", "float64")},
        show="a, b::text",
    ),
    "numbers beyond the range of short floats": Loads(
        {"a.csv": numbers("3.4e38", "3.5e38", "inf")},
        [(0, "3.4e+38"), (2, "Infinity")],
        [(3, "b: '3.5e38' is not of type float32")],
        {"source": columns("int32", "float32")},
        show="a, b::text",
    ),
    "integers at their borders": Loads(
        {"a.csv": "a,b\n32767,-9223372036854775808\n32768,0\n-32768,9223372036854775808\n-0,007\n"},
        [(0, 7), (32767, -9223372036854775808)],
        [(3, "a: '32768' is not of type int16"), (4, "b: '9223372036854775808' is not of type int64")],
        {"source": columns("int16", "int64")},
    ),
    "moments far away": Loads(
        {
            "a.csv": numbers(
                "0001-01-01 00:00:00", "1969-12-31 23:59:59.999999", "9999-12-31", "10000-01-01", "infinity"
            )
        },
        [(0, "0001-01-01 00:00:00"), (1, "1969-12-31 23:59:59.999999"), (2, "9999-12-31 00:00:00")],
        [(5, "b: '10000-01-01' is not of type timestamp"), (6, "b: 'infinity' is not of type timestamp")],
        {"source": columns("int32", "timestamp")},
        show="a, b::text",
    ),
    "text that COPY's text format would mean something by": Loads(
        {"a.csv": 'a,b\n1,\\N\n2,"a\tb"\n3,a\\b\\\n4,"\\."\n5,NULL\n'},
        [(1, "\\N"), (2, "a\tb"), (3, "a\\b\\"), (4, "\\."), (5, "NULL")],
        spec={"source": columns("int32", "string")},
    ),
    "a quote that stays open, and rows in chunks of a few bytes": Loads(
        {"a.csv": 'a,b\n1,"x\ny"\n2\nq,"v\nw"\n3,"z"\n4,"open\n5,last'},
        [(1, "x\ny"), (3, "z"), (5, "last")],
        [(4, "the row has 1 fields, not 2"), (5, "a: 'q' is not of type int32"), (8, "a quoted value isn't closed")],
        {"source": columns("int32", "string"), "execution": {"chunk": {"maxBytes": "7"}}},
    ),
    "files with their columns in another order": Loads(
        {"a.csv": "id,name\n1,x\n", "b.csv": "name,id\ny,2\nz,bad\n", "c.csv": "extra,name,id\n0,w,3\n", "d.csv": ""},
        [(1, "x"), (2, "y"), (3, "w")],
        [(3, "id: 'bad' is not of type int32")],
        {"source": {"columns": ID_NAME}},
    ),
    "no header, and names that would be in one": Loads(
        {"a.csv": "\ufeff1,x\n".encode() + b"2,\xff\n"},
        [(1, "x")],
        [(2, "the row is not valid UTF-8")],
        {"source": csv_at("*.csv", header=False) | {"columns": [ID_NAME[0] | {"from": "No."}, ID_NAME[1]]}},
    ),
    "a pattern with ** at its end": Loads({"x/y/a.csv": "id\n1\n"}, [(1,)], spec={"source": csv_at("./x//**")}),
    "WITH clauses whatever their case": Loads(
        {"a.csv": "id,name\n1,x\n"}, [(1, "x")], spec=query("WITH A AS (FROM RAW), b AS (FROM a) SELECT B.* FROM B")
    ),
    "a subquery over another input": Loads(
        {"a.csv": "id\n1\n2\n", "u.txt": "k\n2\n"},
        [(False, 1), (True, 2)],
        spec=query("SELECT EXISTS (FROM u WHERE u.k = s.id) AS e, s.* FROM (FROM raw) s"),
    ),
    "a column called as its subquery": Loads(
        {"a.csv": "id\n1\n"},
        [(1, 2)],
        spec=query("SELECT s, list_transform([1], lambda s: s + 1)[1] AS t FROM (SELECT id AS s FROM raw) s"),
    ),
    "text longer than its column": Loads(
        {"a.csv": 'a,b\n1,abc\n2,abcd\n3,"äöü "\n'},
        [(1, "abc"), (3, "äöü")],
        [(3, "b doesn't fit into character varying(3)")],
        table="CREATE TABLE out (a int, b varchar(3))",
    ),
    "numbers longer than their column": Loads(
        {"a.csv": "a,b\n99,99.94\n100,1\n1,99.95\n2,-99.95\n"},
        [(99, Decimal("99.9"))],
        [
            (3, "a doesn't fit into numeric(2,0)"),
            (4, "b doesn't fit into numeric(3,1)"),
            (5, "b doesn't fit into numeric(3,1)"),
        ],
        {"source": columns("int64", "decimal(10,2)")},
        table="CREATE TABLE out (a numeric(2), b numeric(3,1))",
    ),
    "numbers that only a longer float holds": Loads(
        {"a.csv": "a\n1e39\n0.5\ninf\n"},
        [(0.5,), (float("inf"),)],
        [(2, "a doesn't fit into real")],
        {"source": columns("float64")},
        table="CREATE TABLE out (a real)",
    ),
    "a partitioned table": Loads(
        {"a.csv": "id,name\n1,x\n1,y\n2,z\n"},
        [(1, "y"), (2, "z")],
        spec=merge("id"),
        table="CREATE TABLE out (id int PRIMARY KEY, name text) PARTITION BY LIST (id); "
        "CREATE TABLE one PARTITION OF out DEFAULT; INSERT INTO out VALUES (1, 'old')",
    ),
}
for index in ("PRIMARY KEY", ""):
    LOADS |= {
        f"keys that are one as {kind} {index}": Loads(
            {"a.csv": f"id,n\n{first},1\n{second},2\n"},
            [(2,)],
            spec={"source": {"columns": [{"name": "id", "type": read}, {"name": "n", "type": "int32"}]}} | merge("id"),
            table=f"CREATE TABLE out (id {kind} {index}, n int)",
            show="n",
        )
        for kind, read, first, second in (
            ("integer", "string", "007", "7"),
            ("char(3)", "string", "a", "a "),
            ("numeric(10,2)", "decimal(10,3)", "1.001", "1.002"),
            ("real", "float64", "0.1", "0.10000000001"),
            ("timestamp(0)", "timestamp", "2026-01-01 00:00:00.1", "2026-01-01 00:00:00.2"),
        )
    }


@pytest.mark.parametrize("case", LOADS)
async def test_what_can_be_loaded_is(world: World, case: str) -> None:
    given = LOADS[case]
    if given.table:
        await world.pool.execute(given.table)
    for name, content in given.files.items():
        world.write(name, content)
    await world.run(spec_of(**given.spec))
    shown = await world.fetch(f"SELECT {given.show} FROM out ORDER BY 1")
    assert shown == given.rows
    assert letters_of(world) == given.letters


@dataclass(frozen=True)
class Fails:
    """A run that is refused, and what its message says."""

    files: Mapping[str, str | bytes]
    error: type[TidemillError]
    words: str
    spec: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""


FAILS: dict[str, Fails] = {
    "** within a name": Fails(
        {"a.csv": "id\n1\n"}, SourceMissing, "whole folders only, as in", {"source": csv_at("**.csv")}
    ),
    "the folder itself": Fails(
        {"a.csv": "id\n1\n"}, SourceMissing, "the connection's folder", {"source": csv_at("./")}
    ),
    "a name that no system has": Fails(
        {"a.csv": "id\n1\n"}, SourceUnreadable, "can't be read", {"source": csv_at("a" * 300)}
    ),
    "a header with an open quote": Fails(
        {"a.csv": 'id,"name\n1,x\n2,y\n'}, SourceUnreadable, "the header of a.csv has a quoted name that isn't closed"
    ),
    "a header that is no header": Fails({"a.csv": "x" * 200_000 + "\n1\n"}, SourceUnreadable, "first line of a.csv"),
    "a zip with a member twice": Fails(
        {"a.zip": zipped(("a.csv", "id\n1\n"), ("a.csv", "id\n2\n"))},
        SourceUnreadable,
        "a.zip has more than one member called a.csv",
        {"source": csv_at("*.zip")},
    ),
    "a column that a later file lacks": Fails(
        {"a.csv": "id,n\n1,2\n", "b.csv": "id\n1\n"}, ColumnMissing, "b.csv has no column n; it has id"
    ),
    "columns that differ in case": Fails(
        {"a.csv": "id\n1\n"}, SQLError, "called A, a (whatever", query("SELECT id AS A, id + 1 AS a FROM raw")
    ),
    "a whole row of a subquery": Fails(
        {"a.csv": "id\n1\n"},
        SQLError,
        'does not have a column named "s"',
        query("SELECT to_json(s) AS s FROM (FROM raw) s"),
    ),
    "text that its column can't be made of": Fails(
        {"a.csv": "id,n\n1,5\n2,secret\n"},
        SinkRefused,
        "public.out has for n (integer) (SQLSTATE 22P02): declare the type",
        table="CREATE TABLE out (id int, n int)",
    ),
    "numbers whose text would be cut": Fails(
        {"a.csv": "id\n777\n"},
        SinkRefused,
        "public.out has for id (character varying) (SQLSTATE 22001)",
        table="CREATE TABLE out (id varchar(2))",
    ),
    "a rule that needs too much memory": Fails(
        {"a.csv": "id\n1\n"},
        StepFailed,
        "step v: its rules can't be computed (OutOfMemory error)",
        {
            "steps": [
                {
                    "name": "v",
                    "inputs": ["raw"],
                    "validate": {
                        "rules": [
                            {
                                "name": "big",
                                "expression": "len(list_concat(range(id, 60000000), range(id, 60000000))) > 0",
                            }
                        ],
                    },
                }
            ],
            "sink": {"input": "v"},
        },
    ),
}


@pytest.mark.parametrize("case", FAILS)
async def test_what_cannot_be_loaded_is_refused_in_clear_words(world: World, case: str) -> None:
    given = FAILS[case]
    if given.table:
        await world.pool.execute(given.table)
    for name, content in given.files.items():
        world.write(name, content)
    with pytest.raises(given.error) as caught:
        await world.run(spec_of(**given.spec))
    assert given.words in str(caught.value)
    assert "secret" not in str(caught.value)
    if given.table:
        assert await world.fetch("SELECT count(*) FROM out") == [(0,)]


async def test_a_file_whose_name_is_no_text(world: World) -> None:
    world.write("\udcff.csv", "id\n1\n")
    with pytest.raises(SourceUnreadable, match=r"name of the file '\\udcff.csv' isn't UTF-8"):
        await world.run(spec_of())


UNKNOWN_MOMENTS = ("DATE 'infinity'", "TIMESTAMP 'infinity'", "TIMESTAMPTZ '-infinity'", "DATE '290000-01-01 (BC)'")


@pytest.mark.parametrize("moment", UNKNOWN_MOMENTS)
async def test_moments_that_only_a_query_can_make(world: World, moment: str) -> None:
    world.write("a.csv", "id\n1\n2\n")
    await world.run(spec_of(**query(f"SELECT id, CASE id WHEN 1 THEN {moment} END AS t FROM raw")))
    assert await world.fetch("SELECT * FROM out") == [(2, None)]
    ((line, error),) = letters_of(world)
    assert (line, error[:17]) == (2, "t doesn't fit int")


async def test_columns_of_a_letter_are_json_whatever_they_hold(world: World) -> None:
    world.write("a.csv", "a,b\n1,nan\n2,-inf\n3,0\n")
    rule = {"rules": [{"name": "r", "expression": "a = 3"}]}
    spec = {
        "source": columns("int32", "float64"),
        "steps": [
            {
                "name": "q",
                "inputs": ["raw"],
                "sql": {"query": "SELECT *, [b] AS l, 'q' || chr(0) || '\\u0000' AS t FROM raw"},
            },
            {"name": "v", "inputs": ["q"], "validate": rule},
            {"name": "few", "inputs": ["v"], "sql": {"query": "SELECT a FROM v"}},
        ],
        "sink": {"input": "few"},
    }
    await world.run(spec_of(**spec))
    first, second = (json.loads(letter["row_columns"], parse_constant=pytest.fail) for letter in world.letters.all())
    assert (first["b"], first["l"], second["b"], second["a"]) == ("NaN", ["NaN"], "-Infinity", 2)


async def test_a_table_that_makes_a_column_itself(world: World) -> None:
    await world.pool.execute("CREATE TABLE out (id int GENERATED ALWAYS AS IDENTITY, n int)")
    world.write("a.csv", "id,n\n1,2\n")
    with pytest.raises(TableMismatch, match="makes id itself"):
        await world.run(spec_of())
