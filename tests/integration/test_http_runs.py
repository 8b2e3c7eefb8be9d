"""An API in runs of a worker: its Secret, its cache, its dead letters and their replay."""

from __future__ import annotations

import json
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
            {
                "name": "tracker",
                "http": {"url": server.url, "headersFrom": {"secretRef": {"name": "tracker"}}, "access": "Write"},
            },
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
    await _sent_on(pool, runs, server)
    failed = await runs.run({**SPEC, "sources": [{**SPEC["sources"][0], "http": {"path": "gone"}}]})
    assert failed.error is not None
    assert (failed.result, failed.error.type) == ("Failed", "SourceMissing")
    log = worker.log.read_text()
    assert "s3cret" not in log
    assert "s3cret" not in str(failed)


async def _sent_on(pool: Pool, runs: Runs, server: WebServer) -> None:
    """Rows that are read of a table and sent to a server, which refuses one of them."""
    pool.database.query(
        "CREATE TABLE public.to_send AS SELECT n AS id, 'private ' || n AS title FROM generate_series(1, 5) n"
    )
    taken: list[Any] = []

    def take(asked: Asked) -> Reply:
        rows = json.loads(asked.body)
        if asked.headers.get("authorization") != TOKEN:
            return Reply(status=401)
        if any(row["id"] == 4 for row in rows):
            return Reply(b"private", 422)
        taken.extend(rows)
        return Reply(status=204)

    server.serve("/mirror", take)
    server.trouble["/mirror"].append(Reply(status=503))
    source = {"name": "rows", "connection": "warehouse", "postgres": {"table": "public.to_send"}}
    sink = {"name": "sent", "input": "rows", "connection": "tracker", "http": {"path": "mirror"}}
    spec = {**SPEC, "sources": [source], "sinks": [{**sink, "writeDisposition": "Append"}]}
    result = await runs.run(spec)
    assert (result.result, result.rows_loaded, result.rows_rejected) == ("Succeeded", 4, 1)
    assert sorted(row["id"] for row in taken) == [1, 2, 3, 5]
    letters = "SELECT step, reason, error, row_text FROM tidemill.dead_letters WHERE step = 'sent'"
    assert pool.database.query(letters) == [
        ["sent", "BadValue", "the server of the sink refuses the row (422)", "4,private 4"]
    ]
    replayed = await runs.run(spec, replay={"deadLetters": {"step": "sent"}})
    assert replayed.error is not None
    assert "the sink sent sends rows to a server" in replayed.error.message
