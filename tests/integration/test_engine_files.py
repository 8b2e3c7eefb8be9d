"""Sinks that are files, in a folder and in a bucket: what is seen when, once whatever breaks, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.support.datasets import Breaking, Lake, as_a_dataset, lake_of_bucket, lake_of_folder
from tests.support.engine import RUN, World, database_pool, execution, spec_of
from tests.support.fixtures import Database, new_database, unique
from tests.support.s3 import S3Server
from tidemill_api.errors import (
    ArtifactGone,
    CheckFailed,
    Fenced,
    OlderThanPublished,
    PostgresUnavailable,
    SinkRefused,
    StoreUnavailable,
    TableMismatch,
)
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_cli.dev.components import postgres
from tidemill_worker import engine
from tidemill_worker.activities.housekeeping import settle_files
from tidemill_worker.connections.s3.written import WrittenObjects
from tidemill_worker.connections.written_folder import WrittenFolder
from tidemill_worker.engine import RunRef
from tidemill_worker.engine.filesink import books
from tidemill_worker.files.writable import Writable

COLUMNS = [
    {"name": "id", "type": "int32"},
    {"name": "day", "type": "string"},
    {"name": "at", "type": "timestamptz"},
]
AT = "2013-01-01T00:00:00Z"


@dataclass
class Place:
    """A world whose sinks write somewhere, and how that is read."""

    world: World
    lake: Lake
    store: Writable

    async def load(
        self, spec: DataPipelineSpec, rows: dict[int, str], run: RunRef = RUN, chunks: int = 2
    ) -> dict[str, int]:
        """A run over these rows (id: day) in so many files, each of them a chunk. Rows by sink."""
        self.write(rows, chunks)
        done = await self.world.run(spec, run)
        return {name: count.rows for name, count in done.sinks.items()}

    def write(self, rows: dict[int, str], chunks: int = 2) -> None:
        """The files that are read."""
        for path in self.world.root.glob("*.csv"):
            path.unlink()
        for number in range(chunks):
            mine = list(rows.items())[number::chunks]
            self.world.write(f"{number}.csv", "id,day,at\n" + "".join(f"{n},{day},{AT}\n" for n, day in mine))

    def days(self, folder: str = "lake/out") -> dict[int, str]:
        """What is seen: id and day of each row; a row that is there twice fails."""
        rows = self.lake.rows(folder)
        assert self.lake.told(folder) == rows
        found = {row["id"]: row["day"] for row in rows}
        assert len(found) == len(rows)
        return found


@pytest.fixture(scope="module")
def books_database(postgres_server: postgres.PostgresServer, migrated_template: str) -> Iterator[Database]:
    """One for all tests here: each empties it."""
    with new_database(postgres_server, migrated_template) as mine:
        yield mine


@pytest.fixture(params=["folder", "bucket"])
async def place(
    request: pytest.FixtureRequest, books_database: Database, tmp_path: Path, s3_server: S3Server
) -> AsyncIterator[Place]:
    pool = await database_pool(books_database.dsn)
    await pool.execute(
        "TRUNCATE tidemill.fence, tidemill.ledger, tidemill.published, tidemill.file_runs, tidemill.files, "
        "tidemill.runs CASCADE"
    )
    world = World(tmp_path, pool)
    if request.param == "folder":
        store: Writable = WrittenFolder(tmp_path / "store", "lake")
        lake = lake_of_folder(tmp_path / "store")
    else:
        client = s3_server.bucket(unique("lake-"))
        below = s3_server.client(client.bucket.name, "some/prefix/")
        store, lake = WrittenObjects(below), lake_of_bucket(below)
    world.written = store
    yield Place(world, lake, store)
    pool.terminate()


def pipeline(path: str = "lake/out", partitions: tuple[str, ...] = ("day",), **sink: Any) -> DataPipelineSpec:
    files: dict[str, Any] = {"path": path, "partitionBy": list(partitions)}
    parts = {name: sink.pop(name) for name in ("checks", "steps") if name in sink}
    sink = {"connection": "lake", "postgres": None, "files": files, "writeDisposition": "Append"} | sink
    return spec_of(source={"columns": COLUMNS}, sink=sink, **parts)


def of_day(day: int, number: int = 1) -> RunRef:
    """The run of a day after the first."""
    moment = RUN.run_time + timedelta(days=day)
    return replace(RUN, run_key=moment.isoformat(), run_time=moment, execution=number)


WHOLE: dict[str, Any] = {"writeDisposition": "Replace"}
DYNAMIC: dict[str, Any] = {"writeDisposition": "Replace", "partitionBy": ["day"]}
FIRST = {1: "a", 2: "b", 3: "a/ü"}


@pytest.mark.parametrize(
    ("sink", "then"),
    [
        ({}, {**FIRST, 4: "b", 5: "c"}),
        (WHOLE, {4: "b", 5: "c"}),
        (DYNAMIC, {1: "a", 3: "a%2Fü", 4: "b", 5: "c"}),
    ],
    ids=["Append", "Replace", "partitions"],
)
async def test_what_each_disposition_leaves(place: Place, sink: dict[str, Any], then: dict[int, str]) -> None:
    spec, seen = pipeline(**sink), {1: "a", 2: "b", 3: "a%2Fü"}
    assert await place.load(spec, FIRST) == {"out": 3}
    assert place.days() == seen
    assert await place.load(spec, {4: "b", 5: "c"}, of_day(1)) == {"out": 2}
    then = {key: seen.get(key, day) for key, day in then.items()}
    assert place.days() == then
    again = of_day(1, 2)  # the same key with other rows: its own files give way, those of others stay
    assert await place.load(spec, {6: "c"}, again) == {"out": 1}
    without = {key: day for key, day in then.items() if key not in {4, 5}}
    assert place.days() == {**without, 6: "c"}
    assert place.lake.left("lake/out") == []


async def test_a_run_that_breaks_off_anywhere_and_is_tried_again_is_there_once(place: Place) -> None:
    """Before its first call of the place, and after each: the answer is lost, what was asked for is done."""
    old, new = {1: "a", 2: "b"}, {1: "a", 3: "b", 4: "c"}
    breaking = Breaking(place.store)
    for number in range(-1, 9):
        run, folder = replace(RUN, uid=f"uid{number}"), f"lake/{number}"
        later = replace(run, run_key="later", run_time=run.run_time + timedelta(days=1))
        spec = pipeline(folder, **DYNAMIC)
        place.world.written = place.store
        await place.load(spec, {1: "a", 2: "b"}, run, chunks=1)
        breaking = Breaking(place.store, max(number, 0), "before" if number < 0 else "after")
        place.world.written = breaking
        place.write({3: "b", 4: "c"}, chunks=1)
        try:
            await place.world.run(spec, later)
        except StoreUnavailable:
            told = {row["id"]: row["day"] for row in place.lake.told(folder)}
            assert told in (old, new), breaking.calls
            await place.world.run(spec, later)
        assert place.days(folder) == new, breaking.calls
        assert (len(place.lake.files(folder)), place.lake.left(folder)) == (3, [])
        if number >= len(breaking.calls):
            break
    assert breaking.calls == ["put", "put", "place", "place", "tell", "remove", "drop"]


@pytest.mark.parametrize("step", ["begin", "stage", "decide", "left", "done", "forget"])
async def test_books_that_break_off(place: Place, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    spec = pipeline(**WHOLE)
    await place.load(spec, FIRST)
    real, broken = getattr(books, step), [True]

    async def breaks(*arguments: Any) -> Any:
        done = await real(*arguments)
        if broken.pop() if broken else False:
            raise PostgresUnavailable("the connection broke")
        return done

    monkeypatch.setattr(books, step, breaks)
    if step == "forget":
        await place.world.plan(spec, of_day(1))
        chunks = await place.world.plan(spec, of_day(1))
        await place.world.load(spec, chunks[0], chunks, of_day(1))
        with pytest.raises(PostgresUnavailable):
            await engine.clean(spec, of_day(1), place.world)
    else:
        with pytest.raises(PostgresUnavailable):
            await place.load(spec, {4: "b"}, of_day(1))
    assert await place.load(spec, {4: "b"}, of_day(1, 1 if step != "forget" else 2)) == {"out": 1}
    assert place.days() == {4: "b"}
    assert place.lake.left("lake/out") == []


async def test_only_the_newest_execution_is_seen(place: Place) -> None:
    """A zombie can neither stage nor publish; and what it had decided it can't show afterwards."""
    spec = pipeline()
    place.write(FIRST)
    chunks = await place.world.plan(spec)
    await place.world.load(spec, chunks[0], chunks)
    assert place.lake.files("lake/out") == []
    assert len(place.lake.left("lake/out")) == 2
    await engine.claim(spec, execution(2), place.world)
    assert place.lake.left("lake/out") == []
    with pytest.raises(Fenced):
        await place.world.load(spec, chunks[1], chunks)
    with pytest.raises(Fenced):
        await engine.publish(spec, RUN, "out", chunks, place.world)
    assert await place.load(spec, {7: "z"}, execution(2)) == {"out": 1}
    assert place.days() == {7: "z"}
    assert place.lake.left("lake/out") == []


