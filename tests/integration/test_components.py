"""The components start, stop, continue their state, clean up after crashes and say what to do when they can't."""

from __future__ import annotations

import asyncpg

from tests.support.fixtures import Database
from tests.support.kubernetes import ApiServer


async def test_each_test_has_a_database_of_its_own(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        assert await connection.fetchval("SELECT current_database()") == database.name
        assert int(await connection.fetchval("SHOW server_version_num")) >= 180000
        await connection.execute("CREATE TABLE rows (id int, name text)")
        await connection.execute("INSERT INTO rows VALUES (1, 'a,b'), (2, NULL)")
    finally:
        await connection.close()
    assert database.query("SELECT * FROM rows ORDER BY id") == [["1", "a,b"], ["2", ""]]


def test_each_test_has_a_kubernetes_namespace_of_its_own(apiserver: ApiServer, namespace: str) -> None:
    apiserver.kubectl("create", "configmap", "settings", "--from-literal=a=1", "-n", namespace)
    shown = apiserver.kubectl("get", "configmap", "settings", "-n", namespace, "-o", "jsonpath={.data.a}")
    assert shown.stdout == "1"


def test_a_user_may_do_only_what_rbac_grants(apiserver: ApiServer, namespace: str) -> None:
    author = apiserver.as_user("author", "authors")
    refused = apiserver.kubectl("get", "secrets", "-n", namespace, check=False, kubeconfig=author)
    assert refused.returncode != 0
    assert 'User "author" cannot list resource "secrets"' in refused.stderr
