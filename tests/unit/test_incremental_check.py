"""Which incremental sources are refused, and which files of one are new."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import load
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_check.incremental import sinks_of
from tidemill_check.verdict import check_pipeline
from tidemill_worker.engine.incremental import KnownFiles, sources_of
from tidemill_worker.engine.model import FileRef

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


def test_the_sinks_of_a_source() -> None:
    spec = spec_of({"input": "joined"}, **joined("SELECT r.* FROM raw r JOIN names USING (id)", ["raw", "names"]))
    assert [sink.name for sink in sinks_of(spec, "raw")] == ["arrivals"]
    assert [sink.name for sink in sinks_of(spec, "names")] == ["arrivals"]
    assert sources_of(spec, "arrivals") == ("raw",)


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
