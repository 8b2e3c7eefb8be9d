"""Reads what there is of a run by hand: its pipeline, its pool and its workflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from tidemill_api.conditions import TEMPORAL_UNREACHABLE, WAITING_FOR_POOL
from tidemill_api.errors import TemporalUnavailable
from tidemill_api.names import ANNOTATION_CANCEL, FINALIZER, PipelineId
from tidemill_operator.clients import Clients, Key, Object
from tidemill_operator.pipeline.queries import NONE, Queries, queries_of
from tidemill_operator.pool.place import connection_of_pool
from tidemill_operator.reading import annotation, is_going, status_of
from tidemill_operator.release import patience
from tidemill_operator.standing import Standing, waits
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, RunSeen

ENDED: Final = frozenset({"Succeeded", "Failed", "Skipped", "Cancelled"})
"""Phases that are never left."""
_NOWHERE: Final = (
    "the pipeline's WorkerPool isn't in this namespace (any more), and with it the name of the Temporal in which the "
    "run may have been started"
)


@dataclass(frozen=True, slots=True)
class Observed:
    """A run and all that its decisions look at."""

    manifest: Object
    pipeline: Object | None
    """None: there is none."""
    pool: Object | None
    """The pipeline's pool; None: there is none."""
    connection: ConnectionKey = None
    """Where its workflow is; of one that hasn't been seen, where the pool would start it."""
    run: RunSeen | None = None
    """Its workflow; None: none was seen (it may have been started all the same, if it wasn't looked for)."""
    lost: bool = False
    """Its status says that it was started, but the Temporal in which it was knows of no such run."""
    trouble: Standing | None = None
    """Why Temporal couldn't be asked."""
    patience: timedelta | None = None
    """While it is being deleted: how long a Temporal that can't be asked is waited for; None: as long as it takes."""
    queries: Queries = NONE
    """Texts of the pipeline's queries that stand in ConfigMaps; read as long as it wasn't started."""

    @property
    def going(self) -> bool:
        """Whether the run is being deleted."""
        return is_going(self.manifest)

    @property
    def cancelled(self) -> bool:
        """Whether somebody has asked it to stop."""
        return annotation(self.manifest, ANNOTATION_CANCEL) is not None

    @property
    def held(self) -> bool:
        """Whether it has our finalizer, which it is given before it is started."""
        return FINALIZER in (self.manifest["metadata"].get("finalizers") or ())

    @property
    def never_began(self) -> bool:
        """Whether it is sure that it wasn't started."""
        unknown = self.trouble is not None or (self.held and self.pool is None)
        return self.run is None and "run" not in status_of(self.manifest) and not unknown

    @property
    def ended(self) -> bool:
        """Whether its end is written down: then nothing is ever done for it again."""
        return status_of(self.manifest).get("phase") in ENDED


async def observe(key: Key, manifest: Object, clients: Clients) -> Observed:
    """Raises nothing for a Temporal that can't be asked: `Observed.trouble` says so."""
    store = clients.store
    pipeline_name = manifest["spec"]["pipelineRef"]["name"]
    pipeline = store.get("DataPipeline", key.namespace, pipeline_name)
    pool_name = pipeline["spec"]["workerPoolRef"]["name"] if pipeline is not None else ""
    pool = store.get("WorkerPool", key.namespace, pool_name) if pool_name else None
    connection = connection_of_pool(pool) if pool is not None else None
    plain = Observed(manifest, pipeline, pool, connection)
    started = status_of(manifest).get("run") is not None
    ask = started or ((plain.going or plain.cancelled) and plain.held)
    if plain.ended or (pool is None and not ask):
        return plain
    if pipeline is not None and not started and not plain.going:
        plain = replace(plain, queries=await queries_of(pipeline, clients))
    workflow_id = PipelineId(clients.settings.installation, key.namespace, pipeline_name).workflow(key.name)
    places = (*_started_at(manifest), *((connection,) if pool is not None else ()))
    found = await _found(tuple(dict.fromkeys(places)), workflow_id, clients, ask=ask)
    if found.run is not None or (found.trouble is None and places):
        opened = found.run is not None and found.run.state == "Running"
        waited = await patience(manifest, [], clients, open_runs=opened) if plain.going else None
        where = connection if found.run is None else found.connection
        lost = started and found.run is None
        return replace(plain, connection=where, run=found.run, lost=lost, patience=waited)
    trouble = found.trouble or waits(WAITING_FOR_POOL, _NOWHERE)
    waited = await patience(manifest, [trouble], clients, open_runs=False) if plain.going else None
    return replace(plain, trouble=trouble, patience=waited)


def _started_at(manifest: Object) -> tuple[ConnectionKey, ...]:
    """Where it was started, by the status; empty if it wasn't, as far as that says."""
    run = status_of(manifest).get("run")
    if not run:
        return ()
    connection = run.get("connection")
    return ((manifest["metadata"]["namespace"], connection) if connection else None,)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the Temporals say in which the run may be."""

    run: RunSeen | None = None
    connection: ConnectionKey = None
    """Where it is."""
    trouble: Standing | None = None
    """Why one of them couldn't be asked, while no other has it."""


async def _found(places: tuple[ConnectionKey, ...], workflow_id: str, clients: Clients, *, ask: bool) -> _Found:
    """The first of the places that has the run. The pool may have moved to another Temporal since it was started."""
    trouble: Standing | None = None
    for place in places:
        try:
            run = await _run(place, workflow_id, clients, ask=ask)
        except TemporalUnavailable as error:
            trouble = trouble or waits(TEMPORAL_UNREACHABLE, str(error))
        except ConnectionPendingError as error:
            trouble = trouble or waits(error.reason, str(error))
        else:
            if run is not None:
                return _Found(run, place)
    return _Found(trouble=trouble)


async def _run(connection: ConnectionKey, workflow_id: str, clients: Clients, *, ask: bool) -> RunSeen | None:
    """What the sweep saw is believed; it is asked for more only of runs that it doesn't show, or not fully."""
    temporal = await clients.temporals.get(connection)
    swept = clients.store.run_in_temporal(connection, workflow_id)
    unexplained = swept is not None and swept.state == "Failed" and swept.result is None
    if (swept is None and ask) or unexplained:
        return await temporal.describe_run(workflow_id)
    return swept
