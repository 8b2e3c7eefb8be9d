"""Loads on a real Postgres: dispositions, counts, dead letters, tables that are there already."""

from __future__ import annotations

import csv
import gzip
import io
import zipfile
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from tests.support.engine import RUN, World, database_pool, execution, result, spec_of
from tests.support.fixtures import Database
from tidemill_api.contract import SinkCount
from tidemill_api.errors import (
    OlderThanPublished,
    ReprocessRefused,
    SourceChanged,
    SourceMissing,
)
from tidemill_worker import engine

ID_NAME = [{"name": "id", "type": "int32"}, {"name": "name", "type": "string"}]


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


async def test_types_are_inferred_once_for_all_files(world: World) -> None:
    world.write("a.csv", "id,code,day,at,ok,ratio,name\n1,007,2026-01-01,2026-01-01 10:00:00,true,1,x\n")
    world.write("b.csv", "name,id,code,day,at,ok,ratio\ny,2,012,2026-01-02,2026-01-02T11:00:00,false,0.5\n")
    await world.run(spec_of())
    types = await world.fetch(
        "SELECT attname, atttypid::regtype::text FROM pg_attribute WHERE attrelid = 'public.out'::regclass AND "
        "attnum > 0 ORDER BY attnum"
    )
    assert types == [
        ("id", "bigint"),
        ("code", "text"),
        ("day", "date"),
        ("at", "timestamp without time zone"),
        ("ok", "boolean"),
        ("ratio", "double precision"),
        ("name", "text"),
    ]
    assert await world.fetch("SELECT id, code, name, ratio FROM public.out ORDER BY id") == [
        (1, "007", "x", 1.0),
        (2, "012", "y", 0.5),
    ]


async def test_each_bad_row_is_a_letter_and_the_others_load(world: World) -> None:
    world.write("a.csv", b"id,name\n1,x\nzz,y\n3\n4,a,b\n5,\xff\n6,a\0b\n99999999999,big\n8,ok\n")
    done = await world.run(spec_of(source={"columns": ID_NAME}))
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [(1, "x"), (8, "ok")]
    assert done.steps == {"raw": (8, 2, 6, 0)}
    assert [(each["line"], each["row_text"], each["reason"]) for each in world.letters.all()] == [
        (3, "zz,y", "BadValue"),
        (4, "3", "BadRow"),
        (5, "4,a,b", "BadRow"),
        (6, "5,\ufffd", "BadRow"),
        (7, "6,a\ufffdb", "BadRow"),
        (8, "99999999999,big", "BadValue"),
    ]
    content = (world.root / "a.csv").read_bytes()
    for each in world.letters.all():
        text = content[each["byte_offset"] :].split(b"\n")[0].decode(errors="replace").replace("\0", "\ufffd")
        assert text == each["row_text"]


FILES: dict[str, Callable[[bytes], tuple[str, bytes]]] = {
    "plain": lambda text: ("a.csv", text),
    "gz": lambda text: ("a.csv.gz", gzip.compress(text)),
    "zip": lambda text: ("a.zip", _zipped({"one.csv": text})),
    "zst": lambda text: ("a.csv.zst", pa.compress(text, codec="zstd", asbytes=True)),
    "two frames of zst": lambda text: (
        "a.csv.zst",
        b"".join(pa.compress(t, codec="zstd", asbytes=True) for t in (text[:9], text[9:])),
    ),
    "utf-16": lambda text: ("a.csv", text.decode().encode("utf-16")),
    "utf-16 from the other end": lambda text: ("a.csv", b"\xfe\xff" + text.decode().encode("utf-16-be")),
    "utf-16 without a mark": lambda text: ("a.csv", text.decode().encode("utf-16-le")),
    "utf-16 in gz": lambda text: ("a.csv.gz", gzip.compress(text.decode().encode("utf-16"))),
    "bom": lambda text: ("a.csv", b"\xef\xbb\xbf" + text),
    "crlf": lambda text: ("a.csv", text.replace(b"\n", b"\r\n")),
    "cr": lambda text: ("a.csv", text.replace(b"\n", b"\r")),
    "no newline at the end": lambda text: ("a.csv", text.rstrip(b"\n")),
    "blank lines": lambda text: ("a.csv", b"\n" + text.replace(b"\n", b"\n\n")),
}


def _zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", FILES)
async def test_containers_and_line_ends(world: World, kind: str) -> None:
    name, content = FILES[kind](b'id,name\n1,x\n2,"y, z"\n3,\n')
    world.write(name, content)
    csv = {"encoding": "utf-16"} if kind.startswith("utf-16") else {}
    source = {"files": {"path": "a.*", "format": {"csv": csv}}, "columns": ID_NAME}
    done = await world.run(spec_of(source=source))
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [(1, "x"), (2, "y, z"), (3, None)]
    assert done.steps == {"raw": (3, 3, 0, 0)}


