"""Tags that a cache has to move once its store answers again. What a real Redis does: test_cache.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tidemill_worker.cache.cache import Cache, StoreError


@dataclass
class InMemory:
    """A store whose `move` may be disturbed: it is called when the tags are moved, before anybody is told."""

    moved: list[set[str]] = field(default_factory=list)
    disturbed: Callable[[], None] | None = None

    def epochs(self, tags: Sequence[str]) -> tuple[str, list[str]]:
        return "run", ["epoch" for _ in tags]

    def get(self, key: str) -> bytes | None:
        del key
        return None

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Forgotten at once."""

    def drop(self, key: str) -> None:
        """There is nothing."""

    def take(self, key: str, owner: str, seconds: float) -> bool:
        del key, owner, seconds
        return True

    def taken(self, key: str) -> bool:
        del key
        return False

    def leave(self, key: str, owner: str) -> None:
        """Nobody waits."""

    def move(self, tags: Iterable[str], epoch: str) -> None:
        del epoch
        self.moved.append(set(tags))
        disturbed, self.disturbed = self.disturbed, None
        if disturbed is not None:
            disturbed()

    def close(self) -> None:
        """Nothing is open."""


class Uncounted:
    def cache(self, outcome: str, saved: float = 0.0) -> None:
        """Nobody looks at it."""


def broken() -> None:
    raise StoreError


def test_a_tag_that_moves_again_while_it_is_moved_is_moved_again() -> None:
    store = InMemory()
    cache = Cache(store, Uncounted(), lambda: None)

    def meanwhile() -> None:  # the same table is loaded a second time, when the store is away
        store.disturbed = broken
        assert not cache.move(["table/b"])

    store.disturbed = meanwhile
    assert cache.move(["table/a", "table/b"])
    assert store.moved == [{"table/a", "table/b"}, {"table/a", "table/b"}]
    assert cache.computed("key", (), None, lambda _stale: b"x") == b"x"
    assert store.moved[2:] == [{"table/b"}], "what came meanwhile is still to be moved; the other isn't"
    cache.computed("key", (), None, lambda _stale: b"x")
    assert len(store.moved) == 3


def test_what_could_not_be_moved_is_moved_before_anything_is_looked_up() -> None:
    store = InMemory(disturbed=broken)
    cache = Cache(store, Uncounted(), lambda: None)
    assert not cache.move(["table/a"])
    cache.computed("key", (), None, lambda _stale: b"x")
    assert store.moved == [{"table/a"}, {"table/a"}]
