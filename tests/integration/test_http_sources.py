"""APIs and files over HTTP as sources, of a real server that misbehaves: each row once, or a typed failure."""

from __future__ import annotations

import asyncio
import csv
import gzip
import io
import itertools
import json
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet as pq

from tests.support.engine import RUN, World, execution, spec_of
from tests.support.fixtures import Database, new_database, unique
from tests.support.waiting import until_async
from tests.support.web_server import Asked, Reply, WebServer, as_json
from tidemill_api.errors import (
    BadRow,
    ConfigError,
    HostRefused,
    HTTPDenied,
    HTTPUnavailable,
    NewColumn,
    PagingBroken,
    PostgresUnavailable,
    SecretMissing,
    SourceChanged,
    SourceMissing,
    SourceUnreadable,
    TidemillError,
)
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_api.v1alpha1.http_source import HTTPSource
from tidemill_cli.dev.components.postgres import PostgresServer
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_worker.cache import Cache
from tidemill_worker.cache.opening import table_tags
from tidemill_worker.cache.redis_store import RedisStore
from tidemill_worker.connections import http_patience
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.connections.http_files import HTTPFiles
from tidemill_worker.engine import Stopped, api_fetch, load_chunk
from tidemill_worker.engine import letters as dead
from tidemill_worker.engine.api import API
from tidemill_worker.engine.keeping import keeping_of
from tidemill_worker.engine.letters import Origin
from tidemill_worker.engine.planning import chunks_of
from tidemill_worker.engine.stage import reader_of
from tidemill_worker.metastore.dead_letters import MetastoreLetters
from tidemill_worker.metastore.store import Metastore

TOKEN = "Bearer s3cret-t0ken"


@pytest.fixture(scope="module")
def listening() -> Iterator[WebServer]:
    with WebServer().running() as server:
        yield server


@pytest.fixture
def server(listening: WebServer) -> WebServer:
    listening.forget()
    return listening


@pytest.fixture(scope="module")
def database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Database]:
    """One for all tests of this module: each finds it without tables of rows and without entries."""
    with new_database(postgres_server, migrated_template) as made:
        yield made


@pytest.fixture
def place(tmp_path: Path, server: WebServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPPlace]:
    monkeypatch.setattr(http_patience, "FIRST_WAIT", 0.001)
    secret = tmp_path / "secrets" / "api"
    secret.mkdir(parents=True)
    (secret / "Authorization").write_text(f"{TOKEN}\n")
    connection = HTTPConnection.model_validate(
        {"url": f"{server.url}/v1/", "headersFrom": {"secretRef": {"name": "api"}}}
    )
    made = HTTPPlace("api", connection, tmp_path / "secrets")
    yield made
    made.close()


@pytest.fixture
async def world(database: Database, tmp_path: Path, place: HTTPPlace) -> AsyncIterator[World]:
    pool = await asyncpg.create_pool(database.dsn, min_size=0, max_size=8, server_settings={"timezone": "UTC"})
    await pool.execute("DROP TABLE IF EXISTS public.out; TRUNCATE tidemill.ledger, tidemill.fence, tidemill.published")
    yield World(tmp_path, pool, place=HTTPFiles(place), server=place)
    pool.terminate()


COLUMNS = [{"name": "id", "type": "int64", "required": True}, {"name": "price", "type": "decimal(8,2)"}]


def api(sink: Mapping[str, Any] | None = None, **http: Any) -> DataPipelineSpec:
    """A pipeline from the API `items` into public.out."""
    source: dict[str, Any] = {"files": None, "connection": "api", "http": {"path": "items"} | http, "columns": COLUMNS}
    for name in ("columns", "contract"):
        if name in http:
            source[name] = source["http"].pop(name)
    return spec_of(source=source, sink=dict(sink or {}))


def items(first: int, count: int) -> list[dict[str, Any]]:
    return [{"id": number, "price": number / 4} for number in range(first, first + count)]


