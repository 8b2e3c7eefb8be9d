"""Which functions a pool's patterns allow, and where Python steps stand among the stages."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import DELETE, changed, load
from tidemill_api.v1alpha1 import DataPipelineSpec, WorkerPoolSpec
from tidemill_check.python import allowed
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
