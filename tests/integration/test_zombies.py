"""Transactions that a frozen worker leaves open, and who needs the locks that they hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from tests.support.fixtures import Database
from tidemill_worker.connections import zombies
from tidemill_worker.connections.zombies import end_holders, not_blocked


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool]:
    database.query("CREATE TABLE ledger (part int PRIMARY KEY)")
    made = await asyncpg.create_pool(
        database.dsn, min_size=0, max_size=4, server_settings={"application_name": "tidemill"}
    )
    yield made
    made.terminate()


async def open_transaction(database: Database, name: str = "tidemill") -> asyncpg.Connection:
    """What a zombie holds: a part that is noted and not committed."""
    zombie = await asyncpg.connect(database.dsn, server_settings={"application_name": name})
    await zombie.execute("BEGIN; INSERT INTO ledger VALUES (1)")
    return zombie


async def test_the_next_attempt_ends_the_one_that_blocks_it(
    database: Database, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zombies, "PATIENCE", 0.2)
    zombie = await open_transaction(database)

    async with asyncio.timeout(30), pool.acquire() as connection, not_blocked(pool, connection):
        done = await connection.execute("INSERT INTO ledger VALUES (1) ON CONFLICT DO NOTHING")

    assert done == "INSERT 0 1"
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)):
        await zombie.execute("COMMIT")


async def test_others_sessions_are_left_alone(
    database: Database, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zombies, "PATIENCE", 0.1)
    theirs = await open_transaction(database, "psql")

    async def insert() -> str:
        async with pool.acquire() as connection, not_blocked(pool, connection):
            done: str = await connection.execute("INSERT INTO ledger VALUES (1) ON CONFLICT DO NOTHING")
            return done

    inserting = asyncio.create_task(insert())
    done, _ = await asyncio.wait([inserting], timeout=1)
    assert not done, "it waits for whoever that is"
    await theirs.execute("COMMIT")
    assert await inserting == "INSERT 0 0"
    await theirs.close()


async def test_one_that_works_is_waited_for(
    database: Database, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Merge, say, takes minutes: what matters is whether its client does anything, not how long it takes."""
    monkeypatch.setattr(zombies, "PATIENCE", 0.1)
    at_work = await open_transaction(database)

    async def work() -> None:
        await at_work.execute("SELECT pg_sleep(1.5)")
        await at_work.execute("COMMIT")

    working = asyncio.create_task(work())
    async with asyncio.timeout(30), pool.acquire() as connection, not_blocked(pool, connection):
        done = await connection.execute("INSERT INTO ledger VALUES (1) ON CONFLICT DO NOTHING")

    assert done == "INSERT 0 0"
    await working
    await at_work.close()


@pytest.mark.parametrize("fed", [True, False])
async def test_a_copy_that_goes_on_is_waited_for_and_one_that_stands_still_is_not(
    database: Database, pool: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch, *, fed: bool
) -> None:
    monkeypatch.setattr(zombies, "PATIENCE", 0.3)
    copying = await open_transaction(database)
    database.query("CREATE TABLE rows (text text)")
    blocked = asyncio.Event()

    async def rows() -> AsyncIterator[bytes]:
        while fed and not blocked.is_set():
            yield b"row" * 10_000 + b"\n"
            await asyncio.sleep(0)
        if not fed:
            await blocked.wait()

    async def copy() -> None:
        await copying.copy_to_table("rows", source=rows(), format="text")
        await copying.execute("COMMIT")

    task = asyncio.create_task(copy())
    async with asyncio.timeout(30), pool.acquire() as connection, not_blocked(pool, connection):
        inserting = asyncio.create_task(
            connection.fetchval("INSERT INTO ledger VALUES (1) ON CONFLICT DO NOTHING RETURNING true")
        )
        done, _ = await asyncio.wait([inserting], timeout=2 if fed else 20)
        blocked.set()
        assert bool(done) is not fed
        assert await inserting is (None if fed else True)
    if fed:
        await task
        await copying.close()
    else:
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await task


async def test_a_table_that_only_a_zombie_holds_can_be_dropped(database: Database, pool: asyncpg.Pool) -> None:
    zombie = await open_transaction(database)

    async with asyncio.timeout(30), pool.acquire() as connection:
        await end_holders(connection, "public.ledger")
        await connection.execute("DROP TABLE ledger")
        await end_holders(connection, "public.ledger")
    zombie.terminate()
