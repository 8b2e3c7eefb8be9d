"""Rows sent to a real server that misbehaves: each taken once by one that heeds keys, none lost by any."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.engine import RUN, World, database_pool, execution, spec_of
from tests.support.fixtures import Database, unique
from tests.support.web_server import Asked, Reply, WebServer
from tidemill_api.errors import (
    Fenced,
    HTTPDenied,
    HTTPUnavailable,
    ReprocessRefused,
    SinkRefused,
    TableMismatch,
    TidemillError,
)
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.http_connection import HTTPConnection
from tidemill_worker import engine
from tidemill_worker.connections import http_patience
from tidemill_worker.connections.http import HTTPPlace
from tidemill_worker.engine import Stopped
from tidemill_worker.engine.httpsink import sending

TOKEN = "Bearer s3cret-t0ken"
HEEDING, HEEDLESS = True, False


@dataclass
class Receiver:
    """Takes rows, once for each key."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    keys: Counter[str] = field(default_factory=Counter[str])
    taken: set[str] = field(default_factory=set)
    most: int = 10**9
    """Rows of a request: more are too many."""

    @property
    def ids(self) -> list[int]:
        return [row["id"] for row in self.rows]

    @property
    def sent(self) -> int:
        """Rows, as often as they came."""
        return len(self.rows)

    def take(self, asked: Asked) -> Reply:
        key = asked.headers["idempotency-key"]
        self.keys[key] += 1
        rows = json.loads(asked.body)
        if any(row["id"] % 10 == 7 for row in rows):
            return Reply(b'{"error": "private 7"}', 422)
        if len(rows) > self.most:
            return Reply(status=413)
        if key not in self.taken:
            self.taken.add(key)
            self.rows.extend(rows)
        return Reply(status=201)


@pytest.fixture(scope="module")
def listening() -> Iterator[WebServer]:
    with WebServer().running() as server:
        yield server


@pytest.fixture
def server(listening: WebServer, monkeypatch: pytest.MonkeyPatch) -> WebServer:
    monkeypatch.setattr(http_patience, "FIRST_WAIT", 0.001)
    listening.forget()
    return listening


@pytest.fixture
def receiver(server: WebServer) -> Receiver:
    made = Receiver()
    server.serve("/v1/rows", made.take)
    return made


@pytest.fixture
async def world(migrated: Database, tmp_path: Path, server: WebServer) -> AsyncIterator[World]:
    pool = await database_pool(migrated.dsn)
    secrets = tmp_path / "secrets"
    (secrets / "hook").mkdir(parents=True)
    (secrets / "hook" / "Authorization").write_text(TOKEN)
    connection = HTTPConnection.model_validate(
        {"url": f"{server.url}/v1/", "access": "Write", "headersFrom": {"secretRef": {"name": "hook"}}}
    )
    made = World(tmp_path, pool, server=HTTPPlace("hook", connection, secrets))
    yield made
    assert made.server is not None
    made.server.close()
    pool.terminate()


def spec(http: dict[str, Any] | None = None, rows: int = 10**6, **parts: Any) -> DataPipelineSpec:
    sent = {"path": "rows", "batch": {"maxRows": 10}, **(http or {})}
    sink = {"name": "out", "input": "raw", "connection": "hook", "http": sent, "postgres": None}
    columns = [{"name": "id", "type": "int64"}, {"name": "name", "type": "string"}]
    tolerated = {"errorTolerance": {"maxPercent": 100}, "chunk": {"maxRows": rows}}
    return spec_of(source={"columns": columns}, sink=sink, execution=tolerated, **parts)


def write(world: World, ids: range | list[int], file: str = "a.csv") -> None:
    world.write(file, "id,name\n" + "".join(f"{n},n{n}\n" for n in ids))


def cut() -> Reply:
    return Reply(cut=-1)


async def test_rows_come_once_in_their_order_with_the_headers_of_the_secret(
    world: World, server: WebServer, receiver: Receiver
) -> None:
    write(world, range(6))
    write(world, range(11, 16), "b.csv")
    done = await world.run(spec({"batch": {"maxRows": 4}, "method": "PUT"}))
    assert sorted(receiver.ids) == [*range(6), *range(11, 16)]
    assert {"id": 0, "name": "n0"} in receiver.rows
    assert [n for n in receiver.ids if n < 10] == list(range(6))
    sizes = Counter(len(json.loads(asked.body)) for asked in server.asked)
    assert sizes == {4: 2, 2: 1, 1: 1}
    assert {(a.method, a.headers["authorization"], a.headers["content-type"]) for a in server.asked} == {
        ("PUT", TOKEN, "application/json")
    }
    assert done.sinks["out"].rows == 11
    assert done.steps["out"] == (11, 11, 0, 0)


