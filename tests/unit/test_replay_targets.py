"""Which rejected rows can be run again where steps need all rows: those that no such step has to do with."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker.engine.replaying import Rejected, Target, target_of
from tidemill_worker.engine.text_layout import TextLayout

VALID = {"name": "valid", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": "x > 0"}]}}
OTHER = {"name": "other", "inputs": ["raw"], "validate": {"rules": [{"name": "r", "expression": "x < 9"}]}}
SCORED = {"name": "scored", "inputs": ["raw"], "python": {"entrypoint": "travel.steps:score"}}
COPIED = {"name": "scored", "inputs": ["raw"], "python": {"entrypoint": "travel.steps:score", "mayMultiply": True}}
BEHIND = {"name": "valid", "inputs": ["scored"], "validate": {"rules": [{"name": "r", "expression": "x > 0"}]}}
RANKED = {"name": "ranked", "inputs": ["valid"], "python": {"entrypoint": "travel.steps:rank", "mode": "Whole"}}
TOTAL = {"name": "total", "inputs": ["valid"], "sql": {"query": "SELECT sum(x) AS x FROM valid"}}
SHARE = {"name": "share", "inputs": ["other", "total"], "sql": {"query": "SELECT o.* FROM other o, total"}}


def spec(steps: list[dict[str, Any]], **sinks: str) -> DataPipelineSpec:
    return DataPipelineSpec.model_validate(
        {
            "workerPoolRef": {"name": "etl"},
            "sources": [
                {
                    "name": "raw",
                    "connection": "landing",
                    "files": {"path": "a.csv", "format": {"csv": {}}},
                    "columns": [{"name": "x", "type": "int32"}],
                }
            ],
            "steps": steps,
            "sinks": [
                {
                    "name": name,
                    "input": given,
                    "connection": "warehouse",
                    "postgres": {"table": f"public.{name}"},
                    "writeDisposition": "Append",
                }
                for name, given in sinks.items()
            ],
        }
    )


def rejected(found: DataPipelineSpec, step: str, source: str = "raw") -> Rejected:
    layout = TextLayout(("x",), ",", '"', ("int32",))
    return Rejected(1, "k", step, source, "RuleBroken", "Full", (), "1", False, layout, "run", "Succeeded", found)


@pytest.mark.parametrize(
    ("found", "step", "source", "says"),
    [
        (spec([VALID, TOTAL], totals="total"), "valid", "raw", "the step total needs all rows: run the pipeline again"),
        (spec([VALID, TOTAL], rows="valid", totals="total"), "valid", "raw", "the step total needs all rows"),
        (spec([VALID, TOTAL], rows="valid", totals="total"), "raw", "raw", "the step total needs all rows"),
        (spec([VALID, OTHER, TOTAL, SHARE], shares="share"), "other", "raw", "the step total needs all rows"),
        (spec([VALID, TOTAL], totals="total"), "totals", "total", "it was made by the step total from rows of many"),
        (spec([VALID, RANKED], rows="valid", ranks="ranked"), "valid", "raw", "the step ranked needs all rows"),
        (spec([COPIED, BEHIND], rows="valid"), "valid", "raw", "a query or function before valid may have made"),
    ],
)
def test_refused(found: DataPipelineSpec, step: str, source: str, says: str) -> None:
    target = target_of(found, rejected(found, step, source))
    assert isinstance(target, str)
    assert says in target


def test_rows_that_no_such_step_has_seen_can_be_run_again() -> None:
    found = spec([VALID, OTHER, TOTAL], totals="total", others="other")
    assert target_of(found, rejected(found, "other")) == Target("raw", ("others",))


@pytest.mark.parametrize(("steps", "step"), [([SCORED, BEHIND], "valid"), ([SCORED], "scored"), ([COPIED], "scored")])
def test_a_function_gives_one_row_for_each_unless_it_says_otherwise(steps: list[dict[str, Any]], step: str) -> None:
    found = spec(steps, rows=steps[-1]["name"])
    assert target_of(found, rejected(found, step)) == Target("raw", ("rows",))
