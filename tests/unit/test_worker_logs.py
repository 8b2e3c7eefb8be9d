"""What a line of the worker's log says, for programs."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from tidemill_worker.logs import JsonLines


def line(message: str, *arguments: object, **extra: Any) -> dict[str, Any]:
    record = logging.getLogger("t").makeRecord("t", logging.INFO, "f", 1, message, arguments, None, extra=extra)
    told: dict[str, Any] = json.loads(JsonLines().format(record))
    assert "\n" not in JsonLines().format(record)
    return told


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, {}),
        ({"temporal_workflow": {"workflow_id": "i/n/p/r", "run_id": "x"}}, {"workflow": "i/n/p/r"}),
        ({"details": {"chunk": 3, "rowsRead": 9}}, {"chunk": 3, "rowsRead": 9}),
    ],
)
def test_a_line_is_one_object(extra: dict[str, Any], expected: dict[str, Any]) -> None:
    told = line("two\nlines of %s", "Ünïcode", **extra)

    assert told.pop("time").endswith("+00:00")
    assert told == {"level": "info", "logger": "t", "message": "two\nlines of Ünïcode", **expected}


def test_what_an_activity_says_names_its_workflow() -> None:
    environment = ActivityEnvironment()

    told = environment.run(line, "hello")

    assert told["workflow"] == environment.info.workflow_id
    assert (told["activity"], told["attempt"]) == (environment.info.activity_type, 1)


def test_an_exception_stays_on_the_line() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    record = logging.getLogger("t").makeRecord("t", logging.ERROR, "f", 1, "it ended", (), info)

    assert "ValueError: no" in json.loads(JsonLines().format(record))["exception"]
