"""A pipeline's slot and the executions of its run keys: who may begin, as which execution.

Whoever begins or ends a run of a pipeline takes the pipeline's advisory lock first, so they come one after another.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from tidemill_api.contract import RunInput, RunResult
from tidemill_worker.metastore.store import Connection, Metastore, moment_of
from tidemill_worker.overlap import Decision, GiveUp, Owner, Place, Policy, Take, decide, in_the_way

if TYPE_CHECKING:
    from asyncpg import Record


@dataclass(frozen=True, slots=True)
class Request:
    """A run that wants to begin."""

    order: RunInput
    run_key: str
    run_time: datetime
    interval_start: datetime
    owner: Owner


@dataclass(frozen=True, slots=True)
class Began:
    """The run has the slot and is this execution of its key."""

    execution: int
    run_time: datetime
    """The key's moment: that of its first execution."""
    interval_start: datetime
    """Where the key's interval begins."""
    replay: dict[str, Any] | None = None
    """What the key replays, as its first execution was asked to."""
    again: bool = False
    """It had begun already: this is a repetition."""


@dataclass(frozen=True, slots=True)
class AlreadyDone:
    """The key has completed before: it doesn't run again by itself."""

    execution: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """Others are at the slot; `decision` is what the policy says, unless some of them turn out to have ended."""

    decision: Decision
    others: tuple[Place, ...]


async def try_to_begin(store: Metastore, request: Request, policy: Policy) -> Began | AlreadyDone | Blocked:
    """Begin if the policy lets us, else queue where it says so. A repetition by the same owner finds what it has."""
    uid, owner = request.order.uid, request.owner
    async with store.transaction() as connection:
        await lock(connection, uid)
        known = await connection.fetch(_KNOWN, uid, request.run_key)
        if known:
            request = _same_again(request, known[0])
        for row in known:
            if row["workflow_run_id"] == owner.run_id and row["result"] == "Running":
                times = request.run_time, request.interval_start
                return Began(row["execution"], *times, request.order.replay, again=True)
            if row["execution"] and _is_settled(row["result"], request.order.reprocess):
                return AlreadyDone(row["execution"])
        places = await _places(connection, uid)
        mine = next((place for place in places if place.owner.run_id == owner.run_id), None)
        backfill = request.order.backfill is not None
        others = in_the_way(
            request.run_key,
            [place for place in places if place is not mine],
            backfill=backfill,
            temporal=owner.temporal,
        )
        decision = decide("Skip" if backfill else policy, mine, others)
        if backfill and isinstance(decision, GiveUp):
            decision = GiveUp(f"another run of the key {request.run_key} is still open")
        if isinstance(decision, Take):
            execution = 1 + max((row["execution"] for row in known), default=0)
            await _open_run(connection, request, execution)
            return Began(execution, request.run_time, request.interval_start, request.order.replay)
        return Blocked(decision, tuple(o for o in others if o.holding or mine is None or o.number < mine.number))


def _is_settled(result: str, reprocess: Literal["None", "Failed", "Completed"]) -> bool:
    """Whether an execution of the key came to something that is left as it is."""
    match reprocess:
        case "None":
            return result != "Running"
        case "Failed":
            return result == "Succeeded"
        case "Completed":
            return False


def _same_again(request: Request, first: Record) -> Request:
    """A key stands for the same work each time it is processed: its moment, its interval, and what it replays."""
    replay = None if first["replay"] is None else json.loads(first["replay"])
    return replace(
        request,
        run_time=first["run_time"],
        interval_start=moment_of(first["interval_start"]) or request.interval_start,
        order=request.order.model_copy(update={"replay": replay}),
    )


async def queue(store: Metastore, request: Request) -> None:
    """Wait in the pipeline's queue; a place that was taken before is kept."""
    async with store.connection() as connection:
        await connection.execute(
            _PLACE.format("$1, $2, $3, $4, false, $5, $6"),
            *(request.order.uid, request.owner.workflow_id, request.owner.run_id, request.run_key),
            *(request.order.backfill is not None, request.owner.temporal),
        )


async def record_skipped(store: Metastore, request: Request, result: RunResult) -> None:
    """Keep that a run didn't begin, and why, as execution 0 of its key; leave the queue."""
    async with store.transaction() as connection:
        await connection.execute(
            "DELETE FROM tidemill.slots WHERE uid = $1 AND workflow_run_id = $2",
            request.order.uid,
            request.owner.run_id,
        )
        await record_unbegun(connection, request, result)


