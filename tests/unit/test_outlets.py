"""Sinks that send rows: what can't go with them, and what `tidemill dev` makes of their connections."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.engine import spec_of
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_check.incremental import check_incremental
from tidemill_cli.dev.settings import Target
from tidemill_cli.dev.web import on_this_machine

SINK: dict[str, Any] = {"name": "sent", "connection": "hook", "postgres": None, "http": {"path": "rows"}}


def test_new_files_alone_aren_t_sent() -> None:
    columns = [{"name": "id", "type": "int64"}]
    (problem,) = check_incremental(spec_of(source={"incremental": {"by": "Name"}, "columns": columns}, sink=SINK))
    assert problem.field == "spec.sources[0].incremental"
    assert problem.message.startswith("the sink sent sends rows as they are read")


@pytest.mark.parametrize(
    ("access", "http", "says"),
    [
        ("Write", None, ["may be written to, and rows aren't sent from here to the cluster's server"]),
        ("Write", {}, ["may be written to, and rows aren't sent from here to the cluster's server"]),
        ("Write", {"url": "http://localhost:8080/"}, []),
        ("Read", None, []),
    ],
)
def test_dev_sends_nothing_to_the_cluster_s_server(access: str, http: dict[str, Any] | None, says: list[str]) -> None:
    said: list[str] = []
    declared = HTTPConnection.model_validate({"url": "https://api.example.com/", "access": access})
    target = None if http is None else Target.model_validate({"http": http})
    made, _ = on_this_machine(declared, target, {}, "secret", said.append)
    assert [each[: len(start)] for each, start in zip(said, says, strict=True)] == says
    assert made.access == access
