"""The cache on a real Redis: computed once, never stale, and no worse than without it when Redis misbehaves."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from tests.support.commands import tidemill
from tests.support.fixtures import unique
from tidemill_api.errors import SecretMissing
from tidemill_api.names import content_hash
from tidemill_cli.dev.components import redis as redis_component
from tidemill_cli.dev.components.component import running_blocking
from tidemill_cli.dev.components.redis import RedisServer
from tidemill_codec.ring import KeyRing
from tidemill_worker.cache import Cache, Entry
from tidemill_worker.cache.entry import Garbage, packed, unpacked
from tidemill_worker.cache.opening import prefix
from tidemill_worker.cache.redis_store import RedisStore

RING = KeyRing({"k1": b"1" * 32, "k2": b"2" * 32}, "k1")


@dataclass
class Counts:
    """What was told."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    saved: float = 0.0

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        self.outcomes[outcome] += 1
        self.saved += saved


@dataclass
class Made:
    """Computes, and counts how often."""

    value: bytes = b"value"
    times: int = 0
    stale: list[Entry | None] = field(default_factory=list[Entry | None])

    def __call__(self, stale: Entry | None) -> bytes:
        self.times += 1
        self.stale.append(stale)
        return self.value


@dataclass
class Bench:
    """A cache with its own prefix, and a plain client beside it."""

    client: redis.Redis
    url: str
    prefix: str
    counts: Counts = field(default_factory=Counts)

    def cache(self, ring: KeyRing | None = None, longest_wait: float = 60.0) -> Cache:
        """Another worker's view of the same cache."""
        store = RedisStore(lambda: self.url, self.prefix)
        return Cache(store, self.counts, lambda: ring, longest_wait=longest_wait)

    def keys(self, kind: str) -> list[str]:
        """Names of keys of a kind."""
        return sorted(str(key, "utf-8") for key in self.client.scan_iter(f"{self.prefix}:{kind}:*"))


@pytest.fixture
def bench(redis_server: RedisServer) -> Iterator[Bench]:
    client = redis.Redis.from_url(redis_server.url)
    yield Bench(client, redis_server.url, unique())
    client.close()


def test_one_computes_and_the_others_wait(bench: Bench) -> None:
    begun = threading.Event()
    times = []

    def compute(_stale: Entry | None) -> bytes:
        times.append(1)
        begun.wait(0.3)
        return b"once"

    caches = [bench.cache() for _ in range(4)]
    with ThreadPoolExecutor(16) as threads:
        found = [threads.submit(each.computed, ["k", 1], ["t"], None, compute) for each in caches * 4]
    assert {each.result() for each in found} == {b"once"}
    assert len(times) == 1
    assert bench.counts.outcomes == {"miss": 1, "hit": 15}
    assert bench.counts.saved > 15 * 0.2
    assert bench.keys("lock") == []


def test_an_entry_is_fresh_for_its_time_and_then_shown_to_whoever_computes(bench: Bench) -> None:
    cache, made = bench.cache(), Made()
    cache.computed("k", (), 0.15, made, stale=lambda _value: 60)
    (entry,) = bench.keys("entry")
    assert 60_000 < bench.client.pttl(entry) <= 60_150
    assert cache.computed("k", (), 0.15, made, stale=lambda _value: 60) == b"value"
    assert made.times == 1
    threading.Event().wait(0.2)
    made.value = b"newer"
    assert cache.computed("k", (), 60, made) == b"newer"
    assert [each.value if each else None for each in made.stale] == [None, b"value"]
    assert cache.computed("k", (), 60, made) == b"newer"
    assert made.times == 2


def test_the_default_is_an_hour_jittered(bench: Bench) -> None:
    cache = bench.cache()
    for number in range(20):
        cache.computed(number, (), None, Made())
    left = [bench.client.pttl(key) for key in bench.keys("entry")]
    assert all(3_200_000 < each <= 3_600_000 for each in left)
    assert len(set(left)) > 15


