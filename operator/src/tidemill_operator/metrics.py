"""What the operator counts, for Prometheus. One registry of its own, so that a test can have several.

Names, labels and meanings stand in `tidemill_api.metrics.operator`; nothing is counted that isn't there. Series of
pipelines, pools and connections are made when they are read: `series.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from tidemill_api.metrics import Metric, operator
from tidemill_operator.views import RunSeen

_EXEMPLAR: Final = 128
"""Most characters of an exemplar's names and values together, as OpenMetrics says."""


class Metrics:
    """All figures. Written by the operator's loop, read from another thread."""

    def __init__(self) -> None:
        # Else a series more for each counter, which next to nobody reads. (The library has no types here.)
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.leader = self._gauge(operator.LEADER)
        self.leaderships = self._counter(operator.LEADERSHIPS)
        self.objects = self._gauge(operator.OBJECTS)
        self.reconciles = self._counter(operator.RECONCILES)
        self.reconcile_seconds = self._histogram(operator.RECONCILE_DURATION)
        self.errors = self._counter(operator.RECONCILE_ERRORS)
        self.actions = self._counter(operator.ACTIONS)
        self.drift = self._counter(operator.DRIFT)
        self.api_requests = self._counter(operator.KUBERNETES_REQUESTS)
        self.temporal_requests = self._counter(operator.TEMPORAL_REQUESTS)
        self.temporal_seconds = self._histogram(operator.TEMPORAL_REQUEST_DURATION)
        self.watch_events = self._counter(operator.WATCH_EVENTS)
        self.watch_errors = self._counter(operator.WATCH_ERRORS)
        self.missed = self._counter(operator.WATCH_MISSED)
        self.sweeps = self._counter(operator.SWEEPS)
        self.sweep_seconds = self._histogram(operator.SWEEP_DURATION)
        self.resync_seconds = self._histogram(operator.RESYNC_DURATION)
        self.schedules_sealed = self._gauge(operator.SCHEDULES_SEALED)
        self.run_seconds = self._histogram(operator.RUN_DURATION)
        self._decisions: dict[tuple[str, str], dict[tuple[str, str], int]] = {}

    def collect_from(self, collector: Collector) -> None:
        """Have series made by a collector when they are read."""
        self.registry.register(collector)

    def count_api(self, verb: str, kind: str, code: int) -> None:
        """Count a request to the API server; code 0 means that no answer came."""
        self.api_requests.labels(verb, kind, str(code)).inc()

    def count_temporal(self, call: str, result: str, seconds: float) -> None:
        """Count a request to Temporal, and the seconds that it took."""
        self.temporal_requests.labels(call, result).inc()
        self.temporal_seconds.labels(call).observe(seconds)

    def count_watch_error(self, kind: str) -> None:
        """Count an event that could not be taken in."""
        self.watch_errors.labels(kind).inc()

    def run_ended(self, run: RunSeen, result: str, seconds: float) -> None:
        """A run that was seen to have ended."""
        self.run_seconds.labels(result).observe(seconds, exemplar_of(run))

    def pool_decided(self, namespace: str, pool: str, direction: str, reason: str) -> None:
        """A decision that changed the number of a pool's workers: `up` or `down`, and a word of a fixed list."""
        counts = self._decisions.setdefault((namespace, pool), {})
        counts[direction, reason] = counts.get((direction, reason), 0) + 1

    def pool_decisions(self, namespace: str, pool: str) -> Mapping[tuple[str, str], int]:
        """Decisions by direction and reason."""
        return dict(self._decisions.get((namespace, pool), {}))

    def forget_pools(self, there: Collection[tuple[str, str]]) -> None:
        """Forget decisions about pools that are gone; `there`: namespace and name of those that aren't."""
        for gone in self._decisions.keys() - set(there):
            del self._decisions[gone]

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All figures as the header `Accept` wants them (OpenMetrics, or Prometheus' text), with the content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return self.exposition()[0]

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry, unit=metric.unit)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry, unit=metric.unit)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(
            metric.name,
            metric.help,
            metric.labels,
            registry=self.registry,
            unit=metric.unit,
            buckets=metric.buckets,
        )


def exemplar_of(run: RunSeen) -> dict[str, str]:
    """What finds a run again: its id in Temporal, and its workflow's if there is room."""
    found = {"run_id": run.run_id}
    whole = {**found, "workflow_id": run.workflow_id}
    room = sum(len(name) + len(value) for name, value in whole.items()) <= _EXEMPLAR
    return whole if room else found