TROUBLE: dict[str, Reply] = {
    "too many requests": Reply(status=429, headers={"Retry-After": "0"}),
    "an error of its own": Reply(status=500),
    "away for a while": Reply(status=503),
    "the key is worked on": Reply(status=409),
    "a connection that breaks": cut(),
}


@pytest.mark.parametrize("case", TROUBLE)
async def test_what_the_server_may_take_later_is_sent_again_by_the_same_key(
    world: World, server: WebServer, receiver: Receiver, case: str
) -> None:
    write(world, range(20, 26))
    server.trouble["/v1/rows"].extend([TROUBLE[case]] * 2)
    await world.run(spec())
    assert receiver.ids == list(range(20, 26))
    keys = [asked.headers["idempotency-key"] for asked in server.asked]
    assert (len(keys), len(set(keys)), len({asked.body for asked in server.asked})) == (3, 1, 1)


@pytest.mark.parametrize("heeds", [HEEDING, HEEDLESS])
async def test_a_connection_cut_after_the_rows_were_taken(
    world: World, server: WebServer, receiver: Receiver, heeds: bool
) -> None:
    """At least once; once if the receiver heeds the key."""
    cuts = iter([True, False, True, False])

    def taken_and_cut(asked: Asked) -> Reply:
        if not heeds:
            receiver.taken.clear()
        reply = receiver.take(asked)
        return cut() if next(cuts, False) else reply

    server.serve("/v1/rows", taken_and_cut)
    write(world, [*range(7), *range(10, 13)])
    await world.run(spec({"batch": {"maxRows": 5}}))
    assert sorted(set(receiver.ids)) == [*range(7), *range(10, 13)]
    assert receiver.sent == (10 if heeds else 20)
    assert sorted(receiver.keys.values()) == [2, 2]


async def test_rows_that_the_server_refuses_are_dead_letters(world: World, receiver: Receiver) -> None:
    write(world, range(40))
    done = await world.run(spec({"batch": {"maxRows": 16}}))
    bad = [7, 17, 27, 37]
    assert sorted(receiver.ids) == [n for n in range(40) if n not in bad]
    assert [(each["step"], each["row_text"], each["error"], each["line"]) for each in world.letters.all()] == [
        ("out", f"{n},n{n}", "the server of the sink refuses the row (422)", n + 2) for n in bad
    ]
    assert done.steps["out"] == (40, 36, 4, 0)
    assert done.sinks["out"].rows == 36
    assert max(receiver.keys.values()) == 1, "halves have keys of their own"


async def test_a_batch_that_is_too_large_is_halved(world: World, receiver: Receiver) -> None:
    receiver.most = 3
    write(world, range(20, 27))
    await world.run(spec())
    assert receiver.ids == list(range(20, 27))


async def test_a_server_that_refuses_everything_isn_t_asked_for_ever(
    world: World, server: WebServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "MOST_REFUSALS", 20)
    server.serve("/v1/rows", Reply(status=400))
    write(world, range(100))
    with pytest.raises(SinkRefused, match="has refused 20 requests in a row"):
        await world.run(spec())
    assert len(server.asked) == 20


@pytest.mark.parametrize(
    ("reply", "kind", "says"),
    [
        (Reply(status=404), SinkRefused, "sink out: POST rows of sink out is answered by 404"),
        (Reply(status=302, headers={"Location": "http://elsewhere.example/"}), SinkRefused, "is answered by 302"),
        (Reply(status=401), HTTPDenied, "connection hook: the server refuses POST rows of sink out"),
        (Reply(status=403), HTTPDenied, "connection hook: the server refuses POST rows of sink out"),
        (Reply(status=500), HTTPUnavailable, "connection hook: POST rows of sink out is answered by 500"),
        (cut(), HTTPUnavailable, "connection hook: the connection broke"),
    ],
)
async def test_what_a_run_fails_with(
    world: World, server: WebServer, reply: Reply, kind: type[TidemillError], says: str
) -> None:
    server.serve("/v1/rows", reply)
    write(world, range(3))
    with pytest.raises(kind, match=says) as raised:
        await world.run(spec())
    assert "s3cret" not in str(raised.value)
    assert len(server.asked) == (http_patience.ATTEMPTS if raised.value.retryable else 1)
    assert world.letters.all() == [], "an outage is no fault of rows"


