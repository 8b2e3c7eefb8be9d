"""Sources in Python: rows of every sort of batch, the state that is left, and what is said of wrong functions."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

import tidemill
from tests.support import author_steps
from tidemill_api.errors import PythonFailed, PythonUnavailable
from tidemill_api.v1alpha1.python import PythonSource
from tidemill_worker.engine.blocks import Block
from tidemill_worker.engine.json_lines import Keys, parse_lines
from tidemill_worker.engine.model import Asked, Layout, PlannedColumn
from tidemill_worker.engine.python import calls as calling
from tidemill_worker.engine.python.calls import Calls
from tidemill_worker.engine.python.sources import Function

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {"run_time": NOW, "interval_end": NOW, "interval_start": NOW}


def given(function: str, state: dict[str, Any]) -> tuple[list[list[dict[str, Any]]], str]:
    """The rows by page, and the state that is left."""
    entrypoint = f"tests.support.author_steps:{function}"
    asked = Asked(entrypoint, (("state", json.dumps(state)),))
    found = Function("shop", PythonSource(entrypoint=entrypoint), VALUES).given(asked, Calls(VALUES))
    pages = [[json.loads(line) for line in page.lines.decode().splitlines()] for page in found.pages(asked)]
    again = [page.rows for page in found.pages(asked)]
    assert again == [len(page) for page in pages], "it can be read as often as need be"
    found.close()
    return pages, found.state


def test_batches_of_every_sort_and_the_state_that_is_left() -> None:
    pages, state = given("orders", {"next": 10})
    assert pages == [
        [{"id": 10, "name": "listed", "beside": 1}, {"id": "x", "name": "bad"}],
        [{"id": 11, "name": "2026-01-01T00:00:00+00:00"}],
        [{"id": 12, "name": "table"}, {"id": 13, "name": None}],
        [{"id": 14, "name": "record"}],
    ]
    assert json.loads(state) == {"next": 15}
    assert given("orders", {"next": 10}) == (pages, state), "the same state gives the same"


def test_what_can_t_be_written_is_the_fault_of_its_row() -> None:
    asked = Asked("tests.support.author_steps:half_a_pair", (("state", "{}"),))
    found = Function("shop", PythonSource(entrypoint=asked.path), VALUES).given(asked, Calls(VALUES))
    [page] = found.pages(asked)
    columns = (PlannedColumn("id", "int64", True, 0), PlannedColumn("name", "string", False, 1))

    parsed = parse_lines(Block(0, page.lines), Layout(2, columns), Keys("shop", {}))

    assert parsed.table.to_pylist() == [{"id": 1, "name": "one"}, {"id": 3, "name": "three"}]
    assert {row: fault.error for row, fault in parsed.faults.items()} == {1: "the row is not valid UTF-8"}
    found.close()


@pytest.mark.parametrize(
    ("function", "says"),
    [
        ("no_batches", "must give batches of rows one after the other, and gave a int"),
        ("nothing", "must give batches of rows one after the other, and gave nothing"),
        ("odd_batches", "gave a int as a batch: give Arrow tables, record batches, or lists of dicts"),
        ("odd_state", "left a state that isn't JSON"),
        ("large_state", "left a state of 70011 characters: at most 65536"),
        ("missing", "has no function missing"),
    ],
)
def test_a_wrong_function_is_named(function: str, says: str) -> None:
    with pytest.raises(PythonFailed, match=r"^source shop: ") as caught:
        given(function, {})
    assert says in str(caught.value)
    assert caught.value.step == "shop"


def test_what_breaks_off_gives_nothing() -> None:
    with pytest.raises(PythonUnavailable, match=r"source shop: .*: the shop has closed"):
        given("unsteady", {})


async def test_a_cancelled_one_isn_t_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling, "LEAVE_AFTER", 1.0)
    author_steps.STARTED.clear()
    author_steps.RELEASED.clear()
    entrypoint = "tests.support.author_steps:deaf_source"
    function = Function("shop", PythonSource(entrypoint=entrypoint), VALUES)
    task = asyncio.create_task(function.collected(Asked(entrypoint, (("state", "{}"),))))
    assert await asyncio.to_thread(author_steps.STARTED.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    author_steps.RELEASED.set()


def test_a_source_for_a_test_needs_nothing() -> None:
    source = tidemill.Source()
    assert len(list(author_steps.orders(source))) == 4
    assert source.state == {"next": 5}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dlt_resource_is_such_a_function() -> None:
    asked = "tests.support.author_dlt:shop"
    state = "{}"
    rows = []
    for _ in range(2):
        function = Function("shop", PythonSource(entrypoint=asked), VALUES)
        found = function.given(Asked(asked, (("state", state),)), Calls(VALUES))
        rows.append([json.loads(line)["id"] for page in found.pages(Asked(asked)) for line in page.lines.splitlines()])
        state = found.state
        found.close()
    assert rows == [[0, 1, 2], [3, 4]], "dlt leaves out what it has given"
