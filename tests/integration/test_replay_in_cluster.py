"""From a rejected row to its replay as a person does it in a cluster: kubectl, the operator and a worker behind it."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

from tests.support.fixtures import Database
from tests.support.operator_world import Manifest, World, pipeline, pool
from tests.support.plugin import SCRIPTS, Terminal
from tests.support.pods import running_pod

ROWS = "carrier,flight\nUA,1545\nAA,1141\nB6,0\n"


def manifests(landing: Path, database: Database, least: int) -> tuple[Manifest, ...]:
    """A Secret, a pool, and a pipeline whose flights have numbers of at least `least`."""
    dsn = base64.b64encode(database.dsn.encode()).decode()
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "warehouse"}, "data": {"dsn": dsn}}
    connections = [
        {"name": "landing", "files": {"url": f"file://{landing}/"}},
        {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
    ]
    columns = [{"name": "carrier", "type": "string"}, {"name": "flight", "type": "int32", "required": True}]
    files = {"path": "a.csv", "format": {"csv": {}}}
    source = {"name": "raw", "connection": "landing", "files": files, "columns": columns}
    rules = [{"name": "number", "expression": f"flight >= {least}"}]
    sink = {"name": "out", "input": "valid", "connection": "warehouse", "writeDisposition": "Append"}
    return (
        secret,
        pool(connections=connections),
        pipeline(
            "flights",
            sources=[source],
            steps=[{"name": "valid", "inputs": ["raw"], "validate": {"rules": rules}}],
            sinks=[{**sink, "postgres": {"table": "public.flights"}}],
        ),
    )


def test_rejected_mended_and_replayed(world: World, database: Database, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    landing.mkdir()
    (landing / "a.csv").write_text(ROWS)
    world.apply(*manifests(landing, database, 1))
    world.until(lambda: world.get("deployment", "etl-worker"), "the pool's Deployment")
    terminal = Terminal.of(world.api, world.namespace, tmp_path)
    folder = tmp_path / "pods"
    folder.mkdir()
    with running_pod(world.api, world.namespace, "etl-worker", folder):
        assert "1 rejected" in terminal.tidemill("run", "flights", "--wait", "--timeout", "90")
        again = terminal.sees("rejects", "replay", "flights", "--step", "valid", "--wait", ends=3)
        assert again["items"][0]["rowsRejected"] == 1

        subprocess.run(
            [str(SCRIPTS / "tidemill"), "rejects", "edit", "1", "--set", "flight=17"],
            env={**os.environ, "TIDEMILL_METASTORE_DSN": database.dsn},
            check=True,
        )
        told = terminal.tidemill("rejects", "replay", "flights", "--rule", "number", "--since", "1h", "--wait")

    assert "Succeeded: 1 row loaded, 0 rejected" in told
    assert database.query("SELECT carrier, flight FROM public.flights ORDER BY carrier") == [
        ["AA", "1141"],
        ["B6", "17"],
        ["UA", "1545"],
    ]
    ((status, replayed_by, attempts),) = database.query(
        "SELECT status, replayed_by, attempts FROM tidemill.dead_letters WHERE id = 1"
    )
    assert (status, attempts) == ("Replayed", "2")
    made = world.get("dplrun", replayed_by)
    assert made is not None
    assert made["spec"]["replay"] == {"deadLetters": {"rule": "number", "since": "1h"}}
    refused = terminal.types("tidemill", "rejects", "replay", "flights", "--step", "Bad")
    assert (refused.returncode, "--step" in refused.stderr) == (2, True)
