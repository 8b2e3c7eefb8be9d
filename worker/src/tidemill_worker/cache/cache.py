"""What is computed once: found again by its key, as long as it is fresh and none of its tags has moved since.

The key of an entry holds the *epochs* of its tags as they were before it was computed. A tag is moved by giving it
another epoch: what was computed before is found by nobody then, and what is being computed meanwhile neither. Epochs
are random, so one that was evicted comes back as another. The key holds the server's run id too: a server that was
restarted from an old snapshot, or took over from one that was ahead, begins empty.

One computes, the others wait for it a while. Whatever goes wrong with the store, `compute` is called.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from tidemill_api.names import content_hash
from tidemill_worker.cache.entry import Entry, Garbage, Seal, packed, unpacked

LONGEST_WAIT: Final = 60.0
"""Seconds for which one waits for another who computes the same."""
_LOOK: Final = 0.05
"""Seconds between two looks whether it is there."""
JITTER: Final = 0.1
"""Part of a TTL by which it is shortened at most, so that what was computed together doesn't end together."""
EVERYTHING: Final = "everything"
"""A tag of all entries."""

Compute = Callable[[Entry | None], bytes]
"""Makes the value. Given the one that was there and isn't fresh any more, if it was kept beyond its time."""


StaleFor = Callable[[bytes], float]
"""Seconds for which a value is worth keeping when it isn't fresh any more."""


GoOn = Callable[[], bool]
"""Whether the value is still wanted. If not, nobody waits for another one who computes it."""


def _never(_value: bytes) -> float:
    return 0.0


def _always() -> bool:
    return True


class StoreError(Exception):
    """The store doesn't answer, or not in time."""


class Store(Protocol):
    """Where entries are. Each method raises StoreError, and soon."""

    def epochs(self, tags: Sequence[str]) -> tuple[str, list[str]]:
        """The server's run id, and the epoch of each tag; one that has none gets one."""
        ...

    def get(self, key: str) -> bytes | None:
        """An entry."""
        ...

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep an entry for so long."""
        ...

    def drop(self, key: str) -> None:
        """Forget an entry."""
        ...

    def take(self, key: str, owner: str, seconds: float) -> bool:
        """Whether the key, which nobody had, is the owner's now, for so long."""
        ...

    def taken(self, key: str) -> bool:
        """Whether somebody has it."""
        ...

    def leave(self, key: str, owner: str) -> None:
        """Give it back, if it is the owner's."""
        ...

    def move(self, tags: Iterable[str], epoch: str) -> None:
        """Give the tags another epoch."""
        ...

    def close(self) -> None:
        """Close what is open."""
        ...


class Told(Protocol):
    """Who counts."""

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        """`hit`, `miss` or `error`; of a hit the seconds that computing it took."""
        ...


class Computed(Protocol):
    """What users of the cache see of it."""

    def computed(
        self,
        key: object,
        tags: Iterable[str],
        ttl: float | None,
        compute: Compute,
        stale: StaleFor = _never,
        go_on: GoOn = _always,
    ) -> bytes:
        """See `Cache.computed`."""
        ...


