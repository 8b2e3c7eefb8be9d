"""Queries that stand in ConfigMaps: in a spec, and for `lint`, `preview`, `test` and `dev`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import tidemill
from tests.support.flights import AIRLINES, FLIGHTS, PIPELINE, POOL, SQL
from tests.unit.test_testing import CASE
from tidemill_check.queries import query_refs, with_queries

QUERY = f"{SQL}\n        WHERE $carrier IN ('', v.carrier)\"}}"
FROM = PIPELINE.replace(
    f'sql: {{query: "{QUERY}', "sql: {queryFrom: {configMapKeyRef: {name: queries, key: named.sql}}}"
)
CONFIG_MAP = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: queries, namespace: travel}}
data:
  named.sql: |
    -- as long as it likes
    {SQL}
    WHERE $carrier IN ('', v.carrier)
"""


def step(**sql: Any) -> dict[str, Any]:
    return {"name": "s", "inputs": ["raw"], "sql": sql}


REF = {"configMapKeyRef": {"name": "m", "key": "k"}}
SPECS: list[tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]]] = [
    ({}, (), {}),
    ({"steps": "x"}, (), {"steps": "x"}),
    (
        {"steps": [1, {"sql": 2}, step(queryFrom={}), step(queryFrom={"configMapKeyRef": {"name": 1, "key": 2}})]},
        (),
        {},
    ),
    ({"steps": [step(query="q")]}, (), {"steps": [step(query="q")]}),
    ({"steps": [step(queryFrom=REF), step(queryFrom=REF)]}, (("m", "k"),), {"steps": [step(query="text")] * 2}),
    (
        {"steps": [step(queryFrom={"configMapKeyRef": {"name": "m", "key": "other"}})]},
        (("m", "other"),),
        {"steps": [step(queryFrom={"configMapKeyRef": {"name": "m", "key": "other"}})]},
    ),
    # Both is wrong, and stays so that it is said.
    ({"steps": [step(query="q", queryFrom=REF)]}, (("m", "k"),), {"steps": [step(query="q", queryFrom=REF)]}),
]


@pytest.mark.parametrize(("spec", "refs", "inlined"), SPECS, ids=str)
def test_texts_come_into_their_places(spec: dict[str, Any], refs: tuple[Any, ...], inlined: dict[str, Any]) -> None:
    assert query_refs(spec) == refs
    assert with_queries(spec, {("m", "k"): "text"}) == (inlined or spec)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pipeline whose query stands in a file behind it."""
    assert FROM != PIPELINE
    (tmp_path / "data").mkdir()
    for name, text in {
        "a-pool.yaml": POOL,
        "flights.yaml": FROM,
        "queries.yaml": CONFIG_MAP,
        "tidemill.dev.yaml": "connections: {landing: {files: data}}\n",
        "data/flights.csv": FLIGHTS,
        "data/airlines.csv": AIRLINES,
        "flights.test.yaml": f"cases:{CASE}",
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_everything_takes_the_text_from_the_manifests_beside_it(folder: Path) -> None:
    lint = tidemill("lint", folder)
    assert (lint.code, lint.out.splitlines()[-1]) == (0, "2 objects in 4 files: no errors")
    assert "named (sql)  3 rows" in tidemill("preview", folder).out
    assert tidemill("test", folder).code == 0
    assert (
        "named (sql)  3 rows"
        in tidemill("preview", "-", "--folder", f"landing={folder}/data", stdin=f"{CONFIG_MAP}---{FROM}").out
    )


def test_what_is_wrong_with_the_text_is_said_of_the_step(folder: Path) -> None:
    wrong = CONFIG_MAP.replace("SELECT v.*", "SELEC v.*")
    (folder / "queries.yaml").write_text(wrong, encoding="utf-8")
    said = tidemill("lint", folder)
    assert said.code == 1
    assert f"{folder}/flights.yaml:28:7: spec.steps[1].sql.query: " in said.out


MISSING = [
    (
        "name: queries,",
        "name: querys,",
        "queryFrom.configMapKeyRef.name: there is no ConfigMap queries of the namespace travel here",
    ),
    ("namespace: travel}", "namespace: other}", "there is no ConfigMap queries of the namespace travel here"),
    (
        "named.sql:",
        "other.sql:",
        "queryFrom.configMapKeyRef.key: the ConfigMap queries has no key named.sql in its data",
    ),
]


@pytest.mark.parametrize(("old", "new", "message"), MISSING)
def test_a_text_that_is_not_here_is_a_note_or_keeps_it_from_running(
    folder: Path, old: str, new: str, message: str
) -> None:
    (folder / "queries.yaml").write_text(CONFIG_MAP.replace(old, new), encoding="utf-8")
    lint = tidemill("lint", folder)
    assert lint.code == 0, lint
    assert message in lint.out
    assert "the query was not checked" in lint.out
    for command, code in (("preview", 1), ("test", 2), ("dev", 1)):
        said = tidemill(command, folder)
        assert said.code == code
        assert message in said.err
