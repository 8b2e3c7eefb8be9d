"""The key ring while it changes: pools get it handed on, and Schedules are written anew with the key that writes.

Nothing is done here but putting keys on the queue, at a bounded rate: what is to be done is decided as always, from
what is there. So a restart in the middle loses nothing, and repeats nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from tidemill_codec.folder import KeyFolder
from tidemill_operator.clients import Key
from tidemill_operator.metrics import Metrics
from tidemill_operator.store import MemoryStore

log: Final = logging.getLogger(__name__)

_LOOK: Final = 2.0
"""Seconds between two looks at the ring."""
RATE: Final = 20.0
"""Schedules a second that are written anew: Temporal has other things to do."""

AddAfter = Callable[[Key, float], None]


class Rotation:
    """Follows the ring for the leader."""

    def __init__(self, keys: KeyFolder, store: MemoryStore, add_after: AddAfter, metrics: Metrics) -> None:
        """`add_after` puts a key on the queue after some seconds."""
        self._keys = keys
        self._store = store
        self._add_after = add_after
        self._metrics = metrics
        self._declared = keys.declared()
        self._writes = keys.ring().active
        self._rotating = False

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self.look()
            await asyncio.sleep(_LOOK)

    def look(self) -> None:
        """One look: what has changed goes on the queue, figures are set."""
        declared, writes = self._keys.declared(), self._keys.ring().active
        if declared != self._declared:
            self._declared = declared
            for pool in self._store.keys("WorkerPool"):
                self._add_after(pool, 0.0)
        if writes != self._writes:
            self._writes, self._rotating = writes, True
            pipelines = sorted(self._store.keys("DataPipeline"))
            log.info("the key that writes is now %s: %d pipelines are looked at again", writes, len(pipelines))
            for number, pipeline in enumerate(pipelines):
                self._add_after(pipeline, number / RATE)
        self._tell(writes)

    def _tell(self, writes: str) -> None:
        sealed = sealed_with(self._store)
        self._metrics.schedules_sealed.clear()
        for key, count in sealed.items():
            self._metrics.schedules_sealed.labels(key).set(count)
        self._metrics.schedules_sealed.labels(writes).inc(0)
        behind = sum(count for key, count in sealed.items() if key != writes)
        if self._rotating and not behind:
            self._rotating = False
            log.info("no Schedule is left on another key than %s", writes)


def sealed_with(store: MemoryStore) -> Counter[str]:
    """How many Schedules have their runs' input encrypted with which key; empty for those that aren't encrypted."""
    return Counter(_keys(store))


def _keys(store: MemoryStore) -> Iterable[str]:
    for connection in store.temporals():
        for description in tuple(store.temporal(connection).descriptions.values()):
            yield description.sealed_with or ""