async def test_a_zombie_that_has_decided_shows_nothing_that_was_superseded(place: Place) -> None:
    spec = pipeline()
    place.write(FIRST)
    chunks = await place.world.plan(spec)
    for chunk in chunks:
        await place.world.load(spec, chunk, chunks)
    frozen = Breaking(place.store, 0)
    place.world.written = frozen  # decided, and stands still before the first file is shown
    with pytest.raises(StoreUnavailable):
        await engine.publish(spec, RUN, "out", chunks, place.world)
    staged = [row[0] for row in await place.world.fetch("SELECT staged FROM tidemill.files WHERE state = 'Placing'")]
    names = [row[0] for row in await place.world.fetch("SELECT name FROM tidemill.files WHERE state = 'Placing'")]
    place.world.written = place.store
    await place.load(spec, {7: "z"}, execution(2))
    assert [place.store.place(*each) for each in zip(staged, names, strict=True)] == [False] * len(names)
    assert place.days() == {7: "z"}


async def test_a_staged_file_is_gone_when_it_is_shown(place: Place) -> None:
    """That is what keeps a zombie from showing it once more."""
    with place.store.writing("lake/out") as written:
        written.write_bytes(b"rows")
        place.store.put(written, "lake/out/_tidemill/x.staged")
    assert place.store.place("lake/out/_tidemill/x.staged", "lake/out/day=a%2Fü/x.parquet")
    assert place.lake.left("lake/out") == []
    assert place.store.place("lake/out/_tidemill/x.staged", "lake/out/day=a%2Fü/x.parquet")
    place.store.remove(["lake/out/day=a%2Fü/x.parquet"])
    assert not place.store.place("lake/out/_tidemill/x.staged", "lake/out/day=a%2Fü/x.parquet")
    assert place.lake.files("lake/out") == []


