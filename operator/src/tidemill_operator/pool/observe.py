"""Reads what there is of a pool."""

from __future__ import annotations

from dataclasses import dataclass

from tidemill_api.conditions import TEMPORAL_UNREACHABLE
from tidemill_api.errors import TemporalUnavailable
from tidemill_api.names import pool_child, task_queue
from tidemill_operator.clients import Clients, Key, Object
from tidemill_operator.pool.place import connection_of_pool
from tidemill_operator.reading import is_going
from tidemill_operator.standing import Standing, waits
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, RunSeen

CHILDREN = ("ConfigMap", "ServiceAccount", "Deployment")


@dataclass(frozen=True, slots=True)
class Observed:
    """A pool and all that its decisions look at."""

    manifest: Object
    temporal_connection: Object | None
    """The TemporalConnection that it names, if it names one."""
    connection: ConnectionKey
    has_ca: bool
    """The connection's Secret holds `ca.crt`."""
    trouble: Standing | None
    """Why Temporal can't be used or asked."""
    children: dict[str, Object]
    """Those that are there, by kind; maybe somebody else's."""
    pipelines: tuple[str, ...]
    """Names of the pipelines that use it."""
    open_runs: tuple[RunSeen, ...] = ()
    """On its task queue; asked for only while the pool is being deleted."""

    @property
    def going(self) -> bool:
        """Whether the pool is being deleted."""
        return is_going(self.manifest)


async def observe(key: Key, manifest: Object, clients: Clients) -> Observed:
    """Raises nothing for a Temporal that can't be asked: `Observed.trouble` says so."""
    store = clients.store
    connection = connection_of_pool(manifest)
    trouble, has_ca = None, False
    runs: tuple[RunSeen, ...] = ()
    try:
        temporal = await clients.temporals.get(connection)
        has_ca = temporal.target.ca is not None
        if is_going(manifest):
            runs = await temporal.open_runs_of_queue(task_queue(clients.settings.installation, key.namespace, key.name))
    except TemporalUnavailable as error:
        trouble = waits(TEMPORAL_UNREACHABLE, str(error))
    except ConnectionPendingError as error:
        trouble = waits(error.reason, str(error))
    found = {kind: store.get(kind, key.namespace, pool_child(key.name)) for kind in CHILDREN}
    return Observed(
        manifest=manifest,
        temporal_connection=store.get("TemporalConnection", *connection) if connection is not None else None,
        connection=connection,
        has_ca=has_ca,
        trouble=trouble,
        children={kind: child for kind, child in found.items() if child is not None},
        pipelines=store.pipelines_of_pool(key.namespace, key.name),
        open_runs=runs,
    )
