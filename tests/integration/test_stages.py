"""Steps that need all rows, on a real Postgres: waves, what passes between them, and that a cut changes nothing."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.engine import RUN, World, database_pool, execution
from tests.support.fixtures import Database
from tidemill_api.errors import ArtifactGone, ReprocessRefused, StepFailed
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.engine import kept
from tidemill_worker.engine.artifacts import Artifacts, RunFolder, node_folder
from tidemill_worker.engine.work import Computation, Work

COLUMNS = [
    {"name": "id", "type": "int32", "required": True},
    {"name": "carrier", "type": "string"},
    {"name": "delay", "type": "float64"},
]
VALID = {
    "name": "valid",
    "inputs": ["raw"],
    "validate": {"rules": [{"name": "known-carrier", "expression": "carrier <> 'XX'"}]},
}
BY_CARRIER = {
    "name": "bycarrier",
    "inputs": ["valid"],
    "sql": {"query": "SELECT carrier, count(*) AS n, sum(delay) AS delay FROM valid GROUP BY carrier"},
}


def sink(name: str, given: str, disposition: str = "Replace", **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "input": given,
        "connection": "warehouse",
        "postgres": {"table": f"public.{name}"},
        "writeDisposition": disposition,
        **more,
    }


def source(name: str, path: str, columns: list[Any] | None = None) -> dict[str, Any]:
    found = {"name": name, "connection": "landing", "files": {"path": path, "format": {"csv": {}}}}
    return found | ({"columns": columns} if columns else {})


def pipeline(
    steps: list[dict[str, Any]],
    sinks: list[dict[str, Any]],
    *more: dict[str, Any],
    rows: int = 100,
    path: str = "flights/*.csv",
    **parts: Any,
) -> DataPipelineSpec:
    """Of the source `raw` (and `more`), whose chunks have so many rows."""
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [source("raw", path, COLUMNS), *more],
            "steps": steps,
            "sinks": sinks,
            "execution": {"chunk": {"maxRows": rows}, "errorTolerance": {"maxPercent": 50}},
            **parts,
        }
    )


def flights(world: World, count: int = 1000, bad: int = 0) -> list[tuple[int, str, float | None]]:
    """Files with flights of three carriers, one of which isn't known; the last `bad` rows have no number."""
    dice = random.Random(7)
    rows = [
        (place, "XX" if place % 50 == 7 else dice.choice(["UA", "AA", "B6"]), round(dice.gauss(10, 30), 3))
        for place in range(count)
    ]
    lines = [f"{place},{carrier},{delay}" for place, carrier, delay in rows] + ["x,UA,1"] * bad
    half = len(lines) // 2
    for name, part in (("a", lines[:half]), ("b", lines[half:])):
        world.write(f"flights/{name}.csv", "id,carrier,delay\n" + "\n".join(part) + "\n")
    return [row for row in rows if row[1] != "XX"]


def totals(rows: list[tuple[int, str, float | None]]) -> list[tuple[str, int]]:
    """Rows of each carrier."""
    return sorted((carrier, sum(row[1] == carrier for row in rows)) for carrier in {row[1] for row in rows})


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    yield World(tmp_path, pool)
    pool.terminate()


async def test_an_aggregate_beside_the_rows_it_is_made_of(world: World) -> None:
    rows = flights(world, bad=3)
    spec = pipeline([VALID, BY_CARRIER], [sink("flights", "valid", "Append"), sink("daily", "bycarrier")])

    done = await world.run(spec)

    assert await world.fetch("SELECT carrier, n FROM daily ORDER BY carrier") == totals(rows)
    assert await world.fetch("SELECT count(*) FROM flights") == [(len(rows),)]
    assert done.steps["raw"] == (1003, 1000, 3, 0)
    assert done.steps["valid"] == (1000, len(rows), 20, 0)
    assert "bycarrier" not in done.steps
    assert done.sinks["daily"].rows == 3


async def test_however_the_source_is_cut_the_answer_is_the_same_to_the_last_bit(world: World) -> None:
    flights(world)
    answers = set()
    for rows in (7, 100, 100_000):
        await world.run(
            pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier")], rows=rows), replace(RUN, run_key=f"k{rows}")
        )
        answers.add(tuple(await world.fetch("SELECT carrier, n, float8send(delay) FROM daily ORDER BY carrier")))
    assert len(answers) == 1


