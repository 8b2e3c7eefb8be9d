"""Which rejected rows can be run again where steps need all rows: those that no such step has to do with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.source import Contract
from tidemill_worker.engine.replaying import Rejected, Target, part_of, target_of, targets_of
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


ADDS = spec([VALID], rows="valid").model_copy(
    update={
        "sources": tuple(
            source.model_copy(update={"contract": Contract(new_columns="Add")})
            for source in spec([VALID], rows="valid").sources
        )
    }
)


@pytest.mark.parametrize(
    ("layout", "text", "says"),
    [
        (TextLayout(("tip",), ",", '"', ("float64",)), "1.5", None),  # of a file that lacks x, and has another one
        (TextLayout(("x", "tip"), "", "", ("int32", "float64")), '{"x": 1, "tip": 2}', None),
        (TextLayout(("x",), "", "", ("int32",)), '{"x": 1, "tip": 2}', "its column tip isn't declared"),
    ],
)
def test_rows_of_sources_that_add_columns(layout: TextLayout, text: str, says: str | None) -> None:
    target = target_of(ADDS, replace(rejected(ADDS, "valid"), layout=layout, text=text))
    assert target == Target("raw", ("rows",)) if says is None else says in str(target)


def test_columns_that_were_added_are_read_again() -> None:
    part = part_of(ADDS, "raw", TextLayout((None, "tip"), ",", '"', (None, "float64")), 1)
    assert [(c.name, c.type, c.field) for c in part.layout.columns] == [("x", "int32", -1), ("tip", "float64", 1)]


def test_rows_that_no_such_step_has_seen_can_be_run_again() -> None:
    found = spec([VALID, OTHER, TOTAL], totals="total", others="other")
    assert target_of(found, rejected(found, "other")) == Target("raw", ("others",))


@pytest.mark.parametrize(("steps", "step"), [([SCORED, BEHIND], "valid"), ([SCORED], "scored"), ([COPIED], "scored")])
def test_a_function_gives_one_row_for_each_unless_it_says_otherwise(steps: list[dict[str, Any]], step: str) -> None:
    found = spec(steps, rows=steps[-1]["name"])
    assert target_of(found, rejected(found, step)) == Target("raw", ("rows",))


def test_of_many_rows_each_goes_where_it_would_alone() -> None:
    # Rows that differ in all that a target hangs on, each kind twice, and some that are refused for themselves.
    now, then = spec([SCORED, BEHIND], rows="valid", all="raw"), spec([COPIED, BEHIND], rows="valid", all="raw")
    kinds = [rejected(of, step) for of in (now, then) for step in ("raw", "scored", "valid", "rows", "gone")]
    kinds += [replace(kinds[2], text=None), replace(kinds[2], result="Failed"), rejected(now, "valid", "other")]
    rows = [replace(row, id=number) for number, row in enumerate(kinds * 2)]
    found = list(targets_of(now, rows))
    assert found == [(row, target_of(now, row)) for row in rows]
    assert len({str(target) for _, target in found}) == 8
