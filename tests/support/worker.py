"""A worker of one test: its pool's configuration, its process, and runs on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError

from tests.support.fixtures import Database, new_database, unique
from tidemill_api.contract import RunInput, RunResult
from tidemill_api.names import WORKFLOW, PipelineId, task_queue
from tidemill_cli.dev.components import ports
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.temporal import TemporalServer
from tidemill_codec.converter import encrypting
from tidemill_codec.folder import Keys

_POLL = 0.05


@dataclass
class Pool:
    """A WorkerPool's configuration as files; `landing` is a folder of files, `warehouse` the test's database."""

    folder: Path
    database: Database
    installation: str
    temporal: TemporalServer
    namespace: str = "travel"
    name: str = "etl"
    processes: list[WorkerProcess] = field(default_factory=list["WorkerProcess"])

    @property
    def landing(self) -> Path:
        """The folder of the connection `landing`."""
        return self.folder / "landing"

    @property
    def secrets(self) -> Path:
        """The secrets folder."""
        return self.folder / "secrets"

    @property
    def queue(self) -> str:
        """The task queue."""
        return task_queue(self.installation, self.namespace, self.name)

    def write_secret(self, dsn: str) -> None:
        """Put a DSN where the connection `warehouse` looks for it."""
        self.write_key("warehouse", "dsn", dsn)

    def write_key(self, secret: str, key: str, text: str) -> None:
        """Put a text where a key of a Secret is looked for."""
        file = self.secrets / secret / key
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(file)

    @property
    def connections(self) -> list[dict[str, Any]]:
        """The pool's connections, unless they are replaced."""
        return [
            {"name": "landing", "files": {"url": self.landing.as_uri() + "/"}},
            {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
        ]

    def write(self, **changes: Any) -> Path:
        """The configuration file; `changes` replace its fields."""
        self.landing.mkdir(parents=True, exist_ok=True)
        if not (self.secrets / "warehouse" / "dsn").exists():
            self.write_secret(self.database.dsn)
        config = {
            "installation": self.installation,
            "namespace": self.namespace,
            "pool": self.name,
            "taskQueue": self.queue,
            "temporal": {"address": self.temporal.address},
            "concurrency": {"activities": 4},
            "connections": self.connections,
            "metastore": {"connection": "warehouse"},
        }
        file = self.folder / "worker.json"
        file.write_text(json.dumps(config | changes))
        return file

    def start(self, *options: str, ready: bool = True, environment: Mapping[str, str] | None = None) -> WorkerProcess:
        """A worker process, by default once it is ready."""
        config = self.folder / "worker.json"
        if not config.exists():
            self.write()
        port = ports.free()
        command = [
            *(sys.executable, "-m", "tidemill_worker", "--config", str(config), "--secrets", str(self.secrets)),
            *("--health-address", f"{ports.LOOPBACK}:{port}", *options),
        ]
        log = self.folder / f"worker-{len(self.processes)}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **(environment or {})}
            )
        process = WorkerProcess(child, port, log)
        self.processes.append(process)
        if ready:
            process.until_ready()
        return process


@dataclass
class WorkerProcess:
    """A running `python -m tidemill_worker`."""

    child: subprocess.Popen[bytes]
    port: int
    log: Path

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a health path; status 0 while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{ports.LOOPBACK}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def until_ready(self, seconds: float = 60.0) -> None:
        """Wait until it is ready; fails with its log if it ends."""
        for _ in _patience(seconds):
            if self.get("/readyz")[0] == 200:
                return
            assert self.child.poll() is None, f"the worker ended:\n{self.log.read_text()}"
        raise AssertionError(f"the worker isn't ready:\n{self.log.read_text()}")

    def stop(self, seconds: float = 60.0) -> int:
        """SIGTERM, and its exit code."""
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return self.child.wait(seconds)

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill()
        self.child.wait()


@dataclass
class Runs:
    """Starts runs of pipelines on a pool and waits for what they come to."""

    pool: Pool
    client: Client

    async def start(
        self, spec: Mapping[str, Any], *, key: str | None = None, pipeline: str = "flights", uid: str = "", **order: Any
    ) -> WorkflowHandle[Any, RunResult]:
        """A run by hand, named `key`."""
        name = key or unique("run-")
        run = RunInput(
            installation=self.pool.installation,
            namespace=self.pool.namespace,
            pipeline=pipeline,
            uid=uid or f"{self.pool.installation}-{pipeline}",
            spec=dict(spec),
            run_key=name,
            trigger="Manual",
            **order,
        )
        return await self.client.start_workflow(
            WORKFLOW,
            run,
            id=PipelineId(self.pool.installation, self.pool.namespace, pipeline).workflow(name),
            task_queue=self.pool.queue,
            result_type=RunResult,
        )

    async def result(self, handle: WorkflowHandle[Any, RunResult]) -> RunResult:
        """The run's result, whether it completed or failed."""
        try:
            return await handle.result()
        except WorkflowFailureError as error:
            if isinstance(error.cause, ApplicationError) and error.cause.details:
                return RunResult.model_validate(error.cause.details[0])
            raise

    async def run(self, spec: Mapping[str, Any], **options: Any) -> RunResult:
        """Start a run and wait for its result."""
        return await self.result(await self.start(spec, **options))


@contextlib.asynccontextmanager
async def runs_on(pool: Pool, keys: Keys | None = None) -> AsyncIterator[Runs]:
    """Runs with a client as operator and CLI have it; with `keys` it encrypts."""
    converter = encrypting(pydantic_data_converter, keys, "default")
    client = await Client.connect(pool.temporal.address, data_converter=converter)
    yield Runs(pool, client)


@pytest.fixture
def pool(tmp_path: Path, migrated: Database, installation_id: str, temporal_server: TemporalServer) -> Iterator[Pool]:
    """A pool whose workers end with the test."""
    made = Pool(tmp_path, migrated, installation_id, temporal_server)
    made.landing.mkdir()
    yield made
    for process in made.processes:
        if process.child.poll() is None:
            process.kill()


@pytest.fixture
async def runs(pool: Pool) -> AsyncIterator[Runs]:
    """Runs on the test's pool."""
    async with runs_on(pool) as made:
        yield made


@pytest.fixture(scope="module")
def worker_pool(
    tmp_path_factory: pytest.TempPathFactory,
    postgres_server: PostgresServer,
    migrated_template: str,
    temporal_server: TemporalServer,
) -> Iterator[Pool]:
    """A pool with one worker for all tests of a file: each has its own pipeline, folder and tables."""
    with new_database(postgres_server, migrated_template) as database:
        pool = Pool(tmp_path_factory.mktemp("pool"), database, unique("i"), temporal_server)
        worker = pool.start()
        yield pool
        assert worker.stop() == 0, worker.log.read_text()


@pytest.fixture
async def worker_runs(worker_pool: Pool) -> AsyncIterator[Runs]:
    """Runs on the pool of the test's file."""
    async with runs_on(worker_pool) as made:
        yield made


async def eventually(check: Any, seconds: float = 30.0) -> Any:
    """The first true answer of `check` (a function, or a coroutine function)."""
    async with asyncio.timeout(seconds):
        while True:
            answer = check()
            if asyncio.iscoroutine(answer):
                answer = await answer
            if answer:
                return answer
            await asyncio.sleep(_POLL)


def _patience(seconds: float) -> Iterator[int]:
    import time

    limit = time.monotonic() + seconds
    count = 0
    while time.monotonic() < limit:
        yield count
        count += 1
        time.sleep(_POLL)
