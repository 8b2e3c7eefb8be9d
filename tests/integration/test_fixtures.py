"""The fixtures give each test something of its own on a real component."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
import pytest
import redis.asyncio
from temporalio import workflow
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.support.fixtures import Database
from tests.support.kubernetes import ApiServer
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_cli.dev.components.temporal import TemporalServer


async def test_a_database(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        assert await connection.fetchval("SELECT current_database()") == database.name
        assert int(await connection.fetchval("SHOW server_version_num")) >= 180000
        await connection.execute("CREATE TABLE rows (id int, name text)")
        await connection.execute("INSERT INTO rows VALUES (1, 'a,b'), (2, NULL)")
    finally:
        await connection.close()
    assert database.query("SELECT * FROM rows ORDER BY id") == [["1", "a,b"], ["2", ""]]


def test_sql_that_fails_fails_the_test(database: Database) -> None:
    with pytest.raises(AssertionError, match='relation "absent" does not exist'):
        database.query("SELECT * FROM absent")


def test_a_kubernetes_namespace(apiserver: ApiServer, namespace: str) -> None:
    apiserver.kubectl("create", "configmap", "settings", "--from-literal=a=1", "-n", namespace)
    shown = apiserver.kubectl("get", "configmap", "settings", "-n", namespace, "-o", "jsonpath={.data.a}")
    assert shown.stdout == "1"


def test_kubectl_that_fails_fails_the_test(apiserver: ApiServer) -> None:
    with pytest.raises(AssertionError, match='namespaces "absent" not found'):
        apiserver.kubectl("get", "namespace", "absent")


def test_a_user_may_do_only_what_rbac_grants(apiserver: ApiServer, namespace: str) -> None:
    author = apiserver.as_user("author", "authors")
    refused = apiserver.kubectl("get", "secrets", "-n", namespace, check=False, kubeconfig=author)
    assert refused.returncode != 0
    assert 'User "author" cannot list resource "secrets"' in refused.stderr


async def test_a_redis(redis_server: RedisServer) -> None:
    async with redis.asyncio.from_url(redis_server.url) as client:
        assert await client.ping()


async def test_a_temporal_namespace(temporal_server: TemporalServer, temporal_namespace: str) -> None:
    client = await Client.connect(temporal_server.address, namespace=temporal_namespace)
    handle = await client.start_workflow("Anything", id="one", task_queue="nobody")
    assert (await handle.describe()).id == "one"


@workflow.defn(sandboxed=False)
class Sleeper:
    """Waits for a day."""

    @workflow.run
    async def run(self) -> float:
        began = workflow.now()
        await workflow.sleep(timedelta(days=1))
        return (workflow.now() - began).total_seconds()


async def test_time_that_skips(time_skipping: WorkflowEnvironment) -> None:
    async with Worker(time_skipping.client, task_queue="q", workflows=[Sleeper]):
        slept = await time_skipping.client.execute_workflow(Sleeper.run, id="sleeps", task_queue="q")
    assert slept >= 86_400


def test_our_kinds_are_installed(crds: ApiServer) -> None:
    shown = crds.kubectl("api-resources", "--api-group=tidemill.dev", "-o", "name")
    assert "datapipelines.tidemill.dev" in shown.stdout.split()
