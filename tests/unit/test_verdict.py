"""The verdict on what a schema can't say: by the checks and by `tidemill lint`, over one table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.manifests import Manifest, changed, load, python_verdict
from tests.unit.manifests_semantic import BY_ITSELF, LABELS, TABLE, Wrong, good_pipeline, pipeline_of, pool_of
from tidemill_api.v1alpha1 import DataPipeline, WorkerPool
from tidemill_check.problem import Problem
from tidemill_check.verdict import check_against_pool, check_pipeline, check_pool
from tidemill_cli.lint.finding import Finding
from tidemill_cli.lint.meaning import check_manifests
from tidemill_cli.manifests import load_manifests


def problems_of(pipeline: Manifest, pool: Manifest) -> tuple[Problem, ...]:
    """What the operator says."""
    spec = DataPipeline.model_validate(pipeline).spec
    labels = pipeline["metadata"].get("labels", {})
    return (*check_pipeline(spec), *check_against_pool(spec, WorkerPool.model_validate(pool).spec, labels))


def linted(folder: Path, *manifests: Manifest) -> tuple[Finding, ...]:
    """What lint says of the manifests, each in a file of its own (JSON is YAML)."""
    for number, manifest in enumerate(manifests):
        (folder / f"{number}.yaml").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    return check_manifests(load_manifests([folder]))


def test_the_good_ones_are_good(tmp_path: Path) -> None:
    assert problems_of(good_pipeline(), load("pool")[0]) == ()
    assert linted(tmp_path, good_pipeline(), load("pool")[0]) == ()
    assert check_pool(WorkerPool.model_validate(load("pool")[0]).spec) == ()


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_the_schema_accepts_what_only_we_can_refuse(case: Wrong) -> None:
    assert python_verdict(pipeline_of(case)) == {}
    assert python_verdict(pool_of(case)) == {}


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_verdict_names_field_and_reason(case: Wrong) -> None:
    found = problems_of(pipeline_of(case), pool_of(case))
    said = [problem for problem in found if problem.field == case.field and case.says in problem.message]
    assert said, found
    assert said[0].reason == case.reason
    assert said[0].terminal


@pytest.mark.parametrize("case", TABLE, ids=str)
def test_lint_says_the_same(case: Wrong, tmp_path: Path) -> None:
    findings = linted(tmp_path, pipeline_of(case), pool_of(case))
    expected = [
        (problem.field, problem.message, problem.reason) for problem in problems_of(pipeline_of(case), pool_of(case))
    ]
    assert sorted((one.field, one.message, one.reason) for one in findings) == sorted(expected)
    assert all(one.severity == "error" for one in findings)


@pytest.mark.parametrize("case", BY_ITSELF, ids=str)
def test_verdict_does_not_wait_for_the_pool(case: Wrong) -> None:
    found = check_pipeline(DataPipeline.model_validate(pipeline_of(case)).spec)
    assert any(problem.field == case.field and case.says in problem.message for problem in found), found


def test_all_problems_come_at_once_in_the_order_of_the_fields() -> None:
    wrong = changed(
        good_pipeline(),
        {
            "spec.sinks[1].postgres.table": "public.flights",
            "spec.sinks[0].input": "nowhere",
            "spec.steps[1].sql.query": "SELECT",
            "spec.steps[0].validate.rules[1].expression": "now() > 1",
            "spec.parameters[1].default": "many",
            "spec.schedule.timeZone": "Mars/Phobos",
            "spec.schedule.crons[0]": "x",
            "spec.execution.timeout": "99999d",
        },
    )
    fields = [problem.field for problem in check_pipeline(DataPipeline.model_validate(wrong).spec)]
    assert fields == [
        "spec.schedule.crons[0]",
        "spec.schedule.timeZone",
        "spec.parameters[1].default",
        "spec.steps[0].validate.rules[1].expression",
        "spec.steps[1]",
        "spec.steps[1].sql.query",
        "spec.sinks[0].input",
        "spec.sinks[1].postgres.table",
        "spec.execution.timeout",
    ]


POOLS = (
    ("spec.connections[1].postgres.schemas", ["public", "pg_catalog"], "spec.connections[1].postgres.schemas[1]"),
    ("spec.connections[1].postgres.pool.idleTimeout", "9999d", "spec.connections[1].postgres.pool.idleTimeout"),
    ("spec.connections[0].files.url", "file:///data/../etc/", "spec.connections[0].files.url"),
)


@pytest.mark.parametrize(("path", "value", "field"), POOLS)
def test_a_pool_by_itself(path: str, value: object, field: str) -> None:
    pool = WorkerPool.model_validate(changed(load("pool")[0], {path: value}))
    assert [problem.field for problem in check_pool(pool.spec)] == [field]


def test_labels_beyond_those_asked_for_do_no_harm() -> None:
    pipeline = changed(good_pipeline(), {"metadata.labels": {**LABELS, "more": "labels"}})
    assert problems_of(pipeline, load("pool")[0]) == ()
