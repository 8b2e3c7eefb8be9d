"""Reads what there is of a pipeline: from the store where that is enough, from Temporal where it isn't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from tidemill_api.conditions import TEMPORAL_UNREACHABLE
from tidemill_api.errors import TemporalUnavailable
from tidemill_api.names import PipelineId
from tidemill_operator.clients import Clients, Key, Object, PipelineInTemporal, Temporal
from tidemill_operator.pipeline.following import Following, following_of
from tidemill_operator.pipeline.queries import NONE, Queries, queries_of
from tidemill_operator.pool.place import connection_of_pool
from tidemill_operator.reading import is_going, predecessors, status_of
from tidemill_operator.release import patience
from tidemill_operator.standing import Standing, waits
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, RunSeen, ScheduleEntry, ScheduleSeen


@dataclass(frozen=True, slots=True)
class There:
    """What one Temporal holds of the pipeline."""

    connection: ConnectionKey
    schedule: ScheduleSeen | None = None
    trouble: Standing | None = None
    """Why it couldn't be asked; then `schedule` means nothing."""
    open_runs: tuple[RunSeen, ...] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """A pipeline and all that its decisions look at."""

    manifest: Object
    pool: Object | None
    """Its WorkerPool; None: there is none."""
    here: There | None
    """The pool's Temporal; without a pool the one where the Schedule is; None if there is neither."""
    elsewhere: tuple[There, ...] = ()
    """Other Temporals in which a Schedule of this id was seen: the pool moved, or the pipeline to another pool."""
    entry: ScheduleEntry | None = None
    """The Schedule in the last sweep of `here`."""
    last_closed: RunSeen | None = None
    ended: tuple[RunSeen, ...] = ()
    """Runs that ended and aren't in the sums of its status yet."""
    seals_with: str | None = None
    """Id of the key that encrypts now; None: nothing is encrypted."""
    patience: timedelta | None = None
    """While it is being deleted: how long a Temporal that can't be asked is waited for; None: as long as it takes."""
    queries: Queries = NONE
    """Texts of queries that stand in ConfigMaps."""
    following: Following | None = None
    """Of a pipeline that follows others: how these stand."""

    @property
    def going(self) -> bool:
        """Whether the pipeline is being deleted."""
        return is_going(self.manifest)


async def observe(key: Key, manifest: Object, clients: Clients) -> Observed:
    """Raises nothing for a Temporal that can't be asked: `There.trouble` says so."""
    pool_name = manifest["spec"]["workerPoolRef"]["name"]
    pool = clients.store.get("WorkerPool", key.namespace, pool_name)
    pipeline = PipelineId(clients.settings.installation, key.namespace, key.name)
    made_at = _made_at(manifest)
    places = tuple(dict.fromkeys((*made_at, *_seen_at(key, pipeline, clients))))
    known = pool is not None or bool(places)
    here_key = connection_of_pool(pool) if pool is not None else places[0] if places else None
    others = [place for place in places if place != here_key and not await _same(place, here_key, clients)]
    swept = clients.store.in_temporal(here_key, pipeline.schedule) if known else PipelineInTemporal()
    wished = manifest["spec"].get("schedule") is not None and not predecessors(manifest)
    absent = clients.store.surely_absent(here_key, pipeline.schedule) and not is_going(manifest)
    expected = bool(made_at) or swept.entry is not None or bool(others) or (wished and not absent)
    # Where there is more than one place, nothing that is remembered is good enough to delete by.
    look = partial(_look, pipeline=pipeline, manifest=manifest, clients=clients, fresh=bool(others))
    elsewhere = [await look(other, expected=True) for other in others]
    here = await look(here_key, expected=expected) if known else None
    # One that can't be asked counts only if the Schedule was made there; what was merely seen can wait.
    counting = tuple(there for there in elsewhere if there.trouble is None or there.connection in made_at)
    return Observed(
        manifest=manifest,
        pool=pool,
        here=here,
        queries=NONE if is_going(manifest) else await queries_of(manifest, clients),
        elsewhere=counting,
        entry=swept.entry,
        last_closed=await _explained(here_key, swept.last_closed, manifest, clients),
        ended=swept.ended,
        patience=await _patience(manifest, (here, *counting), clients),
        following=following_of(key, manifest, here_key, clients) if known else None,
        seals_with=clients.keys.ring().active if clients.keys is not None else None,
    )


