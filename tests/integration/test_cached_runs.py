"""A pool with a cache: what its workers keep of functions and joined tables, and let go when a sink has written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.fixtures import new_database, unique
from tests.support.pipeline import Bench
from tests.support.worker import Pool, runs_on
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_cli.dev.components.temporal import TemporalServer

FUNCTION = """
import logging


def scored(batch):
    logging.getLogger("tests").info("scored is called")
    return batch.rows
"""


@pytest.fixture
def pool(
    tmp_path: Path, postgres_server: PostgresServer, temporal_server: TemporalServer, redis_server: RedisServer
) -> Iterator[Pool]:
    (tmp_path / "kept_scores.py").write_text(FUNCTION)
    with new_database(postgres_server) as database:
        made = Pool(tmp_path / "pool", database, unique("i"), temporal_server)
        made.write_key("cache", "url", redis_server.url)
        made.write(
            python={"allowedEntrypoints": ["kept_scores:*"]},
            cache={"redis": {"url": {"secretKeyRef": {"name": "cache", "key": "url"}}}},
        )
        worker = made.start("--modules", str(tmp_path))
        yield made
        assert worker.stop() == 0, worker.log.read_text()


def reading(here: Bench) -> dict[str, Any]:
    """The pipeline whose rows are scored, and get names of a table."""
    found = here.spec(disposition="Replace")
    names = {"name": "names", "connection": "warehouse", "postgres": {"table": "public.names", "cache": {}}}
    query = "SELECT s.id, n.name FROM scored s LEFT JOIN names n USING (id)"
    found["sources"] = [*found["sources"], names]
    found["steps"] = [
        {"name": "scored", "inputs": ["raw"], "python": {"entrypoint": "kept_scores:scored", "cache": {}}},
        {"name": "named", "inputs": ["scored", "names"], "sql": {"query": query}},
    ]
    found["sinks"][0]["input"] = "named"
    return found


async def test_runs_find_what_earlier_ones_have_kept_until_a_sink_writes_the_table(pool: Pool) -> None:
    async with runs_on(pool) as runs:
        here, names = Bench(runs), Bench(runs)
        here.write("id,month,name\n1,1,x\n")
        pool.database.query("CREATE TABLE public.names (id bigint, month int, name text)")
        pool.database.query("INSERT INTO public.names VALUES (1, 1, 'one')")
        for name in ("new", "unseen"):
            result = await here.run(reading(here))
            assert (result.result, here.query("SELECT id, name FROM {table}")) == ("Succeeded", [["1", "one"]])
            pool.database.query(f"UPDATE public.names SET name = '{name}'")
        assert pool.processes[0].log.read_text().count("scored is called") == 1
        assert (
            'tidemill_worker_cache_lookups_total{outcome="hit",pool="etl",pool_namespace="travel"} 2.0'
            in pool.processes[0].get("/metrics")[1]
        )

        names.write("id,month,name\n1,1,loaded\n")
        writing = names.spec(disposition="Replace")
        writing["sinks"][0]["postgres"] = {"table": "public.names"}
        assert (await names.run(writing)).result == "Succeeded"
        await here.run(reading(here))
        assert here.query("SELECT id, name FROM {table}") == [["1", "loaded"]]
        assert pool.processes[0].log.read_text().count("scored is called") == 1
