"""What a worker counts, for Prometheus. The client library is imported when something is first counted.

Names, labels and meanings stand in `tidemill_api.metrics.worker`; nothing is counted that isn't there. Every series
begins with the labels of the pool. A pipeline's series go when it was idle for a day, or when there are too many.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast

from tidemill_api.contract import RunResult, SinkCount, StepCount
from tidemill_worker.workflows.messages import Counts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

    from tidemill_api.metrics import Metric

Instrument = TypeVar("Instrument", bound="Counter | Gauge | Histogram")

MOST_PIPELINES: Final = 250
"""Pipelines that have series in one worker; the one that wasn't worked for the longest time gives way."""
IDLE: Final = 86_400.0
"""Seconds after which a pipeline that isn't worked for has none any more."""
Whose = tuple[str, str]
"""Namespace and name of a pipeline."""
UNKNOWN: Final = ("", "")
"""Of a chunk that failed before its run could be read."""


class OpenPool(Protocol):
    """A pool of connections to a database."""

    def get_size(self) -> int:
        """Connections that are open."""
        ...

    def get_idle_size(self) -> int:
        """Of these, how many nobody uses."""
        ...

    def get_max_size(self) -> int:
        """Most connections."""
        ...


@dataclass
class Attempt:
    """An attempt at a chunk, while it goes on."""

    whose: Whose = UNKNOWN
    exemplar: dict[str, str] = field(default_factory=dict[str, str])
    """What finds the run again."""
    number: int = 1
    """Of the attempts at this chunk."""


class _Instruments:
    """The library's objects, by the catalogue's names; made when they are first needed."""

    def __init__(self, pool: Whose) -> None:
        from prometheus_client import CollectorRegistry, disable_created_metrics
        from prometheus_client.process_collector import ProcessCollector

        # Else a series more for each counter. (The library has no types here.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._pool = pool
        self._made: dict[str, Counter | Gauge | Histogram] = {}
        self._lock = threading.Lock()

    def counter(self, metric: Metric, *labels: str) -> Counter:
        """The counter with these labels behind the pool's."""
        from prometheus_client import Counter

        return self._instrument(metric, Counter).labels(*self._pool, *labels)

    def gauge(self, metric: Metric, *labels: str) -> Gauge:
        """As `counter`."""
        from prometheus_client import Gauge

        return self._instrument(metric, Gauge).labels(*self._pool, *labels)

    def histogram(self, metric: Metric, *labels: str) -> Histogram:
        """As `counter`."""
        from prometheus_client import Histogram

        return self._instrument(metric, Histogram, buckets=metric.buckets).labels(*self._pool, *labels)

    def forget(self, whose: Whose) -> None:
        """Drop all series of a pipeline."""
        for made in tuple(self._made.values()):
            if "pipeline" in made._labelnames:  # noqa: SLF001 - the library removes by names only if all have them
                made.remove_by_labels({"pipeline_namespace": whose[0], "pipeline": whose[1]})

    def _instrument(self, metric: Metric, make: type[Instrument], **more: Any) -> Instrument:
        found = self._made.get(metric.name)
        if found is None:
            with self._lock:
                found = self._made.get(metric.name)
                if found is None:
                    more |= {"unit": metric.unit, "registry": self.registry}
                    found = make(metric.name, metric.help, metric.labels, **more)
                    self._made[metric.name] = found
        return cast("Instrument", found)


