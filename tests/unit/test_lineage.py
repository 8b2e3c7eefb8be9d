"""Lineage: the event as OpenLineage has it, where connections lead, and which columns are made of which."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import ValidationError

from tests.support import openlineage
from tidemill_api.contract import RunError, RunResult, SinkCount, StepCount
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.workerpool import Connection
from tidemill_check.columns import known_columns
from tidemill_check.origins import origins
from tidemill_worker.connections.locations import Location, location_of
from tidemill_worker.telling.openlineage import Told, event, run_id
from tidemill_worker.workflows.report_messages import Traced, Transition

KEY = "2026-01-01T04:15:00Z"
COLUMNS = [
    {"name": "id", "type": "int64"},
    {"name": "carrier", "type": "string"},
    {"name": "delay", "type": "float64"},
]


def spec_of(
    query: str = "SELECT v.*, a.name AS airline FROM valid v LEFT JOIN airlines a USING (carrier)",
) -> DataPipelineSpec:
    def files(path: str) -> dict[str, Any]:
        return {"connection": "landing", "files": {"path": path, "format": {"csv": {}}}}

    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {"name": "raw", **files("flights/*.csv"), "columns": COLUMNS},
                {
                    "name": "airlines",
                    **files("airlines.csv"),
                    "columns": [{"name": "carrier", "type": "string"}, {"name": "name", "type": "string"}],
                },
            ],
            "steps": [
                {"name": "valid", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": "id > 0"}]}},
                {"name": "named", "inputs": ["valid", "airlines"], "sql": {"query": query}},
            ],
            "sinks": [
                {
                    "name": "out",
                    "input": "named",
                    "connection": "warehouse",
                    "postgres": {"table": "public.flights"},
                    "writeDisposition": "Append",
                }
            ],
        }
    )


def made_of(query: str) -> dict[str, list[str]] | None:
    """Of each column of the answer its origins, those that are taken as they are with a plus."""
    spec = spec_of(query)
    found = origins(spec, known_columns(spec)).get("named")
    if found is None:
        return None
    return {
        name: sorted(f"{'+' if each.as_it_is else ''}{each.source}.{each.column}" for each in made)
        for name, made in found.items()
    }


STARS = {"id": ["+raw.id"], "carrier": ["+raw.carrier"], "delay": ["+raw.delay"]}


@pytest.mark.parametrize(
    ("query", "made"),
    [
        (
            "SELECT v.*, a.name AS airline FROM valid v LEFT JOIN airlines a USING (carrier)",
            {**STARS, "airline": ["+airlines.name"]},
        ),
        ("SELECT v.* FROM valid v SEMI JOIN airlines USING (carrier)", STARS),
        (
            "SELECT ID AS n, delay * 2 + id AS x, upper(name) || v.carrier AS y, 1 AS one FROM valid v, airlines",
            {"n": ["+raw.id"], "x": ["raw.delay", "raw.id"], "y": ["airlines.name", "raw.carrier"], "one": []},
        ),
        (
            "SELECT carrier, avg(delay) AS delay, count(*) AS n FROM valid JOIN airlines USING (carrier) GROUP BY ALL",
            {"carrier": ["+raw.carrier"], "delay": ["raw.delay"], "n": []},
        ),
        ("SELECT v.* EXCLUDE (id) FROM valid v, airlines", None),
        ("WITH w AS (SELECT * FROM valid) SELECT id FROM w, airlines", None),
        ("SELECT id FROM (SELECT * FROM valid) v, airlines", None),
        ("SELECT id, (SELECT max(name) FROM airlines) AS m FROM valid", None),
        ("SELECT id FROM valid UNION ALL SELECT 1 FROM airlines", None),
        ("SELECT nothing FROM valid, airlines", None),
    ],
)
def test_what_columns_are_made_of(query: str, made: dict[str, list[str]] | None) -> None:
    assert made_of(query) == made


def told(spec: DataPipelineSpec, **changes: Any) -> Told:
    columns = known_columns(spec)
    fields: dict[str, Any] = {
        "namespace": "production",
        "job": "travel.flights",
        "spec": spec,
        "nominal": ("2026-01-01T03:15:00Z", KEY),
        "version": "0.1.0",
        "locations": {
            "landing": Location("file", "/data/landing/"),
            "warehouse": Location("postgres://db:5432", "travel."),
        },
        "columns": columns,
        "origins": origins(spec, columns),
    }
    return Told(**(fields | changes))


def traced(transition: Transition, **result: Any) -> Traced:
    ended = {"pipeline": "flights", "run_key": KEY, "execution": 1}
    return Traced(
        uid="u",
        run_key=KEY,
        execution=1,
        transition=transition,
        moment="2026-01-01T04:15:01Z",
        result=RunResult.model_validate(ended | result) if result else None,
    )


def test_a_start_is_an_event() -> None:
    made = event(traced("START"), told(spec_of()))

    openlineage.validate(made)
    assert (made["eventType"], made["job"]["namespace"], made["job"]["name"]) == (
        "START",
        "production",
        "travel.flights",
    )
    assert made["run"]["runId"] == run_id("u", KEY, 1) != run_id("u", KEY, 2)
    assert [(each["namespace"], each["name"]) for each in (*made["inputs"], *made["outputs"])] == [
        ("file", "/data/landing/flights/*.csv"),
        ("file", "/data/landing/airlines.csv"),
        ("postgres://db:5432", "travel.public.flights"),
    ]
    [out] = made["outputs"]
    assert [field["name"] for field in out["facets"]["schema"]["fields"]] == ["id", "carrier", "delay", "airline"]
    [airline] = out["facets"]["columnLineage"]["fields"]["airline"]["inputFields"]
    assert (airline["name"], airline["field"]) == ("/data/landing/airlines.csv", "name")
    assert airline["transformations"] == [{"type": "DIRECT", "subtype": "IDENTITY"}]
    assert made["run"]["facets"]["nominalTime"]["nominalStartTime"] == "2026-01-01T03:15:00Z"


def test_an_end_has_counts() -> None:
    steps = (StepCount(step="raw", rows_in=10, rows_out=9, rejected=1),)
    made = event(
        traced("COMPLETE", result="Succeeded", rows_read=10, steps=steps, sinks=(SinkCount(sink="out", rows=9),)),
        told(spec_of()),
    )

    openlineage.validate(made)
    assert made["inputs"][0]["inputFacets"]["inputStatistics"]["rowCount"] == 10
    assert made["inputs"][1]["inputFacets"] == {}
    assert made["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 9
    assert made["run"]["facets"]["tidemill_run"]["rowsRead"] == 10


def test_a_failure_has_its_error() -> None:
    error = RunError(type="SourceMissing", message="no file")
    made = event(traced("FAIL", result="Failed", error=error), told(spec_of()))

    openlineage.validate(made)
    assert made["run"]["facets"]["errorMessage"]["message"] == "SourceMissing: no file"


def test_a_replay_reads_no_source() -> None:
    made = event(traced("START"), told(spec_of(), replay=True))

    openlineage.validate(made)
    assert made["inputs"] == []
    assert "columnLineage" not in made["outputs"][0]["facets"]


def test_what_has_no_word_goes_by_its_name() -> None:
    made = event(traced("START"), told(spec_of(), locations={}, columns={}, origins={}))

    openlineage.validate(made)
    assert (made["outputs"][0]["namespace"], made["outputs"][0]["name"]) == (
        "tidemill://production",
        "warehouse/public.flights",
    )
    assert made["outputs"][0]["facets"] == {}


def test_the_schemas_refuse() -> None:
    made = event(traced("START"), told(spec_of()))
    made["outputs"][0]["facets"]["schema"]["fields"][0] = {"type": "int64"}
    with pytest.raises(ValidationError, match="'name' is a required property"):
        openlineage.validate(made)


@pytest.mark.parametrize(
    ("dsn", "location"),
    [
        ("postgresql://u:secret@db.example.com:6432/travel", Location("postgres://db.example.com:6432", "travel.")),
        ("postgres://u:s%40@db/tra%20vel?sslmode=require", Location("postgres://db:5432", "tra vel.")),
        ("postgresql:///travel?host=/run/postgres&port=5433", Location("postgres://localhost:5433", "travel.")),
        ("postgresql://u:s@one:5433,two:5434/travel", Location("postgres://one:5433", "travel.")),
        ("postgresql://u@[::1]:5433/travel", Location("postgres://[::1]:5433", "travel.")),
        ("host=db password=secret dbname=travel", None),
        ("postgresql://u:secret@db", None),
    ],
)
def test_where_a_database_is(dsn: str, location: Location | None) -> None:
    declared = {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}
    assert location_of(Connection.model_validate({"name": "warehouse", "postgres": declared}), dsn) == location


@pytest.mark.parametrize(
    ("connection", "location"),
    [
        ({"files": {"url": "file:///data/lan%20ding"}}, Location("file", "/data/lan ding/")),
        ({"http": {"url": "https://api.example.com:8443/v1"}}, Location("https://api.example.com:8443", "v1/")),
        ({"http": {"url": "http://api.example.com"}}, Location("http://api.example.com", "")),
    ],
)
def test_where_other_connections_lead(connection: dict[str, Any], location: Location) -> None:
    assert location_of(Connection.model_validate({"name": "c", **connection}), None) == location
