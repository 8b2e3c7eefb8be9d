"""Checks of sinks: what they measure on a real table, and that a run which fails one isn't seen."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_engine_once import DISPOSITIONS, HELD_BACK
from tests.support.engine import RUN, World, database_pool, execution, spec_of
from tests.support.fixtures import Database
from tests.support.pipeline import Bench
from tests.support.worker import Runs
from tidemill_api.errors import CheckFailed, TableMismatch
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.engine import Former, Published, RunRef

COLUMNS = [
    {"name": "id", "type": "int32"},
    {"name": "name", "type": "string"},
    {"name": "at", "type": "timestamp"},
]
ROWS = "id,name,at\n1,a,2026-01-01 00:00:00\n2,b,\n3,,\n3,b's,2026-01-02 00:00:00\n"


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    made = World(tmp_path, pool)
    made.write("a.csv", ROWS)
    yield made
    pool.terminate()


def pipeline(*checks: dict[str, Any], size: str = "1Mi", **sink: Any) -> DataPipelineSpec:
    named = [{"name": f"c{place}", "sink": "out"} | check for place, check in enumerate(checks)]
    return spec_of(
        source={"columns": COLUMNS},
        sink={"writeDisposition": "Replace"} | sink,
        execution={"chunk": {"maxBytes": size}},
        checks=named,
    )


async def ended(world: World, spec: DataPipelineSpec, run: RunRef = RUN, former: Former | None = None) -> Published:
    """A whole run: what its only sink came to."""
    chunks = await world.plan(spec, run)
    for chunk in chunks:
        await world.load(spec, chunk, chunks, run)
    [sink] = engine.to_publish(spec, chunks)
    done = await engine.publish(spec, run, sink, chunks, world, former)
    await engine.clean(spec, run, world)
    return done


async def count(world: World) -> int:
    [(rows,)] = await world.fetch("SELECT count(*) FROM public.out")
    assert isinstance(rows, int)
    return rows


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ({"metric": "rowCount", "atLeast": 0}, 4),
        ({"metric": "rowsLoaded", "atLeast": 0}, 4),
        ({"metric": "duplicateRows", "columns": ["id"]}, 1),
        ({"metric": "duplicateRows", "columns": ["id", "name"]}, 0),
        ({"metric": "nullRows", "columns": ["name"]}, 1),
        ({"metric": "nullRows", "columns": ["name", "at"]}, 2),
        ({"metric": "unacceptedRows", "columns": ["name"], "acceptedValues": ["a", "b's"]}, 1),
        ({"metric": "unacceptedRows", "columns": ["id"], "acceptedValues": ["1", "2"]}, 2),
        ({"metric": "failedRows", "expression": "id < 3 OR name = 'b''s'"}, 1),
        ({"metric": "failedRows", "expression": "name LIKE 'b%'"}, 2),
        ({"metric": "failedRows", "expression": "id / 2 = 1.5 AND \"at\"::DATE >= DATE '2026-01-02'"}, 3),
        ({"metric": "failedRows", "expression": "CASE WHEN name IS NULL THEN id ELSE length(name) END < 3"}, 2),
    ],
)
async def test_what_is_measured(world: World, check: dict[str, Any], value: float) -> None:
    [found] = (await ended(world, pipeline(check | {"severity": "Warn"}))).checks
    assert found.value == value


async def test_how_old_the_latest_moment_is(world: World) -> None:
    check = {"metric": "freshness", "columns": ["at"], "within": "1d", "severity": "Warn"}
    [found] = (await ended(world, pipeline(check))).checks
    [(age,)] = await world.fetch("SELECT extract(epoch FROM now() - '2026-01-02 00:00:00Z'::timestamptz)::float8")
    assert found.value == pytest.approx(age, abs=60)
    assert not found.passed
    world.write("a.csv", "id,name,at\n1,a,\n")
    [found] = (await ended(world, pipeline(check), replace(RUN, run_key="later"))).checks
    assert (found.value, found.message) == (None, "freshness can't be told: at holds no moment")


@pytest.mark.parametrize("disposition", HELD_BACK)
@pytest.mark.parametrize("size", ["16", "1Mi"])
async def test_a_run_that_fails_a_check_is_never_seen(world: World, disposition: str, size: str) -> None:
    sink = DISPOSITIONS[disposition]
    good = {"metric": "rowsLoaded", "atLeast": 1}
    world.write("a.csv", "id,name,at\n7,before,\n")
    assert (await ended(world, pipeline(good, size=size, **sink))).refused is None
    rows = "id,name,at\n1,a,\n2,b,\n3,,\n4,d,\n"
    world.write("a.csv", rows)
    after = replace(RUN, run_key="after", run_time=RUN.run_time + timedelta(days=1))
    bad = {"metric": "failedRows", "expression": "name IS NOT NULL"}
    done = await ended(world, pipeline(good, bad, size=size, **sink), after)
    assert isinstance(done.refused, CheckFailed)
    assert str(done.refused) == "sink out: check c1: failedRows is 1, which is more than atMost (0)"
    assert [result.passed for result in done.checks] == [True, False]
    assert await world.fetch("SELECT id, name FROM public.out") == [(7, "before")]
    # The same key again, with the row mended.
    world.write("a.csv", rows.replace("3,,", "3,c,"))
    again = await ended(world, pipeline(good, bad, size=size, **sink), replace(after, execution=2))
    assert again.refused is None
    assert await count(world) == (4 if "replace" in str(sink).lower() and disposition != "Partitions" else 5)


async def test_a_warning_is_told_and_told_again(world: World) -> None:
    spec = pipeline({"metric": "rowCount", "atLeast": 9, "severity": "Warn"}, {"metric": "rowCount", "atLeast": 1})
    first = await ended(world, spec)
    assert first.refused is None
    assert [(r.check, r.severity, r.passed, r.value) for r in first.checks] == [
        ("c0", "Warn", False, 4.0),
        ("c1", "Error", True, 4.0),
    ]
    # Whoever asks again gets the same, though the table has changed.
    chunks = await world.plan(spec)
    await world.pool.execute("DELETE FROM public.out")
    assert await engine.publish(spec, execution(1), "out", chunks, world) == first


async def test_what_is_appended_chunk_by_chunk_is_checked_afterwards(world: World) -> None:
    spec = pipeline({"metric": "rowsLoaded", "atMost": 3}, size="16", writeDisposition="Append")
    done = await ended(world, spec)
    assert str(done.refused) == "sink out: check c0: rowsLoaded is 4, which is more than atMost (3)"
    assert (done.count.rows, await count(world)) == (4, 4)


async def test_only_newest_versions_are_looked_at(world: World) -> None:
    sink = DISPOSITIONS["SCD2"]
    checks = ({"metric": "rowCount", "atMost": 3}, {"metric": "duplicateRows", "columns": ["id"]})
    await ended(world, pipeline(*checks, **sink))
    world.write("a.csv", "id,name,at\n1,changed,\n")
    after = replace(RUN, run_key="after", run_time=RUN.run_time + timedelta(days=1))
    assert (await ended(world, pipeline(*checks, **sink), after)).refused is None
    assert await count(world) == 4


async def test_values_of_former_runs(world: World) -> None:
    spec = pipeline({"metric": "rowsLoaded", "withinPercentOfLast": {"runs": 3, "percent": 50}})
    done = await ended(world, spec, former={"c0": (10.0, 9.0, 11.0)})
    assert isinstance(done.refused, CheckFailed)
    assert "more than 50% from 10, the median of the last 3 runs" in str(done.refused)


@pytest.mark.parametrize(
    "check",
    [{"metric": "nullRows", "columns": ["nmae"]}, {"metric": "failedRows", "expression": "nmae = 1"}],
)
async def test_a_column_that_isn_t_there(world: World, check: dict[str, Any]) -> None:
    with pytest.raises(TableMismatch, match=r"check c0: public[.]out has no column nmae"):
        await ended(world, pipeline(check))
    assert await count(world) == 0


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    """A pipeline of this test's own."""
    return Bench(worker_runs)