class Measures:
    """The figures of one worker. Used by the loop and by threads."""

    def __init__(self, namespace: str, pool: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Whose worker it is. Imports nothing."""
        self._pool = (namespace, pool)
        self._clock = clock
        self._seen: OrderedDict[Whose, float] = OrderedDict()
        self._early: deque[tuple[str, float, bool]] = deque(maxlen=1000)
        self.ready: Callable[[], bool] = lambda: False
        """Whether the worker polls."""
        self.slots = 0
        self.pools: Callable[[], Iterable[tuple[str, OpenPool]]] = tuple
        """The open pools of connections to databases, each with its connection's name."""

    @functools.cached_property
    def _made(self) -> _Instruments:
        return _Instruments(self._pool)

    @property
    def _begun(self) -> bool:
        """Whether the library is imported already. A start isn't made longer for what can be counted a little later."""
        return "_made" in self.__dict__

    # Chunks

    @contextlib.contextmanager
    def chunk(self) -> Iterator[Attempt]:
        """Around an attempt at a chunk; whoever works on it says whose it is, once that is known."""
        from tidemill_api.metrics import worker

        attempt, outcome, began = Attempt(), "failed", self._clock()
        with self._made.gauge(worker.CHUNKS_OPEN).track_inprogress():
            try:
                yield attempt
                outcome = "done"
            finally:
                self._used(attempt.whose)
                self._made.counter(worker.CHUNKS, *attempt.whose, outcome).inc()
                if attempt.number > 1:
                    self._made.counter(worker.CHUNK_RETRIES, *attempt.whose).inc()
                seconds = self._clock() - began
                self._made.histogram(worker.CHUNK_DURATION).observe(seconds, attempt.exemplar or None)

    def rows(self, whose: Whose, counts: Counts, steps: Iterable[StepCount], sinks: Iterable[SinkCount]) -> None:
        """Rows and bytes of a chunk that is done."""
        from tidemill_api.metrics import worker

        self._used(whose)
        made = self._made
        made.counter(worker.READ_ROWS, *whose).inc(counts.rows_read)
        made.counter(worker.READ_BYTES, *whose).inc(counts.bytes_read)
        for step in steps:
            for outcome, rows in (("passed", step.rows_out), ("rejected", step.rejected), ("skipped", step.skipped)):
                made.counter(worker.STEP_ROWS, *whose, step.step, outcome).inc(rows)
        for sink in sinks:
            made.counter(worker.LOADED_ROWS, *whose, sink.sink).inc(sink.rows)

    def rejected(self, whose: Whose, rows: Mapping[tuple[str, str], int]) -> None:
        """Dead letters that were written, by step and rule."""
        from tidemill_api.metrics import worker

        self._used(whose)
        for (step, rule), count in rows.items():
            self._made.counter(worker.REJECTED_ROWS, *whose, step, rule).inc(count)

    def phases(self, whose: Whose, seconds: Mapping[str, float]) -> None:
        """Time that was spent on a chunk, by phase."""
        from tidemill_api.metrics import worker

        for phase, spent in seconds.items():
            self._made.counter(worker.PHASE_SECONDS, *whose, phase).inc(spent)

    # Runs

    def run(self, whose: Whose, result: RunResult) -> None:
        """A run whose end was recorded."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.RUNS, result.result).inc()
        for check in result.failed_checks:
            self._used(whose)
            self._made.counter(worker.CHECKS_FAILED, *whose, check.severity).inc()

    def notification(self, state: str) -> None:
        """An attempt at a notification: Sent, Waiting for another attempt, or Unsent."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.NOTIFICATIONS, state.lower()).inc()

    def lineage(self, state: str) -> None:
        """An attempt at an event of lineage: Sent, Waiting for another attempt, or Unsent."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.LINEAGE, state.lower()).inc()

    # What is used

    def secret(self, connection: str, unusable: bool) -> None:
        """Whether the Secret of a connection (or of `temporal`) holds something that can't be used."""
        from tidemill_api.metrics import worker

        self._made.gauge(worker.SECRET_UNUSABLE, connection).set(unusable)

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        """A lookup in the cache: `hit`, `miss` or `error`; of a hit the seconds that computing it took."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.CACHE_LOOKUPS, outcome).inc()
        self._made.counter(worker.CACHE_SAVED).inc(saved)

    def cache_waited(self, seconds: float) -> None:
        """A lookup waited for another one who computed the same."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.CACHE_WAITS).inc()
        self._made.counter(worker.CACHE_WAITED).inc(seconds)

    def postgres(self, connection: str, seconds: float, *, had: bool) -> None:
        """A connection to a database was waited for; `had`: it came."""
        self._early.append((connection, seconds, had))
        if self._begun:
            self._catch_up()

    def _catch_up(self) -> None:
        """Count the waits that came before there was something to count with."""
        from tidemill_api.metrics import worker

        with contextlib.suppress(IndexError):  # another thread may take the last one
            while True:
                connection, seconds, had = self._early.popleft()
                self._made.histogram(worker.POSTGRES_WAIT, connection).observe(seconds)
                self._made.counter(worker.POSTGRES_FAILURES, connection).inc(0 if had else 1)

    def http(self, connection: str, code: int, seconds: float) -> None:
        """A request to a web server; code 0: no answer came."""
        from tidemill_api.metrics import worker

        self._made.counter(worker.HTTP_REQUESTS, connection, str(code)).inc()
        self._made.histogram(worker.HTTP_DURATION, connection).observe(seconds)

    # Reading

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All of it as the header `Accept` wants it (OpenMetrics, or Prometheus' text), with the content type."""
        from prometheus_client.exposition import choose_encoder

        self._look()
        encode, content_type = choose_encoder(accept)
        return encode(self._made.registry), content_type

    def _look(self) -> None:
        """What is known at this moment."""
        from importlib.metadata import version

        from tidemill_api.metrics import worker

        self._catch_up()
        limit = self._clock() - IDLE
        for whose in [whose for whose, used in self._seen.copy().items() if used < limit]:
            self._forget(whose)
        made = self._made
        made.gauge(worker.INFO, version("tidemill")).set(1)
        made.gauge(worker.READY).set(self.ready())
        made.gauge(worker.SLOTS).set(self.slots)
        made.gauge(worker.CHUNKS_OPEN).inc(0)
        made.counter(worker.FORGOTTEN).inc(0)
        sums: dict[tuple[str, str], int] = {}
        for connection, pool in self.pools():
            size = pool.get_size()
            for state, count in (
                ("open", size),
                ("used", size - pool.get_idle_size()),
                ("most", pool.get_max_size()),
            ):
                sums[connection, state] = sums.get((connection, state), 0) + count
        for (connection, state), count in sums.items():
            made.gauge(worker.POSTGRES_CONNECTIONS, connection, state).set(count)

    def _used(self, whose: Whose) -> None:
        """Note that a pipeline is worked for; one gives way if there are too many."""
        self._seen[whose] = self._clock()
        self._seen.move_to_end(whose)
        while len(self._seen) > MOST_PIPELINES:
            self._forget(next(iter(self._seen)))

    def _forget(self, whose: Whose) -> None:
        from tidemill_api.metrics import worker

        self._seen.pop(whose, None)
        self._made.forget(whose)
        self._made.counter(worker.FORGOTTEN).inc()