async def test_characters_that_an_encoding_does_not_have_cost_their_row(world: World) -> None:
    world.write("a.csv", "id,name\n1,ä€\n2,".encode("windows-1252") + b"\x81\n3,z\n")
    world.write(
        "b.csv", "id,name\n4,\U0001f300\n5,".encode("utf-16-le") + b"\x00\xd8x\x00\n\x00" + "6,w".encode("utf-16-le")
    )
    for name, encoding in (("a.csv", "windows-1252"), ("b.csv", "utf-16")):
        files = {"path": name, "format": {"csv": {"encoding": encoding}}}
        done = await world.run(
            spec_of(source={"files": files, "columns": ID_NAME}, execution={"chunk": {"maxRows": 1}}),
            replace(RUN, run_key=name),
        )
        assert (done.chunks, done.steps["raw"]) == (1, (3, 2, 1, 0))
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [
        (1, "ä€"), (3, "z"), (4, "\U0001f300"), (6, "w"),
    ]  # fmt: skip
    assert [(each["line"], each["error"], each["row_text"]) for each in world.letters.all()] == [
        (3, "the row is not valid UTF-16", "5,\ufffdx"),
        (3, "the row is not valid WINDOWS-1252", "2,\ufffd"),
    ]


@pytest.mark.parametrize("content", ["", "id,name\n", "\ufeff", "\n\n"])
async def test_a_file_without_rows_loads_none_and_empties_what_is_replaced(world: World, content: str) -> None:
    world.write("a.csv", "id,name\n1,x\n")
    spec = spec_of(source={"columns": ID_NAME}, sink={"writeDisposition": "Replace"})
    await world.run(spec)
    world.write("a.csv", content)
    done = await world.run(spec, execution(2))
    assert done.steps == {"raw": (0, 0, 0, 0)}
    assert await world.fetch("SELECT count(*) FROM public.out") == [(0,)]


MERGES = {"one chunk": "1Mi", "staged": "8"}


@pytest.mark.parametrize("size", MERGES.values(), ids=MERGES.keys())
@pytest.mark.parametrize("table", ["made", "keyed", "bare"])
async def test_merge_takes_the_last_row_of_a_key(world: World, size: str, table: str) -> None:
    if table != "made":
        key = "PRIMARY KEY" if table == "keyed" else ""
        await world.pool.execute(f"CREATE TABLE out (id int {key}, name varchar(5), other text DEFAULT 'kept')")
        await world.pool.execute("INSERT INTO out VALUES (1, 'old', 'mine'), (9, 'stays', NULL)")
    world.write("a.csv", "id,name\n1,a\n2,b\n1,c\n,nokey\n3,d\n2,e\n")
    world.write("b.csv", "id,name\n3,f\n")
    spec = spec_of(
        source={"columns": ID_NAME},
        sink={"writeDisposition": "Merge", "primaryKey": ["id"]},
        execution={"chunk": {"maxBytes": size}},
    )
    if size == "1Mi":
        (world.root / "b.csv").unlink()
    done = await world.run(spec)
    three = "d" if size == "1Mi" else "f"
    expected = [(1, "c"), (2, "e"), (3, three)] + ([(9, "stays")] if table != "made" else [])
    assert await world.fetch("SELECT id, name FROM out ORDER BY id") == expected
    if table != "made":
        assert await world.fetch("SELECT other FROM out WHERE id = 1") == [("mine",)]
    rows = 6 - (size == "1Mi")
    changed = 1 if table != "made" else 0
    assert done.sinks == {"out": SinkCount(sink="out", rows=rows, inserted=3 - changed, updated=changed)}
    assert done.steps["out"] == (rows + 1, rows, 1, 0)
    (letter,) = world.letters.all()
    assert (letter["step"], letter["reason"], letter["row_text"], letter["line"]) == ("out", "BadKey", ",nokey", 5)


@pytest.mark.parametrize("size", MERGES.values(), ids=MERGES.keys())
async def test_replace_holds_exactly_the_rows_of_the_newest_run(world: World, size: str) -> None:
    spec = spec_of(
        source={"columns": ID_NAME}, sink={"writeDisposition": "Replace"}, execution={"chunk": {"maxBytes": size}}
    )
    newer = replace(RUN, run_key="2026-01-02T00:00:00Z", run_time=RUN.run_time.replace(day=2))
    world.write("a.csv", "id,name\n1,a\n2,b\n3,c\n")
    await world.run(spec, newer)
    await world.pool.execute("CREATE VIEW seen AS SELECT * FROM out; CREATE TABLE refers (id int)")
    world.write("a.csv", "id,name\n4,d\n5,e\n")
    with pytest.raises(OlderThanPublished, match="2026-01-02"):
        await world.run(spec, RUN)
    assert await world.fetch("SELECT id FROM seen ORDER BY id") == [(1,), (2,), (3,)]
    await world.run(spec, execution(2, newer))
    assert await world.fetch("SELECT id FROM seen ORDER BY id") == [(4,), (5,)]


