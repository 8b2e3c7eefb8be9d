"""What `preview` and `test` see is what a run does: the same rows, counts and dead letters, on a real Postgres."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import RUN, World, database_pool, spec_of
from tests.support.fixtures import Database
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_cli.rehearse.values import as_json
from tidemill_worker.engine.rehearsal import Bounds, Rehearsal

ROWS = "id,name,dated\n" + "".join(
    f"{number if number % 97 else 'x'},{'' if number % 31 == 0 else f'n{number % 7}'},2025-12-{number % 28 + 1:02}\n"
    for number in range(1, 5001)
)
NAMES = "name,long\n" + "".join(f"n{number},Name {number}\n" for number in range(6)) + "bad\n"
COLUMNS = {
    "columns": [
        {"name": "id", "type": "int32", "required": True},
        {"name": "name", "type": "string"},
        {"name": "dated", "type": "date"},
    ]
}
VALID = {
    "name": "valid",
    "inputs": ["raw"],
    "validate": {
        "rules": [{"name": "odd-day", "expression": "day(dated) <> 13"}, {"name": "small", "expression": "id < 4900"}]
    },
}
OTHER = {"name": "names", "connection": "landing", "files": {"path": "names.csv.gz", "format": {"csv": {}}}}
JOINED = {
    "name": "joined",
    "inputs": ["valid", "names"],
    "sql": {
        "query": "SELECT v.*, n.long, unnest([1, 2]) AS copy "
        "FROM valid v LEFT JOIN names n USING (name) WHERE $run_time > v.dated"
    },
}
LATE = {
    "name": "late",
    "inputs": ["joined"],
    "validate": {"rules": [{"name": "named", "expression": "long IS NOT NULL OR copy = 1"}], "onError": "Skip"},
}
GROUPED = {
    "name": "grouped",
    "inputs": ["late"],
    "sql": {"query": "SELECT id, count(*) AS n, min(long) AS least FROM late GROUP BY id"},
}
OFTEN = {
    "name": "often",
    "inputs": ["grouped"],
    "validate": {"rules": [{"name": "not-the-last", "expression": "id < 4880"}]},
}
GRADED = {
    "name": "graded",
    "inputs": ["valid", "names"],
    "python": {
        "entrypoint": "tests.support.author_steps:graded",
        "addColumns": [{"name": "long", "type": "string"}, {"name": "grade", "type": "int16"}],
        "mayMultiply": True,
    },
}
BY_GRADE = {
    "name": "bygrade",
    "inputs": ["graded", "names"],
    "python": {
        "entrypoint": "tests.support.author_steps:by_grade",
        "mode": "Whole",
        "columns": [{"name": name, "type": "int64"} for name in ("grade", "total", "rows", "names")],
    },
}
SPECS: dict[str, dict[str, Any]] = {
    "inferred": {},
    "typed": {"source": COLUMNS},
    "steps": {"source": COLUMNS, "steps": [VALID], "sink": {"input": "valid"}},
    "merge": {
        "source": COLUMNS,
        "steps": [VALID],
        "sink": {"input": "valid", "writeDisposition": "Merge", "primaryKey": ["id", "name"]},
    },
    "small chunks": {
        "source": COLUMNS,
        "steps": [VALID],
        "sink": {"input": "valid"},
        "execution": {"chunk": {"maxRows": 700}},
    },
}


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    world = World(tmp_path, pool)
    world.write("a.csv", ROWS)
    world.write("b.csv", ROWS.replace(",n1", ",q1"))
    world.write("names.csv.gz", gzip.compress(NAMES.encode()))
    yield world
    pool.terminate()


def with_join(*more: dict[str, Any]) -> dict[str, Any]:
    """The same with a joined file, rows that multiply, and more steps behind."""
    spec = spec_of(source=COLUMNS).to_json()
    spec["sources"].append(OTHER)
    spec["steps"] = [VALID, JOINED, LATE, *more]
    spec["sinks"][0]["input"] = spec["steps"][-1]["name"]
    return spec


SEEN = ("step", "source", "file", "byte_offset", "part", "line", "reason", "rules", "error", "row_text", "row_columns")
"""What of a letter doesn't depend on how a run is cut into chunks."""


def letters(rows: list[dict[str, Any]]) -> Counter[str]:
    """What must be the same; a run calls the file of a computed row by the artifact that passed it on."""
    return Counter(
        json.dumps([row[name] for name in SEEN if (row["source"], name) != ("grouped", "file")], default=str)
        for row in rows
    )


def the_spec(name: str) -> DataPipelineSpec:
    """A spec by its name."""
    match name:
        case "join":
            return DataPipelineSpec.model_validate(with_join())
        case "python":
            spec = with_join()
            spec["steps"] = [VALID, GRADED, BY_GRADE]
            spec["sinks"][0]["input"] = "graded"
            spec["sinks"].append(
                {**spec["sinks"][0], "name": "grades", "input": "bygrade", "postgres": {"table": "public.grades"}}
            )
            return DataPipelineSpec.model_validate(spec)
        case "over all rows":
            return DataPipelineSpec.model_validate(with_join(GROUPED, OFTEN))
        case _:
            return spec_of(**SPECS[name])


@pytest.mark.parametrize("name", [*SPECS, "join", "over all rows", "python"])
async def test_a_rehearsal_is_the_run(world: World, name: str) -> None:
    spec = the_spec(name)
    result = await world.run(spec)
    rehearsal = Rehearsal(spec, {}, RUN.run_time, {source.name: world.root for source in spec.sources})
    await asyncio.to_thread(rehearsal.run)

    sink = rehearsal.sinks["out"]
    assert all(seen.complete for seen in (sink, *rehearsal.seen.values()))
    seen = [tuple(map(str, map(as_json, row.values()))) for row in sink.table.to_pylist()]
    if name == "merge":  # of rows with equal keys the last wins
        seen = list({row[:2]: row for row in seen}.values())
    names = ", ".join(f'"{column}"' for column in sink.schema.names)
    loaded = await world.fetch(f"SELECT {names} FROM public.out")
    assert Counter(tuple(str(as_json(value)) for value in row) for row in loaded) == Counter(seen)
    assert len(seen) > 100

    if name == "python":
        whole = sorted(tuple(row.values()) for row in rehearsal.sinks["grades"].table.to_pylist())
        assert await world.fetch("SELECT grade, total, rows, names FROM public.grades ORDER BY grade") == whole
        assert [row[0] for row in whole] == [5000 * grade for grade in range(7)], "35000 is no int16"
    everyone = (*rehearsal.seen.values(), *rehearsal.sinks.values())
    told = [letter for each in everyone for letter in each.rejected.to_pylist()]
    assert letters(told) == letters(world.letters.all())
    counted = {each.name: each.count for each in everyone if each.count is not None}
    for step, (rows_in, rows_out, rejected, skipped) in result.steps.items():
        count = counted[step]
        assert (count.rows_in, count.rows_out, count.rejected, count.skipped) == (rows_in, rows_out, rejected, skipped)


async def test_enough_is_a_beginning_of_it(world: World) -> None:
    spec = spec_of(source=COLUMNS, steps=[VALID], sink={"input": "valid"})
    folders = {"raw": world.root}
    whole, part = Rehearsal(spec, {}, RUN.run_time, folders), Rehearsal(spec, {}, RUN.run_time, folders, Bounds(7, 1))
    await asyncio.to_thread(whole.run)
    await asyncio.to_thread(part.run)
    for name, seen in part.seen.items():
        assert seen.table.to_pylist() == whole.seen[name].table.slice(0, 7).to_pylist()
        assert not seen.complete