def by_page(*pages: Any, key: str = "page") -> Callable[[Asked], Reply]:
    """What an API of numbered pages answers; beyond the last one there are no rows."""

    def answer(asked: Asked) -> Reply:
        number = int(asked.query.get(key, "1"))
        return as_json(pages[number - 1] if number <= len(pages) else [])

    return answer


async def ids(world: World) -> list[int]:
    return [row[0] for row in await world.fetch("SELECT id FROM public.out ORDER BY id")]


async def test_pages_are_read_in_order_with_the_secret_header(world: World, server: WebServer) -> None:
    server.serve("/v1/items", by_page(items(1, 3), items(4, 3), items(7, 1)))
    done = await world.run(api(paging={"page": {}}, query={"since": "{interval_start:%Y-%m-%d}", "q": "a&b"}))
    assert done.steps == {"raw": (7, 7, 0, 0)}
    assert await ids(world) == list(range(1, 8))
    assert server.targets == [f"/v1/items?since=0001-01-01&q=a&b&page={n}" for n in (1, 2, 3, 4)]
    assert {asked.headers["authorization"] for asked in server.asked} == {TOKEN}


async def test_all_ways_of_paging(world: World, server: WebServer) -> None:
    pages = {"": ("b", items(1, 2)), "b": ("c", items(3, 2)), "c": (None, items(5, 1))}
    following = {"": "?p=b", "b": f"{server.url}/v1/items?p=c", "c": None}

    def answer(asked: Asked) -> Reply:
        here = asked.query.get("p", "")
        step, rows = pages[here]
        reply = as_json({"next": step, "url": following[here], "rows": rows})
        return replace(reply, headers={"Link": f'<{following[here]}>; rel="next"'}) if following[here] else reply

    server.serve("/v1/items", answer)
    ways: list[dict[str, Any]] = [
        {"cursor": {"next": "next", "parameter": "p"}},
        {"link": {}},
        {"next": {"url": "url"}},
    ]
    for number, paging in enumerate(ways, 1):
        spec = api({"writeDisposition": "Replace"}, rows="rows", paging=paging)
        done = await world.run(spec, execution(number))
        assert done.steps == {"raw": (5, 5, 0, 0)}, paging
        assert await ids(world) == [1, 2, 3, 4, 5], paging


TROUBLE = {
    "told to wait": [Reply(status=429, headers={"Retry-After": "0"})],
    "a date that has passed": [Reply(status=503, headers={"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"})],
    "faults": [Reply(status=500), Reply(status=502), Reply(status=504)],
    "cut within the body": [Reply(b'[{"id": 1}, {"id"', cut=9)],
    "cut before the body": [Reply(b"[]" * 500, cut=0)],
    "all of it": [Reply(status=429, headers={"Retry-After": "0"}), Reply(status=500), Reply(b"[ ]", cut=1)],
}


@pytest.mark.parametrize("case", TROUBLE)
async def test_trouble_passes(world: World, server: WebServer, case: str) -> None:
    server.serve("/v1/items", by_page(items(1, 2), items(3, 2)))
    server.trouble["/v1/items"].extend(TROUBLE[case])
    done = await world.run(api(paging={"page": {}}))
    assert done.steps == {"raw": (4, 4, 0, 0)}
    assert await ids(world) == [1, 2, 3, 4]


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda _asked: reply


def endless(asked: Asked) -> Reply:
    number = int(asked.query.get("cursor", "0"))
    return as_json({"rows": items(number, 1), "next": number + 1})


@dataclass(frozen=True)
class Fails:
    """What the API answers, what the source says, and the error: its type, words of it, and how often was asked."""

    answers: Callable[[Asked], Reply]
    http: Mapping[str, Any]
    error: type[TidemillError]
    says: str
    asked: int = 1


