"""Tables that are read by a cursor: what is new once, late rows again, and the same rows for a key that runs again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import RUN, World, database_pool
from tests.support.fixtures import Database
from tidemill_api.errors import (
    ColumnMissing,
    ReprocessRefused,
    SpecError,
    TidemillError,
    WatermarkMoved,
    WatermarksApart,
)
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.engine import Chunk, RunRef, Watermarks


@pytest.fixture
async def world(database: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(database.dsn)
    await pool.execute("CREATE TABLE public.orders (id bigint PRIMARY KEY, n bigint, at timestamptz, day date)")
    yield World(tmp_path, pool)
    pool.terminate()


COLUMNS = [
    {"name": "id", "type": "int64"},
    {"name": "n", "type": "int64"},
    {"name": "placed", "from": "at", "type": "timestamptz"},
    {"name": "day", "type": "date"},
]
APPEND: dict[str, Any] = {"writeDisposition": "Append", "commit": "AtEnd"}
MERGE: dict[str, Any] = {"writeDisposition": "Merge", "primaryKey": ["id"]}


def spec_of(
    sinks: Mapping[str, dict[str, Any]] | None = None, most: int = 100_000, split_by: str | None = None, **cursor: Any
) -> DataPipelineSpec:
    table = {"table": "public.orders"} | ({"splitBy": split_by} if split_by else {})
    source = {"name": "raw", "connection": "shop", "postgres": table, "columns": COLUMNS, "incremental": cursor}
    into = {"input": "raw", "connection": "warehouse"}
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [source],
            "sinks": [
                {"name": name, "postgres": {"table": f"public.{name}"}, **into, **sink}
                for name, sink in (sinks or {"out": APPEND}).items()
            ],
            "execution": {"chunk": {"maxRows": most}},
        }
    )


def key(name: str, execution: int = 1) -> RunRef:
    return replace(RUN, run_key=name, execution=execution)


class Planned:
    """A run that is planned, and not loaded yet."""

    def __init__(self, world: World, spec: DataPipelineSpec, run: RunRef, marks: Watermarks, chunks: tuple[Chunk, ...]):
        self.world, self.spec, self.run, self.chunks = world, spec, run, chunks
        self.also = engine.moves_watermarks(spec, run, marks.versions, chunks)

    async def loaded(self, only: str | None = None) -> dict[str, tuple[int, int, int, int]]:
        """Load all of it, and publish it into the sinks (or only into one); what the source's step came to."""
        alone = len(self.chunks) == 1 and not engine.to_publish(self.spec, self.chunks)
        steps: dict[str, tuple[int, int, int, int]] = {}
        for chunk in self.chunks:
            outcome = await engine.load_chunk(
                *(self.spec, {}, self.run, chunk, len(self.chunks), self.world, self.world.letters),
                lambda _progress: None,
                lambda: False,
                self.also if alone else None,
            )
            for count in outcome.steps:
                before = steps.get(count.step, (0, 0, 0, 0))
                now = (count.rows_in, count.rows_out, count.rejected, count.skipped)
                steps[count.step] = (before[0] + now[0], before[1] + now[1], before[2] + now[2], before[3] + now[3])
        for sink in engine.to_publish(self.spec, self.chunks):
            if only in {None, sink}:
                await engine.publish(self.spec, self.run, sink, self.chunks, self.world, {}, self.also)
        return steps


async def planned(world: World, spec: DataPipelineSpec, run: RunRef) -> Planned:
    await engine.claim(spec, run, world)
    marks = await engine.watermarks(spec, run, world)
    chunks = await engine.plan(spec, {}, run, world, marks.known)
    through = tuple(Chunk.from_json(json.loads(json.dumps(chunk.to_json()))) for chunk in chunks)
    return Planned(world, spec, run, marks, through)


async def ran(world: World, spec: DataPipelineSpec, run: RunRef) -> dict[str, tuple[int, int, int, int]]:
    return await (await planned(world, spec, run)).loaded()


async def ids(world: World, table: str = "out") -> list[int]:
    return [row[0] for row in await world.fetch(f"SELECT id FROM public.{table} ORDER BY id")]


async def insert(world: World, *rows: int, late: int = 0) -> None:
    """Rows whose cursors are their id; `late`: less by so much."""
    await world.pool.execute(
        "INSERT INTO public.orders SELECT x, x - $2, timestamptz '2026-01-01 00:00Z' + (x - $2) * interval '1 min', "
        "date '2026-01-01' + (x - $2)::int FROM unnest($1::bigint[]) AS x",
        list(rows),
        late,
    )