async def test_replace_of_a_table_that_others_refer_to(world: World) -> None:
    await world.pool.execute(
        "CREATE TABLE out (id int PRIMARY KEY, name text); CREATE TABLE refers (id int REFERENCES out)"
    )
    world.write("a.csv", "id,name\n1,a\n")
    spec = spec_of(source={"columns": ID_NAME}, sink={"writeDisposition": "Replace"})
    await world.run(spec)
    await world.run(spec, execution(2))
    assert await world.fetch("SELECT id FROM out") == [(1,)]


async def test_columns_go_into_other_types_of_the_table(world: World) -> None:
    await world.pool.execute(
        "CREATE TABLE out (small int2, num numeric(10,2), dbl float8, doc jsonb, u uuid, code varchar(3), made "
        "int GENERATED ALWAYS AS (small + 1) STORED)"
    )
    uuid = "6d1d7f0e-58a0-4b5c-8a53-0d8d1d2f3a4b"
    world.write("a.csv", f'small,num,dbl,doc,u,code\n1,5,7,"{{""a"": 1}}",{uuid},abc\n70000,5,7,{{}},{uuid},abc\n')
    done = await world.run(spec_of())
    assert await world.fetch("SELECT small, num::text, dbl, doc->>'a', u::text, code, made FROM out") == [
        (1, "5.00", 7.0, "1", uuid, "abc", 2)
    ]
    assert done.steps["out"] == (2, 1, 1, 0)
    assert [each["error"] for each in world.letters.all()] == ["small doesn't fit into smallint"]