FAILS = {
    "always overloaded": Fails(always(Reply(status=429, headers={"Retry-After": "0"})), {}, HTTPUnavailable, "429", 5),
    "a long wait": Fails(always(Reply(status=503, headers={"Retry-After": "3600"})), {}, HTTPUnavailable, "503"),
    "always cut": Fails(always(Reply(b"[]", cut=1)), {}, HTTPUnavailable, "broke within an answer", 5),
    "not there": Fails(always(Reply(status=404)), {}, SourceMissing, r"has no items \(404\)"),
    "a bad request": Fails(always(Reply(status=400)), {}, SourceUnreadable, "items answers 400"),
    "not allowed": Fails(always(Reply(status=403)), {}, HTTPDenied, r"refuses items of source raw \(403\)"),
    "HTML": Fails(always(Reply(b"<html>secret</html>")), {}, PagingBroken, "the answer to items is no JSON"),
    "no rows there": Fails(
        always(as_json({"error": "secret"})), {"rows": "items"}, PagingBroken, r"nothing at http.rows \(items\)"
    ),
    "a text for rows": Fails(
        always(as_json("secret")), {}, PagingBroken, "neither an array nor an object at http.rows"
    ),
    "pages without end": Fails(
        endless, {"rows": "rows", "paging": {"cursor": {"next": "next"}}, "maxPages": 3}, PagingBroken, "maxPages", 3
    ),
    "the same page again": Fails(
        always(as_json(items(1, 2))), {"paging": {"page": {}}}, PagingBroken, "does the API know the parameter page", 2
    ),
    "redirected away": Fails(
        always(Reply(status=302, headers={"Location": "http://127.0.0.2:1/v1/items?token=secret"})),
        {},
        HostRefused,
        "leads to http://127.0.0.2,",
    ),
    "redirected for ever": Fails(
        always(Reply(status=301, headers={"Location": "/v1/items"})), {}, HostRefused, "more than 5 times", 6
    ),
    "gzip that is none": Fails(
        always(Reply(b"[]", headers={"Content-Encoding": "gzip"})), {}, HTTPUnavailable, "isn't compressed", 5
    ),
}


@pytest.mark.parametrize("case", FAILS)
async def test_what_does_not_pass_is_typed_and_loads_nothing(world: World, server: WebServer, case: str) -> None:
    fails = FAILS[case]
    server.serve("/v1/items", fails.answers)
    with pytest.raises(fails.error, match=fails.says) as raised:
        await world.run(api(**fails.http))
    assert type(raised.value) is fails.error
    assert "secret" not in str(raised.value)
    assert len(server.asked) == fails.asked
    assert await world.fetch("SELECT to_regclass('public.out')::text") == [(None,)]


async def test_bad_rows_are_letters_with_their_page_and_place(world: World, server: WebServer) -> None:
    good, bad = {"id": 1, "price": 1.5}, {"id": "x", "price": 2}
    server.serve("/v1/items", by_page([good, bad], [{"id": 3, "price": 0.005}, "no object", good | {"id": 4}]))
    done = await world.run(api(paging={"page": {}}, query={"key": "hidden"}))
    assert done.steps == {"raw": (5, 2, 3, 0)}
    found = [(each["file"], each["line"], each["reason"], each["row_text"]) for each in world.letters.all()]
    assert found == [
        ("items?page=1", 2, "BadValue", '{"id": "x", "price": 2}'),
        ("items?page=2", 1, "BadValue", '{"id": 3, "price": 0.005}'),
        ("items?page=2", 2, "BadRow", '"no object"'),
    ]


async def test_contracts_hold(world: World, server: WebServer) -> None:
    server.serve("/v1/items", as_json([{"id": "x"}]))
    with pytest.raises(BadRow, match="of items is bad"):
        await world.run(api(contract={"badValues": "Fail"}))
    server.serve("/v1/items", as_json([{"id": 1, "more": 2}]))
    with pytest.raises(NewColumn, match="more"):
        await world.run(api(contract={"newColumns": "Fail"}))


