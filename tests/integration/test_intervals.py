"""Runs for a moment and an interval: what SQL and paths see of it, and that a key keeps its own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fixtures import unique
from tests.support.worker import Runs
from tidemill_api.contract import RunResult

HOURLY = {"crons": ["0 * * * *"], "timeZone": "America/New_York"}
KEY = "2026-03-08T07:00:00Z"
SEEN = (
    "SELECT id, run_at AT TIME ZONE 'UTC', since AT TIME ZONE 'UTC', until AT TIME ZONE 'UTC' FROM {table} ORDER BY id"
)


class Bench:
    """One pipeline."""

    def __init__(self, runs: Runs) -> None:
        self.runs, self.pool, self.name = runs, runs.pool, unique("p")
        (runs.pool.landing / self.name).mkdir()

    def write(self, file: str, text: str = "id\n1\n") -> None:
        path = self.pool.landing / self.name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def spec(self, path: str = "a.csv", **changes: Any) -> dict[str, Any]:
        query = "SELECT id, $run_time AS run_at, $interval_start AS since, $interval_end AS until FROM raw"
        sink = {"name": "out", "input": "told", "connection": "warehouse", "writeDisposition": "Append"}
        return {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": f"{self.name}/{path}", "format": {"csv": {}}},
                    "columns": [{"name": "id", "type": "int64"}],
                }
            ],
            "steps": [{"name": "told", "inputs": ["raw"], "sql": {"query": query}}],
            "sinks": [{**sink, "postgres": {"table": f"public.{self.name}"}}],
            **changes,
        }

    async def run(self, spec: dict[str, Any], **options: Any) -> RunResult:
        return await self.runs.run(spec, pipeline=self.name, **options)

    def query(self, sql: str) -> list[list[str]]:
        return self.pool.database.query(sql.replace("{table}", f"public.{self.name}").replace("{name}", self.name))


@pytest.fixture
def here(worker_runs: Runs) -> Bench:
    return Bench(worker_runs)


@pytest.mark.parametrize(
    ("schedule", "since"),
    [
        (HOURLY, "2026-03-08 06:00:00"),
        ({"crons": ["0 2 * * *"], "timeZone": "America/New_York"}, "2026-03-07 07:00:00"),
        ({"intervals": [{"every": "1d", "offset": "7h"}]}, "2026-03-07 07:00:00"),
        (None, "0001-01-01 00:00:00"),
    ],
)
async def test_sql_sees_the_interval_of_the_key(here: Bench, schedule: dict[str, Any] | None, since: str) -> None:
    here.write("a.csv")
    result = await here.run(here.spec(), key=KEY, schedule=schedule)
    assert result.error is None
    assert here.query(SEEN) == [["1", "2026-03-08 07:00:00", since, "2026-03-08 07:00:00"]]


async def test_a_key_without_a_time_before_it_keeps_that_too(here: Bench) -> None:
    here.write("a.csv", "id\nx\n")
    assert (await here.run(here.spec(), key=KEY)).result == "Failed"
    here.write("a.csv")
    again = await here.run(here.spec(), key=KEY, schedule=HOURLY)
    assert (again.execution, again.error) == (2, None)
    assert here.query(SEEN) == [["1", "2026-03-08 07:00:00", "0001-01-01 00:00:00", "2026-03-08 07:00:00"]]


async def test_a_key_keeps_its_interval_though_the_schedule_changes(here: Bench) -> None:
    here.write("a.csv", "id\nx\n")
    failed = await here.run(here.spec(), key=KEY, schedule=HOURLY)
    assert (failed.result, failed.error and failed.error.type) == ("Failed", "ToleranceExceeded")
    here.write("a.csv")
    again = await here.run(here.spec(), key=KEY, schedule={"crons": ["0 0 * * *"]})
    assert (again.run_key, again.execution, again.error) == (KEY, 2, None)
    assert here.query(SEEN) == [["1", "2026-03-08 07:00:00", "2026-03-08 06:00:00", "2026-03-08 07:00:00"]]


async def test_a_path_with_moments_and_parameters(here: Bench) -> None:
    here.write("eu/2026/03/08/06/a.csv", "id\n6\n")
    here.write("eu/2026/03/08/07/a.csv", "id\n7\n")
    here.write("us/2026/03/08/06/a.csv", "id\n8\n")
    spec = here.spec(
        "{parameters.region}/{interval_start:%Y/%m/%d/%H}/*.csv", parameters=[{"name": "region", "default": "eu"}]
    )
    assert (await here.run(spec, key=KEY, schedule=HOURLY)).error is None
    assert (await here.run(spec, key="us", schedule=HOURLY, parameters={"region": "us"})).error is not None
    assert [row[0] for row in here.query(SEEN)] == ["6"]


@pytest.mark.parametrize(
    ("value", "says"),
    [("../other", "holds '/'"), ("*", "holds '*'"), ("", "it is empty"), ("..", "is no name of a file")],
)
async def test_no_value_leads_to_another_folder(here: Bench, value: str, says: str) -> None:
    here.write("a/a.csv")
    spec = here.spec("a/{parameters.x}/a.csv", parameters=[{"name": "x"}])
    failed = await here.run(spec, parameters={"x": value})
    assert failed.error is not None
    assert (failed.result, failed.error.type) == ("Failed", "SpecError")
    assert failed.error.message.startswith("spec.parameters.x: ")
    assert says in failed.error.message


async def test_the_metastore_has_the_interval(here: Bench) -> None:
    here.write("a.csv")
    await here.run(here.spec(), key=KEY, schedule=HOURLY)
    moments = "run_time AT TIME ZONE 'UTC', interval_start AT TIME ZONE 'UTC'"
    assert here.query(f"SELECT {moments} FROM tidemill.runs WHERE pipeline = '{{name}}'") == [
        ["2026-03-08 07:00:00", "2026-03-08 06:00:00"]
    ]
