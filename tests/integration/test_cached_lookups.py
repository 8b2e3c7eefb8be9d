"""Tables that are joined, from the pool's cache: read once by all workers and runs, until they are written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.test_cached_steps import Counts
from tests.support.engine import RUN, World, database_pool, spec_of
from tests.support.fixtures import Database, unique
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_worker.cache import Cache
from tidemill_worker.cache.redis_store import RedisStore
from tidemill_worker.connections.locations import without_password

DECLARED = [{"name": "id", "type": "int32", "required": True}, {"name": "name", "type": "string"}]
WRITTEN = "UPDATE public.names SET name = 'new' WHERE id = 1"


class Joining(World):
    """A world whose database is another one when asked for."""

    user = "etl"

    def identity(self, name: str) -> str:
        return f"{name} by {self.user}"

    async def names(self, spec: DataPipelineSpec) -> list[str | None]:
        """What a run of its own joins."""
        await self.pool.execute("DROP TABLE IF EXISTS public.out")
        await self.run(spec, replace(RUN, run_key=unique()))
        return [name for (name,) in await self.fetch("SELECT name FROM public.out ORDER BY id")]


@pytest.fixture
async def world(migrated: Database, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Joining]:
    pool = await database_pool(migrated.dsn)
    await pool.execute(
        "CREATE TABLE public.names AS SELECT * FROM (VALUES (1, 'one'), (2, 'two'), (NULL, 'no key')) v (id, name); "
        "CREATE VIEW public.shown AS TABLE public.names"
    )
    store = RedisStore(lambda: redis_server.url, unique(), wait=0.2)
    made = Joining(tmp_path, pool, cache=Cache(store, Counts(), lambda: None))
    made.write("a.csv", "id\n1\n2\n9\n")
    yield made
    store.close()
    pool.terminate()


def spec(**settings: Any) -> DataPipelineSpec:
    postgres = {"table": "public.names", "cache": {}, **settings}
    names = {"name": "names", "connection": "warehouse", "postgres": postgres, "columns": DECLARED}
    raw = {"name": "raw", "connection": "landing", "files": {"path": "a.csv", "format": {"csv": {}}}}
    query = "SELECT raw.id, names.name FROM raw LEFT JOIN names USING (id)"
    step = {"name": "named", "inputs": ["raw", "names"], "sql": {"query": query}}
    tolerated = {"errorTolerance": {"maxPercent": 100}}
    return spec_of(sources=[raw, names], steps=[step], sink={"input": "named"}, execution=tolerated)


async def test_a_later_run_finds_the_rows_and_what_was_wrong_with_them(world: Joining) -> None:
    assert await world.names(spec()) == ["one", "two", None]
    first = [(each["row_text"], each["error"]) for each in world.letters.all()]
    world.letters.rows.clear()
    await world.pool.execute(WRITTEN)
    assert await world.names(spec()) == ["one", "two", None]
    assert [(each["row_text"], each["error"]) for each in world.letters.all()] == first
    assert first == [("\\N,no key", "id is required and has no value")]
    assert isinstance(world.cache, Cache)
    assert isinstance(world.cache.told, Counts)
    assert world.cache.told.outcomes == ["miss", "hit"]


async def _moved(world: Joining, tag: str) -> None:
    assert isinstance(world.cache, Cache)
    assert world.cache.move([tag])


async def _other_user(world: Joining, _: str) -> None:
    world.user = "other"


async def _evicted(world: Joining, _: str) -> None:
    assert isinstance(world.cache, Cache)
    assert isinstance(world.cache.store, RedisStore)
    with redis.Redis.from_url(world.cache.store._url()) as client:
        client.delete(*client.scan_iter(f"{world.cache.store._prefix}:*"))


async def _away(world: Joining, _: str) -> None:
    world.cache = Cache(RedisStore(lambda: "redis://127.0.0.1:1/0", "x"), Counts(), lambda: None)


async def _none(world: Joining, _: str) -> None:
    world.cache = None


@pytest.mark.parametrize(
    ("happens", "tag", "settings"),
    [
        (_moved, "table/warehouse/public.names", {}),
        (_moved, "table/rw/public.names", {"cache": {"tables": ["rw/public.names"]}}),
        (_moved, "connection/warehouse", {}),
        (_moved, "source/names", {}),
        (_other_user, "", {}),
        (_evicted, "", {}),
        (_away, "", {}),
        (_none, "", {}),
    ],
)
async def test_they_are_read_anew_when(
    world: Joining, happens: Callable[[Joining, str], Any], tag: str, settings: dict[str, Any]
) -> None:
    wanted = spec(**settings)
    assert await world.names(wanted) == ["one", "two", None]
    await world.pool.execute(WRITTEN)
    await happens(world, tag)
    assert await world.names(wanted) == ["new", "two", None]


async def test_another_table_or_none_to_be_kept_is_read(world: Joining) -> None:
    await world.names(spec())
    await world.pool.execute(WRITTEN)
    assert await world.names(spec(table="public.shown")) == ["new", "two", None]
    assert await world.names(spec(cache=None)) == ["new", "two", None]
    await world.pool.execute("ALTER TABLE public.names RENAME COLUMN name TO title")
    await world.pool.execute("ALTER TABLE public.names ADD COLUMN name text DEFAULT 'added'")
    assert await world.names(spec()) == ["one", "two", None], "the same columns are asked for"


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://etl:s3cret@db:5432/w?sslmode=require", "postgresql://etl@db:5432/w?sslmode=require"),
        ("postgresql://db/w?user=etl&password=s3cret", "postgresql://@db/w?user=etl"),
        ("postgresql://etl:a%40b%3Ac@[::1]:5432/w", "postgresql://etl@[::1]:5432/w"),
    ],
)
def test_a_password_is_no_part_of_who_asks(dsn: str, expected: str) -> None:
    assert without_password(dsn) == expected
