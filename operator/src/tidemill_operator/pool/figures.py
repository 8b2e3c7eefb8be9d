"""What is measured of a pool: from its manifest and status, and the decisions that were counted. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tidemill_api.metrics import operator as metrics
from tidemill_api.v1alpha1 import parse_duration
from tidemill_operator.clients import Object
from tidemill_operator.reading import status_of
from tidemill_operator.series import Sample

_LEAST: Final = 0
_MOST: Final = 10
"""`spec.scaling.minReplicas` and `maxReplicas`, if they aren't given."""


def figures(manifest: Object, decisions: Mapping[tuple[str, str], int]) -> Iterator[Sample]:
    """The series of a pool; `decisions` by direction and reason."""
    metadata, spec, status = manifest["metadata"], manifest["spec"], status_of(manifest)
    whose = (metadata["namespace"], metadata["name"])
    for said in status.get("conditions") or ():
        yield metrics.POOL_CONDITION, (*whose, said["type"], said["status"], said["reason"]), 1.0
    yield metrics.POOL_PIPELINES, whose, float(status.get("pipelines") or 0)
    for state, count in _replicas(spec, status):
        yield metrics.POOL_REPLICAS, (*whose, state), float(count)
    yield from _scaling(whose, status.get("scaling") or {})
    for (direction, reason), count in decisions.items():
        yield metrics.POOL_DECISIONS, (*whose, direction, reason), float(count)


def _replicas(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    wished = status.get("desiredReplicas", spec.get("replicas"))
    if wished is not None:
        yield "wished", wished
    yield "there", status.get("replicas") or 0
    yield "ready", status.get("readyReplicas") or 0
    scaling = spec.get("scaling")
    if isinstance(scaling, Mapping):
        yield "least", scaling.get("minReplicas", _LEAST)
        yield "most", scaling.get("maxReplicas", _MOST)


def _scaling(whose: tuple[str, str], seen: Mapping[str, Any]) -> Iterator[Sample]:
    if (backlog := seen.get("backlog")) is not None:
        yield metrics.POOL_BACKLOG, whose, float(backlog)
        age = seen.get("backlogAge")
        yield metrics.POOL_BACKLOG_AGE, whose, parse_duration(age).total_seconds() if age else 0.0
    busy, slots = seen.get("busySlots"), seen.get("slots")
    if busy is not None:
        yield metrics.POOL_SLOTS, (*whose, "busy"), float(busy)
        if slots is not None:
            yield metrics.POOL_SLOTS, (*whose, "free"), float(max(0, slots - busy))
    if (workers := seen.get("workers")) is not None:
        yield metrics.POOL_WORKERS, whose, float(workers)
