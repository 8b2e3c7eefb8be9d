"""Reads what there is of a pool."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from tidemill_api.conditions import TEMPORAL_UNREACHABLE
from tidemill_api.errors import TemporalUnavailable
from tidemill_api.names import pool_child, task_queue
from tidemill_codec.ring import KeyRing
from tidemill_operator.clients import Clients, Key, KubernetesError, Object
from tidemill_operator.pool.children import selector
from tidemill_operator.pool.place import connection_of_pool
from tidemill_operator.pool.pods import unexplained
from tidemill_operator.pool.scaled import Scaled, look
from tidemill_operator.reading import is_going
from tidemill_operator.release import patience
from tidemill_operator.standing import Standing, waits
from tidemill_operator.views import ConnectionKey, ConnectionPendingError, RunSeen

log: Final = logging.getLogger(__name__)

CHILDREN = ("ConfigMap", "ServiceAccount", "NetworkPolicy", "Deployment")


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
    patience: timedelta | None = None
    """While it is being deleted: how long a Temporal that can't be asked is waited for; None: as long as it takes."""
    pods: tuple[Object, ...] | None = None
    """Of its Deployment, as long as not all of them are ready; None: not looked at."""
    pod_events: tuple[Object, ...] = ()
    """Warnings about a pod whose own status says nothing."""
    key_ring: KeyRing | None = None
    """What its workers need to read what is encrypted; None: nothing is."""
    handed_on: str | None = None
    """Mark of the key ring that was handed to its namespace; None: unknown."""
    neighbours: tuple[tuple[str, str], ...] = ()
    """Name and uid of each pool of its namespace, itself too; only if there is a key ring."""

    scaled: Scaled | None = None
    """What scaling came to; None if nobody decides."""

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
    pods, events = (None, ()) if is_going(manifest) else await _pods(key, found.get("Deployment"), clients)
    scaled = await look(key, manifest, found.get("Deployment"), pods, clients, datetime.now(UTC))
    return Observed(
        manifest=manifest,
        temporal_connection=store.get("TemporalConnection", *connection) if connection is not None else None,
        connection=connection,
        has_ca=has_ca,
        trouble=trouble,
        children={kind: child for kind, child in found.items() if child is not None},
        pipelines=store.pipelines_of_pool(key.namespace, key.name),
        open_runs=runs,
        patience=await patience(manifest, [trouble] if trouble else [], clients, open_runs=bool(runs))
        if is_going(manifest)
        else None,
        pods=pods,
        pod_events=events,
        key_ring=clients.keys.declared() if clients.keys is not None else None,
        handed_on=store.key_ring(key.namespace),
        neighbours=store.pools_of_namespace(key.namespace) if clients.keys is not None else (),
        scaled=scaled,
    )


def all_ready(deployment: Object) -> bool:
    """Whether all pods of a Deployment are there, new and ready."""
    status, wished = deployment.get("status") or {}, deployment["spec"].get("replicas", 1)
    return bool(
        status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
        and status.get("readyReplicas", 0) >= wished
        and status.get("updatedReplicas", 0) >= wished
        and status.get("replicas", 0) <= wished
    )


async def _pods(
    key: Key, deployment: Object | None, clients: Clients
) -> tuple[tuple[Object, ...] | None, tuple[Object, ...]]:
    """Pods aren't watched: those of a pool are read while its Deployment says that some aren't ready."""
    if deployment is None or all_ready(deployment):
        return None, ()
    labels = ",".join(f"{name}={value}" for name, value in selector(key.name).items())
    try:
        pods = await clients.kubernetes.select("Pod", key.namespace, labels=labels)
        uid = unexplained(pods)
        about = f"regarding.kind=Pod,regarding.uid={uid},type=Warning"
        events = await clients.kubernetes.select("Event", key.namespace, fields=about) if uid is not None else ()
    except KubernetesError as error:
        log.debug("can't see why the workers of %s aren't ready: %s", key, error)
        return (), ()
    return pods, events
