"""Incremental sources on a real worker: each file once, in sinks that show a run whole, whatever fails meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from tests.support.fixtures import unique
from tests.support.worker import Runs, eventually
from tidemill_api.contract import RunResult


class Bench:
    """One pipeline with an incremental source."""

    def __init__(self, runs: Runs) -> None:
        self.pool, self.runs, self.name = runs.pool, runs, unique("p")
        (runs.pool.landing / self.name).mkdir()

    def write(self, file: str, *ids: int, changed: int = 0) -> None:
        path = self.pool.landing / self.name / f"{file}.csv"
        path.write_text("id\n" + "".join(f"{each}\n" for each in ids))
        at = 1_700_000_000 + changed
        os.utime(path, (at, at))

    def sink(self, name: str, **changes: Any) -> dict[str, Any]:
        table = {"table": f"public.{self.name}_{name}"}
        append = {"writeDisposition": "Append", "commit": "AtEnd"}
        return {"name": name, "input": "raw", "connection": "warehouse", "postgres": table, **append, **changes}

    def merge(self, name: str) -> dict[str, Any]:
        merged = self.sink(name, writeDisposition="Merge", primaryKey=["id"])
        del merged["commit"]
        return merged

    def spec(self, *sinks: dict[str, Any], by: str = "Name", **changes: Any) -> dict[str, Any]:
        source = {
            "name": "raw",
            "connection": "landing",
            "files": {"path": f"{self.name}/*.csv", "format": {"csv": {}}},
            "columns": [{"name": "id", "type": "int64"}],
            "incremental": {"by": by},
        }
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [source],
            "sinks": list(sinks) or [self.sink("out")],
            **changes,
        }

    async def run(self, spec: dict[str, Any] | None = None, **options: Any) -> RunResult:
        return await self.runs.run(spec or self.spec(), pipeline=self.name, **options)

    def query(self, sql: str) -> list[list[str]]:
        uid = f"{self.pool.installation}-{self.name}"
        return self.pool.database.query(sql.replace("{p}", f"public.{self.name}").replace("{uid}", uid))

    def loaded(self, sink: str = "out") -> list[int]:
        return [int(row[0]) for row in self.query(f"SELECT id FROM {{p}}_{sink} ORDER BY id")]

    def marks(self) -> list[list[str]]:
        return self.query("SELECT sink, version FROM tidemill.watermarks WHERE uid = '{uid}' ORDER BY sink")

    @contextlib.asynccontextmanager
    async def locked(self, sink: str = "out") -> AsyncIterator[None]:
        """While somebody holds a sink's table, so that what publishes waits."""
        connection = await asyncpg.connect(self.pool.database.dsn)
        try:
            async with connection.transaction():
                await connection.execute(f"LOCK TABLE public.{self.name}_{sink} IN ACCESS EXCLUSIVE MODE")
                yield
        finally:
            await connection.close()

    async def until_waiting(self, count: int, sink: str = "out") -> None:
        waiting = f"SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{{p}}_{sink}'::regclass"

        async def are() -> bool:
            return await asyncio.to_thread(self.query, waiting) == [[str(count)]]

        await eventually(are)


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    return Bench(worker_runs)


@pytest.mark.parametrize("files", [1, 3], ids=["published by its only chunk", "published in the end"])
async def test_each_file_is_loaded_once(here: Bench, files: int) -> None:
    for file in range(files):
        here.write(f"a{file}", file)
    first = await here.run()
    assert (first.error, first.rows_loaded, first.chunks) == (None, files, files)

    nothing = await here.run()
    assert (nothing.result, nothing.error, nothing.chunks, nothing.rows_read) == ("Succeeded", None, 0, 0)

    for file in range(files):
        here.write(f"b{file}", 10 + file)
    here.write("0-earlier-in-the-alphabet", 20)
    more = await here.run()
    assert (more.error, more.rows_loaded) == (None, files + 1)
    assert here.loaded() == [*range(files), *range(10, 10 + files), 20]
    assert here.marks() == [["out", "2"]]