CHANGES: dict[str, Callable[[Bench, Cache], object]] = {
    "its tag has moved": lambda _bench, cache: cache.move(["b"]),
    "everything has": lambda _bench, cache: cache.move(["everything"]),
    "its tag's epoch was evicted": lambda bench, _cache: bench.client.delete(f"{bench.prefix}:tag:a"),
    "it was evicted": lambda bench, _cache: bench.client.delete(*bench.keys("entry")),
    "it is garbage": lambda bench, _cache: bench.client.set(bench.keys("entry")[0], b"\x00garbage"),
    "it is cut": lambda bench, _cache: bench.client.setrange(bench.keys("entry")[0], 60, b"XX"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_it_is_computed_anew_when(bench: Bench, case: str) -> None:
    cache, made = bench.cache(), Made()
    cache.computed("k", ["a", "b"], None, made)
    cache.computed("k", ["a", "b"], None, made)
    assert made.times == 1
    CHANGES[case](bench, cache)
    assert cache.computed("k", ["a", "b"], None, made) == b"value"
    assert made.times == 2
    assert cache.computed("k", ["a", "b"], None, made) == b"value"
    assert made.times == 2


def test_an_entry_of_another_key_is_none_of_this(bench: Bench) -> None:
    cache, made = bench.cache(), Made()
    cache.computed("one", (), None, lambda _: b"one")
    (one,) = bench.keys("entry")
    cache.computed("k", (), None, made)
    other = next(key for key in bench.keys("entry") if key != one)
    bench.client.copy(one, other, replace=True)
    assert cache.computed("k", (), None, made) == b"value"
    assert bench.counts.outcomes["error"] == 1


def test_a_wrong_kind_of_key_is_an_error_and_not_the_callers(bench: Bench) -> None:
    bench.client.lpush(f"{bench.prefix}:tag:a", "x")
    assert bench.cache().computed("k", ["a"], None, Made()) == b"value"
    assert bench.counts.outcomes == {"error": 1}


def test_what_is_computed_while_a_tag_moves_is_found_by_nobody(bench: Bench) -> None:
    cache, made = bench.cache(), Made()

    def compute(_stale: Entry | None) -> bytes:
        bench.cache().move(["a"])  # a sink writes meanwhile
        return b"old"

    assert cache.computed("k", ["a"], None, compute) == b"old"
    assert cache.computed("k", ["a"], None, made) == b"value"


def test_what_fails_is_not_kept_and_holds_nobody_up(bench: Bench) -> None:
    cache = bench.cache()

    def fails(_stale: Entry | None) -> bytes:
        raise SecretMissing("no")

    with pytest.raises(SecretMissing):
        cache.computed("k", (), None, fails)
    assert (bench.keys("entry"), bench.keys("lock")) == ([], [])
    assert cache.computed("k", (), None, Made()) == b"value"


def test_one_that_died_while_computing_is_waited_for_no_longer_than_said(bench: Bench) -> None:
    cache = bench.cache(longest_wait=0.3)
    run, epochs = cache.store.epochs(["everything"])
    assert cache.store.take(content_hash(["k", run, epochs]), "the dead", 60)
    began = time.monotonic()
    assert cache.computed("k", (), None, Made()) == b"value"
    assert 0.25 < time.monotonic() - began < 5


def test_encrypted_where_payloads_are(bench: Bench) -> None:
    sealed, made = bench.cache(RING), Made(b"a secret row")
    sealed.computed("k", (), None, made)
    (entry,) = bench.keys("entry")
    kept = bench.client.get(entry)
    assert isinstance(kept, bytes)
    assert b"secret" not in kept
    rotated = bench.cache(KeyRing(RING.keys, "k2"))
    assert rotated.computed("k", (), None, made) == b"a secret row"
    assert made.times == 1
    assert bench.cache(KeyRing({"k2": b"2" * 32}, "k2")).computed("k", (), None, made) == b"a secret row"
    assert made.times == 2
    plain = bench.cache()
    plain.computed("k", (), None, made)  # can't read it
    assert made.times == 3
    sealed.computed("k", (), None, made)  # nor believes what anybody may have written
    assert made.times == 4


@given(st.binary(max_size=200), st.sampled_from([None, RING]))
def test_whatever_is_found_is_an_entry_or_garbage(data: bytes, ring: KeyRing | None) -> None:
    for each in (data, b"tidemill1\n\n" + data, b"tidemill1\nk1\n" + data):
        with pytest.raises(Garbage):
            unpacked(each, "key", lambda: ring)
    entry = Entry(data, 1.5, 0.25)
    assert unpacked(packed(entry, "key", lambda: ring), "key", lambda: ring) == entry


@pytest.mark.parametrize("how", ["away", "silent", "without its Secret"])
def test_without_redis_it_is_only_slower(how: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        port = silent.getsockname()[1] if how == "silent" else 1

        def url() -> str:
            if how == "without its Secret":
                raise SecretMissing("not yet")
            return f"redis://127.0.0.1:{port}/0"

        counts, made = Counts(), Made()
        cache = Cache(RedisStore(url, "x", wait=0.2), counts, lambda: None)
        began = time.monotonic()
        for number in range(50):
            assert cache.computed(number, ["t"], None, made) == b"value"
        assert cache.move(["t"]) is False
        assert time.monotonic() - began < 2.5  # one waited, the others knew
        assert (made.times, counts.outcomes) == (50, {"error": 51})


def test_a_restart_forgets_and_what_was_to_be_moved_meanwhile_is(tmp_path: Path) -> None:
    server = redis_component.describe(tmp_path / "redis", persistent=True)
    counts, made = Counts(), Made()
    store = RedisStore(lambda: server.url, "x", rest=0.0)
    cache = Cache(store, counts, lambda: None)
    with running_blocking(server.component):
        cache.computed("k", ["a"], None, made)
        cache.computed("k", ["a"], None, made)
        assert made.times == 1
        with redis.Redis.from_url(server.url) as client:
            client.save()
    cache.computed("k", ["a"], None, made)
    assert cache.move(["a"]) is False
    assert made.times == 2
    with running_blocking(server.component):
        with redis.Redis.from_url(server.url) as client:
            before = client.get("x:tag:a")
            assert before is not None  # the snapshot has it
        cache.computed("k", ["a"], None, made)
        assert made.times == 3
        with redis.Redis.from_url(server.url) as client:
            assert client.get("x:tag:a") != before
        cache.computed("k", ["a"], None, made)
        assert made.times == 3
    store.close()


def test_purge_lets_go_of_everything_or_of_what_is_named(bench: Bench) -> None:
    bench.prefix = prefix("i1", "travel", unique())
    pool, made = bench.prefix.rpartition(":")[2], Made()
    cache = bench.cache()

    def purge(*named: str) -> str:
        options = ("--installation", "i1", "--namespace", "travel", "--pool", pool)
        said = tidemill("cache", "purge", *options, *named, environment={"TIDEMILL_CACHE_URL": bench.url})
        assert said.code == 0, said
        cache.computed("k", ["connection/tracker", "source/teams", "table/w/public.a"], None, made)
        return said.out.strip()

    assert purge() == f"purged: everything of travel/{pool}"
    for times, option in enumerate(("--connection=tracker", "--source=teams", "--table=w/public.a"), 2):
        purge(option)
        assert made.times == times
    assert purge("--connection", "other", "--source", "others") == (
        f"purged: connection/other, source/others of travel/{pool}"
    )
    assert made.times == 4
    purge()
    assert made.times == 5


def test_purge_says_when_redis_cannot_be_asked() -> None:
    said = tidemill("cache", "purge", "--redis", "redis://:s3cret@127.0.0.1:1/0", "--pool", "etl")
    assert said.code == 1
    assert said.err.startswith("tidemill: Redis can't be asked: ")
    assert "s3cret" not in said.err + said.out
