"""What the contracts of sources let be altered, and what is to be altered for it: decisions, as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.engine import spec_of
from tidemill_api.errors import TableMismatch
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_check.columns import check_columns
from tidemill_check.contracts import Allowed, allowed
from tidemill_worker.engine.found_columns import extended
from tidemill_worker.engine.model import NOT_THERE, Asked, Page, Pages
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.planning_api import APIPlanner
from tidemill_worker.engine.postgres.altering import alterations, widened
from tidemill_worker.engine.postgres.tables import TableColumn
from tidemill_worker.files.folder import Folder


def column(kind: str, base: str, *, generated: bool = False) -> TableColumn:
    return TableColumn("x", kind, base, base, required=False, generated=generated)


DECIMAL = pa.decimal128


@pytest.mark.parametrize(
    ("base", "kind", "rows", "wider"),
    [
        ("int2", "smallint", pa.int16(), None),
        ("int2", "smallint", pa.int32(), "integer"),
        ("int2", "smallint", pa.float32(), "real"),
        ("int2", "smallint", pa.float64(), "double precision"),
        ("int4", "integer", pa.int16(), None),
        ("int4", "integer", pa.int64(), "bigint"),
        ("int4", "integer", pa.float32(), "double precision"),  # a real has not all of an integer's digits
        ("int4", "integer", DECIMAL(5, 2), "numeric(12,2)"),
        ("int4", "integer", DECIMAL(9, 0), None),
        ("int8", "bigint", pa.float64(), None),  # nor has a double all of a bigint's
        ("int8", "bigint", DECIMAL(20, 0), "numeric(20,0)"),
        ("float4", "real", pa.float64(), "double precision"),
        ("float4", "real", pa.int64(), None),
        ("float8", "double precision", DECIMAL(38, 10), None),
        ("numeric", "numeric(5,2)", DECIMAL(5, 2), None),
        ("numeric", "numeric(5,2)", DECIMAL(4, 3), "numeric(6,3)"),
        ("numeric", "numeric(5,2)", pa.int64(), "numeric(21,2)"),
        ("numeric", "numeric", DECIMAL(38, 10), None),
        ("date", "date", pa.timestamp("us"), "timestamp without time zone"),
        ("date", "date", pa.timestamp("us", "UTC"), None),  # which zone's midnight would it be?
        ("timestamp", "timestamp without time zone", pa.timestamp("us", "UTC"), None),
        ("varchar", "character varying(3)", pa.string(), None),  # a length is somebody's rule
        ("int4", "integer", pa.string(), None),
        ("bool", "boolean", pa.int16(), None),
        ("text", "text", pa.int64(), None),
    ],
)
def test_only_what_holds_all_values_as_they_are_is_wider(
    base: str, kind: str, rows: pa.DataType, wider: str | None
) -> None:
    assert widened(rows, column(kind, base)) == wider


SINK = spec_of().sinks[0]
TABLE: Mapping[str, TableColumn] = {"id": column("integer", "int4"), "made": column("integer", "int4", generated=True)}


@pytest.mark.parametrize(
    ("may", "rows", "clauses"),
    [
        (Allowed(), {"id": pa.int64(), "x": pa.string()}, []),
        (Allowed(add=True), {"id": pa.int64(), "x": pa.string()}, ['ADD COLUMN "x" text']),
        (Allowed(widen=True), {"id": pa.int64(), "x": pa.string()}, ['ALTER COLUMN "id" TYPE bigint']),
        (Allowed(add=True, widen=True), {"made": pa.int64(), 'q"': pa.date32()}, ['ADD COLUMN "q""" date']),
        (Allowed(add=True, widen=True), {"id": pa.int32()}, []),
    ],
)
def test_what_is_altered(may: Allowed, rows: dict[str, pa.DataType], clauses: list[str]) -> None:
    assert [each.clause for each in alterations(SINK, rows, TABLE, may)] == clauses


def test_a_name_that_differs_in_case_alone_isnt_added() -> None:
    with pytest.raises(TableMismatch, match=r"the rows have ID, and public\.out has id"):
        alterations(SINK, {"ID": pa.int64()}, TABLE, Allowed(add=True))


def pipeline(**contracts: dict[str, str]) -> DataPipelineSpec:
    """Sources a and b; `joined` is a with b, `alone` is a."""
    files = {"connection": "landing", "files": {"path": "*", "format": {"csv": {}}}}
    columns = [{"name": "id", "type": "int64"}]
    sink = {"connection": "warehouse", "writeDisposition": "Append"}
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {"name": name, **files, "columns": columns, "contract": contracts.get(name, {})} for name in ("a", "b")
            ],
            "steps": [
                {"name": "v", "inputs": ["a"], "validate": {"rules": [{"name": "r", "expression": "id > 0"}]}},
                {"name": "joined", "inputs": ["v", "b"], "sql": {"query": "SELECT v.* FROM v JOIN b USING (id)"}},
            ],
            "sinks": [
                {"name": name, "input": name, "postgres": {"table": f"public.{name}"}, **sink}
                for name in ("joined", "v")
            ],
        }
    )


