"""Where a run begins by the watermarks of its sinks."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill_api.v1alpha1.datapipeline import Sink, Source
from tidemill_worker.engine.postgres.cursor_marks import Mark, level

SINK = Sink.model_validate(
    {
        "name": "out",
        "input": "raw",
        "connection": "warehouse",
        "writeDisposition": "Merge",
        "primaryKey": ["id"],
        "postgres": {"table": "public.out"},
    }
)


def source(**incremental: Any) -> Source:
    columns = [{"name": "id", "type": "int64", "required": True}]
    table = {"table": "public.orders"}
    by = {"cursor": "id", **incremental}
    return Source.model_validate(
        {"name": "raw", "connection": "shop", "postgres": table, "columns": columns, "incremental": by}
    )


@pytest.mark.parametrize(
    ("incremental", "reached", "after"),
    [
        ({}, None, None),
        ({}, 70, 70),
        ({"initialValue": 50}, None, 49),
        ({"initialValue": 50}, 70, 70),
        ({"lag": 30}, 70, 40),
        ({"initialValue": 50, "lag": 10}, 70, 60),
        ({"initialValue": 50, "lag": 30}, 70, 49),  # not before what the first run has begun with
        ({"initialValue": 50, "lag": 30}, 20, 20),  # set by hand
        ({"initialValue": 100, "lag": 30}, 70, 70),  # raised since: nothing new is left out
        ({"initialValue": 50, "lag": 30}, -(2**63), -(2**63)),
    ],
)
def test_where_a_run_begins(incremental: dict[str, Any], reached: int | None, after: int | None) -> None:
    mark = Mark("former", "public.orders.id", "bigint", reached)
    assert level(source(**incremental), [SINK], {"out": mark}).after == after