async def test_what_was_decided_is_carried_out_by_the_next_run(place: Place) -> None:
    spec = pipeline()
    place.world.written = Breaking(place.store, 3, "before")  # two files staged, the first one shown
    with pytest.raises(StoreUnavailable):
        await place.load(spec, {1: "a", 2: "b"})
    place.world.written = place.store
    await place.load(spec, {3: "c"}, of_day(1))
    assert place.days() == {1: "a", 2: "b", 3: "c"}


async def test_staged_files_that_somebody_removed(place: Place) -> None:
    """The run that decided on them can't be carried out, and says what to do; doing that mends it."""
    spec = pipeline()
    place.world.written = Breaking(place.store, 2)
    with pytest.raises(StoreUnavailable):
        await place.load(spec, {1: "a", 2: "b"})
    place.world.written = place.store
    place.store.drop("lake/out/_tidemill")
    with pytest.raises(ArtifactGone, match=r"run 2026-01-01T00:00:00Z had staged in lake/out is gone.*spec.runKey"):
        await place.load(spec, {3: "c"}, of_day(1))
    await place.load(spec, {1: "a", 2: "b"}, execution(2))
    assert place.days() == {1: "a", 2: "b", 3: "c"}


async def test_an_older_run_brings_nothing_back(place: Place) -> None:
    whole, dynamic = pipeline("lake/whole", **WHOLE), pipeline("lake/parts", **DYNAMIC)
    await place.load(whole, FIRST, of_day(5))
    with pytest.raises(OlderThanPublished, match=r"lake/whole holds run .* which is newer"):
        await place.load(whole, {9: "a"}, of_day(1))
    newer, older = replace(of_day(5), uid="other"), replace(of_day(1), uid="other")
    await place.load(dynamic, FIRST, newer)
    with pytest.raises(OlderThanPublished, match="Replace would bring back old rows"):
        await place.load(dynamic, {9: "a"}, older)
    await place.load(dynamic, {9: "other"}, replace(older, execution=2))
    assert place.days("lake/parts") == {1: "a", 2: "b", 3: "a%2Fü", 9: "other"}


async def test_checks_judge_before_anything_is_seen(place: Place) -> None:
    checks = [
        {"name": "all", "sink": "out", "metric": "rowCount", "atMost": 4},
        {"name": "mine", "sink": "out", "metric": "rowsLoaded", "atLeast": 1, "severity": "Warn"},
    ]
    spec = pipeline(checks=checks)
    await place.load(spec, FIRST)
    place.write({4: "b", 5: "c"})
    chunks = await place.world.plan(spec, of_day(1))
    for chunk in chunks:
        await place.world.load(spec, chunk, chunks, of_day(1))
    done = await engine.publish(spec, of_day(1), "out", chunks, place.world)
    assert isinstance(done.refused, CheckFailed)
    assert [(each.check, each.value, each.passed) for each in done.checks] == [("all", 5, False), ("mine", 2, True)]
    await engine.clean(spec, of_day(1), place.world)
    assert place.days() == {1: "a", 2: "b", 3: "a%2Fü"}
    assert place.lake.left("lake/out") == []


