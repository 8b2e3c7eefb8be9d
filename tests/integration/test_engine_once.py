"""A load that is killed, repeated, duplicated or overtaken leaves exactly the rows of one clean load."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.engine import RUN, Letters, World, database_pool, execution, result, spec_of
from tests.support.fixtures import Database
from tests.support.waiting import until_async
from tidemill_api.contract import SinkCount
from tidemill_api.errors import ConfigError, Fenced, PostgresUnavailable, SinkRefused
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_worker import engine
from tidemill_worker.connections import zombies
from tidemill_worker.engine import RunRef
from tidemill_worker.engine.postgres.move import move
from tidemill_worker.engine.postgres.writer import Writer

COLUMNS = [{"name": "id", "type": "int32"}, {"name": "name", "type": "string"}]
DISPOSITIONS: dict[str, dict[str, Any]] = {
    "Append": {"writeDisposition": "Append"},
    "Merge": {"writeDisposition": "Merge", "primaryKey": ["id"]},
    "Replace": {"writeDisposition": "Replace"},
    "AtEnd": {"writeDisposition": "Append", "commit": "AtEnd"},
    "InsertOnly": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "InsertOnly"},
    "DeleteInsert": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "DeleteInsert"},
    "SCD2": {"writeDisposition": "Merge", "primaryKey": ["id"], "mergeStrategy": "SCD2"},
    "Swap": {"writeDisposition": "Replace", "replaceStrategy": "Swap"},
    "Partitions": {"writeDisposition": "Replace", "partitionBy": ["id"]},
}
HELD_BACK = [name for name in DISPOSITIONS if name != "Append"]
ROWS = [(index, f"n{index}") for index in range(40)]


@pytest.fixture
async def world(migrated: Database, tmp_path: Path) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    made = World(tmp_path, pool)
    made.write("a.csv", "id,name\n" + "".join(f"{number},{name}\n" for number, name in ROWS) + "bad,row\n")
    yield made
    pool.terminate()


def pipeline(disposition: str, size: str = "64") -> DataPipelineSpec:
    return spec_of(source={"columns": COLUMNS}, sink=DISPOSITIONS[disposition], execution={"chunk": {"maxBytes": size}})


async def rows(world: World) -> list[tuple[Any, ...]]:
    return await world.fetch("SELECT id, name FROM public.out ORDER BY id, name")


async def cut(world: World) -> None:
    """End all connections of the database but the one that does it."""
    await world.pool.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


def before(method: str) -> Callable[[pytest.MonkeyPatch, Callable[[Writer], Awaitable[None]]], None]:
    """Do something with a writer each time before `method` of it is called."""

    def patch(monkeypatch: pytest.MonkeyPatch, do: Callable[[Writer], Awaitable[None]]) -> None:
        original = getattr(Writer, method)

        async def replaced(self: Writer, *args: Any, **options: Any) -> Any:
            await do(self)
            return await original(self, *args, **options)

        monkeypatch.setattr(Writer, method, replaced)

    return patch


def after_commit(monkeypatch: pytest.MonkeyPatch, do: Callable[[Writer], Awaitable[None]]) -> None:
    """The commit has happened, but its answer is lost."""
    original = Writer.commit

    async def replaced(self: Writer, *args: Any, **options: Any) -> Any:
        await original(self, *args, **options)
        await do(self)
        raise PostgresUnavailable("the connection broke while the answer was awaited")

    monkeypatch.setattr(Writer, "commit", replaced)


POINTS = {
    "before the COPY": before("begin"),
    "before rows are handed over": before("put"),
    "after all rows are handed over": before("sent"),
    "before the commit": before("commit"),
    "after the commit": after_commit,
}


@pytest.mark.parametrize("disposition", DISPOSITIONS)
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("size", ["64", "1Mi"])
async def test_killed_at_any_point_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, disposition: str, point: str, size: str
) -> None:
    spec = pipeline(disposition, size)
    chunks = await world.plan(spec)
    broken = 0

    async def break_once(_writer: Writer) -> None:
        nonlocal broken
        broken += 1
        await cut(world)

    with monkeypatch.context() as patched:
        POINTS[point](patched, break_once)
        # Before the COPY nothing is lost yet: the pool makes its connections anew.
        expected = contextlib.nullcontext() if point == "before the COPY" else pytest.raises(PostgresUnavailable)
        with expected:
            await world.load(spec, chunks[0], chunks)
    assert broken
    outcomes = [await world.load(spec, chunk, chunks) for chunk in reversed(chunks)]
    ended = [await engine.publish(spec, execution(1), sink, chunks, world) for sink in engine.to_publish(spec, chunks)]
    published = [each.count for each in ended]
    assert await rows(world) == ROWS
    done = result(outcomes, published)
    assert done.steps["raw"] == (41, 40, 1, 0)
    assert done.sinks["out"].rows == 40
    assert len(world.letters.all()) == 1


@pytest.mark.parametrize("disposition", DISPOSITIONS)
async def test_two_attempts_of_a_chunk_at_once(world: World, disposition: str) -> None:
    spec = pipeline(disposition, "1Mi")
    chunks = await world.plan(spec)
    outcomes = await asyncio.gather(*(world.load(spec, chunks[0], chunks) for _ in range(4)), return_exceptions=True)
    good = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert all(isinstance(outcome, PostgresUnavailable) for outcome in outcomes if isinstance(outcome, BaseException))
    assert good
    assert all(outcome == good[0] for outcome in good)
    assert await rows(world) == ROWS


@pytest.mark.parametrize("disposition", DISPOSITIONS)
async def test_an_execution_that_was_overtaken_commits_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, disposition: str
) -> None:
    spec = pipeline(disposition, "1Mi")
    chunks = await world.plan(spec)

    async def overtake(_writer: Writer) -> None:
        await engine.claim(spec, execution(2), world)

    with monkeypatch.context() as patched:
        before("commit")(patched, overtake)
        with pytest.raises(Fenced, match="execution 2 has taken over"):
            await world.load(spec, chunks[0], chunks)
    assert await rows(world) == []
    with pytest.raises(Fenced):
        await world.load(spec, chunks[0], chunks)
    with pytest.raises(Fenced):
        await engine.claim(spec, execution(1), world)
    await world.run(spec, execution(2))
    assert await rows(world) == ROWS


async def test_a_claim_waits_for_a_transaction_that_is_about_to_commit(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = pipeline("Append", "1Mi")
    chunks = await world.plan(spec)
    claims: list[asyncio.Task[None]] = []
    original = Writer._moved

    async def claim_meanwhile(self: Writer) -> Any:
        claims.append(asyncio.create_task(engine.claim(spec, execution(2), world)))
        await _until_waiting(world)
        return await original(self)

    with monkeypatch.context() as patched:
        patched.setattr(Writer, "_moved", claim_meanwhile)
        await world.load(spec, chunks[0], chunks)
    await claims[0]
    assert await rows(world) == ROWS
    await world.run(spec, execution(2))
    assert await rows(world) == ROWS


async def _until_waiting(world: World) -> None:
    """Until some session of the database waits for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    await until_async(lambda: world.pool.fetchval(waiting), "a session that waits for a lock")