async def test_names_are_quoted_and_values_bound(world: World) -> None:
    world.write("a.csv", 'Select,"a""b",naïve $1\n1,x,y\n')
    spec = spec_of(
        steps=[{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT *, $who AS who FROM raw"}}],
        parameters=[{"name": "who", "type": "string", "default": "'; DROP TABLE x; --"}],
        sink={"input": "q", "postgres": {"table": "public.Select"}},
    )
    await world.run(spec)
    assert await world.fetch('SELECT "Select", "a""b", "naïve $1", who FROM public."Select"') == [
        (1, "x", "y", "'; DROP TABLE x; --")
    ]


async def test_rules_joins_and_skips_count_and_explain(world: World) -> None:
    world.write("a.csv", "id,name\n1,UA\n2,AA\n3,ZZ\n4,UA\n5,BAD\n")
    world.write("airlines.txt", "code,title\nUA,United\nUA,United again\nAA,American\nQQ,\nx\n")
    spec = spec_of(
        sources=[
            spec_of().sources[0].to_json() | {"columns": ID_NAME},
            {
                "name": "airlines",
                "connection": "landing",
                "files": {"path": "airlines.txt", "format": {"csv": {}}},
                "columns": [{"name": "code", "type": "string"}, {"name": "title", "type": "string"}],
            },
        ],
        steps=[
            {
                "name": "titled",
                "inputs": ["airlines"],
                "validate": {"rules": [{"name": "title", "expression": "title IS NOT NULL"}]},
            },
            {
                "name": "few",
                "inputs": ["raw"],
                "validate": {"rules": [{"name": "low", "expression": "id < $high"}], "onError": "Skip"},
            },
            {
                "name": "named",
                "inputs": ["few", "titled"],
                "sql": {"query": "SELECT id, t.title FROM few LEFT JOIN titled t ON t.code = few.name"},
            },
            {
                "name": "known",
                "inputs": ["named"],
                "validate": {
                    "rules": [
                        {"name": "has-title", "expression": "title IS NOT NULL"},
                        {"name": "no-again", "expression": "title NOT LIKE '%again'"},
                    ]
                },
            },
        ],
        parameters=[{"name": "high", "type": "integer", "default": 5}],
        sink={"input": "known"},
        execution={"chunk": {"maxBytes": "12"}},
    )
    done = await world.run(spec)
    assert done.chunks > 1
    assert done.steps == {
        "airlines": (5, 4, 1, 0),
        "titled": (4, 3, 1, 0),
        "raw": (5, 5, 0, 0),
        "few": (5, 4, 0, 1),
        "known": (6, 3, 3, 0),
    }
    assert sorted(await world.fetch("SELECT id, title FROM out")) == [(1, "United"), (2, "American"), (4, "United")]
    known = [each for each in world.letters.all() if each["step"] == "known"]
    assert [(each["row_text"], each["row_columns"], each["rules"]) for each in known] == [
        ("1,UA", '{"id":1,"title":"United again"}', ["no-again"]),
        ("3,ZZ", '{"id":3,"title":null}', ["has-title", "no-again"]),
        ("4,UA", '{"id":4,"title":"United again"}', ["no-again"]),
    ]
    assert [each["line"] for each in known] == [2, 4, 5]
    assert [
        (each["source"], each["line"]) for each in world.letters.all() if each["step"] in ("airlines", "titled")
    ] == [
        ("airlines", 6),
        ("airlines", 5),
    ]


async def test_a_rule_that_cannot_be_computed_is_broken(world: World) -> None:
    world.write("a.csv", "id,name\n1,5\n2,x\n")
    spec = spec_of(
        source={"columns": ID_NAME},
        steps=[
            {
                "name": "v",
                "inputs": ["raw"],
                "validate": {"rules": [{"name": "number", "expression": "name::INTEGER > 1"}]},
            }
        ],
        sink={"input": "v"},
    )
    done = await world.run(spec)
    assert done.steps["v"] == (2, 1, 1, 0)
    assert [each["rules"] for each in world.letters.all()] == [["number"]]


async def test_a_file_that_changed_since_planning_is_not_loaded(world: World) -> None:
    world.write("a.csv", "id,name\n1,x\n2,y\n")
    spec = spec_of(source={"columns": ID_NAME})
    chunks = await world.plan(spec)
    for content in ("id,name\n1,x\n", "id,name\n1,x\n2,z\n"):
        world.write("a.csv", content)
        with pytest.raises(SourceChanged):
            await world.load(spec, chunks[0], chunks)
    (world.root / "a.csv").unlink()
    with pytest.raises(SourceChanged, match="gone"):
        await world.load(spec, chunks[0], chunks)
    assert await world.fetch("SELECT count(*) FROM out") == [(0,)]


async def test_links_that_leave_the_folder_are_not_followed(
    world: World, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.csv"
    outside.write_text("id\n1\n")
    (world.root / "link.csv").symlink_to(outside)
    with pytest.raises(SourceMissing):
        await world.plan(spec_of())


async def test_compressed_files_commit_parts_and_go_on_after_them(world: World) -> None:
    rows = "".join(f"{index},n{index}\n" for index in range(3000))
    world.write("a.csv.gz", gzip.compress(("id,name\n" + rows).encode()))
    spec = spec_of(
        source={"files": {"path": "*.gz", "format": {"csv": {}}}, "columns": ID_NAME},
        execution={"chunk": {"maxBytes": "4Ki"}},
    )
    chunks = await world.plan(spec)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 4

    with pytest.raises(engine.Stopped):
        await world.load(spec, chunks[0], chunks, asked_to_stop=stop)
    ((committed,),) = await world.fetch("SELECT count(*) FROM out")
    assert 0 < committed < 3000
    outcome = await world.load(spec, chunks[0], chunks)
    assert result([outcome]).steps == {"raw": (3000, 3000, 0, 0)}
    assert await world.fetch("SELECT count(*), count(DISTINCT id), sum(id) FROM out") == [
        (3000, 3000, 3000 * 2999 // 2)
    ]
    assert await world.load(spec, chunks[0], chunks) == outcome


async def test_appended_rows_are_not_appended_again_by_another_execution(world: World) -> None:
    world.write("a.csv", "id,name\n1,x\n2,y\n3,z\n")
    spec = spec_of(source={"columns": ID_NAME}, execution={"chunk": {"maxBytes": "4"}})
    chunks = await world.plan(spec)
    first = await world.load(spec, chunks[0], chunks)
    again = execution(2)
    replanned = await world.plan(spec, again)
    outcomes = [await world.load(spec, chunk, replanned, again) for chunk in replanned]
    assert outcomes[0] == first
    assert await world.fetch("SELECT id FROM out ORDER BY id") == [(1,), (2,), (3,)]
    world.write("a.csv", "id,name\n1,x\n2,y\n3,other\n")
    with pytest.raises(ReprocessRefused, match="double or mix"):
        await world.plan(spec, execution(3))


async def test_max_rows_cuts_chunks_exactly(world: World) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(
        [["id", "name"], *[[index, "a\nb" if index % 3 else "c"] for index in range(25)]]
    )
    world.write("a.csv", buffer.getvalue())
    spec = spec_of(source={"columns": ID_NAME}, execution={"chunk": {"maxRows": 10}})
    chunks = await world.plan(spec)
    outcomes = [await world.load(spec, chunk, chunks) for chunk in chunks]
    assert all(outcome.rows_read <= 10 for outcome in outcomes)
    assert result(outcomes).steps == {"raw": (25, 25, 0, 0)}
    assert await world.fetch("SELECT count(DISTINCT id) FROM out") == [(25,)]