async def test_no_file_at_all_is_nothing_new(here: Bench) -> None:
    empty = await here.run()
    assert (empty.result, empty.chunks) == ("Succeeded", 0)
    here.write("a", 1)
    assert (await here.run()).rows_loaded == 1


@pytest.mark.parametrize(("by", "expected"), [("Name", [1, 2]), ("ModifiedTime", [1, 2, 3])])
async def test_a_file_that_changes(here: Bench, by: str, expected: list[int]) -> None:
    spec = here.spec(here.merge("out"), by=by)
    here.write("a", 1)
    here.write("b", 2)
    assert (await here.run(spec)).error is None
    here.write("a", 1, 3, changed=60)
    assert (await here.run(spec)).error is None
    assert here.loaded() == expected
    assert (await here.run(spec)).chunks == 0


async def test_a_run_that_fails_moves_nothing(here: Bench) -> None:
    here.write("a", 1)
    assert (await here.run()).error is None
    here.write("b", 2)
    here.write("c", 3)
    here.query("ALTER TABLE {p}_out ADD CONSTRAINT few CHECK (id < 3)")
    failed = await here.run(key="failed")
    assert (failed.result, failed.error and failed.error.type) == ("Failed", "SinkRefused")
    assert here.loaded() == [1]
    here.query("ALTER TABLE {p}_out DROP CONSTRAINT few")

    after = await here.run()

    assert (after.error, after.rows_loaded) == (None, 2)
    assert here.loaded() == [1, 2, 3]
    again = await here.run(key="failed")
    assert (again.error, again.chunks, here.loaded()) == (None, 0, [1, 2, 3])


async def test_of_two_runs_at_once_one_loads(here: Bench) -> None:
    here.write("a", 1)
    assert (await here.run()).error is None
    here.write("b", 2)
    here.write("c", 3)
    async with here.locked():
        runs = [
            await here.runs.start(here.spec(), pipeline=here.name, key=key, overlap_policy="AllowAll")
            for key in ("one", "other")
        ]
        await here.until_waiting(1)  # the other waits behind it
        staged = "SELECT count(*) FROM tidemill.ledger WHERE uid = '{uid}' AND run_key IN ('one', 'other')"
        await eventually(lambda: here.query(staged) == [["4"]])
    results = [await here.runs.result(each) for each in runs]
    assert sorted(each.result for each in results) == ["Failed", "Succeeded"]
    [failed] = [each for each in results if each.error is not None]
    assert failed.error is not None
    assert failed.error.type == "WatermarkMoved"
    assert here.loaded() == [1, 2, 3]
    assert (await here.run()).chunks == 0


async def test_sinks_that_a_failed_run_left_apart(here: Bench) -> None:
    spec = here.spec(here.sink("a"), here.sink("b"))
    here.write("1", 1)
    assert (await here.run(spec)).error is None
    here.write("2", 2)
    here.write("3", 3)
    here.query("ALTER TABLE {p}_b ADD CONSTRAINT few CHECK (id < 3)")
    assert (await here.run(spec, key="failed")).result == "Failed"
    assert (here.loaded("a"), here.loaded("b")) == ([1, 2, 3], [1])
    here.query("ALTER TABLE {p}_b DROP CONSTRAINT few")

    apart = await here.run(spec)
    assert apart.error is not None
    assert apart.error.type == "WatermarksApart"
    assert "If run failed failed between them, process its key again" in apart.error.message

    assert (await here.run(spec, key="failed")).error is None
    assert (here.loaded("a"), here.loaded("b")) == ([1, 2, 3], [1, 2, 3])
    assert (await here.run(spec)).chunks == 0


async def test_a_new_sink_gets_all_that_a_merge_has(here: Bench) -> None:
    here.write("1", 1)
    here.write("2", 2)
    assert (await here.run(here.spec(here.merge("a")))).error is None
    assert (await here.run(here.spec(here.merge("a"), here.merge("b")))).error is None
    assert (here.loaded("a"), here.loaded("b")) == ([1, 2], [1, 2])
    assert (await here.run(here.spec(here.merge("a"), here.merge("b")))).chunks == 0


