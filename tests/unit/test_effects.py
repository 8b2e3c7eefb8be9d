"""What a change of a pool's number of workers comes to, in the words of `tidemill diff`."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.manifests import load
from tidemill_cli.cluster.effects import effects

SCALED = {"scaling": {"maxReplicas": 3}}
CHANGES: list[tuple[dict[str, Any] | None, dict[str, Any], str]] = [
    (None, {"replicas": 2}, "2 workers start, with a NetworkPolicy and a ServiceAccount"),
    (None, SCALED, "its workers follow its work (0 to 3), with a NetworkPolicy and a ServiceAccount"),
    (SCALED, {"scaling": {"maxReplicas": 5}}, "its workers follow its work (0 to 5)"),
    ({"replicas": 1}, SCALED, "its workers follow its work (0 to 3)"),
    (SCALED, {"replicas": 1}, "it stays at 1 worker"),
    ({"replicas": 1}, {"replicas": 3}, "it goes from 1 to 3 workers"),
    ({"replicas": 1, "scaling": {"mode": "Advise"}}, {"replicas": 2}, "it goes from 1 to 2 workers"),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHANGES)
def test_who_decides_on_workers(before: dict[str, Any] | None, after: dict[str, Any], expected: str) -> None:
    kept = {name: value for name, value in load("pool")[0]["spec"].items() if name not in {"replicas", "scaling"}}
    told = effects("WorkerPool", "etl", None if before is None else kept | before, kept | after)
    assert expected in told


def test_replicas_without_a_say_are_no_change() -> None:
    kept = load("pool")[0]["spec"] | SCALED
    assert effects("WorkerPool", "etl", kept | {"replicas": 1}, kept | {"replicas": 4}) == ()
