"""What the operator counts, for Prometheus. One registry of its own, so that a test can have several."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

_BUCKETS: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)


class Metrics:
    """All figures; names begin with `tidemill_`. Written by the operator's loop, read from another thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        registry = self.registry
        self.reconciles = Counter(
            "tidemill_reconciles", "Passes over one object, by kind and result", ("kind", "result"), registry=registry
        )
        self.reconcile_seconds = Histogram(
            "tidemill_reconcile_seconds", "Duration of a pass", ("kind",), buckets=_BUCKETS, registry=registry
        )
        self.errors = Counter(
            "tidemill_reconcile_errors", "Passes that failed, by kind and error", ("kind", "reason"), registry=registry
        )
        self.actions = Counter(
            "tidemill_actions", "Actions carried out, by name and result", ("action", "result"), registry=registry
        )
        self.drift = Counter("tidemill_drift_repaired", "Changes made elsewhere, put right", ("of",), registry=registry)
        self.api_requests = Counter(
            "tidemill_kubernetes_requests", "Requests to the API server", ("verb", "kind", "code"), registry=registry
        )
        self.temporal_requests = Counter(
            "tidemill_temporal_requests", "Requests to Temporal", ("call", "result"), registry=registry
        )
        self.watch_events = Counter("tidemill_watch_events", "Events of the watches", ("kind",), registry=registry)
        self.watch_errors = Counter(
            "tidemill_watch_errors", "Events that could not be taken in", ("kind",), registry=registry
        )
        self.missed = Counter("tidemill_watch_missed", "Changes that only a resync found", ("kind",), registry=registry)
        self.sweeps = Counter("tidemill_sweeps", "Looks at Temporal", ("result",), registry=registry)
        self.sweep_seconds = Histogram(
            "tidemill_sweep_seconds", "Duration of a look at Temporal", buckets=_BUCKETS, registry=registry
        )
        self.resync_seconds = Histogram(
            "tidemill_resync_seconds", "Duration of a full list", buckets=_BUCKETS, registry=registry
        )
        self.schedules_sealed = Gauge(
            "tidemill_schedules_sealed", "Schedules by the key of their runs' input", ("key",), registry=registry
        )
        self.leader = Gauge("tidemill_leader", "1 if this process leads", registry=registry)
        self.objects = Gauge("tidemill_objects", "Known objects", ("kind",), registry=registry)

    def gauge(self, name: str, documentation: str, value: Callable[[], float]) -> None:
        """A gauge that is asked for its value when it is read."""
        Gauge(name, documentation, registry=self.registry).set_function(value)

    def count_api(self, verb: str, kind: str, code: int) -> None:
        """Count a request to the API server; code 0 means that no answer came."""
        self.api_requests.labels(verb, kind, str(code)).inc()

    def count_temporal(self, call: str, result: str) -> None:
        """Count a request to Temporal."""
        self.temporal_requests.labels(call, result).inc()

    def count_watch_error(self, kind: str) -> None:
        """Count an event that could not be taken in."""
        self.watch_errors.labels(kind).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self.registry)
