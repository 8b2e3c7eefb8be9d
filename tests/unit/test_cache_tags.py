"""What comes between a cache's requests to its store: other tags and workers. A real Redis: test_cache.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tidemill_worker.cache.cache import Cache, StoreError


@dataclass
class InMemory:
    """A store that may be disturbed: before anybody hears that tags were moved, and before a key is taken."""

    moved: list[set[str]] = field(default_factory=list)
    entries: dict[str, bytes] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    disturbed: Callable[[], None] | None = None
    before_taking: Callable[[], None] | None = None

    def epochs(self, tags: Sequence[str]) -> tuple[str, list[str]]:
        return "run", ["epoch" for _ in tags]

    def get(self, key: str) -> bytes | None:
        return self.entries.get(key)

    def put(self, key: str, value: bytes, seconds: float) -> None:
        del seconds
        self.entries[key] = value

    def drop(self, key: str) -> None:
        self.entries.pop(key, None)

    def take(self, key: str, owner: str, seconds: float) -> bool:
        del seconds
        before, self.before_taking = self.before_taking, None
        if before is not None:
            before()
        return self.holders.setdefault(key, owner) == owner

    def taken(self, key: str) -> bool:
        return key in self.holders

    def leave(self, key: str, owner: str) -> None:
        if self.holders.get(key) == owner:
            del self.holders[key]

    def move(self, tags: Iterable[str], epoch: str) -> None:
        del epoch
        self.moved.append(set(tags))
        disturbed, self.disturbed = self.disturbed, None
        if disturbed is not None:
            disturbed()

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Counts:
    outcomes: list[str] = field(default_factory=list)

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        del saved
        self.outcomes.append(outcome)


def broken() -> None:
    raise StoreError


def test_a_tag_that_moves_again_while_it_is_moved_is_moved_again() -> None:
    store = InMemory()
    cache = Cache(store, Counts(), lambda: None)

    def meanwhile() -> None:  # the same table is loaded a second time, when the store is away
        store.disturbed = broken
        assert not cache.move(["table/b"])

    store.disturbed = meanwhile
    assert cache.move(["table/a", "table/b"])
    assert store.moved == [{"table/a", "table/b"}, {"table/a", "table/b"}]
    assert cache.computed("key", (), None, lambda _stale: b"x") == b"x"
    assert store.moved[2:] == [{"table/b"}], "what came meanwhile is still to be moved; the other isn't"
    assert cache.computed("key", (), None, lambda _stale: b"y") == b"x"
    assert len(store.moved) == 3


def test_what_could_not_be_moved_is_moved_before_anything_is_looked_up() -> None:
    store = InMemory(disturbed=broken)
    cache = Cache(store, Counts(), lambda: None)
    assert not cache.move(["table/a"])
    cache.computed("key", (), None, lambda _stale: b"x")
    assert store.moved == [{"table/a"}, {"table/a"}]


def test_what_another_one_has_computed_before_we_could_is_not_computed_again() -> None:
    store, counts, computed = InMemory(), Counts(), list[str]()

    def by(who: str) -> Callable[[object], bytes]:
        def compute(_stale: object) -> bytes:
            computed.append(who)
            return who.encode()

        return compute

    other = Cache(store, Counts(), lambda: None)

    def meanwhile() -> None:  # we have looked, and found nothing
        other.computed("key", (), None, by("other"))

    store.before_taking = meanwhile
    assert Cache(store, counts, lambda: None).computed("key", (), None, by("us")) == b"other"
    assert (computed, counts.outcomes, store.holders) == (["other"], ["hit"], {})