async def test_runs_are_compared_with_those_before_them(here: Bench) -> None:
    usual = {"name": "usual", "sink": "out", "metric": "rowsLoaded", "withinPercentOfLast": {"runs": 2, "percent": 10}}
    small = {"name": "small", "sink": "out", "metric": "rowCount", "atMost": 50, "severity": "Warn"}
    spec = here.spec(disposition="Replace", checks=[usual, small])
    rows = [f"{n},1,x\n" for n in range(200)]
    here.write("id,month,name\n" + "".join(rows[:100]))
    for key in ("first", "second"):
        result = await here.run(spec, key=key)
        assert (result.result, [check.check for check in result.failed_checks]) == ("Succeeded", ["small"])
        assert result.failed_checks[0].message == "rowCount is 100, which is more than atMost (50)"
    here.write("id,month,name\n" + "".join(rows))

    failed = await here.run(spec, key="third")

    assert failed.error is not None
    assert (failed.result, failed.error.type, failed.rows_loaded) == ("Failed", "CheckFailed", 0)
    assert "check usual: rowsLoaded is 200, which is more than 10% from 100" in failed.error.message
    assert here.query("SELECT count(*) FROM {table}") == [["100"]]
    assert here.query(
        "SELECT run_key, name, passed, value FROM tidemill.check_results c JOIN tidemill.runs r "
        "USING (uid, run_key, execution) WHERE r.pipeline = '{name}' ORDER BY checked_at, name"
    ) == [
        [key, name, passed, str(value)]
        for key, value, good in (("first", 100, "t"), ("second", 100, "t"), ("third", 200, "f"))
        for name, passed in (("small", "f"), ("usual", good))
    ]


async def test_an_append_that_fails_a_check_has_been_loaded(here: Bench) -> None:
    check = {"name": "volume", "sink": "out", "metric": "rowsLoaded", "atLeast": 1000}
    here.write("id,month,name\n1,1,x\n2,1,y\n")
    failed = await here.run(here.spec(checks=[check]), key="small")
    assert failed.error is not None
    assert (failed.result, failed.error.type, failed.rows_loaded) == ("Failed", "CheckFailed", 2)
    assert here.query("SELECT count(*) FROM {table}") == [["2"]]