async def test_columns_that_an_api_gives_beside_the_declared_ones(world: World, server: WebServer) -> None:
    """Of all its pages, whichever rows have them; a later answer without them loads NULL."""
    spec = api(paging={"page": {}}, contract={"newColumns": "Add"})
    await world.pool.execute("CREATE TABLE public.out (id bigint, price numeric(8,2))")
    server.serve("/v1/items", by_page([{"id": 1, "n": 1, "at": None}], [{"id": 2, "n": 2.5, "tags": [1]}, {"id": "x"}]))
    done = await world.run(spec)
    assert done.steps == {"raw": (3, 2, 1, 0)}
    found = await world.fetch("SELECT id, n, at, tags FROM public.out ORDER BY id")
    assert found == [(1, 1.0, None, None), (2, 2.5, None, "[1]")]
    server.serve("/v1/items", by_page([{"id": 3, "at": "soon"}]))
    await world.run(spec, replace(RUN, run_key="later"))
    assert await world.fetch("SELECT n, at FROM public.out WHERE id = 3") == [(None, "soon")]


async def test_a_chunk_that_is_tried_again_loads_once(world: World, server: WebServer) -> None:
    server.serve("/v1/items", by_page(items(1, 2), items(3, 2)))
    spec = api(paging={"page": {}})
    chunks = await world.plan(spec)
    assert [chunk.part.at_once for chunk in chunks] == [True]
    assert server.asked == []  # nothing is asked to plan
    await world.load(spec, chunks[0], chunks)
    before = len(server.asked)
    server.serve("/v1/items", as_json(items(100, 1)))
    again = await world.load(spec, chunks[0], chunks)
    assert (again.rows_read, await ids(world), len(server.asked)) == (4, [1, 2, 3, 4], before)


class Refusing:
    """A sink's database that goes away when the rows are about to be committed."""

    async def write(self, connection: asyncpg.Connection | asyncpg.pool.PoolConnectionProxy, sink: str) -> None:
        del connection
        raise PostgresUnavailable(f"{sink} is gone")


async def test_rows_that_only_a_failed_attempt_has_rejected_are_no_letters(world: World, server: WebServer) -> None:
    spec = api()
    chunks = await world.plan(spec)
    metastore = Metastore("metastore", lambda: asyncio.sleep(0, world.pool))

    async def attempt(given_: list[Any], also: Refusing | None = None) -> list[tuple[Any, ...]]:
        server.serve("/v1/items", as_json([{"id": each} for each in given_]))
        letters = MetastoreLetters(metastore, keeping_of(spec, chunks[0]), live=chunks[0].part.live)
        with suppress(PostgresUnavailable):
            await load_chunk(spec, {}, RUN, chunks[0], 1, world, letters, lambda _progress: None, lambda: False, also)
        return await world.fetch("SELECT row_text, status FROM tidemill.dead_letters ORDER BY position")

    found = await attempt(["u", "v", "w", "x", 1], Refusing())
    assert found == [(f'{{"id": "{each}"}}', "New") for each in "uvwx"]
    await world.pool.execute("UPDATE tidemill.dead_letters SET status = 'Discarded' WHERE row_text LIKE '%w%'")
    found = await attempt(["y", 2, 3, 4, 5])
    assert await ids(world) == [2, 3, 4, 5]
    assert found == [('{"id": "y"}', "New"), ('{"id": "w"}', "Discarded")]
    assert await attempt(["z", 6]) == found, "the chunk has been committed"
    assert await world.fetch("SELECT letters FROM tidemill.dead_letter_keeping") == [(2,)]


async def test_a_row_of_one_object_and_an_answer_without_content(world: World, server: WebServer) -> None:
    server.serve("/v1/items", as_json({"id": 7, "price": None}))
    assert (await world.run(api())).steps == {"raw": (1, 1, 0, 0)}
    server.serve("/v1/items", Reply(status=204))
    assert (await world.run(api(), execution(2))).steps == {"raw": (1, 1, 0, 0)}  # what was appended stays
    done = await world.run(api({"writeDisposition": "Replace"}), execution(3))
    assert done.steps == {"raw": (0, 0, 0, 0)}