@pytest.mark.parametrize("disposition", HELD_BACK)
async def test_nothing_is_seen_before_the_run_is_whole(world: World, disposition: str) -> None:
    spec = pipeline(disposition)
    chunks = await world.plan(spec)
    assert len(chunks) > 2
    for chunk in chunks[:-1]:
        await world.load(spec, chunk, chunks)
    assert await rows(world) == []
    with pytest.raises(SinkRefused, match="have not been staged"):
        await engine.publish(spec, execution(1), "out", chunks, world)
    await world.load(spec, chunks[-1], chunks)
    first = await engine.publish(spec, execution(1), "out", chunks, world)
    assert await engine.publish(spec, execution(1), "out", chunks, world) == first
    assert await rows(world) == ROWS
    await engine.clean(spec, execution(1), world)
    assert await world.fetch("SELECT count(*) FROM pg_class WHERE relname LIKE 's\\_%'") == [(0,)]


def around_moving(monkeypatch: pytest.MonkeyPatch, world: World, point: str) -> None:
    """Break the publishing before its rows are moved, before its commit, or after that."""

    async def replaced(*args: Any) -> SinkCount:
        if point == "before":
            await cut(world)
        count = await move(*args)
        if point == "within":
            await cut(world)
        return count

    monkeypatch.setattr("tidemill_worker.engine.postgres.publish.move", replaced)


async def test_a_second_attempt_at_publishing_waits_for_one_that_works(
    world: World, migrated: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has lost Temporal but not Postgres goes on: what took it minutes isn't thrown away."""
    monkeypatch.setattr(zombies, "PATIENCE", 0.1)
    spec = pipeline("Merge")
    chunks = await world.plan(spec)
    for chunk in chunks:
        await world.load(spec, chunk, chunks)
    await world.pool.execute(
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(2); RETURN NULL; END';"
        "CREATE TRIGGER slow AFTER INSERT ON public.out EXECUTE FUNCTION slow()"
    )
    async with asyncpg.create_pool(
        migrated.dsn, min_size=0, server_settings={"application_name": "tidemill", "timezone": "UTC"}
    ) as ours:
        world.pool, before = ours, world.pool
        first = asyncio.create_task(engine.publish(spec, RUN, "out", chunks, world))
        await until_async(
            lambda: before.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
            ),
            "the first attempt to be at work",
        )

        second = await engine.publish(spec, RUN, "out", chunks, world)

        assert await first == second
        world.pool = before
    assert await rows(world) == ROWS


@pytest.mark.parametrize("disposition", HELD_BACK)
@pytest.mark.parametrize("point", ["before", "within", "after"])
async def test_publishing_is_killed_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, disposition: str, point: str
) -> None:
    spec = pipeline(disposition)
    chunks = await world.plan(spec)
    for chunk in chunks:
        await world.load(spec, chunk, chunks)
    if point == "after":  # its answer is lost
        await engine.publish(spec, execution(1), "out", chunks, world)
    else:
        with monkeypatch.context() as patched:
            around_moving(patched, world, point)
            with pytest.raises(PostgresUnavailable):
                await engine.publish(spec, execution(1), "out", chunks, world)
        assert await rows(world) == []
    count = (await engine.publish(spec, execution(1), "out", chunks, world)).count
    assert (count.rows, count.inserted) == (40, 40)
    assert await rows(world) == ROWS