async def record_unbegun(connection: Connection, request: Request, result: RunResult) -> None:
    """Execution 0 of the key: a run that never had the slot, with its last result."""
    order, error = request.order, result.error
    await connection.execute(
        "INSERT INTO tidemill.runs "
        "(uid, run_key, execution, installation, namespace, pipeline, generation, trigger, run_time, "
        "parameters, workflow_id, workflow_run_id, result, error_type, error_message, finished_at, summary, replay, "
        "interval_start, backfill) "
        "VALUES ($1, $2, 0, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, now(), $15, $16, $17, $18) "
        "ON CONFLICT (uid, run_key, execution) DO UPDATE SET workflow_id = excluded.workflow_id, "
        "workflow_run_id = excluded.workflow_run_id, result = excluded.result, error_type = excluded.error_type, "
        "error_message = excluded.error_message, started_at = excluded.started_at, finished_at = excluded.finished_at, "
        "summary = excluded.summary",
        *(order.uid, request.run_key, order.installation, order.namespace, order.pipeline, order.generation),
        *(order.trigger, request.run_time, json.dumps(order.parameters)),
        *(request.owner.workflow_id, request.owner.run_id, result.result),
        *(error and error.type, error and error.message, result.model_dump_json(by_alias=True)),
        *(None if order.replay is None else json.dumps(order.replay), request.interval_start, order.backfill),
    )


async def release(connection: Connection, uid: str, owner: Owner) -> tuple[Owner, ...]:
    """Leave the slot or the queue; returns who waits, the first first. For use within a transaction."""
    rows = await connection.fetch(
        "WITH gone AS (DELETE FROM tidemill.slots WHERE uid = $1 AND workflow_run_id = $2) "
        "SELECT workflow_id, workflow_run_id, temporal FROM tidemill.slots "
        "WHERE uid = $1 AND workflow_run_id <> $2 AND NOT holding ORDER BY place",
        uid,
        owner.run_id,
    )
    return tuple(Owner(row["workflow_id"], row["workflow_run_id"], row["temporal"]) for row in rows)


async def lock(connection: Connection, uid: str) -> None:
    """Come one after another: whoever begins or ends runs of a pipeline. For use within a transaction."""
    # A class of its own, so that our locks can't meet those of migrations or of other programs.
    await connection.execute("SELECT pg_advisory_xact_lock(1953721961, hashtext($1))", uid)


async def _places(connection: Connection, uid: str) -> Sequence[Place]:
    rows = await connection.fetch(
        "SELECT workflow_id, workflow_run_id, temporal, run_key, place, holding, backfill FROM tidemill.slots "
        "WHERE uid = $1 ORDER BY holding DESC, place",
        uid,
    )
    return [
        Place(
            Owner(row["workflow_id"], row["workflow_run_id"], row["temporal"]),
            *(row["run_key"], row["place"], row["holding"], row["backfill"]),
        )
        for row in rows
    ]


_KNOWN = (
    "SELECT execution, result, workflow_run_id, run_time, interval_start, replay FROM tidemill.runs "
    "WHERE uid = $1 AND run_key = $2 ORDER BY execution"
)

_PLACE = (
    "INSERT INTO tidemill.slots (uid, workflow_id, workflow_run_id, run_key, holding, backfill, temporal) VALUES ({}) "
    "ON CONFLICT (uid, workflow_run_id) DO UPDATE SET holding = slots.holding OR excluded.holding"
)


async def _open_run(connection: Connection, request: Request, execution: int) -> None:
    """Take the slot and record that the run has begun, by one statement."""
    order = request.order
    await connection.execute(
        f"WITH place AS ({_PLACE.format('$1, $12, $13, $2, true, $16::text IS NOT NULL, $17')}) "
        "INSERT INTO tidemill.runs "
        "(uid, run_key, execution, installation, namespace, pipeline, generation, trigger, run_time, "
        "spec, parameters, workflow_id, workflow_run_id, result, replay, interval_start, backfill) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 'Running', $14, $15, $16)",
        *(order.uid, request.run_key, execution, order.installation, order.namespace, order.pipeline),
        *(order.generation, order.trigger, request.run_time, json.dumps(order.spec), json.dumps(order.parameters)),
        *(request.owner.workflow_id, request.owner.run_id),
        *(None if order.replay is None else json.dumps(order.replay), request.interval_start, order.backfill),
        request.owner.temporal,
    )