async def test_steps_after_an_answer_and_their_dead_letters(world: World) -> None:
    flights(world)
    few = {
        "name": "many",
        "inputs": ["bycarrier"],
        "validate": {"rules": [{"name": "not-b6", "expression": "carrier <> 'B6'"}]},
    }
    named = {
        "name": "named",
        "inputs": ["many", "airlines"],
        "sql": {"query": "SELECT m.*, a.name FROM many m LEFT JOIN airlines a USING (carrier)"},
    }
    world.write("airlines.csv", "carrier,name\nUA,United\nAA,American\n")
    spec = pipeline(
        [VALID, BY_CARRIER, few, named],
        [sink("daily", "named", "Merge", primaryKey=["carrier"])],
        source("airlines", "airlines.csv"),
    )

    done = await world.run(spec)

    assert await world.fetch("SELECT carrier, name FROM daily ORDER BY carrier") == [
        ("AA", "American"),
        ("UA", "United"),
    ]
    assert done.steps["many"] == (3, 2, 1, 0)
    assert done.steps["airlines"] == (2, 2, 0, 0)
    (letter,) = [each for each in world.letters.all() if each["step"] == "many"]
    assert (letter["source"], letter["rules"]) == ("bycarrier", ["not-b6"])
    assert json.loads(letter["row_text"])["carrier"] == "B6"


async def test_an_answer_of_answers_and_rows_joined_with_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = flights(world)
    read: list[list[str]] = []
    whole = kept.read_whole

    def noted(store: Artifacts, names: list[str]) -> pa.Table:
        read.append(names)
        return whole(store, names)

    monkeypatch.setattr(kept, "read_whole", noted)
    most = {
        "name": "most",
        "inputs": ["bycarrier"],
        "sql": {"query": "SELECT max(n) AS most FROM bycarrier"},
    }
    shares = {
        "name": "shares",
        "inputs": ["valid", "bycarrier", "most"],
        "sql": {"query": "SELECT v.id, b.n = m.most AS largest FROM valid v JOIN bycarrier b USING (carrier), most m"},
    }
    spec = pipeline([VALID, BY_CARRIER, most, shares], [sink("shares", "shares", "Append")], rows=300)

    await world.run(spec)

    largest = max(totals(rows), key=lambda each: each[1])[0]
    expected = sorted((place, carrier == largest) for place, carrier, _ in rows)
    assert await world.fetch("SELECT id, largest FROM shares ORDER BY id") == expected
    assert len(read) == 2, "each answer is read once, not once a chunk"


async def test_a_source_without_rows_gives_an_empty_answer(world: World) -> None:
    world.write("flights/a.csv", "id,carrier,delay\n")
    done = await world.run(pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier")]))
    assert await world.fetch("SELECT count(*) FROM daily") == [(0,)]
    assert done.sinks["daily"].rows == 0


async def test_a_compressed_file_that_commits_in_parts(world: World) -> None:
    rows = flights(world)
    text = b"".join((world.root / f"flights/{name}.csv").read_bytes().partition(b"\n")[2] for name in "ab")
    for name in "ab":
        (world.root / f"flights/{name}.csv").unlink()
    world.write("flights/c.csv.gz", gzip.compress(b"id,carrier,delay\n" + text))
    spec = pipeline(
        [VALID, BY_CARRIER],
        [sink("flights", "valid", "Append"), sink("daily", "bycarrier")],
        path="flights/*.gz",
        rows=50,
    )

    await world.run(spec)

    assert await world.fetch("SELECT carrier, n FROM daily ORDER BY carrier") == totals(rows)


async def waves_until(world: World, spec: DataPipelineSpec, wave: int) -> tuple[Work, ...]:
    """All work up to this wave, which is planned and not done."""
    work: tuple[Work, ...] = await world.plan(spec)
    fresh = work
    for number in range(1, wave + 1):
        for each in fresh:
            await world.load(spec, each, work)
        fresh = await world.plan_wave(spec, number, work)
        work = (*work, *fresh)
    return work


async def test_what_has_been_done_is_not_done_again(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("flights", "valid", "Append"), sink("daily", "bycarrier")])
    work = await waves_until(world, spec, 2)
    folder = world.root / ".tidemill" / RunFolder.of(RUN).path
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}
    count = await world.fetch("SELECT count(*) FROM flights")

    for each in work[:-1]:
        await world.load(spec, each, work)
    again = await world.plan_wave(spec, 2, work[:-1])

    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")} == before
    assert await world.fetch("SELECT count(*) FROM flights") == count
    assert again == work[-1:]


async def test_a_chunk_that_lost_what_it_kept_gives_it_again_and_loads_nothing_twice(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("flights", "valid", "Append"), sink("daily", "bycarrier")])
    work: tuple[Work, ...] = await world.plan(spec)
    first = await world.load(spec, work[0], work)
    file = next((world.root / ".tidemill" / node_folder(RUN, "valid")).glob("*.parquet"))
    whole = file.read_bytes()
    file.unlink()  # as if the worker had been killed between the commit of the sink and that of the file

    again = await world.load(spec, work[0], work)

    assert file.read_bytes() == whole
    assert again == first
    assert await world.fetch("SELECT count(*) FROM flights") == [(first.sinks[0].rows,)]


