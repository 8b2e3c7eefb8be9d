"""The safety net: every few minutes a full list of what the watches should have told, and of what is left over.

Unchanged objects cost a comparison of resourceVersions and nothing else. Descriptions of Schedules are read again
once in each interval, spread over it, and compared by hash; only a difference puts a pipeline on the queue.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from typing import Final, Protocol

from tidemill_api.errors import TidemillError
from tidemill_api.names import LABEL_POOL
from tidemill_operator.clients import Key, Object, Temporals
from tidemill_operator.metrics import Metrics
from tidemill_operator.notice import CHILD_KINDS, OUR_KINDS
from tidemill_operator.store import MemoryStore, key_of, version
from tidemill_operator.views import ConnectionKey

log: Final = logging.getLogger(__name__)

_HANDFUL: Final = 20
"""Schedules described at once: waking up for each alone takes longer than reading it."""

Learn = Callable[[str, Object | None, Object | None], None]


class Lists(Protocol):
    """The part of the API server that a resync needs."""

    def list(
        self, kind: str, namespace: str | None, selector: str = ""
    ) -> AsyncIterator[tuple[tuple[Object, ...], str]]:
        """Pages of objects, and the list's resourceVersion."""
        ...


class Resync:
    """Lists everything now and then. `learn` is told of each difference."""

    def __init__(
        self, store: MemoryStore, lists: Lists, namespaces: tuple[str, ...], learn: Learn, metrics: Metrics
    ) -> None:
        """`namespaces`: those looked after; empty for all."""
        self._store = store
        self._lists = lists
        self._namespaces: tuple[str | None, ...] = namespaces or (None,)
        self._learn = learn
        self._metrics = metrics
        self.synced = False
        """Whether everything has been listed once."""

    async def list_all(self) -> None:
        """One full list. Raises KubernetesUnavailable or KubernetesError."""
        with self._metrics.resync_seconds.time():
            for kind in (*OUR_KINDS, *CHILD_KINDS):
                for namespace in self._namespaces:
                    await self._list(kind, namespace)
                self._metrics.objects.labels(kind).set(len(self._store.keys(kind)))
        self.synced = True

    async def run(self, interval: float, beat: Callable[[], None]) -> None:
        """List every `interval` seconds, more or less, until cancelled; sooner again after a failure."""
        while True:
            await asyncio.sleep(interval * random.uniform(0.8, 1.2))
            beat()
            try:
                await self.list_all()
            except TidemillError as error:
                log.warning("can't list everything: %s", error)

    async def _list(self, kind: str, namespace: str | None) -> None:
        selector = LABEL_POOL if kind in CHILD_KINDS else ""
        seen: set[Key] = set()
        listed = 0
        async for page, list_version in self._lists.list(kind, namespace, selector):
            listed = max(listed, int(list_version))
            for item in page:
                item.setdefault("kind", kind)  # items of lists say neither
                item.setdefault("apiVersion", _api_version(kind))
                key = key_of(kind, item)
                seen.add(key)
                self._take(key, item)
        for key in self._store.keys(kind):
            if key not in seen and namespace in (None, key.namespace):
                self._miss(key, listed)

    def _take(self, key: Key, item: Object) -> None:
        old = self._store.get(key.kind, key.namespace, key.name)
        if self._store.put(key.kind, item):
            if self.synced:
                self._metrics.missed.labels(key.kind).inc()
            self._learn(key.kind, old, item)

    def _miss(self, key: Key, listed: int) -> None:
        """It is known and wasn't listed: gone, unless it is newer than the list."""
        known = self._store.get(key.kind, key.namespace, key.name)
        if known is None or version(known) > listed:
            return
        self._store.remove(key.kind, key.namespace, key.name, known["metadata"]["uid"])
        self._metrics.missed.labels(key.kind).inc()
        self._learn(key.kind, known, None)


class Verify:
    """Reads the description of each Schedule once an interval, and reports those that aren't as they were left."""

    def __init__(self, store: MemoryStore, temporals: Temporals, add: Callable[[Key], None], interval: float) -> None:
        """`interval` in seconds."""
        self._store = store
        self._temporals = temporals
        self._add = add
        self._interval = interval

    async def run(self) -> None:
        """Go round and round until cancelled, each round about as long as the interval."""
        while True:
            due = [
                (connection, schedule)
                for connection in self._temporals.in_use()
                for schedule in tuple(self._store.temporal(connection).descriptions)
            ]
            handfuls = [due[start : start + _HANDFUL] for start in range(0, len(due), _HANDFUL)]
            pause = self._interval / (len(handfuls) + 1)
            for handful in handfuls:
                await asyncio.sleep(pause)
                await asyncio.gather(*(self.look_at(connection, schedule) for connection, schedule in handful))
            await asyncio.sleep(pause)

    async def look_at(self, connection: ConnectionKey, schedule: str) -> None:
        """Describe one Schedule; if it isn't what it was, its pipeline goes on the queue."""
        known = self._store.description(connection, schedule)
        if known is None:
            return
        try:
            seen = await (await self._temporals.get(connection)).describe_schedule(schedule)
        except TidemillError:
            return  # the sweep says so
        if seen is not None and (seen.made, seen.memo) == (known.made, known.memo):
            return
        self._store.drop_description(connection, schedule)
        _, namespace, name = schedule.split("/")
        self._add(Key("DataPipeline", namespace, name))


def orphans(store: MemoryStore, in_scope: Callable[[str], bool]) -> tuple[Key, ...]:
    """Keys of pipelines that have a Schedule or open runs in Temporal but no object that is known."""
    keys: set[Key] = set()
    for connection in store.temporals():
        for schedule, seen in store.temporal(connection).pipelines.items():
            parts = schedule.split("/")
            if seen.entry is None or len(parts) != 3 or not in_scope(parts[1]):
                continue
            if store.get("DataPipeline", parts[1], parts[2]) is None:
                keys.add(Key("DataPipeline", parts[1], parts[2]))
    return tuple(sorted(keys))


def _api_version(kind: str) -> str:
    match kind:
        case "Deployment":
            return "apps/v1"
        case "ServiceAccount" | "ConfigMap":
            return "v1"
        case "NetworkPolicy":
            return "networking.k8s.io/v1"
        case _:
            return "tidemill.dev/v1alpha1"