async def _patience(manifest: Object, places: Sequence[There | None], clients: Clients) -> timedelta | None:
    if not is_going(manifest):
        return None
    there = [each for each in places if each is not None]
    troubles = [each.trouble for each in there if each.trouble is not None]
    return await patience(manifest, troubles, clients, open_runs=any(each.open_runs for each in there))


async def _explained(
    connection: ConnectionKey, run: RunSeen | None, manifest: Object, clients: Clients
) -> RunSeen | None:
    """A run that ended without a result of its own, with what its last event says: asked once, then status has it."""
    told = (status_of(manifest).get("lastRun") or {}).get("workflowRunId")
    if run is None or run.state != "Failed" or run.result is not None or run.run_id == told:
        return run
    try:
        temporal = await clients.temporals.get(connection)
        return await temporal.describe_run(run.workflow_id, run.run_id) or run
    except (TemporalUnavailable, ConnectionPendingError):
        return run


def _seen_at(key: Key, pipeline: PipelineId, clients: Clients) -> tuple[ConnectionKey, ...]:
    """Where sweeps saw its Schedule. Connections of other namespaces are not its pools'."""
    found = clients.store.connections_with(pipeline.schedule)
    return tuple(place for place in found if place is None or place[0] == key.namespace)


async def _same(one: ConnectionKey, other: ConnectionKey, clients: Clients) -> bool:
    """Whether two connections lead to one Temporal. Other names of one server are told by what it shows, see plan."""
    try:
        targets = [(await clients.temporals.get(place)).target for place in (one, other)]
    except (TemporalUnavailable, ConnectionPendingError):
        return False
    return len({(target.address, target.namespace) for target in targets}) == 1


def _made_at(manifest: Object) -> tuple[ConnectionKey, ...]:
    """Where the Schedule was last made, by the status; empty if there is none."""
    schedule = status_of(manifest).get("schedule")
    if not schedule:
        return ()
    connection = schedule.get("connection")
    return ((manifest["metadata"]["namespace"], connection) if connection else None,)


async def _look(
    connection: ConnectionKey,
    *,
    pipeline: PipelineId,
    manifest: Object,
    clients: Clients,
    expected: bool,
    fresh: bool,
) -> There:
    seen = clients.store.in_temporal(connection, pipeline.schedule)
    try:
        temporal = await clients.temporals.get(connection)
        if fresh:
            clients.store.drop_description(connection, pipeline.schedule)
        schedule = await _schedule(connection, temporal, pipeline, clients) if expected else None
        # Who waits for runs to end must know of all of them; else the last sweep is new enough.
        runs = await temporal.open_runs(pipeline) if is_going(manifest) else seen.open_runs
    except TemporalUnavailable as error:
        return There(connection, trouble=waits(TEMPORAL_UNREACHABLE, str(error)), open_runs=seen.open_runs)
    except ConnectionPendingError as error:
        return There(connection, trouble=waits(error.reason, str(error)), open_runs=seen.open_runs)
    return There(connection, schedule=schedule, open_runs=runs)


async def _schedule(
    connection: ConnectionKey, temporal: Temporal, pipeline: PipelineId, clients: Clients
) -> ScheduleSeen | None:
    known = clients.store.description(connection, pipeline.schedule)
    if known is not None:
        return known
    described = await temporal.describe_schedule(pipeline.schedule)
    if described is not None:
        clients.store.keep_description(connection, described)
    return described
