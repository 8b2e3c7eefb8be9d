"""Which keys a change concerns. Pure: a change of an object comes in, keys with a delay in seconds come out.

An object concerns itself at once. What depends on it is looked at a moment later, so that many changes in a row
(a thousand pipelines of one pool) cost one look.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tidemill_api.names import LABEL_POOL
from tidemill_operator.clients import Key, Object, Store
from tidemill_operator.pool.place import workers_missing
from tidemill_operator.store import key_of, reference

OUR_KINDS: Final = ("TemporalConnection", "WorkerPool", "DataPipeline", "DataPipelineRun")
CHILD_KINDS: Final = ("Deployment", "ServiceAccount", "ConfigMap", "NetworkPolicy")
SOON: Final = 0.5
"""Seconds after which dependents are looked at."""

Concern = tuple[Key, float]


def concerned(kind: str, old: Object | None, new: Object | None, store: Store) -> Iterator[Concern]:
    """Keys that a change of an object from `old` to `new` (None: not there) concerns, each with a delay in seconds."""
    known = new if new is not None else old
    if known is None:
        return
    if kind in CHILD_KINDS:
        yield from _of_child(known)
        return
    yield key_of(kind, known), 0.0
    if _weight(old) == _weight(new):
        return
    yield from ((key, SOON) for key in _dependents(kind, known, store))
    yield from ((key, SOON) for key in _referred(kind, old, new))


def _of_child(child: Object) -> Iterator[Concern]:
    metadata = child["metadata"]
    pool = (metadata.get("labels") or {}).get(LABEL_POOL)
    if pool:
        yield Key("WorkerPool", metadata.get("namespace", ""), pool), 0.0


def _dependents(kind: str, manifest: Object, store: Store) -> Iterator[Key]:
    """Who stands on an object: what waits for it, or must follow its change."""
    namespace, name = manifest["metadata"].get("namespace", ""), manifest["metadata"]["name"]
    match kind:
        case "TemporalConnection":
            for pool in store.pools_of_connection(namespace, name):
                yield Key("WorkerPool", namespace, pool)
                yield from _pipelines(namespace, pool, store)
        case "WorkerPool":
            yield from _pipelines(namespace, name, store)
        case "DataPipeline":
            yield from (Key("DataPipelineRun", namespace, run) for run in store.runs_of_pipeline(namespace, name))
            yield from (Key("DataPipeline", namespace, each) for each in _following(namespace, name, store))
        case _:
            return


def _following(namespace: str, name: str, store: Store) -> Iterator[str]:
    """The pipelines behind one, and those behind these: a circle opens or closes anywhere in it."""
    seen, ahead = {name}, [name]
    while ahead:
        for each in store.followers(namespace, ahead.pop()):
            if each not in seen:
                seen.add(each)
                ahead.append(each)
                yield each


def _pipelines(namespace: str, pool: str, store: Store) -> Iterator[Key]:
    for pipeline in store.pipelines_of_pool(namespace, pool):
        yield Key("DataPipeline", namespace, pipeline)
        yield from (Key("DataPipelineRun", namespace, run) for run in store.runs_of_pipeline(namespace, pipeline))


def _referred(kind: str, old: Object | None, new: Object | None) -> Iterator[Key]:
    """What an object stands on, when it comes, goes or turns elsewhere: that counts its users, or waits for them."""
    before = reference(kind, old) if old is not None else None
    after = reference(kind, new) if new is not None else None
    for key in dict.fromkeys((before, after)):
        if key is not None and (before != after or old is None or new is None):
            yield key


def _weight(manifest: Object | None) -> tuple[object, ...] | None:
    """What of an object matters to others: the rest (status figures, annotations of tools) changes without a stir."""
    if manifest is None:
        return None
    metadata = manifest["metadata"]
    ready = next(
        (c.get("status") for c in (manifest.get("status") or {}).get("conditions", ()) if c.get("type") == "Ready"),
        None,
    )
    return (
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("deletionTimestamp"),
        tuple(sorted((metadata.get("labels") or {}).items())),
        ready,
        workers_missing(manifest) if manifest.get("kind") == "WorkerPool" else None,
    )