async def test_parts_that_are_done_aren_t_sent_again(world: World, server: WebServer, receiver: Receiver) -> None:
    wanted = spec({"batch": {"maxRows": 2}})
    write(world, range(4))
    write(world, range(10, 14), "b.csv")
    chunks = await world.plan(wanted)
    await world.load(wanted, chunks[0], chunks)
    first = len(server.asked)
    server.trouble["/v1/rows"].extend([Reply(status=500)] * http_patience.ATTEMPTS)
    with pytest.raises(HTTPUnavailable):
        await world.load(wanted, chunks[1], chunks)
    for chunk in chunks:
        await world.load(wanted, chunk, chunks)
    assert sorted(receiver.ids) == [0, 1, 2, 3, 10, 11, 12, 13]
    assert len(server.asked) == first + http_patience.ATTEMPTS + 2
    again = await world.plan(wanted, execution(2))
    for chunk in again:
        await world.load(wanted, chunk, again, execution(2))
    assert len(server.asked) == first + http_patience.ATTEMPTS + 2, "by another execution neither"
    assert max(receiver.keys.values()) == 1


async def test_a_part_that_broke_off_is_sent_again_by_its_keys(
    world: World, server: WebServer, receiver: Receiver
) -> None:
    wanted = spec({"batch": {"maxRows": 2}})
    write(world, range(6))
    chunks = await world.plan(wanted)
    answers = iter([None, None, *[Reply(status=503)] * http_patience.ATTEMPTS])

    def some(asked: Asked) -> Reply:
        return next(answers, None) or receiver.take(asked)

    server.serve("/v1/rows", some)
    with pytest.raises(HTTPUnavailable):
        await world.load(wanted, chunks[0], chunks)
    assert receiver.ids == [0, 1, 2, 3]
    await world.load(wanted, chunks[0], chunks)
    assert receiver.ids == [0, 1, 2, 3, 4, 5]
    assert sorted(receiver.keys.values()) == [1, 2, 2]
    entries = await world.fetch("SELECT chunk, part, rows, inserted, last FROM tidemill.ledger WHERE sink = 'out'")
    assert entries == [(0, 0, 6, 6, True)]


async def test_other_rows_of_a_key_that_was_sent_are_refused(world: World, receiver: Receiver) -> None:
    write(world, range(3))
    await world.run(spec())
    with pytest.raises(ReprocessRefused, match="has appended rows to rows, and the files"):
        await world.plan(spec({"wrap": "rows"}), execution(2))
    assert receiver.sent == 3


async def test_a_zombie_sends_nothing(world: World, server: WebServer) -> None:
    write(world, range(3))
    chunks = await world.plan(spec())
    await engine.claim(spec(), execution(2), world)
    with pytest.raises(Fenced):
        await world.load(spec(), chunks[0], chunks)
    assert server.asked == []


async def test_beside_a_table_both_have_the_rows_and_counts_once(world: World, receiver: Receiver) -> None:
    table = {
        "name": "t",
        "input": "raw",
        "connection": "warehouse",
        "postgres": {"table": "public.t"},
        "writeDisposition": "Append",
    }
    sinks = [spec().sinks[0].to_json(), table]
    for order in (sinks, sinks[::-1]):
        wanted = DataPipelineSpec.model_validate(spec().to_json() | {"sinks": order})
        run = replace(RUN, run_key=unique())
        write(world, range(10))
        await world.pool.execute("DROP TABLE IF EXISTS public.t")
        chunks = await world.plan(wanted, run)
        await world.load(wanted, chunks[0], chunks, run)
        # The table's part is lost, as if its COMMIT had never come: the server's is done, and isn't asked again.
        await world.pool.execute("DELETE FROM tidemill.ledger WHERE sink = 't'; TRUNCATE public.t")
        asked = sum(receiver.keys.values())
        outcome = await world.load(wanted, chunks[0], chunks, run)
        assert sum(receiver.keys.values()) == asked
        assert await world.fetch("SELECT count(*) FROM public.t") == [(10,)]
        counts = {count.step: (count.rows_in, count.rows_out, count.rejected) for count in outcome.steps}
        assert counts == {"raw": (10, 10, 0), "out": (10, 9, 1)}
        assert {each.sink: each.rows for each in outcome.sinks} == {"out": 9, "t": 10}


async def test_a_run_that_ends_while_the_server_asks_to_wait(world: World, server: WebServer) -> None:
    server.serve("/v1/rows", Reply(status=429, headers={"Retry-After": "50"}))
    write(world, range(3))
    chunks = await world.plan(spec())
    with pytest.raises(Stopped):
        await world.load(spec(), chunks[0], chunks, asked_to_stop=lambda: bool(server.asked))


async def test_a_column_that_json_has_no_value_for(world: World, receiver: Receiver) -> None:
    query = "SELECT id, encode(name) AS name FROM raw"
    steps = [{"name": "made", "inputs": ["raw"], "sql": {"query": query}}]
    wanted = spec(steps=steps).to_json()
    wanted["sinks"][0]["input"] = "made"
    write(world, range(3))
    with pytest.raises(TableMismatch, match="the column name is of type binary"):
        await world.run(DataPipelineSpec.model_validate(wanted))
    assert receiver.sent == 0