@pytest.mark.parametrize(
    ("contracts", "joined", "alone"),
    [
        ({}, Allowed(), Allowed()),
        ({"a": {"newColumns": "Fail", "badValues": "SetNull"}}, Allowed(), Allowed()),
        ({"a": {"newColumns": "Add"}}, Allowed(add=True), Allowed(add=True)),
        ({"b": {"newColumns": "Add"}}, Allowed(add=True), Allowed()),
        (
            {"a": {"widerTypes": "Widen"}, "b": {"newColumns": "Add"}},
            Allowed(add=True, widen=True),
            Allowed(widen=True),
        ),
    ],
)
def test_a_sink_is_under_the_contracts_of_all_its_sources(
    contracts: dict[str, dict[str, str]], joined: Allowed, alone: Allowed
) -> None:
    spec = pipeline(**contracts)
    assert [allowed(spec, sink) for sink in spec.sinks] == [joined, alone]


class _Given(Pages):
    """What an API gave, page by page."""

    def __init__(self, *pages: list[Any]) -> None:
        self._pages = pages

    def pages(self, asked: Asked) -> Iterator[Page]:
        for number, page in enumerate(self._pages):
            yield Page(f"{asked.path}#{number}", "".join(f"{json.dumps(row)}\n" for row in page).encode(), len(page))


@pytest.mark.parametrize(
    ("contract", "pages", "columns"),
    [
        ("Ignore", [[{"id": 1, "x": 2}]], []),
        ("Add", [[{"id": 1}]], []),
        ("Add", [[{"id": 1, "x": 2}], [{"x": 2.5, "y": None}], ["no object"]], [("x", "float64"), ("y", "string")]),
        ("Add", [[{"x": "2026-01-31"}], [{"x": "2026-01-31 10:00"}]], [("x", "timestamp")]),
        ("Add", [[{"x": True}], [{"x": 1}]], [("x", "string")]),
        ("Add", [[{"x": None}], [{"x": 7}]], [("x", "int64")]),
    ],
)
def test_what_an_api_gives_says_which_columns_there_are(
    contract: str, pages: list[list[Any]], columns: list[tuple[str, str]]
) -> None:
    http = {"files": None, "http": {"path": "a"}, "contract": {"newColumns": contract}}
    source = spec_of(source={**http, "columns": [{"name": "id", "type": "int64"}]}).sources[0]
    (part,) = APIPlanner(source, source.http or HTTPSource()).parts(())
    found = extended(source, part, _Given(*pages)).layout.columns
    assert [(c.name, c.type) for c in found] == [("id", "int64"), *columns]


def test_columns_that_may_come_are_left_to_the_worker() -> None:
    """A query may name what no manifest declares, if the source adds columns; else it is at fault."""

    def wrong(contract: dict[str, str]) -> list[str]:
        steps = [{"name": "q", "inputs": ["raw"], "sql": {"query": "SELECT tip FROM raw"}}]
        source = {"columns": [{"name": "id", "type": "int64"}], "contract": contract}
        return [each.field for each in check_columns(spec_of(source=source, steps=steps, sink={"input": "q"}))]

    assert wrong({}) == ["spec.steps[0].sql.query"]
    assert wrong({"newColumns": "Add"}) == []


@pytest.mark.parametrize(
    ("declared", "first", "second"),
    [
        ([], [("id", "int64", 0), ("b", "string", 1), ("a", "date", -1)], [-1, 1, 0]),
        (
            [{"name": "key", "from": "id", "type": "int16"}, {"name": "b", "type": "string", "required": True}],
            [("key", "int16", 0), ("b", "string", 1), ("a", "date", -1)],
            [-1, 1, 0],
        ),
    ],
    ids=["none declared", "some declared"],
)
def test_all_chunks_of_a_run_read_the_same_columns(
    tmp_path: Path, declared: list[dict[str, Any]], first: list[tuple[str, str, int]], second: list[int]
) -> None:
    (tmp_path / "1.csv").write_text("id,b\n1,x\n")
    (tmp_path / "2.csv").write_text("a,b\n2026-01-31,y\n")
    spec = spec_of(source={"columns": declared, "contract": {"newColumns": "Add"}})
    parts = [chunk.part for chunk in chunks_of(spec, {"raw": Folder(tmp_path)})]
    assert [(c.name, c.type, c.field) for c in parts[0].layout.columns] == first
    assert [(c.name, c.type) for c in parts[1].layout.columns] == [each[:2] for each in first]
    assert [c.field for c in parts[1].layout.columns] == second
    assert NOT_THERE == -1


def test_columns_without_a_name_are_no_new_ones(tmp_path: Path) -> None:
    """A delimiter at the end of a header, as spreadsheets leave it."""
    (tmp_path / "1.csv").write_text("id,b,\n1,x,\n")
    spec = spec_of(source={"columns": [{"name": "id", "type": "int64"}], "contract": {"newColumns": "Add"}})
    (chunk,) = chunks_of(spec, {"raw": Folder(tmp_path)})
    assert [c.name for c in chunk.part.layout.columns] == ["id", "b"]
