"""What contracts come to, as runs tell it: tables that were altered, also by a run that fails; values that are NULL."""

from __future__ import annotations

from typing import Any

from tests.support.fixtures import unique
from tests.support.worker import Runs


async def test_what_a_run_alters_and_nulls_is_told(worker_runs: Runs) -> None:
    pool, name = worker_runs.pool, unique("p")
    folder = pool.landing / name
    folder.mkdir()
    table = f"public.{name}"
    source = {
        "name": "raw",
        "connection": "landing",
        "files": {"path": f"{name}/*.csv", "format": {"csv": {}}},
        "columns": [{"name": "id", "type": "int64"}, {"name": "n", "type": "int16"}],
        "contract": {"newColumns": "Add", "badValues": "SetNull", "widerTypes": "Widen"},
    }
    sink = {
        "name": "out",
        "input": "raw",
        "connection": "warehouse",
        "postgres": {"table": table},
        "writeDisposition": "Append",
    }
    spec: dict[str, Any] = {
        "workerPoolRef": {"name": "etl"},
        "sources": [source],
        "sinks": [sink],
        "execution": {"chunk": {"maxBytes": "32"}},
    }
    pool.database.query(f"CREATE TABLE {table} (id integer, n smallint)")
    (folder / "a.csv").write_text("id,n\n1,1\n2,two\n3,3.5\n4,4,4\n")
    first = await worker_runs.run(spec, pipeline=name)
    assert first.error is None
    assert first.schema_changes == (
        f"sink out: id of {table} is bigint now, and was integer (the table was written anew)",
    )
    (count,) = first.steps
    assert (count.rows_in, count.rows_out, count.rejected, count.nulled) == (4, 3, 1, {"n": 2})
    kept = f"SELECT nulled FROM tidemill.run_steps WHERE pipeline = '{name}'"
    assert pool.database.query(kept) == [['{"n": 2}']]
    assert pool.database.query(f"SELECT id, n FROM {table} ORDER BY id") == [["1", "1"], ["2", ""], ["3", ""]]

    # A run that fails after it has altered the table tells that too.
    pool.database.query(f"ALTER TABLE {table} ADD CONSTRAINT few CHECK (id < 9)")
    (folder / "a.csv").write_text("id,n,at\n9,9,2026-01-31\n")
    failed = await worker_runs.run(spec, pipeline=name)
    assert failed.error is not None
    assert (failed.error.type, failed.schema_changes) == (
        "SinkRefused",
        ("source raw: at is new (date)", f"sink out: {table} has the column at (date) now"),
    )
