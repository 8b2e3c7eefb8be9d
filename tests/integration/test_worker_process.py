"""The worker process: what it waits for, what it refuses, what it answers, how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import Database
from tests.support.worker import Pool, WorkerProcess, eventually
from tidemill_cli.dev.components import ports
from tidemill_worker.migrations import HEAD


async def waits_for(worker: WorkerProcess, words: str) -> None:
    """Until `/readyz` says so."""
    await eventually(lambda: words in worker.get("/readyz")[1])
    assert worker.get("/readyz")[0] == 503
    assert worker.get("/healthz") == (200, "ok\n")
    assert worker.child.poll() is None


def test_ready_answers_and_ends_well(pool: Pool, database: Database) -> None:
    pool.database = database  # an empty one: this worker makes its tables itself
    worker = pool.start()

    assert worker.get("/healthz") == (200, "ok\n")
    assert worker.get("/nothing")[0] == 404
    status, metrics = worker.get("/metrics")
    assert status == 200
    assert 'tidemill_worker_chunks_open{pool="etl",pool_namespace="travel"} 0.0' in metrics
    assert pool.database.query("SELECT version_num FROM tidemill.alembic_version") == [[HEAD]]
    assert worker.stop() == 0
    assert pool.database.server.password not in worker.log.read_text()


async def test_a_secret_that_is_not_there_yet_is_waited_for(pool: Pool) -> None:
    pool.write()
    (pool.secrets / "warehouse" / "dsn").unlink()
    worker = pool.start(ready=False)

    await waits_for(worker, "Secret warehouse has no key dsn here yet")
    pool.write_secret(pool.database.dsn)
    worker.until_ready()

    assert worker.stop() == 0


@pytest.mark.parametrize("away", ["temporal", "postgres"])
async def test_what_is_away_is_waited_for_and_sigterm_ends_the_waiting(pool: Pool, away: str) -> None:
    nobody = ports.free()
    if away == "temporal":
        pool.write(temporal={"address": f"127.0.0.1:{nobody}"})
        words = f"Temporal at 127.0.0.1:{nobody} can't be reached"
    else:
        pool.write()
        pool.write_secret(f"postgresql://u:secret-word@127.0.0.1:{nobody}/d")
        words = "connection warehouse: Postgres can't be reached"
    worker = pool.start(ready=False)

    await waits_for(worker, words)

    assert worker.stop(seconds=15) == 0
    assert "secret-word" not in worker.log.read_text()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"taskQueue": None}, "taskQueue: "),
        ({"concurrency": {"activities": 0}}, "concurrency.activities: "),
        ({"metastore": {"connection": "landing"}}, "metastore.connection: 'landing' must name one of the connections"),
        ({"metastore": {"connection": "nothing"}}, "metastore.connection: 'nothing' must name one of the connections"),
        ({"connections": [{"name": "x"}]}, "exactly one of"),
    ],
)
def test_a_wrong_configuration_is_refused_by_field(pool: Pool, changes: dict[str, Any], words: str) -> None:
    pool.write(**changes)
    worker = pool.start(ready=False)

    assert worker.child.wait(30) == 1
    assert words in worker.log.read_text()


@pytest.mark.parametrize(
    ("content", "words"), [(None, "can't be read"), ("{", "the file: Invalid JSON"), ("[]", "the file: ")]
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "worker.json"
    if content is not None:
        file.write_text(content)

    done = subprocess.run(
        [sys.executable, "-m", "tidemill_worker", "--config", str(file)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert f"{file}: " in done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_it_leaves_its_last_words_for_whoever_looks_at_the_pod(pool: Pool, tmp_path: Path) -> None:
    pool.write(connections=[{"name": "x"}])
    words = tmp_path / "termination-log"
    words.touch()
    worker = pool.start("--termination-log", str(words), ready=False)

    assert worker.child.wait(30) == 1
    assert "exactly one of" in words.read_text()


@pytest.mark.parametrize("dsn", ["no dsn", "mysql://u:secret-word@h/d", "postgresql://u:secret-word@h:port/d"])
def test_a_connection_string_that_is_none(pool: Pool, dsn: str) -> None:
    pool.write()
    pool.write_secret(dsn)
    worker = pool.start(ready=False)

    assert worker.child.wait(30) == 1
    assert "write it like postgresql://" in worker.log.read_text()
    assert "secret-word" not in worker.log.read_text()


@pytest.mark.parametrize("options", [["--grace", "-1"], ["--health-address", "here"], ["--nothing"]])
def test_wrong_usage(options: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tidemill_worker", *options], capture_output=True, text=True, check=False
    )

    assert done.returncode == 2
    assert options[0] in done.stderr


def test_a_database_of_a_newer_version_ends_the_worker(pool: Pool) -> None:
    assert pool.start().stop() == 0
    pool.database.query("UPDATE tidemill.alembic_version SET version_num = '9999'")
    worker = pool.start(ready=False)

    assert worker.child.wait(30) == 1
    assert "9999" in worker.log.read_text()


def test_the_configuration_holds_no_secret(pool: Pool) -> None:
    assert pool.database.server.password not in json.dumps(json.loads(pool.write().read_text()))