async def test_a_table_by_its_cursor(here: Bench) -> None:
    """The whole way, through plan, chunks and publishing; what there is beside is in test_engine_cursor."""
    here.query("CREATE TABLE {p}_from (id bigint); INSERT INTO {p}_from VALUES (1), (2), (NULL)")
    source = {
        "name": "raw",
        "connection": "warehouse",
        "postgres": {"table": f"public.{here.name}_from"},
        "columns": [{"name": "id", "type": "int64"}],
        "incremental": {"cursor": "id"},
    }
    spec = here.spec(sources=[source], execution={"chunk": {"maxRows": 1}})
    first = await here.run(spec)
    assert (first.error, first.rows_read, first.rows_loaded, first.rows_skipped) == (None, 2, 2, 1)
    assert (await here.run(spec)).chunks == 0
    here.query("INSERT INTO {p}_from VALUES (3)")
    second = await here.run(spec, key="second")
    assert (second.error, second.chunks, second.rows_loaded) == (None, 1, 1)
    again = await here.run(spec, key="second")
    assert again.result == "Skipped"
    assert here.loaded() == [1, 2, 3]
    assert here.query("SELECT cursor, run_key FROM tidemill.watermarks WHERE uid = '{uid}'") == [["3", "second"]]


async def test_columns_that_change_are_told(here: Bench) -> None:
    """Of any source; a table's are changed most easily."""
    here.query("CREATE TABLE {p}_from (id bigint, x integer, y text); INSERT INTO {p}_from VALUES (1, 2, '3')")
    source = {"name": "raw", "connection": "warehouse", "postgres": {"table": f"public.{here.name}_from"}}
    spec = here.spec(sources=[source])
    first = await here.run(spec)
    assert (first.error, first.schema_changes) == (None, ())
    assert (await here.run(spec)).schema_changes == ()
    here.query("ALTER TABLE {p}_from DROP y, ALTER x TYPE bigint")
    changed = await here.run(spec, key="changed")
    assert (changed.error, changed.schema_changes) == (
        None, ("source raw: y is gone (it was string)", "source raw: x is int64, and was int32"),
    )  # fmt: skip
    here.query("ALTER TABLE {p}_from ADD z date")
    refused = await here.run(spec)
    assert refused.error is not None
    assert (refused.error.type, refused.schema_changes) == ("TableMismatch", ("source raw: z is new (date)",))
    kept = "SELECT columns -> 'raw' ->> 'x' FROM tidemill.runs WHERE uid = '{uid}' AND run_key = 'changed'"
    assert here.query(kept) == [["int64"]]


async def test_backfills_neither_heed_nor_move_it(here: Bench) -> None:
    spec = here.spec(here.merge("out"))
    here.write("a", 1)
    assert (await here.run(spec)).error is None
    here.write("b", 2)
    filled = await here.run(spec, key="2026-01-01T00:00:00Z", backfill="january")
    assert (filled.error, filled.chunks) == (None, 2)
    assert here.marks() == [["out", "1"]]
    assert (await here.run(spec)).chunks == 1


async def test_beside_a_source_that_is_read_whole(here: Bench) -> None:
    other = {
        "name": "all",
        "connection": "landing",
        "files": {"path": f"{here.name}/*.csv", "format": {"csv": {}}},
        "columns": [{"name": "id", "type": "int64"}],
    }
    spec = here.spec(here.sink("new"), here.merge("every") | {"input": "all"})
    spec["sources"].append(other)
    here.write("a", 1)
    assert (await here.run(spec)).error is None
    second = await here.run(spec)
    assert (second.error, second.chunks) == (None, 1)
    assert (here.loaded("new"), here.loaded("every")) == ([1], [1])


async def test_what_is_deleted_from_the_table_is_read_again(here: Bench) -> None:
    spec = here.spec(here.merge("out"))
    here.write("a", 1)
    here.write("b", 2)
    assert (await here.run(spec)).error is None
    of_it = f"(f.uid, f.source, f.sink) = (w.uid, w.source, w.sink) AND w.pipeline = '{here.name}'"
    here.query(
        f"DELETE FROM tidemill.loaded_files f USING tidemill.watermarks w WHERE {of_it} AND f.path LIKE '%/b.csv'"
    )
    assert (await here.run(spec)).chunks == 1
