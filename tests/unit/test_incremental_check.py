"""Which incremental sources are refused, and which files of one are new."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import load
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check import cursors
from tidemill_check.incremental import sinks_of
from tidemill_check.verdict import check_pipeline
from tidemill_worker.engine.incremental import KnownFiles
from tidemill_worker.files import FileRef

GOOD: dict[str, Any] = load("pipeline-incremental")[0]["spec"]
PLAIN = {
    "name": "names",
    "connection": "landing",
    "files": {"path": "names.csv", "format": {"csv": {}}},
    "columns": [{"name": "id", "type": "int64"}],
}
MERGE = {"writeDisposition": "Merge", "primaryKey": ["id"], "commit": None}


def spec_of(sink: dict[str, Any], **changes: Any) -> DataPipelineSpec:
    laid = {**GOOD["sinks"][0], **sink}
    return DataPipelineSpec.model_validate(
        {**GOOD, "sinks": [{name: value for name, value in laid.items() if value is not None}], **changes}
    )


def joined(query: str, inputs: list[str]) -> dict[str, Any]:
    steps = [{"name": "joined", "inputs": inputs, "sql": {"query": query}}]
    return {"sources": [*GOOD["sources"], PLAIN], "steps": steps}


@pytest.mark.parametrize(
    ("sink", "changes"),
    [
        ({}, {}),
        (MERGE, {}),
        ({**MERGE, "mergeStrategy": "SCD2"}, {}),
        ({"input": "joined"}, joined("SELECT r.* FROM raw r JOIN names USING (id)", ["raw", "names"])),
    ],
)
def test_right(sink: dict[str, Any], changes: dict[str, Any]) -> None:
    assert check_pipeline(spec_of(sink, **changes)) == ()


@pytest.mark.parametrize(
    ("sink", "changes", "says"),
    [
        ({"commit": None}, {}, "the sink arrivals appends chunk by chunk"),
        ({"writeDisposition": "Replace", "commit": None}, {}, "the sink arrivals replaces its rows"),
        (
            {"writeDisposition": "Replace", "commit": None, "partitionBy": ["id"]},
            {},
            "the sink arrivals replaces its rows",
        ),
        (
            {**MERGE, "mergeStrategy": "SCD2", "scd2": {"absentKeys": "Retire"}},
            {},
            "the sink arrivals retires keys that a run doesn't bring",
        ),
        (
            {"input": "joined"},
            joined("SELECT n.* FROM names n JOIN raw USING (id)", ["names", "raw"]),
            "raw is joined whole to other rows",
        ),
        (
            {"input": "joined"},
            {"steps": [{"name": "joined", "inputs": ["raw"], "sql": {"query": "SELECT count(*) AS id FROM raw"}}]},
            "a step of the pipeline needs all rows",
        ),
    ],
)
def test_wrong(sink: dict[str, Any], changes: dict[str, Any], says: str) -> None:
    found = [problem for problem in check_pipeline(spec_of(sink, **changes)) if says in problem.message]
    assert [problem.field for problem in found] == ["spec.sources[0].incremental"]


TABLE: dict[str, Any] = {
    "name": "raw",
    "connection": "shop",
    "postgres": {"table": "public.raw"},
    "columns": [
        {"name": "id", "type": "int64"},
        {"name": "day", "type": "date"},
        {"name": "at", "type": "timestamptz"},
        {"name": "naive", "type": "timestamp"},
    ],
}


def by_cursor(sink: dict[str, Any], **incremental: Any) -> DataPipelineSpec:
    return spec_of(sink, sources=[{**TABLE, "incremental": incremental}])


@pytest.mark.parametrize(
    ("sink", "incremental"),
    [
        ({}, {"cursor": "id"}),
        ({}, {"cursor": "id", "initialValue": 0}),
        (MERGE, {"cursor": "id", "lag": 100}),
        (MERGE, {"cursor": "id", "lag": "100", "initialValue": "-5"}),
        (MERGE, {"cursor": "day", "lag": "2d", "initialValue": "2026-01-31"}),
        (MERGE, {"cursor": "day", "lag": "48h"}),
        (MERGE, {"cursor": "at", "lag": "1h30m", "initialValue": "2026-01-31T00:00:00Z"}),
        (MERGE, {"cursor": "naive", "lag": "1s", "initialValue": "2026-01-31"}),
        ({**MERGE, "mergeStrategy": "SCD2"}, {"cursor": "at"}),
    ],
)
def test_right_cursors(sink: dict[str, Any], incremental: dict[str, Any]) -> None:
    assert check_pipeline(by_cursor(sink, **incremental)) == ()


@pytest.mark.parametrize(
    ("sink", "incremental", "field", "says"),
    [
        ({"commit": None}, {"cursor": "id"}, "", "the sink arrivals appends chunk by chunk"),
        ({}, {"cursor": "id", "lag": 5}, "", "the sink arrivals appends: rows within the lag would be there once more"),
        (
            {"writeDisposition": "Replace", "commit": None},
            {"cursor": "id"},
            "",
            "the sink arrivals replaces its rows: only new rows would be left",
        ),
        (
            {**MERGE, "mergeStrategy": "SCD2", "scd2": {"absentKeys": "Retire"}},
            {"cursor": "id"},
            "",
            "with new rows alone that is nearly all",
        ),
        (MERGE, {"cursor": "id", "lag": "1h"}, ".lag", "1h is no lag of whole numbers: write a number, such as 1000"),
        (MERGE, {"cursor": "at", "lag": 60}, ".lag", "60 is no length of time: write it like 30s"),
        (MERGE, {"cursor": "day", "lag": "36h"}, ".lag", "36h isn't whole days, and the cursor is a date"),
        (MERGE, {"cursor": "id", "initialValue": "x"}, ".initialValue", "x is not a whole number"),
        (MERGE, {"cursor": "id", "initialValue": str(2**63)}, ".initialValue", "is not a whole number"),
        (MERGE, {"cursor": "day", "initialValue": 7}, ".initialValue", "7 is not a date such as"),
        (MERGE, {"cursor": "day", "initialValue": "2026-02-30"}, ".initialValue", "2026-02-30 is not a date such as"),
        (MERGE, {"cursor": "at", "initialValue": "soon"}, ".initialValue", "soon is not a moment such as"),
    ],
)
def test_wrong_cursors(sink: dict[str, Any], incremental: dict[str, Any], field: str, says: str) -> None:
    found = [problem for problem in check_pipeline(by_cursor(sink, **incremental)) if says in problem.message]
    assert [problem.field for problem in found] == [f"spec.sources[0].incremental{field}"]


@pytest.mark.parametrize(
    ("written", "kind", "text"),
    [
        ("-9223372036854775808", "bigint", "-9223372036854775808"),
        (7, "bigint", "7"),
        ("0001-01-01", "date", "0001-01-01"),
        ("2026-01-31T10:00:00.000001+02:00", "timestamptz", "2026-01-31 08:00:00.000001+00"),
        ("2026-01-31 08:00:00.5+00", "timestamptz", "2026-01-31 08:00:00.500000+00"),
        ("2026-01-31", "timestamp", "2026-01-31 00:00:00"),
        ("9999-12-31T23:59:59.999999", "timestamp", "9999-12-31 23:59:59.999999"),
    ],
)
def test_values_of_cursors(written: str | int, kind: cursors.Kind, text: str) -> None:
    number = cursors.parsed(written, kind)
    assert cursors.text(number, kind) == text
    assert cursors.parsed(text, kind) == number
    assert cursors.before(number, 0, kind) == number


@pytest.mark.parametrize(
    ("least", "kind"),
    [("-9223372036854775808", "bigint"), ("0001-01-01", "date"), ("0001-01-01T00:00:00", "timestamp")],
)
def test_before_all_values(least: str, kind: cursors.Kind) -> None:
    assert cursors.before(cursors.parsed(least, kind), 1, kind) is None


def test_the_sinks_of_a_source() -> None:
    spec = spec_of({"input": "joined"}, **joined("SELECT r.* FROM raw r JOIN names USING (id)", ["raw", "names"]))
    assert [sink.name for sink in sinks_of(spec, "raw")] == ["arrivals"]
    assert [sink.name for sink in sinks_of(spec, "names")] == ["arrivals"]


@pytest.mark.parametrize(
    ("by", "ref", "new"),
    [
        ("Name", FileRef("a.csv", 5, 7), False),
        ("Name", FileRef("a.csv", 6, 8), False),
        ("Name", FileRef("b.csv", 5, 7), True),
        ("ModifiedTime", FileRef("a.csv", 5, 7), False),
        ("ModifiedTime", FileRef("a.csv", 5, 6), True),
        ("ModifiedTime", FileRef("a.csv", 6, 7), True),
        ("ModifiedTime", FileRef("b.csv", 5, 7), True),
    ],
)
def test_new_files(by: str, ref: FileRef, new: bool) -> None:
    assert KnownFiles(by, {"a.csv": (5, 7)}).is_new(ref) is new
