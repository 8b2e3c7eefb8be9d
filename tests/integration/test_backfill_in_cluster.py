"""A backfill as a person asks for it in a cluster: kubectl, the operator and a worker behind it."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from tests.support.fixtures import Database
from tests.support.operator_world import Manifest, World, pipeline, pool
from tests.support.plugin import Terminal
from tests.support.pods import running_pod


def manifests(landing: Path, database: Database) -> tuple[Manifest, ...]:
    """A Secret, a pool, and a daily pipeline of a file a day."""
    dsn = base64.b64encode(database.dsn.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": {"dsn": dsn}}
    connections = [
        {"name": "landing", "files": {"url": f"file://{landing}/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    files = {"path": "{run_time:%Y-%m-%d}.csv", "format": {"csv": {}}}
    source = {
        "name": "raw",
        "connection": "landing",
        "files": files,
        "columns": [{"name": "id", "type": "int32"}],
    }
    sink = {"name": "out", "input": "raw", "connection": "warehouse", "writeDisposition": "Append"}
    sinks = [{**sink, "postgres": {"table": "public.flights"}}]
    daily = pipeline("flights", "0 0 * * *", sources=[source], steps=[], sinks=sinks, suspend=True)
    return secret, pool(connections=connections), daily


def test_asked_for_refused_and_done(world: World, database: Database, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    for day in range(1, 32):
        if day != 13:
            (landing / f"2026-01-{day:02}.csv").write_text(f"id\n{day}\n")
    world.apply(*manifests(landing, database))
    world.until(lambda: world.get("deployment", "etl-worker"), "the pool's Deployment")
    terminal = Terminal.of(world.api, world.namespace, tmp_path)
    asked = ("backfill", "flights", "--start", "2026-01-01", "--end", "2026-02-01")

    wrong = terminal.types("tidemill", *asked, "--every", "1d", "--name", "wrong")
    assert wrong.returncode == 0
    refused = world.wait("DataPipelineRun", "wrong", "False", "InvalidSpec")
    assert "spec.backfill.every: the times are those of the pipeline's schedule" in refused["message"]
    no_day = terminal.types("tidemill", "backfill", "flights", "--start", "soon", "--end", "2026-02-01")
    assert (no_day.returncode, "--start soon: write a day" in no_day.stderr) == (1, True)

    folder = tmp_path / "pods"
    folder.mkdir()
    with running_pod(world.api, world.namespace, "etl-worker", folder):
        first = terminal.sees(
            *asked, "--concurrency", "4", "--name", "flights-january", "--wait", "--timeout", "90", ends=3
        )
        assert first["items"][0]["rowsLoaded"] == 30
        told = world.get("DataPipelineRun", "flights-january")["status"]
        assert told["backfill"] == {
            "total": 31,
            "succeeded": 30,
            "failed": 1,
            "skipped": 0,
            "running": 0,
            "failedKeys": ["2026-01-13T00:00:00Z"],
        }
        shown = world.kubectl("get", "dplrun", "flights-january", "-o", "jsonpath={.status.backfill}")
        assert json.loads(shown) == told["backfill"]
        assert "1 of 31 runs failed, first 2026-01-13T00:00:00Z: SourceMissing" in str(told["conditions"])
        described = terminal.tidemill("describe", "flights-january")
        assert "Backfill: 31 runs: 30 succeeded, 1 failed" in described

        (landing / "2026-01-13.csv").write_text("id\n13\n")
        again = terminal.tidemill(*asked, "--reprocess", "Failed", "--wait", "--timeout", "90")
        assert "Succeeded: 1 row loaded, 0 rejected" in again

    assert database.query("SELECT count(*), count(DISTINCT id) FROM public.flights") == [["31", "31"]]
