"""A pipeline that follows others: how these stand, what keeps it from starting, and which of its runs are due."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from tidemill_api.conditions import INVALID_SCHEDULE, WAITING_FOR_PIPELINE
from tidemill_api.names import PipelineId
from tidemill_check import following
from tidemill_check.following import Times
from tidemill_operator.actions import StartRun
from tidemill_operator.clients import Clients, Key, Object
from tidemill_operator.pipeline.wish import NAMES_TIMES
from tidemill_operator.pool.place import connection_of_pool
from tidemill_operator.reading import is_going, predecessors
from tidemill_operator.standing import Standing, rfc3339, stalled, waits
from tidemill_operator.views import ConnectionKey

AT_ONCE: Final = 20
"""Runs that one pass starts; the next follows when a sweep sees these."""
_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A pipeline that is followed, as the last sweep saw its runs."""

    name: str
    times: tuple[tuple[str, str], ...] = ()
    missing: str = ""
    """Why there are no runs of it to wait for, as the end of a sentence; empty: there may be."""


@dataclass(frozen=True, slots=True)
class Following:
    """What a pipeline that follows others goes by."""

    times: tuple[tuple[str, str], ...]
    """How its own runs stand, by the time that they are for."""
    predecessors: tuple[Predecessor, ...]
    schedules: tuple[Mapping[str, Any], ...]
    """Those that give its times, of its predecessors or of whom these follow: what names their times, as JSON."""
    circle: tuple[str, ...] = ()
    """The way from it to itself; empty: there is none."""


def following_of(key: Key, manifest: Object, here: ConnectionKey, clients: Clients) -> Following | None:
    """What is known of a pipeline's predecessors; None: it has none. `here` is the Temporal of its own runs."""
    names = predecessors(manifest)
    if not names:
        return None

    def followed(name: str) -> tuple[str, ...]:
        found = clients.store.get("DataPipeline", key.namespace, name)
        return predecessors(found) if found is not None else ()

    own = clients.store.in_temporal(here, _id(key, key.name, clients).schedule)
    circle = following.circle(key.name, followed)
    return Following(
        times=own.times,
        predecessors=tuple(_predecessor(key, name, clients) for name in names),
        schedules=() if circle else tuple(_schedules(key, following.beginnings(names, followed), clients)),
        circle=circle,
    )


def _id(key: Key, name: str, clients: Clients) -> PipelineId:
    return PipelineId(clients.settings.installation, key.namespace, name)


def _predecessor(key: Key, name: str, clients: Clients) -> Predecessor:
    found = clients.store.get("DataPipeline", key.namespace, name)
    if found is None:
        return Predecessor(name, missing="isn't in this namespace (yet)")
    if is_going(found):
        return Predecessor(name, missing="is being deleted")
    if not found["spec"].get("schedule"):
        return Predecessor(name, missing="has no schedule, so its runs are for no times")
    pool = clients.store.get("WorkerPool", key.namespace, found["spec"]["workerPoolRef"]["name"])
    if pool is None:
        return Predecessor(name, missing="waits for its WorkerPool")
    connection = connection_of_pool(pool)
    return Predecessor(name, clients.store.in_temporal(connection, _id(key, name, clients).schedule).times)


def _schedules(key: Key, names: tuple[str, ...], clients: Clients) -> Iterator[Mapping[str, Any]]:
    for name in names:
        found = clients.store.get("DataPipeline", key.namespace, name)
        if found is not None and found["spec"].get("schedule"):
            yield {name: value for name, value in found["spec"]["schedule"].items() if name in NAMES_TIMES}


def obstacle(seen: Following) -> Standing | None:
    """Why the pipeline can't start at all."""
    if seen.circle:
        way = " -> ".join(seen.circle)
        return stalled(
            INVALID_SCHEDULE,
            f"spec.schedule.after: the pipelines follow each other in a circle ({way}): none can start",
        )
    for place, each in enumerate(seen.predecessors):
        if each.missing:
            field = f"spec.schedule.after[{place}].pipelineRef.name"
            return waits(WAITING_FOR_PIPELINE, f"{field}: the DataPipeline {each.name} {each.missing}")
    return None


def starts(seen: Following, since: str | None, pipeline: PipelineId, start: StartRun) -> Iterator[StartRun]:
    """The runs that are due; `start` is a run of the pipeline without its key. None before `since` is known."""
    if since is None:
        return
    others: list[Times] = [dict(each.times) for each in seen.predecessors]
    for key in following.due(dict(seen.times), others, since)[:AT_ONCE]:
        order = {**start.input, "runKey": key, "schedule": following.widest(key, seen.schedules)}
        yield StartRun(
            start.connection, pipeline.scheduled_run(key), start.task_queue, order, start.pipeline, start.asked_by
        )


def status(seen: Following, before: Mapping[str, Any], now: datetime, *, held: bool) -> dict[str, Any]:
    """`status.after`. `held`: nothing is started, and what comes meanwhile isn't either."""
    if held:
        return {}
    since = before.get("since") or rfc3339(now)
    found = following.waiting(dict(seen.times), {each.name: dict(each.times) for each in seen.predecessors}, since)
    waiting = [{"key": key, "waitsFor": list(names)} for key, names in found[-_SHOWN:]]
    return {"since": since} | ({"waiting": waiting} if waiting else {})