async def test_kept_rows_that_are_gone_are_an_error_that_says_so(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier")])
    work = await waves_until(world, spec, 1)
    next((world.root / ".tidemill" / node_folder(RUN, "valid")).glob("*.parquet")).unlink()
    with pytest.raises(ArtifactGone, match="rows of valid that were kept"):
        await world.load(spec, work[-1], work)


async def test_a_query_that_fails_names_its_step_and_no_value(world: World) -> None:
    world.write("flights/a.csv", "id,carrier,delay\n1,secret,1\n")
    step = {
        "name": "broken",
        "inputs": ["raw"],
        "sql": {"query": "SELECT max(carrier::INT) AS m FROM raw"},
    }
    spec = pipeline([step], [sink("daily", "broken")])
    work = await waves_until(world, spec, 1)
    with pytest.raises(StepFailed, match=r"step broken: the query fails \(Conversion error\)") as error:
        await world.load(spec, work[-1], work)
    assert "secret" not in str(error.value)


async def test_more_than_the_memory_goes_to_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_worker.engine.computing.memory_for_a_step", lambda: 24 << 20)
    count = 400_000
    world.write(
        "flights/a.csv",
        "id,carrier,delay\n" + "".join(f"{place},c{place * 7919 % count:06d},1\n" for place in range(count)),
    )
    ranked = {
        "name": "ranked",
        "inputs": ["raw"],
        "sql": {"query": "SELECT id, carrier, row_number() OVER (ORDER BY carrier) AS place FROM raw"},
    }
    spec = pipeline([ranked], [sink("daily", "ranked", "Append")], rows=100_000)

    await world.run(spec)

    assert await world.fetch("SELECT count(*), count(DISTINCT place), max(place) FROM daily") == [(count,) * 3]


async def test_more_than_memory_and_disk_fails_the_step(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill_worker.engine.computing.memory_for_a_step", lambda: 8 << 20)
    monkeypatch.setattr("tidemill_worker.engine.computing.disk_for_a_step", lambda _folder: 1 << 20)
    world.write("flights/a.csv", "id,carrier,delay\n" + "".join(f"{place},c{place},1\n" for place in range(300_000)))
    step = {"name": "listed", "inputs": ["raw"], "sql": {"query": "SELECT * FROM raw ORDER BY carrier"}}
    spec = pipeline([step], [sink("daily", "listed", "Append")], rows=100_000)
    work = await waves_until(world, spec, 1)
    with pytest.raises(StepFailed, match=r"step listed: the query needs more memory than a step may have \(8 MiB"):
        await world.load(spec, work[-1], work)


async def test_a_computation_stops_when_it_is_asked_to(world: World) -> None:
    flights(world, 20_000)  # whose crossing takes hours, if nobody stops it
    step = {
        "name": "crossed",
        "inputs": ["raw"],
        "sql": {"query": "SELECT count(*) AS n FROM raw a, raw b, raw c WHERE a.delay + b.delay > c.delay"},
    }
    spec = pipeline([step], [sink("daily", "crossed")])
    work = await waves_until(world, spec, 1)
    with pytest.raises(engine.Stopped):
        await world.load(spec, work[-1], work, asked_to_stop=lambda: True)
    assert not list((world.root / ".tidemill" / node_folder(RUN, "crossed")).glob("*"))
    assert not list((world.root / ".tidemill/.writing").glob("*"))


async def test_a_second_execution_keeps_what_an_append_after_an_answer_has(world: World) -> None:
    rows = flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier", "Append")])
    await world.run(spec)

    done = await world.run(spec, execution(2))

    assert await world.fetch("SELECT carrier, n FROM daily ORDER BY carrier") == totals(rows)
    assert done.sinks["daily"].rows == 3


async def test_a_second_execution_of_other_rows_is_refused(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier", "Append")])
    await world.run(spec)
    flights(world, 900)
    with pytest.raises(ReprocessRefused):
        await world.run(spec, execution(2))


async def test_cleaning_leaves_nothing(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier")])
    await world.run(spec)
    assert [path for path in (world.root / ".tidemill").rglob("*") if path.is_file()] == []
    assert list((world.root / ".tidemill").iterdir()) in ([], [world.root / ".tidemill" / ".writing"])


async def test_parameters_and_the_run_s_time_are_bound(world: World) -> None:
    flights(world)
    step = {
        "name": "one",
        "inputs": ["raw"],
        "sql": {"query": "SELECT count(*) AS n, $run_time AS at FROM raw WHERE carrier = $carrier"},
    }
    spec = pipeline([step], [sink("daily", "one")], parameters=[{"name": "carrier", "type": "string", "default": "UA"}])
    await world.run(spec, parameters={"carrier": "XX"})
    assert await world.fetch("SELECT n, at::date::text FROM daily") == [(20, "2026-01-01")]


async def test_the_plan_of_a_wave(world: World) -> None:
    flights(world)
    spec = pipeline([VALID, BY_CARRIER], [sink("daily", "bycarrier")], rows=100)
    work = await waves_until(world, spec, 2)
    assert [type(each).__name__ for each in work] == [*["Chunk"] * 10, "Computation", "Chunk"]
    computation = work[10]
    assert isinstance(computation, Computation)
    assert [(each.name, each.first, each.count) for each in computation.inputs] == [("valid", 0, 10)]
    assert [each.index for each in work] == list(range(12))
