"""An API in runs of a worker: its Secret, its cache, its dead letters and their replay."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.support.fixtures import unique
from tests.support.web_server import Asked, Reply, WebServer, as_json
from tests.support.worker import Pool, Runs, WorkerProcess, runs_on
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_worker.cache.opening import prefix
from tidemill_worker.cache.redis_store import RedisStore

TOKEN = "Bearer s3cret-t0ken"


@pytest.fixture
def server() -> Iterator[WebServer]:
    with WebServer().running() as made:
        yield made


@pytest.fixture
def worker(pool: Pool, server: WebServer, redis_server: RedisServer) -> Iterator[WorkerProcess]:
    for name, key, value in (("tracker", "Authorization", TOKEN), ("cache", "url", redis_server.url)):
        (pool.secrets / name).mkdir(parents=True)
        (pool.secrets / name / key).write_text(value)
    pool.write(
        connections=[
            {"name": "warehouse", "postgres": {"dsn": {"secretKeyRef": {"name": "warehouse", "key": "dsn"}}}},
            {"name": "tracker", "http": {"url": server.url, "headersFrom": {"secretRef": {"name": "tracker"}}}},
        ],
        cache={"redis": {"url": {"secretKeyRef": {"name": "cache", "key": "url"}}}},
    )
    process = pool.start()
    yield process
    assert process.stop() == 0, process.log.read_text()


@pytest.fixture
async def runs(pool: Pool, worker: WorkerProcess) -> AsyncIterator[Runs]:
    del worker
    async with runs_on(pool) as made:
        yield made


SPEC: dict[str, Any] = {
    "workerPoolRef": {"name": "etl"},
    "sources": [
        {
            "name": "issues",
            "connection": "tracker",
            "http": {"path": "issues", "paging": {"page": {}}, "cache": {}},
            "columns": [{"name": "id", "type": "int64", "required": True}, {"name": "title", "type": "string"}],
            "contract": {"badValues": "DeadLetter"},
        }
    ],
    "sinks": [
        {
            "name": "issues",
            "input": "issues",
            "connection": "warehouse",
            "postgres": {"table": "public.issues"},
            "writeDisposition": "Merge",
            "primaryKey": ["id"],
        }
    ],
    "execution": {"errorTolerance": {"maxPercent": 50}, "retry": {"initialInterval": "10ms", "maximumAttempts": 3}},
}


async def test_a_run_a_second_one_from_the_cache_and_a_replay(
    pool: Pool, runs: Runs, worker: WorkerProcess, server: WebServer, redis_server: RedisServer
) -> None:
    pages = {"1": [{"id": 1, "title": "one"}, {"id": "x", "title": "bad"}], "2": [{"id": 3, "title": "three"}]}

    def answer(asked: Asked) -> Reply:
        allowed = asked.headers.get("authorization") == TOKEN
        return as_json(pages.get(asked.query["page"], [])) if allowed else Reply(status=401)

    server.serve("/issues", answer)
    server.trouble["/issues"].append(Reply(status=429, headers={"Retry-After": "0"}))
    first = await runs.run(SPEC)
    assert (first.result, first.rows_read, first.rows_loaded, first.rows_rejected) == ("Succeeded", 3, 2, 1)
    assert pool.database.query("SELECT file, line, row_text FROM tidemill.dead_letters") == [
        ["issues?page=1", "2", '{"id": "x", "title": "bad"}']
    ]
    asked = len(server.asked)
    second = await runs.run(SPEC)
    assert (second.result, second.rows_loaded, len(server.asked)) == ("Succeeded", 2, asked)
    metrics = worker.get("/metrics")[1]
    assert 'tidemill_worker_cache_lookups_total{outcome="hit",pool="etl",pool_namespace="travel"} 3.0' in metrics
    assert 'tidemill_worker_cache_lookups_total{outcome="miss",pool="etl",pool_namespace="travel"} 3.0' in metrics
    assert "tidemill_worker_cache_saved_seconds_total" in metrics

    store = RedisStore(lambda: redis_server.url, prefix(pool.installation, pool.namespace, pool.name))
    store.move(["source/issues"], unique())
    store.close()
    pages["1"] = [{"id": 1, "title": "new"}]
    third = await runs.run(SPEC)
    assert (third.result, third.rows_loaded) == ("Succeeded", 2)
    assert len(server.asked) == asked + 3

    server.serve("/issues", Reply(status=404))
    replayed = await runs.run(SPEC, replay={"deadLetters": {"step": "issues"}})
    assert replayed.rows_read == 2  # of each of the first runs, read as JSON without the API
    assert replayed.rows_rejected == 2
    failed = await runs.run({**SPEC, "sources": [{**SPEC["sources"][0], "http": {"path": "gone"}}]})
    assert failed.error is not None
    assert (failed.result, failed.error.type) == ("Failed", "SourceMissing")
    log = worker.log.read_text()
    assert "s3cret" not in log
    assert "s3cret" not in str(failed)
