"""The catalogue of metrics: the single truth for names, types, units, labels and what bounds them. No I/O, no library.

Operator and worker make their instruments from it, docs/reference/metrics.md is made from it, and a test compares
alert rules and dashboards with it. Names follow the conventions of Prometheus and OpenMetrics: base units
(`_seconds`, `_bytes`), counters end in `_total`. No label is named `namespace`, `pod`, `job` or `instance`: these are
the scraper's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Type = Literal["counter", "gauge", "histogram"]
Part = Literal["operator", "worker"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of series."""

    name: str
    """As scrapers see it: with `_total` of counters, without `_bucket`, `_sum` and `_count`."""
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    """Upper bounds of a histogram, without the infinite one."""
    unit: str = ""
    """`seconds` or `bytes`; the name ends in it (before `_total`). Empty: a number of things."""
    exemplar: bool = False
    """Whether samples carry an exemplar in OpenMetrics: the run's key and workflow id."""

    @property
    def series(self) -> tuple[str, ...]:
        """Names of the series that a query can ask for."""
        if self.type == "histogram":
            return tuple(f"{self.name}_{end}" for end in ("bucket", "sum", "count"))
        return (self.name,)


SHORT: Final = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
"""Buckets for what should take milliseconds."""
REQUEST: Final = (0.005, 0.025, 0.1, 0.25, 1.0, 2.5, 10.0)
"""Buckets for requests and waits."""
CHUNK: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Buckets for chunks."""
RUN: Final = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Buckets for runs."""

PIPELINE: Final = ("pipeline_namespace", "pipeline")
POOL: Final = ("pool_namespace", "pool")
CONNECTION: Final = ("connection_namespace", "connection")

BOUNDS: Final[Mapping[str, str]] = {
    "pipeline_namespace": "Namespace of a DataPipeline. Bounded as `pipeline` is.",
    "pipeline": "Name of a DataPipeline. Operator: at most `metrics.maxPipelines`, none that is deleted. Worker: the "
    "250 that it worked for last, none that it hasn't worked for in a day.",
    "pool_namespace": "Namespace of a WorkerPool.",
    "pool": "Name of a WorkerPool. Operator: at most `metrics.maxPools`, and none that is deleted. Worker: its own.",
    "connection_namespace": "Namespace of a TemporalConnection; empty for the operator's own Temporal.",
    "connection": "Operator: name of a TemporalConnection, or empty for the operator's own Temporal; none that is "
    "deleted. Worker: name of one of the pool's connections, of which the pool's spec has at most 64; `temporal` for "
    "Temporal's Secret.",
    "kind": "One of the four kinds, or a kind of object that the operator makes or reads: fewer than 20.",
    "type": "Type of a condition: `Ready`, `Reconciling`, `Stalled`, `Succeeding`, `Fresh`, `Paused`, `Releasing`.",
    "status": "Of a condition: `True`, `False`, `Unknown`. Only the series of the one that holds is there.",
    "reason": "Reason of a condition, or type of an error: words from fixed lists.",
    "result": "What something came to: words from a fixed list.",
    "outcome": "What became of something: words from a fixed list.",
    "state": "How something stands: words from a fixed list.",
    "verb": "Verb of a request to the API server: fewer than 10.",
    "code": "HTTP status of an answer; `0`: none came.",
    "call": "Name of a call of Temporal's API that the operator makes: fewer than 30.",
    "action": "Name of an action of a plan: fewer than 30.",
    "of": "What had been changed elsewhere: `Schedule`, or the kind of an object.",
    "key": "Id of a key in the key ring, of which there are few; empty: not encrypted.",
    "version": "Version of Tidemill.",
    "step": "Name of a source, step or sink of the pipeline's spec, which is bounded.",
    "sink": "Name of a sink of the pipeline's spec, which is bounded.",
    "rule": "Name of a rule of the pipeline's spec, which is bounded; of other rejects `BadValue`, `BadRow`, `BadKey`.",
    "severity": "`Error` or `Warn`.",
    "phase": "`read`, `check`, `transform` or `load`.",
    "direction": "`up` or `down`.",
}
"""What each label means, and what bounds the number of its values."""
