"""Series that are made when they are read: of what is known of pipelines, pools and connections at that moment.

So an object that is gone has none, and one that is new has all of them at once, counters at zero included.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from tidemill_api.metrics import Metric
from tidemill_operator.clients import Object

Sample = tuple[Metric, tuple[str, ...], float]
"""A metric (a counter or a gauge), the values of its labels in order, and its value."""
Source = Callable[[], Iterable[Sample]]


class Series(Collector):
    """Asks its sources at each reading, on the reader's thread."""

    def __init__(self, *sources: Source) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Family]:
        """One family a metric that has samples."""
        found: dict[Metric, list[tuple[tuple[str, ...], float]]] = defaultdict(list)
        for source in self._sources:
            for metric, labels, value in source():
                found[metric].append((labels, value))
        for metric, samples in found.items():
            family = _family(metric)
            for labels, value in samples:
                family.add_metric(labels, value)
            yield family


def _family(metric: Metric) -> CounterMetricFamily | GaugeMetricFamily:
    make = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
    return make(metric.name, metric.help, labels=metric.labels, unit=metric.unit)


def within(objects: Sequence[Object], most: int) -> Sequence[Object]:
    """Those that have series: the oldest ones, so that a new object takes none away from another."""
    if len(objects) <= most:
        return objects
    return sorted(objects, key=_age)[:most]


def _age(manifest: Object) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return metadata.get("creationTimestamp") or "", metadata.get("namespace") or "", metadata["name"]