async def test_an_api_that_is_joined(world: World, server: WebServer) -> None:
    server.serve("/v1/items", as_json(items(1, 3)))
    server.serve(
        "/v1/names", as_json([{"id": 1, "name": "one"}, {"id": "?", "name": "bad"}, {"id": 3, "name": "three"}])
    )
    spec = api()
    names = {
        "name": "names",
        "connection": "api",
        "http": {"path": "names"},
        "columns": [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}],
    }
    steps = [
        {
            "name": "named",
            "inputs": ["raw", "names"],
            "sql": {"query": "SELECT r.*, n.name FROM raw r LEFT JOIN names n USING (id)"},
        }
    ]
    whole = spec.to_json() | {"sources": [spec.sources[0].to_json(), names], "steps": steps}
    whole["sinks"][0]["input"] = "named"
    done = await world.run(DataPipelineSpec.model_validate(whole))
    assert done.steps == {"raw": (3, 3, 0, 0), "names": (3, 2, 1, 0)}
    assert await world.fetch("SELECT id, name FROM public.out ORDER BY id") == [(1, "one"), (2, None), (3, "three")]
    assert [(each["source"], each["file"], each["line"]) for each in world.letters.all()] == [("names", "names", 2)]


async def test_reading_ends_when_it_is_asked_to_stop(world: World, server: WebServer) -> None:
    server.serve("/v1/items", endless)
    spec = api(
        rows="rows", paging={"cursor": {"next": "next"}}, rateLimit={"requests": 1, "per": "1h"}, maxPages=1_000_000
    )
    (chunk,) = await world.plan(spec)
    with pytest.raises(Stopped):  # it waits for its next turn, an hour away
        await world.load(spec, chunk, (chunk,), asked_to_stop=lambda: len(server.asked) > 0)
    loading = asyncio.create_task(world.load(spec, chunk, (chunk,)))

    async def asked_again() -> bool:
        return len(server.asked) > 1

    await until_async(asked_again, "the second request")
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading


async def test_pages_beyond_memory_go_through_a_file(
    world: World, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_fetch, "IN_MEMORY", 1000)
    server.serve("/v1/items", by_page(*(items(1 + 500 * n, 500) for n in range(4))))
    done = await world.run(api(paging={"page": {}}))
    assert done.steps == {"raw": (2000, 2000, 0, 0)}


