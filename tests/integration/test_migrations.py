"""Our own tables: made once however many workers start; what stands in their way is named."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import asyncpg
import pytest

from tests.support.fixtures import Database, unique
from tidemill_api.errors import ConfigError, PostgresUnavailable
from tidemill_worker.connections import zombies
from tidemill_worker.metastore import Metastore
from tidemill_worker.migrations import HEAD, KNOWN, ensure, upgrade
from tidemill_worker.migrations.upgrade import _script

MIGRATE = """
import asyncio, sys, asyncpg
from tidemill_worker.migrations import ensure
async def main():
    pool = await asyncpg.create_pool(sys.argv[1], min_size=0)
    print("go", flush=True)
    sys.stdin.readline()
    await ensure("warehouse", pool)
    print("alembic" in sys.modules)
asyncio.run(main())
"""


async def migrate(dsn: str) -> None:
    pool = await asyncpg.create_pool(dsn, min_size=0, timeout=5)
    try:
        await ensure("warehouse", pool)
    finally:
        pool.terminate()


def test_many_workers_at_once(database: Database) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", MIGRATE, database.dsn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "go\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()

    for worker in workers:
        worker.communicate(timeout=60)
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    assert database.query("SELECT version_num FROM tidemill.alembic_version") == [[HEAD]]


async def test_a_database_that_is_at_the_newest_version_costs_no_alembic(database: Database) -> None:
    await migrate(database.dsn)

    again = subprocess.run(
        [sys.executable, "-c", MIGRATE, database.dsn], input="\n", capture_output=True, text=True, check=True
    )

    assert again.stdout == "go\nFalse\n"


async def test_every_older_version_is_brought_up(database: Database) -> None:
    """What a first worker made, a newer one extends: here the chain is walked one revision at a time."""
    connection = await asyncpg.connect(database.dsn)
    await connection.execute("CREATE SCHEMA tidemill")
    whole = _script(None)
    await connection.execute(whole[: whole.index(f"-- Running upgrade {KNOWN[0]} -> {KNOWN[1]}")])
    await connection.close()
    assert database.query("SELECT version_num FROM tidemill.alembic_version") == [[KNOWN[0]]]

    await migrate(database.dsn)

    assert database.query("SELECT version_num FROM tidemill.alembic_version") == [[HEAD]]
    assert database.query("SELECT count(*) FROM tidemill.runs") == [["0"]]


async def test_a_worker_that_waits_for_a_migration_lets_it_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even one whose own worker does something else for a while: nobody does its work anew."""
    monkeypatch.setattr(zombies, "PATIENCE", 0.1)
    await migrate(database.dsn)
    settings = {"application_name": "tidemill"}
    async with (
        asyncpg.create_pool(database.dsn, min_size=0, server_settings=settings) as reading,
        asyncpg.create_pool(database.dsn, min_size=0, server_settings=settings) as migrating,
    ):

        async def pool() -> asyncpg.Pool:
            return reading

        async def read() -> int:
            async with Metastore("warehouse", pool).connection() as connection:
                found: int = await connection.fetchval("SELECT count(*) FROM tidemill.runs")
                return found

        waiting: list[asyncio.Task[int]] = []

        async def slow(connection: asyncpg.Connection) -> str:
            await connection.execute("LOCK TABLE tidemill.runs IN ACCESS EXCLUSIVE MODE")
            waiting.append(asyncio.create_task(read()))
            done, _ = await asyncio.wait(waiting, timeout=1)
            assert not done
            return KNOWN[-2]

        monkeypatch.setattr(upgrade, "_version_within", slow)
        monkeypatch.setattr(upgrade, "_script", lambda _: f"UPDATE tidemill.alembic_version SET version_num = '{HEAD}'")
        database.query(f"UPDATE tidemill.alembic_version SET version_num = '{KNOWN[-2]}'")

        await ensure("warehouse", migrating)

        assert await waiting[0] == 0
        assert await migrating.fetchval("SHOW application_name") == "tidemill"
    assert database.query("SELECT version_num FROM tidemill.alembic_version") == [[HEAD]]


async def test_a_newer_version_is_refused(database: Database) -> None:
    await migrate(database.dsn)
    database.query("UPDATE tidemill.alembic_version SET version_num = '9999'")

    with pytest.raises(ConfigError, match=rf"9999.*{HEAD}.*newer worker image"):
        await migrate(database.dsn)


@pytest.mark.parametrize("schema_exists", [False, True])
async def test_missing_rights_are_named(database: Database, *, schema_exists: bool) -> None:
    role = unique("role_")
    database.query(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    if schema_exists:
        await migrate(database.dsn)
    dsn = f"postgresql://{role}:p@127.0.0.1:{database.server.port}/{database.name}"
    grant = (
        f"GRANT USAGE, CREATE ON SCHEMA tidemill TO {role}"
        if schema_exists
        else f"GRANT CREATE ON DATABASE {database.name} TO {role}"
    )
    try:
        with pytest.raises(ConfigError) as caught:
            await migrate(dsn)

        assert grant in str(caught.value)
        for statement in str(caught.value).split(": ", 2)[-1].split("; "):
            if statement.startswith("GRANT"):
                database.query(statement)
        await migrate(dsn)
    finally:
        database.query(f"DROP OWNED BY {role} CASCADE; DROP ROLE {role}")


@pytest.mark.parametrize(
    ("dsn", "error", "words"),
    [
        ("postgresql://tidemill:p@127.0.0.1:1/x", PostgresUnavailable, "warehouse"),
        ("postgresql://tidemill:wrong@127.0.0.1:{port}/{name}", ConfigError, "user or password"),
        ("postgresql://tidemill:{password}@127.0.0.1:{port}/nothing_here", ConfigError, "no such database"),
    ],
)
async def test_what_a_connection_can_lack(database: Database, dsn: str, error: type[Exception], words: str) -> None:
    server = database.server
    with pytest.raises(error, match=words) as caught:
        await migrate(dsn.format(port=server.port, name=database.name, password=server.password))

    assert server.password not in str(caught.value)


async def test_concurrent_callers_of_one_worker(database: Database) -> None:
    await asyncio.gather(*(migrate(database.dsn) for _ in range(3)))

    assert database.query("SELECT count(*) FROM tidemill.alembic_version") == [["1"]]
