"""Reads what there is of a run by hand: its pipeline, its pool and its workflow."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from tidemill_api.conditions import TEMPORAL_UNREACHABLE
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


@dataclass(frozen=True, slots=True)
class Observed:
    """A run and all that its decisions look at."""

    manifest: Object
    pipeline: Object | None
    """None: there is none."""
    pool: Object | None
    """The pipeline's pool; None: there is none."""
    connection: ConnectionKey = None
    run: RunSeen | None = None
    """Its workflow; None: none was seen (it may have been started all the same, if it wasn't looked for)."""
    lost: bool = False
    """Its status says that it was started, but Temporal knows of no such run."""
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
    if plain.ended or pool is None or pipeline is None:
        return plain
    if "run" not in status_of(manifest) and not plain.going:
        plain = replace(plain, queries=await queries_of(pipeline, clients))
    workflow_id = PipelineId(clients.settings.installation, key.namespace, pipeline_name).workflow(key.name)
    started = status_of(manifest).get("run") is not None
    ask = started or ((plain.going or plain.cancelled) and plain.held)
    try:
        run = await _run(connection, workflow_id, clients, ask=ask)
    except TemporalUnavailable as error:
        trouble = waits(TEMPORAL_UNREACHABLE, str(error))
    except ConnectionPendingError as error:
        trouble = waits(error.reason, str(error))
    else:
        opened = run is not None and run.state == "Running"
        waited = await patience(manifest, [], clients, open_runs=opened) if plain.going else None
        lost = started and run is None
        return replace(plain, run=run, lost=lost, patience=waited)
    waited = await patience(manifest, [trouble], clients, open_runs=False) if plain.going else None
    return replace(plain, trouble=trouble, patience=waited)


async def _run(connection: ConnectionKey, workflow_id: str, clients: Clients, *, ask: bool) -> RunSeen | None:
    """What the sweep saw is believed; it is asked for more only of runs that it doesn't show, or not fully."""
    temporal = await clients.temporals.get(connection)
    swept = clients.store.run_in_temporal(connection, workflow_id)
    unexplained = swept is not None and swept.state == "Failed" and swept.result is None
    if (swept is None and ask) or unexplained:
        return await temporal.describe_run(workflow_id)
    return swept
