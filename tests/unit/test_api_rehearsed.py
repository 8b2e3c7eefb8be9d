"""An API in `preview` and `test`: its rows come from a file, or stand in the case."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.commands import tidemill

PIPELINE = """
apiVersion: tidemill.dev/v1alpha1
kind: DataPipeline
metadata: {name: issues, namespace: travel}
spec:
  workerPoolRef: {name: etl}
  sources:
    - name: issues
      connection: tracker
      http: {path: issues, rows: "data", paging: {link: {}}}
      columns: [{name: id, type: int64, required: true}, {name: name, from: title, type: string}]
  sinks:
    - {name: out, input: issues, connection: warehouse, postgres: {table: public.issues}, writeDisposition: Append}
"""
CASES = """
cases:
  - name: titles are names
    sources:
      issues: {rows: [{id: 1, name: one}, {id: x, name: bad}]}
    expect:
      outputs: {issues: {rows: [{id: 1, name: one}]}}
      rejects: [{step: issues, reason: BadValue}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text(PIPELINE, encoding="utf-8")
    return tmp_path


def test_preview_reads_the_rows_that_it_is_given(folder: Path) -> None:
    said = tidemill("preview", folder)
    assert said.code == 1
    assert "an API isn't asked here; say --source issues=FILE, with its rows as one JSON array" in said.out + said.err
    rows = folder / "rows.json"
    rows.write_text(json.dumps([{"id": 1, "title": "one"}, {"id": "x"}]), encoding="utf-8")
    said = tidemill("preview", "-o", "json", folder, "--source", f"issues={rows}")
    assert said.code == 0, said
    (node,) = json.loads(said.out)["nodes"]
    assert node["rows"] == [{"id": 1, "name": "one"}]
    assert len(node["rejects"]) == 1


def test_a_case_gives_rows(folder: Path) -> None:
    (folder / "issues.test.yaml").write_text(CASES, encoding="utf-8")
    said = tidemill("test", folder)
    assert (said.code, said.out.splitlines()[-1]) == (0, "1 case: 1 passed, 0 failed"), said
