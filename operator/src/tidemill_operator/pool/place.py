"""What others need to know of a pool: where its runs live, and whether anybody works on them. Pure."""

from __future__ import annotations

from tidemill_api.conditions import READY
from tidemill_operator.clients import Object
from tidemill_operator.pool.pods import TROUBLES
from tidemill_operator.reading import status_of
from tidemill_operator.standing import Standing, condition, waits
from tidemill_operator.views import ConnectionKey


def connection_of_pool(pool: Object) -> ConnectionKey:
    """The TemporalConnection that a pool names; None: the operator's own Temporal."""
    temporal = pool["spec"].get("temporal") or {}
    name = (temporal.get("connectionRef") or {}).get("name")
    return (pool["metadata"]["namespace"], name) if name else None


def decides(pool: Object) -> bool:
    """Whether the operator decides how many workers the pool has, if only as advice."""
    scaling = pool["spec"].get("scaling")
    return isinstance(scaling, dict) and scaling.get("scaler", "BuiltIn") == "BuiltIn"


def workers_missing(pool: Object) -> Standing | None:
    """Why a pool has no worker at all, as its status says it; None: it has some, or they are on their way."""
    status = status_of(pool)
    told = condition(status, READY)
    if told is None or told.get("status") != "False" or told.get("reason") not in TROUBLES:
        return None
    if status.get("readyReplicas"):
        return None
    return waits(told["reason"], f"the WorkerPool {pool['metadata']['name']} has no workers: {told.get('message', '')}")
