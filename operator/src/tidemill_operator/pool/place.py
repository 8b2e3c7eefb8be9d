"""Where a pool's runs live: its Temporal and its task queue. Pure."""

from __future__ import annotations

from tidemill_operator.clients import Object
from tidemill_operator.views import ConnectionKey


def connection_of_pool(pool: Object) -> ConnectionKey:
    """The TemporalConnection that a pool names; None: the operator's own Temporal."""
    temporal = pool["spec"].get("temporal") or {}
    name = (temporal.get("connectionRef") or {}).get("name")
    return (pool["metadata"]["namespace"], name) if name else None