async def test_secrets_are_read_anew_and_never_told(
    world: World, server: WebServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secret = world.root / "secrets" / "api"
    server.serve("/v1/items", lambda asked: as_json([], 200 if asked.headers.get("authorization") == TOKEN else 401))
    spec = api({"writeDisposition": "Replace"})
    await world.run(spec)
    (secret / "Authorization").write_text("Bearer old")
    with pytest.raises(HTTPUnavailable, match="waiting for new ones"):  # it worked before: the new one is on its way
        await world.run(spec, execution(2))
    (secret / "Authorization").write_text(TOKEN)
    await world.run(spec, execution(3))
    (secret / "X-Bad").write_bytes(b"two\nlines s3cret")
    with pytest.raises(ConfigError, match="key X-Bad of Secret api is no header") as raised:
        await world.run(spec, execution(4))
    assert "s3cret" not in str(raised.value)
    for file in secret.iterdir():
        file.unlink()
    secret.rmdir()
    with pytest.raises(SecretMissing, match="Secret api isn't here yet"):
        await world.run(spec, execution(5))
    assert "s3cret" not in caplog.text
    assert "old" not in caplog.text


async def test_post_is_one_request_whatever_the_status(world: World, server: WebServer) -> None:
    server.serve("/v1/hook", lambda asked: Reply(asked.body, 418, {"X-Was": asked.method}))
    answer = await world.http("api").request("POST", "hook", body=b"{}", headers={"X-Id": "1"})
    assert (answer.status, answer.headers["x-was"]) == (418, "POST")
    with pytest.raises(HostRefused):
        await world.http("api").request("POST", "../hook")
    server.serve("/v1/big", Reply(b"x" * 100))
    with pytest.raises(ConfigError, match="longer"):
        await asyncio.to_thread(world.http("api").get, "/v1/big", None, 10)


# Answers that are kept.


@dataclass
class Counts:
    """What was told of lookups."""

    outcomes: list[str] = field(default_factory=list[str])
    saved: float = 0.0

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        self.outcomes.append(outcome)
        self.saved += saved


@pytest.fixture
def kept(redis_server: RedisServer, world: World) -> Iterator[tuple[Cache, Counts]]:
    counts = Counts()
    store = RedisStore(lambda: redis_server.url, unique())
    cache = Cache(store, counts, lambda: None)
    world.cache = cache
    yield cache, counts
    store.close()


def cached(**cache: Any) -> DataPipelineSpec:
    return api({"writeDisposition": "Replace"}, paging={"link": {}}, cache=cache)


async def test_answers_are_kept_for_later_runs(world: World, server: WebServer, kept: tuple[Cache, Counts]) -> None:
    cache, counts = kept
    link = {"Link": '<?page=2>; rel="next"'}
    server.serve(
        "/v1/items", lambda a: as_json(items(3, 2)) if a.query else replace(as_json(items(1, 2)), headers=link)
    )
    for number in (1, 2):
        done = await world.run(cached(), execution(number))
        assert done.steps == {"raw": (4, 4, 0, 0)}
    assert len(server.asked) == 2
    assert counts.outcomes == ["miss", "miss", "hit", "hit"]
    await world.run(cached(ttl="10m"), execution(3))  # another spec asks itself
    assert len(server.asked) == 4
    secret = world.root / "secrets" / "api" / "Authorization"
    secret.write_text("Bearer another")  # who may see other things, perhaps
    await world.run(cached(), execution(4))
    assert len(server.asked) == 6
    secret.write_text(TOKEN)
    assert cache.move(["connection/api"])
    await world.run(cached(), execution(5))
    assert len(server.asked) == 8


async def test_a_table_behind_an_api(world: World, server: WebServer, kept: tuple[Cache, Counts]) -> None:
    cache, _ = kept
    server.serve("/v1/items", as_json(items(1, 1)))
    spec = cached(tables=["warehouse/public.items"])
    await world.run(spec)
    assert cache.move(table_tags([("warehouse", "public.others")]))
    await world.run(spec, execution(2))
    assert len(server.asked) == 1
    assert cache.move(table_tags([("warehouse", "public.items")]))
    await world.run(spec, execution(3))
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        ({"ETag": '"1"'}, ("if-none-match", '"1"')),
        ({"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}, ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT")),
        ({}, None),
    ],
)
async def test_old_answers_are_asked_whether_they_have_changed(
    world: World,
    server: WebServer,
    kept: tuple[Cache, Counts],
    given: dict[str, str],
    condition: tuple[str, str] | None,
) -> None:
    def answer(asked: Asked) -> Reply:
        same = condition is not None and asked.headers.get(condition[0]) == condition[1]
        return Reply(status=304) if same else replace(as_json(items(1, 3)), headers=given)

    server.serve("/v1/items", answer)
    for number in (1, 2, 3):
        done = await world.run(cached(ttl="1ms"), execution(number))
        assert done.steps == {"raw": (3, 3, 0, 0)}
    assert len(server.asked) == 3
    assert [condition is not None and condition[0] in asked.headers for asked in server.asked[1:]] == [
        condition is not None
    ] * 2
    assert kept[1].outcomes == ["miss"] * 3


async def test_what_fails_is_asked_again(world: World, server: WebServer, kept: tuple[Cache, Counts]) -> None:
    server.serve("/v1/items", Reply(status=400))
    with pytest.raises(SourceUnreadable):
        await world.run(cached())
    server.serve("/v1/items", as_json(items(1, 1)))
    done = await world.run(cached(), execution(2))
    assert (done.steps, kept[1].outcomes) == ({"raw": (1, 1, 0, 0)}, ["miss", "miss"])


# Files.


