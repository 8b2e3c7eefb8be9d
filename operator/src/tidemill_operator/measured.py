"""What a reading of the operator's figures shows besides its counters: the process as it is now, and the objects.

It is asked by another thread than the one that writes; what it reads is replaced, never changed in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

from tidemill_api.metrics import operator as metrics
from tidemill_operator.clients import Key
from tidemill_operator.connection import figures as of_connection
from tidemill_operator.metrics import Metrics
from tidemill_operator.pipeline import figures as of_pipeline
from tidemill_operator.pool import figures as of_pool
from tidemill_operator.queue import WorkQueue
from tidemill_operator.series import Sample, Series, within
from tidemill_operator.settings import Limits
from tidemill_operator.store import MemoryStore
from tidemill_operator.sweep import Sweep

KINDS: Final = ("DataPipeline", "WorkerPool", "DataPipelineRun", "TemporalConnection")


@dataclass(frozen=True, slots=True)
class Measured:
    """All that is asked."""

    store: MemoryStore
    metrics: Metrics
    work: WorkQueue[Key]
    sweep: Sweep
    limits: Limits
    leads: Callable[[], bool]
    failing: Callable[[], tuple[Key, ...]]
    dropped: Callable[[], int]
    """Events that weren't posted."""
    clock: Callable[[], float]
    """The loop's."""

    def register(self) -> None:
        """From now on a reading of the metrics has these."""
        self.metrics.collect_from(Series(self.process, self.objects))

    def process(self) -> Iterator[Sample]:
        """The process' own."""
        yield metrics.INFO, (version("tidemill"),), 1.0
        for state, keys in (("ready", len(self.work)), ("active", self.work.active), ("waiting", self.work.waiting)):
            yield metrics.QUEUE_DEPTH, (state,), float(keys)
        yield metrics.QUEUE_OLDEST, (), self.work.oldest()
        yield metrics.EVENTS_DROPPED, (), float(self.dropped())
        failing = Counter(key.kind for key in self.failing())
        for kind in KINDS:
            yield metrics.FAILING, (kind,), float(failing[kind])
        if self.leads() and self.sweep.finished is not None:
            yield metrics.SWEEP_AGE, (), max(0.0, self.clock() - self.sweep.finished)

    def objects(self) -> Iterator[Sample]:
        """Those of objects: the leader tells, so that nothing is told twice."""
        if not self.leads():
            return
        yield from self._pipelines()
        yield from self._pools()
        yield from self._connections()

    def _pipelines(self) -> Iterator[Sample]:
        now, known = datetime.now(UTC), tuple(self.store.objects("DataPipeline"))
        shown = within(known, self.limits.pipelines)
        yield metrics.SERIES_DROPPED, ("DataPipeline",), float(len(known) - len(shown))
        for pipeline in shown:
            yield from of_pipeline.figures(pipeline, now)

    def _pools(self) -> Iterator[Sample]:
        known = tuple(self.store.objects("WorkerPool"))
        shown = within(known, self.limits.pools)
        yield metrics.SERIES_DROPPED, ("WorkerPool",), float(len(known) - len(shown))
        self.metrics.forget_pools([(pool["metadata"]["namespace"], pool["metadata"]["name"]) for pool in known])
        for pool in shown:
            metadata = pool["metadata"]
            yield from of_pool.figures(pool, self.metrics.pool_decisions(metadata["namespace"], metadata["name"]))

    def _connections(self) -> Iterator[Sample]:
        for manifest in self.store.objects("TemporalConnection"):
            yield from of_connection.figures(manifest)
        answered, certificates, now = self.sweep.answered.copy(), self.sweep.certificates.copy(), self.clock()
        for connection, reachable in self.sweep.reachable().items():
            age = max(0.0, now - answered[connection]) if connection in answered else None
            yield from of_connection.way(connection, certificates.get(connection), reachable=reachable, age=age)