async def test_a_folder_with_strangers_is_refused(place: Place) -> None:
    spec = pipeline()
    place.store.tell(b"none of ours", "lake/out/theirs/day=a/x.parquet")
    with pytest.raises(SinkRefused, match=r"holds files that it hasn't written, such as lake/out/theirs/day=a/x"):
        await place.load(spec, FIRST)
    place.store.remove(["lake/out/theirs/day=a/x.parquet"])
    await place.load(spec, FIRST)
    with pytest.raises(SinkRefused, match="a data set has one writer"):
        await place.load(spec, FIRST, replace(RUN, uid="another"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"partitions": ()}, "are partitioned by day"),
        ({"columns": [{"name": "id", "type": "string"}, *COLUMNS[1:]]}, "id is int32 in the files .* and string now"),
        ({"columns": [COLUMNS[0], {"name": "day", "type": "float64"}, COLUMNS[2]]}, "day, which is a double"),
    ],
    ids=["layout", "type", "partition"],
)
async def test_rows_that_would_not_go_with_the_files_that_are_there(
    place: Place, changed: dict[str, Any], words: str
) -> None:
    await place.load(pipeline(), FIRST)
    columns = changed.get("columns", COLUMNS)
    other = pipeline(**{name: value for name, value in changed.items() if name != "columns"})
    other = other.model_copy(update={"sources": spec_of(source={"columns": columns}).sources})
    with pytest.raises(TableMismatch, match=words):
        await place.load(other, {4: "1.5"}, of_day(1))
    assert place.days() == {1: "a", 2: "b", 3: "a%2Fü"}


async def test_ended_runs_are_settled(place: Place) -> None:
    """What housekeeping finds of runs that were terminated: staged files, and a decision that nobody carried out."""
    spec = pipeline()
    place.world.written = Breaking(place.store, 2)
    with pytest.raises(StoreUnavailable):
        await place.load(spec, {1: "a", 2: "b"})
    place.world.written = place.store
    place.write({3: "c"})
    chunks = await place.world.plan(spec, of_day(1))
    await place.world.load(spec, chunks[0], chunks, of_day(1))
    await settle_files(place.world)
    assert len(place.lake.files("lake/out")) < 2  # for all that the metastore knows, the runs go on
    for run in (RUN, of_day(1)):
        await place.world.pool.execute(
            "INSERT INTO tidemill.runs (uid, run_key, execution, installation, namespace, pipeline, generation, "
            "trigger, run_time, parameters, workflow_id, workflow_run_id, result) "
            "VALUES ($1, $2, $3, 'i', 'n', 'p', 1, 'Manual', $4, '{}', 'w', 'r', 'Failed')",
            *(run.uid, run.run_key, run.execution, run.run_time),
        )
    await settle_files(place.world)
    assert place.days() == {1: "a", 2: "b"}
    assert place.lake.left("lake/out") == []


async def test_others_read_what_was_written(books_database: Database, tmp_path: Path) -> None:
    """By pyarrow and DuckDB; types stay what they are, also where a chunk has no value at all."""
    pool = await database_pool(books_database.dsn)
    world = World(tmp_path, pool)
    world.written = WrittenFolder(tmp_path / "store", "lake")
    world.write("a.csv", "id,day,at\n1,2013-01-01,\n2,,\n")
    world.write("b.csv", "id,day,at\n3,2013-01-02,2013-01-01T05:00:00+05:00\n")
    columns = [COLUMNS[0], {"name": "day", "type": "date"}, COLUMNS[2]]
    query = "SELECT *, id::DECIMAL(9,2) / 4 AS d, [id, NULL] AS l, {'k': id} AS s, NULL::DATE AS n FROM raw"
    files = {"path": "out", "partitionBy": ["day"], "format": {"parquet": {"compression": "Snappy"}}}
    spec = spec_of(
        source={"columns": columns},
        steps=[{"name": "typed", "inputs": ["raw"], "sql": {"query": query}}],
        sink={"input": "typed", "connection": "lake", "postgres": None, "files": files},
    )
    await world.run(spec, replace(RUN, uid="others"))
    pool.terminate()
    table = as_a_dataset(tmp_path / "store", "out")
    types = {field.name: str(field.type) for field in table.schema}
    assert types == {
        "id": "int32",
        "at": "timestamp[us, tz=UTC]",
        "d": "double",
        "l": "list<element: int32>",
        "s": "struct<k: int32>",
        "n": "date32[day]",
        "day": "string",
    }
    assert sorted((row["id"], row["day"]) for row in table.to_pylist()) == [
        (1, "2013-01-01"),
        (2, None),
        (3, "2013-01-02"),
    ]
    query = f"""SELECT id, day, epoch("at"), l FROM '{tmp_path}/store/out/**/*.parquet' ORDER BY id"""
    found = duckdb.connect().execute(query).fetchall()
    assert [(row[0], str(row[1]), row[2], row[3]) for row in found] == [
        (1, "2013-01-01", None, [1, None]),
        (2, "None", None, [2, None]),
        (3, "2013-01-02", 1356998400.0, [3, None]),
    ]
