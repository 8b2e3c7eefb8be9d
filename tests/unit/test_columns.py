"""Columns and types where they are declared: what lint finds before any file is read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.kubernetes import ROOT
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.dead_letter import DeadLetter
from tidemill_check.columns import check_columns
from tidemill_check.verdict import check_pipeline
from tidemill_cli.manifests import load_manifests

RAW = [
    {"name": "month", "type": "int32"},
    {"name": "carrier", "type": "string"},
    {"name": "Cost Total $", "type": "decimal(18,2)"},
    {"name": "seen", "type": "timestamptz"},
    {"name": "on time", "type": "boolean"},
]
AIRLINES = [{"name": "carrier", "type": "string"}, {"name": "name", "type": "string"}]


def spec_of(
    steps: Sequence[dict[str, Any]],
    read: str,
    key: Sequence[str] = (),
    raw: Sequence[dict[str, str]] = RAW,
    airlines: Sequence[dict[str, str]] = AIRLINES,
) -> DataPipelineSpec:
    """A pipeline over `raw` and `airlines` whose sink merges what `read` gives."""

    def source(name: str, columns: Sequence[dict[str, str]]) -> dict[str, Any]:
        files = {"path": "a.csv", "format": {"csv": {}}}
        return {"name": name, "connection": "landing", "files": files, "columns": list(columns)}

    def sink(name: str, read: str, *key: str) -> dict[str, Any]:
        table = {"connection": "warehouse", "postgres": {"table": f"public.{name}"}}
        how = {"writeDisposition": "Merge", "primaryKey": list(key)} if key else {"writeDisposition": "Append"}
        return {"name": name, "input": read, **table, **how}

    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "parameters": [{"name": "since", "type": "date"}, {"name": "code", "type": "string"}],
            "sources": [source("raw", raw), source("airlines", airlines)],
            "steps": list(steps),
            "sinks": [sink("a", "airlines"), sink("r", "raw"), sink("out", read, *key)],
        }
    )


def query(text: str, name: str = "named", inputs: Sequence[str] = ("raw", "airlines")) -> dict[str, Any]:
    return {"name": name, "inputs": list(inputs), "sql": {"query": text}}


def function(inputs: Sequence[str] = ("raw",), name: str = "made", **settings: Any) -> dict[str, Any]:
    columns = {key: [{"name": column, "type": kind} for column, kind in each] for key, each in settings.items()}
    return {"name": name, "inputs": list(inputs), "python": {"entrypoint": "travel.steps:made", **columns}}


def rule(expression: str) -> dict[str, Any]:
    return {"name": "valid", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": expression}]}}


JOIN = "SELECT r.*, a.name FROM raw r LEFT JOIN airlines a USING (carrier)"
PLAIN = query(JOIN)
WRONG = (
    (
        [query("SELECT r.*, a.nmae FROM raw r LEFT JOIN airlines a USING (carrier)")],
        "spec.steps[0].sql.query",
        'does not have a column named "nmae"',
    ),
    ([query(f"{JOIN} WHERE mnth > 1")], "spec.steps[0].sql.query", 'Referenced column "mnth" not found'),
    ([query(f"{JOIN} WHERE month > seen")], "spec.steps[0].sql.query", "Cannot compare values of type INTEGER"),
    ([query(f"{JOIN} WHERE carrier + 1 > 2")], "spec.steps[0].sql.query", "No function matches"),
    (
        [query("SELECT r.month AS M, r.month + 1 AS m FROM raw r LEFT JOIN airlines a USING (carrier)")],
        "spec.steps[0].sql.query",
        "two columns of the answer are called M",
    ),
    (
        [query("SELECT * FROM raw r LEFT JOIN airlines a ON r.carrier = a.carrier")],
        "spec.steps[0].sql.query",
        "two columns of the answer are called carrier",
    ),
    (
        [query("SELECT *, TIMETZ '10:00:00+02' AS at FROM raw r LEFT JOIN airlines a USING (carrier)")],
        "spec.steps[0].sql.query",
        "the column at is a TIME WITH TIME ZONE, which can't be kept",
    ),
    ([query(f"{JOIN} WHERE list_contains([1], x -> x)")], "spec.steps[0].sql.query", "lambda"),
    ([PLAIN, query("SELECT nam FROM named", "more", ["named"])], "spec.steps[1].sql.query", '"nam" not found'),
    ([function(), query("SELECT nam FROM made", "more", ["made"])], "spec.steps[1].sql.query", '"nam" not found'),
    (
        [function(columns=[("score", "float64")]), query("SELECT month FROM made", "more", ["made"])],
        "spec.steps[1].sql.query",
        '"month" not found',
    ),
    (
        [function(addColumns=[("score", "string")]), query("SELECT month + score AS x FROM made", "more", ["made"])],
        "spec.steps[1].sql.query",
        "No function matches",
    ),
    (
        [function(addColumns=[("Month", "string")])],
        "spec.steps[0].python.addColumns",
        "the first input has a column Month already",
    ),
)


@pytest.mark.parametrize(("steps", "field", "says"), WRONG)
def test_a_query_that_does_not_fit_its_columns(steps: list[dict[str, Any]], field: str, says: str) -> None:
    spec = spec_of(steps, steps[-1]["name"])
    assert check_pipeline(spec) == ()
    found = check_columns(spec)
    assert [problem.field for problem in found] == [field]
    assert says in found[0].message
    assert "\n" not in found[0].message


RULES = (
    ("month BETWEEN 1 AND 12", ""),
    ('"Cost Total $" > 0 AND "on time"', ""),
    ("seen > $since AND seen <= $run_time", ""),
    ("NULL", ""),
    ("month", "a rule must be true or false; this one is INTEGER"),
    ("month > 'x' || carrier", "Cannot compare values of type INTEGER"),
    ("mnth > 1", 'Referenced column "mnth" not found in FROM clause! Candidate bindings: "month"'),
    ("lower(month) = 'x'", "No function matches"),
)


@pytest.mark.parametrize(("expression", "says"), RULES)
def test_rules(expression: str, says: str) -> None:
    found = check_columns(spec_of([rule(expression)], "valid"))
    if not says:
        assert found == ()
    elif found:
        assert [problem.field for problem in found] == ["spec.steps[0].validate.rules[0].expression"]
        assert says in found[0].message
    else:
        pytest.fail(f"{expression} should be refused")


def test_columns_flow_to_the_primary_key() -> None:
    assert check_columns(spec_of([PLAIN], "named", ["month", "name"])) == ()
    found = check_columns(spec_of([PLAIN], "named", ["month", "nmae"]))
    assert [(one.field, one.message) for one in found] == [
        ("spec.sinks[2].primaryKey[1]", "named has no column nmae; did you mean name?")
    ]


def test_columns_flow_to_whatever_a_sink_or_a_check_names() -> None:
    made = spec_of([PLAIN], "named", ["month"]).to_json()
    made["sinks"][2] |= {"dedupOrder": [{"column": "month"}, {"column": "nmae"}]}
    made["sinks"][1] |= {"writeDisposition": "Replace", "partitionBy": ["mnth"]}
    check = {"name": "c", "sink": "out", "metric": "nullRows", "columns": ["name", "nmae"]}
    made["checks"] = [check, check | {"name": "d", "columns": ["valid_to"]}]
    found = check_columns(DataPipelineSpec.model_validate(made))
    assert [(one.field, one.message.partition(";")[0]) for one in found] == [
        ("spec.sinks[1].partitionBy[0]", "raw has no column mnth"),
        ("spec.sinks[2].dedupOrder[1].column", "named has no column nmae"),
        ("spec.checks[0].columns[1]", "the table of out has no column nmae"),
        ("spec.checks[1].columns[0]", "the table of out has no column valid_to"),
    ]
    made["sinks"][2] |= {"mergeStrategy": "SCD2", "postgres": {"table": "public.out"}}
    assert len(check_columns(DataPipelineSpec.model_validate(made))) == 3
    made["sinks"][2]["postgres"]["createTable"] = "Never"
    assert len(check_columns(DataPipelineSpec.model_validate(made))) == 2


def test_columns_that_are_not_declared_are_not_judged() -> None:
    steps = [query(f"{JOIN} WHERE mnth > 1")]
    assert check_columns(spec_of(steps, "named", ["nothing"], airlines=[])) == ()
    assert check_columns(spec_of([rule("mnth > 1")], "valid", ["nothing"], raw=[])) == ()


REDACTED: tuple[tuple[list[dict[str, Any]], str, list[str], str], ...] = (
    ([PLAIN], "named", ["name"], ""),
    ([PLAIN], "named", ["nmae"], "no source or step has a column nmae; did you mean name?"),
    ([query("SELECT r.month AS of FROM raw r JOIN airlines a USING (carrier)")], "named", ["of"], ""),
    ([], "raw", ["nothing"], "no source or step has a column nothing"),
)


@pytest.mark.parametrize(("steps", "read", "columns", "says"), REDACTED)
def test_a_column_to_redact_must_be_there(
    steps: list[dict[str, Any]], read: str, columns: list[str], says: str
) -> None:
    spec = spec_of(steps, read)
    spec = spec.model_copy(update={"dead_letter": DeadLetter(redact_columns=tuple(columns))})
    found = (*check_pipeline(spec), *check_columns(spec)) if steps else check_pipeline(spec)
    assert [problem.field for problem in found] == (["spec.deadLetter.redactColumns[0]"] if says else [])
    assert says in "".join(problem.message for problem in found)


def test_columns_to_redact_that_nobody_can_know_yet() -> None:
    spec = spec_of([], "raw", raw=[]).model_copy(update={"dead_letter": DeadLetter(redact_columns=("nothing",))})
    assert (*check_pipeline(spec), *check_columns(spec)) == ()


def test_all_problems_come_at_once() -> None:
    steps = [rule("mnth > 1"), query("SELECT nmae FROM airlines", "named", ["airlines"])]
    spec = spec_of(steps, "valid", ["mont"])
    assert [problem.field for problem in check_columns(spec)] == [
        "spec.steps[0].validate.rules[0].expression",
        "spec.steps[1].sql.query",
        "spec.sinks[2].primaryKey[0]",
    ]


def test_a_column_called_rowid_can_not_drive_a_query() -> None:
    raw = [*RAW, {"name": "RowID", "type": "int32"}]
    found = check_columns(spec_of([PLAIN], "named", raw=raw))
    assert "DuckDB's own word" in found[0].message


EXAMPLES = sorted({file.relative_to(ROOT / "examples").parts[0] for file in (ROOT / "examples").rglob("*.yaml")})


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_have_nothing_to_be_found(example: str) -> None:
    manifests = load_manifests([ROOT / "examples" / example])
    assert manifests.pipelines
    assert [problem for one in manifests.pipelines for problem in check_columns(one.object.spec)] == []


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("SELECT carrier, sum(mont) AS m FROM raw GROUP BY carrier", 'Referenced column "mont" not found'),
        ("SELECT sum(carrier) AS m FROM raw", "No function matches"),
        ("SELECT a.carrier, b.carrier, count(*) AS n FROM raw a, raw b GROUP BY ALL", "two columns of the answer"),
        ("SELECT * FROM raw carrier ORDER BY month LIMIT 1", "a table and one of its columns have the same name"),
        ("SELECT carrier, max(month) AS month FROM raw GROUP BY carrier", ""),
    ],
)
def test_a_step_over_all_rows(query: str, says: str) -> None:
    spec = spec_of([{"name": "all", "inputs": ["raw"], "sql": {"query": query}}], "all")
    assert check_pipeline(spec) == ()
    found = [problem for problem in check_columns(spec) if problem.field == "spec.steps[0].sql.query"]
    assert [says in problem.message for problem in found] == [True] * bool(says), found


def test_what_follows_a_step_over_all_rows_knows_its_columns() -> None:
    counted = {
        "name": "counted",
        "inputs": ["raw"],
        "sql": {"query": "SELECT carrier, count(*) AS n FROM raw GROUP BY ALL"},
    }
    few = {"name": "few", "inputs": ["counted"], "validate": {"rules": [{"name": "few", "expression": "m < 3"}]}}
    (problem,) = check_columns(spec_of([counted, few], "few"))
    assert problem.field == "spec.steps[1].validate.rules[0].expression"
    assert '"m"' in problem.message
