"""Which functions a pool's patterns allow, and where Python steps stand among the stages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import DELETE, changed, load
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_check.incremental import check_incremental
from tidemill_check.python import allowed, check_python
from tidemill_check.stages import cut, shown
from tidemill_check.verdict import check_against_pool


@pytest.mark.parametrize(
    ("entrypoint", "patterns", "expected"),
    [
        ("travel.steps:score", (), False),
        ("travel.steps:score", ("travel.steps:score",), True),
        ("travel.steps:score", ("other:f", "travel.steps:*"), True),
        ("travel.steps:score", ("travel.*:*",), True),
        ("travel.steps.fast:score", ("travel.*:*",), True),
        ("travel.steps.fast:score", ("travel.*:score",), True),
        ("travel.steps:score", ("travel.*:other",), False),
        ("travel:score", ("travel.*:*",), False),
        ("travels.steps:score", ("travel.*:*",), False),
        ("travel.stepsize:score", ("travel.steps:*",), False),
        ("travel.steps.fast:score", ("travel.steps:*",), False),
        ("travel.steps:scores", ("travel.steps:score",), False),
        ("Travel.steps:score", ("travel.steps:*",), False),
    ],
)
def test_patterns(entrypoint: str, patterns: tuple[str, ...], expected: bool) -> None:
    assert allowed(entrypoint, patterns) is expected


def function(name: str, *inputs: str, **settings: Any) -> dict[str, Any]:
    return {"name": name, "inputs": list(inputs), "python": {"entrypoint": f"travel.steps:{name}", **settings}}


@pytest.mark.parametrize(
    ("steps", "waves"),
    [
        ([function("made", "raw", "names")], ("raw → made with names whole → out",)),
        (
            [function("named", "names"), function("made", "raw", "named")],
            ("raw → made with names and named whole → out",),
        ),
        (
            [function("first", "raw"), function("all", "first", "names", mode="Whole"), function("made", "all")],
            (
                "raw → first → kept first; names → kept names",
                "all over all rows of first and names",
                "all → made → out",
            ),
        ),
    ],
)
def test_stages(steps: list[dict[str, Any]], waves: tuple[str, ...]) -> None:
    files = {"connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    sink = {"name": "out", "input": "made", "connection": "warehouse", "postgres": {"table": "public.out"}}
    spec = DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [{"name": "raw", **files}, {"name": "names", **files}],
            "steps": steps,
            "sinks": [{**sink, "writeDisposition": "Append"}],
        }
    )
    assert shown(cut(spec)) == waves


def test_a_function_over_all_rows_needs_a_place_for_them() -> None:
    spec = DataPipelineSpec.model_validate(load("pipeline-python")[0]["spec"])
    pool = WorkerPoolSpec.model_validate(changed(load("pool")[0], {"spec.artifacts": DELETE})["spec"])
    labels = pool.allowed_pipelines.match_labels
    assert [(each.field, each.reason) for each in check_against_pool(spec, pool, labels)] == [
        ("spec.steps[0].python.mode", "ConnectionDenied")
    ]


def test_rows_of_a_function_are_not_joined_whole() -> None:
    manifest = load("pipeline-python")[0]["spec"]
    join = {"name": "joined", "inputs": ["raw", "made"], "python": {"entrypoint": "travel.steps:joined"}}
    spec = DataPipelineSpec.model_validate({**manifest, "steps": [*manifest["steps"], join]})
    found = list(check_python(spec))
    assert [problem.field for problem in found] == ["spec.steps[1].inputs[1]"]
    assert "made is a function, whose rows can't be joined whole" in found[0].message


@pytest.mark.parametrize(("keep", "expected"), [(False, []), (True, ["spec.sources[0].python.keepState"])])
def test_new_rows_alone_are_not_for_an_append_chunk_by_chunk(keep: bool, expected: list[str]) -> None:
    manifest = load("pipeline-python")[0]["spec"]
    source = {**manifest["sources"][1], "python": {"entrypoint": "travel.steps:orders", "keepState": keep}}
    spec = DataPipelineSpec.model_validate(
        {**manifest, "sources": [source], "steps": [], "sinks": manifest["sinks"][1:]}
    )
    assert [problem.field for problem in check_incremental(spec)] == expected


def test_functions_of_sources_need_to_be_allowed_too() -> None:
    spec = DataPipelineSpec.model_validate(load("pipeline-python")[0]["spec"])
    pool = WorkerPoolSpec.model_validate(
        changed(load("pool")[0], {"spec.python.allowedEntrypoints": ["travel.reports:*"]})["spec"]
    )
    labels = pool.allowed_pipelines.match_labels
    assert [(each.field, each.reason) for each in check_against_pool(spec, pool, labels)] == [
        ("spec.sources[1].python.entrypoint", "EntrypointDenied")
    ]