def as_csv(rows: int, delimiter: str = ",") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(
        [("id", "name"), *((number, f"név, {number}") for number in range(rows))]
    )
    return text.getvalue().encode()


def zipped(data: bytes) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.csv", data)
    return held.getvalue()


def as_parquet(rows: int) -> bytes:
    held = io.BytesIO()
    table = pa.table({"id": range(rows), "name": [f"név, {n}" for n in range(rows)]})
    pq.write_table(table, held, row_group_size=max(1, rows // 3))
    return held.getvalue()


def as_lines(rows: int) -> bytes:
    return b"".join(json.dumps({"id": n, "name": f"név, {n}"}).encode() + b"\n" for n in range(rows))


FILES = {
    "a.csv": (as_csv(1000), {"csv": {}}),
    "a.tsv": (as_csv(1000, "\t"), {"csv": {"delimiter": "\t"}}),
    "a.csv.gz": (gzip.compress(as_csv(1000)), {"csv": {}}),
    "a.csv.zst": (pa.compress(as_csv(1000), codec="zstd", asbytes=True), {"csv": {}}),
    "a.zip": (zipped(as_csv(1000)), {"csv": {}}),
    "b 16.csv": (as_csv(1000).decode().encode("utf-16"), {"csv": {"encoding": "utf-16"}}),
    "a.jsonl": (as_lines(1000), {"jsonLines": {}}),
    "a.json": (b"[" + as_lines(1000).replace(b"\n", b",")[:-1] + b"]", {"json": {}}),
    "a.parquet": (as_parquet(1000), {"parquet": {}}),
}  # fmt: skip


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("name", FILES)
async def test_files_with_and_without_ranges(world: World, server: WebServer, name: str, ranges: bool) -> None:
    data, form = FILES[name]
    server.file(f"/v1/{name.replace(' ', '%20')}", data, etag='"1"', ranges=ranges)
    spec = spec_of(
        source={"connection": "api", "files": {"path": name, "format": form}}, execution={"chunk": {"maxRows": 300}}
    )
    done = await world.run(spec)
    assert done.steps == {"raw": (1000, 1000, 0, 0)}
    assert await world.fetch("SELECT count(*), sum(id), max(name) FROM public.out") == [(1000, 499500, "név, 999")]
    assert done.chunks == (4 if ranges and name in {"a.csv", "a.tsv", "a.jsonl"} else 4 if "parquet" in name else 1)


def file_spec(**execution_: Any) -> DataPipelineSpec:
    return spec_of(
        source={"connection": "api", "files": {"path": "a.csv", "format": {"csv": {}}}},
        execution={"chunk": {"maxRows": 300}} | execution_,
    )


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("mark", ["etag", "modified", "length"])
async def test_a_file_that_changes_is_no_file(world: World, server: WebServer, mark: str, ranges: bool) -> None:
    def put(version: int) -> None:
        server.file(
            "/v1/a.csv",
            as_csv(1000) + b"1,x\r\n" * (version if mark == "length" else 0),
            etag=f'"{version}"' if mark == "etag" else "",
            modified=f"Wed, 21 Oct 2015 07:28:0{version} GMT" if mark == "modified" else "",
            ranges=ranges,
        )

    put(0)
    chunks = await world.plan(file_spec())
    put(1)
    with pytest.raises(SourceChanged, match="has changed since the run was planned"):
        await world.load(file_spec(), chunks[0], chunks)
    server.answers.clear()
    with pytest.raises(SourceChanged, match="is gone"):
        await world.load(file_spec(), chunks[0], chunks)


async def test_a_connection_that_breaks_is_taken_up_where_it_broke(world: World, server: WebServer) -> None:
    data = as_csv(1000)
    server.file("/v1/a.csv", data, etag='"1"')
    spec = file_spec(chunk={"maxRows": 100_000})
    (chunk,) = await world.plan(spec)
    size = len(data) - chunk.part.start
    told = {"ETag": '"1"', "Content-Range": f"bytes {chunk.part.start}-{len(data) - 1}/{len(data)}"}
    server.trouble["/v1/a.csv"].append(Reply(data[chunk.part.start :], 206, told, cut=size // 2))
    server.asked.clear()
    await world.load(spec, chunk, (chunk,))
    assert await world.fetch("SELECT count(*), sum(id) FROM public.out") == [(1000, 499500)]
    ranges = [asked.headers["range"] for asked in server.asked]
    assert len(ranges) == 2
    assert int(ranges[1].removeprefix("bytes=").partition("-")[0]) > chunk.part.start


async def test_without_ranges_a_broken_connection_fails_the_attempt(world: World, server: WebServer) -> None:
    server.file("/v1/a.csv", as_csv(1000), ranges=False)
    chunks = await world.plan(file_spec())
    server.trouble["/v1/a.csv"].append(Reply(as_csv(1000), cut=5000))
    with pytest.raises(HTTPUnavailable, match="no ranges to go on with"):
        await world.load(file_spec(), chunks[0], chunks)
    for chunk in chunks:
        await world.load(file_spec(), chunk, chunks)
    assert await world.fetch("SELECT count(*), sum(id) FROM public.out") == [(1000, 499500)]


@pytest.mark.parametrize(
    ("path", "status", "error", "says"),
    [
        ("a.csv", 404, SourceMissing, "has no file a.csv"),
        ("a.csv", 403, HTTPDenied, "refuses a.csv"),
        ("a.csv", 400, SourceUnreadable, "a.csv answers 400"),
        ("*.csv", 200, SourceMissing, "a web server, which doesn't say which files it has"),
    ],
)
async def test_files_that_cannot_be_had(
    world: World, server: WebServer, path: str, status: int, error: type[Exception], says: str
) -> None:
    server.serve("/v1/a.csv", Reply(status=status))
    with pytest.raises(error, match=says):
        await world.plan(spec_of(source={"connection": "api", "files": {"path": path, "format": {"csv": {}}}}))


# The law of reading, for whatever an API may answer.

_SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
_VALUES = st.recursive(_SCALARS, lambda inner: st.lists(inner, max_size=2), max_leaves=3)
_ROWS = st.one_of(_VALUES, st.dictionaries(st.sampled_from(["id", "price", "x"]), _VALUES, max_size=3))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(st.lists(_ROWS, min_size=1, max_size=6), max_size=3, unique_by=str), size=st.integers(1, 100))
def test_each_row_comes_out_or_is_a_letter(place: HTTPPlace, server: WebServer, pages: list[Any], size: int) -> None:
    def answer(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        return as_json({"n": len(pages), "rows": pages[number - 1] if number <= len(pages) else []})

    server.serve("/v1/items", answer)
    spec = api(rows="rows", paging={"page": {"total": "n"}})
    reached = API("raw", spec.sources[0].http or HTTPSource(), place)
    (chunk,) = chunks_of(spec, {"raw": reached})
    reader, total, good = reader_of(spec, "raw"), 0, 0
    found: list[tuple[str, int]] = []
    with ExitStack() as stack:
        for piece in reader.open(stack, reached, chunk.part, 0, size):
            origin = dead.origin_of(Origin("raw", 0, "items"), piece)
            done = reader.read(piece, chunk.part.layout, origin)
            letters = dead.shifted(done.letters, dead.first_line(piece, 1)).to_pylist() if done.letters else []
            assert done.count is not None
            assert done.count.rows_in == done.count.rows_out + len(letters)
            assert done.count.rows_out == done.batch.table.num_rows
            found += [(each["file"], each["line"]) for each in letters]
            total, good = total + done.count.rows_in, good + done.count.rows_out
    assert total == sum(map(len, pages))
    places = [(f"items?page={n}", line) for n, rows in enumerate(pages, 1) for line in range(1, len(rows) + 1)]
    assert len(set(found)) == len(found) == total - good
    assert set(found) <= set(places)
    assert {
        place for place, row in zip(places, itertools.chain(*pages), strict=True) if not isinstance(row, dict)
    } <= set(found)