@pytest.mark.parametrize("disposition", HELD_BACK)
@pytest.mark.parametrize("size", ["64", "1Mi"])
async def test_a_key_that_was_published_and_is_processed_again(world: World, disposition: str, size: str) -> None:
    spec = pipeline(disposition, size)
    await world.run(spec)
    before = await world.fetch("SELECT * FROM public.out ORDER BY id")
    again = await world.run(spec, execution(2))
    assert again.sinks["out"].rows == 40
    assert await world.fetch("SELECT * FROM public.out ORDER BY id") == before


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keys=st.lists(st.integers(0, 8), min_size=2, max_size=40),
    size=st.sampled_from(["16", "40", "200", "1Mi"]),
    order=st.randoms(use_true_random=False),
    disposition=st.sampled_from(sorted(DISPOSITIONS)),
)
async def test_any_split_and_any_order_give_the_same_rows(
    migrated: Database,
    tmp_path_factory: pytest.TempPathFactory,
    keys: list[int],
    size: str,
    order: random.Random,
    disposition: str,
) -> None:
    pool = await database_pool(migrated.dsn)
    try:
        await pool.execute(
            "DROP TABLE IF EXISTS public.out; "
            "TRUNCATE tidemill.ledger, tidemill.fence, tidemill.published, tidemill.partitions"
        )
        world = World(tmp_path_factory.mktemp("split"), pool)
        content = "".join(f'{key},"v{place}\n{place}"\n' if place % 7 else "bad\n" for place, key in enumerate(keys))
        world.write("a.csv", "id,name\n" + content)
        spec = pipeline(disposition, size)
        chunks = await world.plan(spec)
        tries = [*chunks, *order.choices(chunks, k=3)]
        order.shuffle(tries)
        outcomes = {chunk.index: await world.load(spec, chunk, chunks) for chunk in tries}
        for sink in engine.to_publish(spec, chunks):
            await engine.publish(spec, execution(1), sink, chunks, world)
        read = [(key, f"v{place}\n{place}") for place, key in enumerate(keys) if place % 7]
        merged = DISPOSITIONS[disposition]["writeDisposition"] == "Merge"
        assert await rows(world) == sorted(dict(read).items() if merged else read)
        steps = result(list(outcomes.values())).steps
        assert steps["raw"] == (len(keys), len(read), len(keys) - len(read), 0)
        assert len(world.letters.all()) == len(keys) - len(read)
    finally:
        await pool.close()


async def test_an_outage_is_an_outage_and_never_a_dead_letter(migrated: Database, tmp_path: Path) -> None:
    pool = await database_pool(migrated.dsn)
    world = World(tmp_path, pool)
    world.write("a.csv", "id,name\n1,x\n")
    spec = pipeline("Append")
    chunks = await world.plan(spec)
    gone = await asyncpg.create_pool("postgresql://nobody:x@127.0.0.1:1/none", min_size=0)
    with pytest.raises(PostgresUnavailable):
        await World(tmp_path, gone, world.letters).load(spec, chunks[0], chunks)
    assert world.letters.all() == []
    pool.terminate()
    gone.terminate()


class PooledLetters(Letters):
    """Needs a connection of the same pool, as the metastore does when it is the warehouse."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        super().__init__()
        self.pool = pool

    async def write(self, run: RunRef, letters: pa.Table) -> None:
        await self.pool.execute("SELECT 1")
        await super().write(run, letters)


async def test_many_chunks_share_a_small_pool(migrated: Database, tmp_path: Path) -> None:
    pool = await database_pool(migrated.dsn, max_size=3)
    world = World(tmp_path, pool, PooledLetters(pool))
    for number in range(6):
        world.write(
            f"{number}.csv", "id,name\n" + "".join(f"{number * 100 + row},x\n" for row in range(50)) + "bad,x\n"
        )
    twice = [sink_of("out"), sink_of("other")]
    spec = spec_of(source={"columns": COLUMNS}, sinks=twice)
    chunks = await world.plan(spec)
    async with asyncio.timeout(60):
        await asyncio.gather(*(world.load(spec, chunk, chunks) for chunk in chunks))
    assert await world.fetch("SELECT count(*), (SELECT count(*) FROM public.other) FROM public.out") == [(300, 300)]
    too_many = spec_of(source={"columns": COLUMNS}, sinks=[*twice, sink_of("third")])
    chunks = await world.plan(too_many, execution(1, replace(RUN, run_key="other")))
    with pytest.raises(ConfigError, match="needs 4 connections"):
        await world.load(too_many, chunks[0], chunks, execution(1, replace(RUN, run_key="other")))
    pool.terminate()


def sink_of(name: str) -> dict[str, Any]:
    """An Append sink into a table of its name."""
    return spec_of().sinks[0].to_json() | {"name": name, "postgres": {"table": f"public.{name}"}}
