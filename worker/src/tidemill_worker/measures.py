"""What a worker counts, for Prometheus. The client library is imported when something is first counted."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_api.contract import RunResult
from tidemill_worker.workflows.messages import Counts

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


@dataclass(frozen=True, slots=True)
class _Instruments:
    registry: CollectorRegistry
    rows: Counter
    read_bytes: Counter
    chunks: Counter
    busy: Gauge
    seconds: Histogram
    runs: Counter
    checks: Counter
    notifications: Counter
    lineage: Counter
    unusable: Gauge
    cache: Counter
    saved: Counter


class Measures:
    """Counters of one worker; pipelines' names stay out of the labels, since a pool may have thousands of them."""

    @functools.cached_property
    def _made(self) -> _Instruments:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

        registry = CollectorRegistry()
        return _Instruments(
            registry=registry,
            rows=Counter(
                "tidemill_rows", "Rows of chunks that ended, by what became of them.", ["outcome"], registry=registry
            ),
            read_bytes=Counter("tidemill_read_bytes", "Bytes read from sources.", registry=registry),
            chunks=Counter("tidemill_chunks", "Attempts at chunks that ended.", ["outcome"], registry=registry),
            busy=Gauge("tidemill_chunks_open", "Chunks being worked on.", registry=registry),
            seconds=Histogram(
                "tidemill_chunk_seconds",
                "Time of an attempt at a chunk.",
                buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
                registry=registry,
            ),
            runs=Counter("tidemill_runs", "Runs whose end this worker recorded.", ["result"], registry=registry),
            checks=Counter(
                "tidemill_checks_failed",
                "Checks that didn't hold, of runs whose end this worker recorded.",
                ["severity"],
                registry=registry,
            ),
            notifications=Counter(
                "tidemill_notifications",
                "Attempts at notifications, by what became of them.",
                ["state"],
                registry=registry,
            ),
            lineage=Counter(
                "tidemill_lineage_events",
                "Attempts at events of lineage, by what became of them.",
                ["state"],
                registry=registry,
            ),
            unusable=Gauge(
                "tidemill_secret_unusable",
                "1 while a Secret holds what can't be used, and its former content stays in use.",
                ["connection"],
                registry=registry,
            ),
            cache=Counter(
                "tidemill_cache_lookups",
                "Lookups in the pool's cache: found, computed anew, or without the cache since it failed.",
                ["outcome"],
                registry=registry,
            ),
            saved=Counter(
                "tidemill_cache_saved_seconds",
                "Seconds that computing what was found in the cache had taken.",
                registry=registry,
            ),
        )

    @contextlib.contextmanager
    def chunk(self) -> Iterator[None]:
        """Around an attempt at a chunk."""
        made = self._made
        outcome = "failed"
        with made.busy.track_inprogress(), made.seconds.time():
            try:
                yield
                outcome = "done"
            finally:
                made.chunks.labels(outcome).inc()

    def rows(self, counts: Counts) -> None:
        """Rows and bytes of a chunk that is done."""
        made = self._made
        made.rows.labels("read").inc(counts.rows_read)
        made.rows.labels("loaded").inc(counts.rows_loaded)
        made.rows.labels("rejected").inc(counts.rows_rejected)
        made.rows.labels("skipped").inc(counts.rows_skipped)
        made.read_bytes.inc(counts.bytes_read)

    def run(self, result: RunResult) -> None:
        """A run whose end was recorded."""
        self._made.runs.labels(result.result).inc()
        for check in result.failed_checks:
            self._made.checks.labels(check.severity).inc()

    def notification(self, state: str) -> None:
        """An attempt at a notification: Sent, Waiting for another attempt, or Unsent."""
        self._made.notifications.labels(state.lower()).inc()

    def lineage(self, state: str) -> None:
        """An attempt at an event of lineage: Sent, Waiting for another attempt, or Unsent."""
        self._made.lineage.labels(state.lower()).inc()

    def secret(self, connection: str, unusable: bool) -> None:
        """Whether the Secret of a connection (or of `temporal`) holds something that can't be used."""
        self._made.unusable.labels(connection).set(unusable)

    def cache(self, outcome: str, saved: float = 0.0) -> None:
        """A lookup in the cache: `hit`, `miss` or `error`; of a hit the seconds that computing it took."""
        self._made.cache.labels(outcome).inc()
        self._made.saved.inc(saved)

    def exposition(self) -> bytes:
        """All of it, in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self._made.registry)