@pytest.mark.parametrize(
    ("cursor", "most", "split_by"),
    [("n", 100_000, None), ("n", 2, None), ("placed", 2, None), ("placed", 100_000, None), ("day", 2, "id")],
)
async def test_each_row_once(world: World, cursor: str, most: int, split_by: str | None) -> None:
    spec = spec_of(cursor=cursor, most=most, split_by=split_by)
    assert (await planned(world, spec, key("before there are any"))).chunks == ()
    await insert(world, *range(1, 8))
    first = await planned(world, spec, key("a"))
    await insert(world, 8)  # beyond what was planned
    await first.loaded()
    assert (len(first.chunks) > 1, await ids(world)) == (most == 2, [*range(1, 8)])
    await ran(world, spec, key("b"))
    assert await ids(world) == [*range(1, 9)]
    assert (await planned(world, spec, key("c"))).chunks == ()


async def test_rows_that_come_late_are_read_again_within_the_lag(world: World) -> None:
    spec = spec_of({"out": MERGE}, cursor="placed", lag="3m")
    await insert(world, 1, 2, 10)
    await ran(world, spec, key("a"))
    await insert(world, 108, late=100)  # at the 8th minute: within the lag
    await insert(world, 105, late=100)  # at the 5th: beyond it
    await world.pool.execute("UPDATE public.orders SET day = NULL WHERE id = 10")
    assert (await ran(world, spec, key("b")))["raw"] == (2, 2, 0, 0)
    assert await ids(world) == [1, 2, 10, 108]
    assert await world.fetch("SELECT day FROM public.out WHERE id = 10") == [(None,)]
    assert await world.fetch("SELECT cursor, version FROM tidemill.watermarks") == [("2026-01-01 00:10:00+00", 2)]


@pytest.mark.parametrize(
    ("cursor", "initial", "expected"),
    [
        ("n", 3, [3, 4]),
        ("n", "4", [4]),
        ("n", -(2**63), [1, 2, 3, 4]),
        ("placed", "2026-01-01T00:03:00Z", [3, 4]),
        ("placed", "2026-01-01", [1, 2, 3, 4]),
        ("day", "2026-01-05", [4]),
    ],
)
async def test_the_first_value(world: World, cursor: str, initial: str | int, expected: list[int]) -> None:
    await insert(world, 1, 2, 3, 4)
    spec = spec_of(cursor=cursor, initialValue=initial)
    await ran(world, spec, key("a"))
    assert await ids(world) == expected
    await insert(world, 5)
    await ran(world, spec, key("b"))
    assert await ids(world) == [*expected, 5]


async def test_rows_without_a_value_are_counted_and_left_out(world: World) -> None:
    await insert(world, 1, 2, 3)
    await world.pool.execute("INSERT INTO public.orders (id) VALUES (8), (9)")
    await world.pool.execute("INSERT INTO public.orders (id, at) VALUES (10, 'infinity')")
    assert (await ran(world, spec_of(cursor="placed", most=2), key("a")))["raw"] == (5, 3, 0, 2)
    assert await ids(world) == [1, 2, 3]


async def test_a_key_that_runs_again_reads_what_it_has_read(world: World) -> None:
    spec = spec_of(cursor="n")
    await insert(world, 1, 2)
    await ran(world, spec, key("a"))
    await insert(world, 3, 4)
    await ran(world, spec, key("b"))
    await insert(world, 5)

    again = await planned(world, spec, key("b", execution=2))
    await again.loaded()
    assert await ids(world) == [1, 2, 3, 4]  # the same rows: they are there
    await ran(world, spec, key("c"))
    assert await ids(world) == [1, 2, 3, 4, 5]

    await insert(world, 100, late=97)  # into the range of b
    with pytest.raises(ReprocessRefused):
        await planned(world, spec, key("b", execution=3))
    assert await world.fetch("SELECT cursor FROM tidemill.watermarks") == [("5",)]


async def test_a_merge_of_an_old_key_moves_nothing_back(world: World) -> None:
    spec = spec_of({"out": MERGE}, cursor="n")
    await insert(world, 1, 2)
    await ran(world, spec, key("a"))
    await insert(world, 3)
    await ran(world, spec, key("b"))
    await insert(world, 101, late=100)
    assert (await ran(world, spec, key("a", execution=2)))["raw"] == (3, 3, 0, 0)
    assert await ids(world) == [1, 2, 3, 101]
    assert await world.fetch("SELECT cursor FROM tidemill.watermarks") == [("3",)]
    assert (await planned(world, spec, key("c"))).chunks == ()


