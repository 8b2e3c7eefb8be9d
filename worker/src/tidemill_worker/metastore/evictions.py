"""Runs that ended without saying so: terminated in Temporal, or gone from there. Their end is recorded as any other."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from tidemill_api.contract import RunError, RunResult
from tidemill_api.errors import Terminated
from tidemill_worker.metastore.runs import end
from tidemill_worker.metastore.slots import lock
from tidemill_worker.metastore.store import Metastore, RunId
from tidemill_worker.overlap import Owner

_CLOSED: Final = RunError(type=Terminated.__name__, message="the workflow was closed from outside")


@dataclass(frozen=True, slots=True)
class Evicted:
    """A run that ended without saying so: what it staged should be dropped."""

    run: RunId
    spec: dict[str, object]
    result: RunResult


async def evict(store: Metastore, uid: str, owners: Collection[Owner]) -> tuple[Evicted, ...]:
    """Take owners whose workflows have closed off the slot, and record that their open runs have failed."""
    async with store.transaction() as connection:
        await lock(connection, uid)
        ids = [owner.run_id for owner in owners]
        await connection.execute("DELETE FROM tidemill.slots WHERE uid = $1 AND workflow_run_id = ANY($2)", uid, ids)
        rows = await connection.fetch(
            "SELECT run_key, execution, spec FROM tidemill.runs "
            "WHERE uid = $1 AND workflow_run_id = ANY($2) AND result = 'Running' FOR UPDATE",
            uid,
            ids,
        )
        evicted = []
        for row in rows:
            run = RunId(uid, row["run_key"], row["execution"])
            evicted.append(Evicted(run, json.loads(row["spec"]), await end(connection, run, "Failed", _CLOSED)))
        return tuple(evicted)


async def opened_by(store: Metastore, uid: str, owners: Collection[Owner]) -> dict[Owner, tuple[datetime, str]]:
    """When the open runs of these owners began, and the spec they began with, as JSON."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            "SELECT workflow_run_id, started_at, spec FROM tidemill.runs "
            "WHERE uid = $1 AND workflow_run_id = ANY($2) AND result = 'Running'",
            uid,
            [owner.run_id for owner in owners],
        )
    found = {row["workflow_run_id"]: (row["started_at"], row["spec"]) for row in rows}
    return {owner: found[owner.run_id] for owner in owners if owner.run_id in found}