@dataclass
class Cache:
    """One pool's cache. Used by several threads at once; blocks."""

    store: Store
    told: Told
    seal: Seal
    ttl: float = 3600.0
    """Seconds for which entries are fresh that don't say it themselves."""
    longest_wait: float = LONGEST_WAIT
    waited: Callable[[float], None] = lambda _seconds: None
    """Told how long one has waited for another who computes the same."""
    _unmoved: dict[str, object] = field(default_factory=dict)
    """Tags to be moved, each with a mark of the change it is for: one that comes meanwhile isn't forgotten."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def computed(
        self,
        key: object,
        tags: Iterable[str],
        ttl: float | None,
        compute: Compute,
        stale: StaleFor = _never,
        go_on: GoOn = _always,
    ) -> bytes:
        """The value of a key (anything that JSON can hold), from the cache or by `compute`.

        It is fresh for `ttl` seconds (None: as the pool says), and kept for as many more as `stale` says, for `compute`
        to look at. As soon as `go_on` says no, `compute` is called instead of waiting for another one who does.
        Raises what `compute` raises, which isn't kept.
        """
        try:
            self._catch_up()
            run, epochs = self.store.epochs([EVERYTHING, *tags])
            place = content_hash([key, run, epochs])
            found = self._found(place)
        except StoreError:
            self.told.cache("error")
            return compute(None)
        if found is not None and found.fresh_until > time.time():
            self.told.cache("hit", found.seconds)
            return found.value
        return self._once(place, found, self.ttl if ttl is None else ttl, compute, stale, go_on)

    def move(self, tags: Iterable[str]) -> bool:
        """Let nobody find any more what was computed from these. False: the store doesn't answer, and is told later."""
        with self._lock:
            self._unmoved.update((tag, object()) for tag in tags)
        try:
            self._catch_up()
        except StoreError:
            self.told.cache("error")
            return False
        return True

    def close(self) -> None:
        """Close what is open of the store."""
        self.store.close()

    def _catch_up(self) -> None:
        """Before anything is looked up, what was to be moved is."""
        with self._lock:
            waiting = dict(self._unmoved)
        if waiting:
            self.store.move(tuple(waiting), secrets.token_hex(8))
            with self._lock:
                for tag, mark in waiting.items():
                    if self._unmoved.get(tag) is mark:
                        del self._unmoved[tag]

    def _found(self, place: str) -> Entry | None:
        data = self.store.get(place)
        if data is None:
            return None
        try:
            return unpacked(data, place, self.seal)
        except Garbage:  # nothing that we have written, or not with a key that we have
            self.told.cache("error")
            self.store.drop(place)
            return None

    def _fresh(self, place: str) -> Entry | None:
        found = self._found(place)
        return found if found is not None and found.fresh_until > time.time() else None

    def _once(
        self, place: str, found: Entry | None, ttl: float, compute: Compute, stale: StaleFor, go_on: GoOn
    ) -> bytes:
        owner, limit = secrets.token_hex(8), time.monotonic() + self.longest_wait
        try:
            while not self.store.take(place, owner, self.longest_wait):
                began = time.monotonic()
                other = self._from_another(place, limit, go_on)
                self.waited(time.monotonic() - began)
                if other is not None:
                    self.told.cache("hit", other.seconds)
                    return other.value
                if time.monotonic() >= limit or not go_on():
                    break
            else:  # whoever had it may have been done between our look and our taking it
                other = self._fresh(place)
                if other is not None:
                    self._leave(place, owner)
                    self.told.cache("hit", other.seconds)
                    return other.value
        except StoreError:
            self.told.cache("error")
            return compute(found)
        self.told.cache("miss")
        try:
            began = time.monotonic()
            value = compute(found)
            self._keep(place, value, time.monotonic() - began, ttl, stale(value))
        finally:
            self._leave(place, owner)
        return value

    def _from_another(self, place: str, limit: float, go_on: GoOn) -> Entry | None:
        """What another one has computed meanwhile; None if it gave up, or takes too long."""
        while time.monotonic() < limit and go_on():
            threading.Event().wait(_LOOK)
            over = not self.store.taken(place)
            found = self._fresh(place)
            if found is not None:
                return found
            if over:
                return None
        return None

    def _keep(self, place: str, value: bytes, seconds: float, ttl: float, stale: float) -> None:
        fresh = ttl * (1 - random.uniform(0, JITTER))
        entry = Entry(value, time.time() + fresh, seconds)
        try:
            self.store.put(place, packed(entry, place, self.seal), fresh + stale)
        except StoreError:
            self.told.cache("error")

    def _leave(self, place: str, owner: str) -> None:
        try:
            self.store.leave(place, owner)
        except StoreError:  # it ends by itself
            self.told.cache("error")