async def test_a_run_that_fails_moves_nothing_and_of_two_one_publishes(world: World) -> None:
    spec = spec_of(cursor="n", most=1)
    await insert(world, 1, 2)
    one, other = await planned(world, spec, key("a")), await planned(world, spec, key("b"))
    await one.loaded()
    with pytest.raises(WatermarkMoved):
        await other.loaded()
    assert await ids(world) == [1, 2]
    assert await world.fetch("SELECT run_key, cursor FROM tidemill.watermarks") == [("a", "2")]
    assert (await planned(world, spec, key("b", execution=2))).chunks == ()


async def test_sinks_that_a_failed_run_left_apart(world: World) -> None:
    spec = spec_of({"one": APPEND, "two": APPEND}, cursor="n", most=1)
    await insert(world, 1)
    await ran(world, spec, key("a"))
    await insert(world, 2, 3)
    await (await planned(world, spec, key("failed"))).loaded(only="one")
    await insert(world, 4)
    with pytest.raises(WatermarksApart, match="If run failed failed between them, process its key again"):
        await planned(world, spec, key("c"))
    await ran(world, spec, key("failed", execution=2))
    assert (await ids(world, "one"), await ids(world, "two")) == ([1, 2, 3], [1, 2, 3])
    await ran(world, spec, key("c"))
    assert (await ids(world, "one"), await ids(world, "two")) == ([1, 2, 3, 4], [1, 2, 3, 4])


async def test_a_new_sink_gets_all_and_another_column_begins_anew(world: World) -> None:
    await insert(world, 1, 2)
    await ran(world, spec_of({"one": MERGE}, cursor="n"), key("a"))
    both = spec_of({"one": MERGE, "two": MERGE}, cursor="n")
    assert (await ran(world, both, key("b")))["raw"] == (2, 2, 0, 0)
    assert (await ids(world, "one"), await ids(world, "two")) == ([1, 2], [1, 2])
    assert (await planned(world, both, key("c"))).chunks == ()
    anew = spec_of({"one": MERGE, "two": MERGE}, cursor="placed")
    assert (await ran(world, anew, key("d")))["raw"] == (2, 2, 0, 0)
    assert (await planned(world, anew, key("e"))).chunks == ()


async def test_without_watermarks_all_rows_are_read(world: World) -> None:
    """As backfills and replays do."""
    spec = spec_of({"out": MERGE}, cursor="n")
    await insert(world, 1, 2)
    await ran(world, spec, key("a"))
    assert (await world.run(spec, key("backfilled"))).steps["raw"] == (2, 2, 0, 0)
    assert await world.fetch("SELECT run_key FROM tidemill.watermarks") == [("a",)]


@pytest.mark.parametrize(
    ("before", "cursor", "kind", "says"),
    [
        ("ALTER TABLE public.orders ALTER n TYPE text", "n", SpecError, "sources[0].incremental.cursor: n is declared"),
        ("ALTER TABLE public.orders ALTER n TYPE numeric", "n", SpecError, "in public.orders it is of type numeric"),
        ("ALTER TABLE public.orders ALTER day TYPE timestamp", "day", SpecError, "day is declared as date"),
        ("ALTER TABLE public.orders DROP n", "n", ColumnMissing, "public.orders has no column n"),
    ],
)  # fmt: skip
async def test_refused(world: World, before: str, cursor: str, kind: type[TidemillError], says: str) -> None:
    await world.pool.execute(before)
    with pytest.raises(kind) as refused:
        await planned(world, spec_of(cursor=cursor), key("a"))
    assert says in str(refused.value)


async def test_an_append_by_another_column_is_refused(world: World) -> None:
    await insert(world, 1)
    await ran(world, spec_of(cursor="n"), key("a"))
    with pytest.raises(WatermarksApart, match=r"rows by the cursor public\.orders\.n \(bigint\), and by public"):
        await planned(world, spec_of(cursor="placed"), key("b"))


async def test_a_large_table_without_an_index_is_told(world: World, caplog: pytest.LogCaptureFixture) -> None:
    spec = spec_of({"out": MERGE}, cursor="n")
    await world.pool.execute("INSERT INTO public.orders SELECT x, x FROM generate_series(1, 10100) x")
    await world.pool.execute("ANALYZE public.orders")
    await planned(world, spec, key("a"))
    assert "public.orders has no index that begins with n" in caplog.text
    caplog.clear()
    await world.pool.execute("CREATE INDEX ON public.orders (n)")
    await planned(world, spec, key("a", execution=2))
    assert "no index" not in caplog.text


async def test_two_writers_of_a_first_mark(world: World) -> None:
    spec = spec_of(cursor="n")
    await insert(world, 1)
    runs = [await planned(world, spec, key(name)) for name in ("a", "b")]
    ended = await asyncio.gather(*(each.loaded() for each in runs), return_exceptions=True)
    assert sorted(isinstance(each, WatermarkMoved) for each in ended) == [False, True]
    assert await ids(world) == [1]
