"""What is told of a pipeline. Pure; telling it again changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from tidemill_api import conditions as said
from tidemill_api.names import ANNOTATION_ADOPT, ANNOTATION_PAUSED, ANNOTATION_RELEASE
from tidemill_operator.actions import CreateSchedule, DeleteSchedule, Outcome, UpdateSchedule
from tidemill_operator.clients import Object
from tidemill_operator.pipeline import following
from tidemill_operator.pipeline.desire import Desired
from tidemill_operator.pipeline.freshness import fresh
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.pause import Pause
from tidemill_operator.pipeline.plan import has_ended, is_ours
from tidemill_operator.pipeline.runs import active_runs, last_run, succeeding
from tidemill_operator.pipeline.totals import add_up
from tidemill_operator.pool.place import workers_missing
from tidemill_operator.reading import annotation, predecessors, status_of
from tidemill_operator.release import releasing
from tidemill_operator.standing import (
    Claim,
    Standing,
    claims,
    conditions,
    ready,
    rfc3339,
    stalled,
    waits,
)
from tidemill_operator.trouble import standing_of
from tidemill_operator.views import ConnectionKey, RunSeen, ScheduleSeen

_NEXT_RUNS: Final = 5


def report(desired: Desired, observed: Observed, outcomes: Sequence[Outcome], now: datetime) -> Object | None:
    """The whole status; None: leave it as it is (somebody wrote in between, the next pass follows at once)."""
    if any(outcome.result == "Conflict" for outcome in outcomes):
        return None
    before = status_of(observed.manifest)
    generation = observed.manifest["metadata"].get("generation", 0)
    schedule = _schedule_now(desired, observed, outcomes)
    last = last_run(_own(observed.last_closed, desired, observed), before.get("lastRun"), desired.pipeline)
    paused = _paused(observed, schedule)
    totals = add_up(before.get("totals"), [run for run in observed.ended if _own(run, desired, observed)], now)
    claimed = (
        *claims(_obstacle(desired, observed, outcomes) or _settled(desired, observed, now)),
        succeeding(last, before),
        *fresh(observed.manifest, totals, now),
        *_paused_claim(paused),
        *releasing(observed.manifest, _trouble(observed), observed.patience, now),
    )
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "conditions": conditions(claimed, before.get("conditions") or (), generation, now),
        "scheduleSummary": desired.reading.summary or before.get("scheduleSummary"),
        "schedule": _where_it_is(_schedule_status(observed, outcomes), observed, schedule, outcomes),
        "after": _after(desired, observed, before, now),
        "nextRuns": _next_runs(observed, schedule, now),
        "lastRun": last,
        "totals": totals,
        "activeRuns": active_runs(observed.here.open_runs if observed.here else (), desired.pipeline),
        "missedRuns": schedule.missed if schedule else before.get("missedRuns"),
        "queries": observed.queries.status(),
        "paused": paused,
    }
    return {name: value for name, value in status.items() if value not in (None, [], {})}


def _after(desired: Desired, observed: Observed, before: Object, now: datetime) -> Object | None:
    """`status.after` of a pipeline that follows others.

    While nothing can be said of it, because the spec is wrong or its pool isn't there, it is kept since when it
    follows: what has become due meanwhile is started when that is mended.
    """
    if observed.going or not predecessors(observed.manifest):
        return None
    if observed.following is None or desired.reading.start is None:
        since = (before.get("after") or {}).get("since")
        return {"since": since} if since and desired.pause is None else None
    return following.status(observed.following, before.get("after") or {}, now, held=desired.pause is not None)


def _own(run: RunSeen | None, desired: Desired, observed: Observed) -> RunSeen | None:
    """The run, unless it was one of a former pipeline of this name."""
    if run is None or run.pipeline is None or is_ours(desired, run.pipeline, observed.manifest["metadata"]["uid"]):
        return run
    return None


def _schedule_now(desired: Desired, observed: Observed, outcomes: Sequence[Outcome]) -> ScheduleSeen | None:
    """Our Schedule as it is after the outcomes."""
    here = observed.here
    if here is None:
        return None
    found = here.schedule
    for outcome in outcomes:
        match outcome.action:
            case DeleteSchedule(connection=connection) if connection == here.connection and outcome.result == "Done":
                found = None
            case _:
                found = outcome.schedule or found
    if found is None or not is_ours(desired, found.memo, observed.manifest["metadata"]["uid"]):
        return None
    return found


def _schedule_status(observed: Observed, outcomes: Sequence[Outcome]) -> dict[str, Any] | None:
    """`status.schedule`: changes only by what was done."""
    told: dict[str, Any] | None = status_of(observed.manifest).get("schedule")
    for outcome in outcomes:
        if outcome.result != "Done":
            continue
        match outcome.action:
            case CreateSchedule(connection=connection, wish=wish):
                again = told is not None and _name(connection) == told.get("connection")
                told = _written(wish.id, connection, wish.hash(), outcome, told, again)
            case UpdateSchedule(connection=connection, wish=wish, repairs_drift=repairs):
                told = _written(wish.id, connection, wish.hash(), outcome, told, repairs)
            case DeleteSchedule(connection=connection):
                if told is not None and _name(connection) == told.get("connection"):
                    told = _moved(told, connection, observed)
            case _:
                pass
    return told


def _moved(told: dict[str, Any], gone: ConnectionKey, observed: Observed) -> dict[str, Any] | None:
    """What is left of `status.schedule` when the one that it speaks of goes: the one here, made by an earlier pass."""
    here = observed.here
    if here is None or here.schedule is None or here.connection == gone:
        return None
    return _at(told, here.connection)


def _where_it_is(
    told: dict[str, Any] | None, observed: Observed, schedule: ScheduleSeen | None, outcomes: Sequence[Outcome]
) -> dict[str, Any] | None:
    """`status.schedule` with the connection that shows it now: the pool may call the same Temporal otherwise."""
    settled = all(outcome.result == "Done" for outcome in outcomes)
    if told is None or schedule is None or observed.here is None or observed.elsewhere or not settled:
        return told
    return _at(told, observed.here.connection)


def _at(told: dict[str, Any], connection: ConnectionKey) -> dict[str, Any]:
    rest = {field: value for field, value in told.items() if field != "connection"}
    return rest | ({"connection": connection[1]} if connection is not None else {})


def _written(
    schedule: str,
    connection: tuple[str, str] | None,
    wished: str,
    outcome: Outcome,
    before: dict[str, Any] | None,
    repaired: bool,
) -> dict[str, Any]:
    told: dict[str, Any] = {"id": schedule, "wished": wished}
    if connection is not None:
        told["connection"] = connection[1]
    if outcome.schedule is not None:
        told["made"] = outcome.schedule.made
    told["driftRepaired"] = (before or {}).get("driftRepaired", 0) + (1 if repaired else 0)
    return told


def _name(connection: tuple[str, str] | None) -> str | None:
    return connection[1] if connection is not None else None


def _obstacle(desired: Desired, observed: Observed, outcomes: Sequence[Outcome]) -> Standing | None:
    """What keeps the pipeline from being as wished; what needs an edit comes first."""
    if observed.going:
        return _leaving(desired, observed)
    stranger, blocked = _stranger(desired, observed), desired.blocked
    places = (observed.here, *observed.elsewhere)
    troubles = [there.trouble for there in places if there is not None and there.trouble is not None]
    idle = workers_missing(observed.pool) if observed.pool is not None else None
    hindrances = [each for each in (blocked, stranger, *troubles, standing_of(outcomes), idle) if each is not None]
    return min(hindrances, key=lambda each: each.state != "stalled", default=None)


def _settled(desired: Desired, observed: Observed, now: datetime) -> Standing:
    if desired.reading.wish is None and desired.reading.start is None:
        return ready(said.ON_DEMAND, desired.reading.described)
    if observed.manifest["spec"].get("suspend") is True:
        return ready(said.SUSPENDED, "spec.suspend is true: no scheduled run starts; runs by hand do.")
    if desired.reading.wish is not None and has_ended(desired, now):
        return ready(said.SCHEDULED, f"The schedule ended at {desired.reading.wish.end_at}; runs by hand only.")
    return ready(said.SCHEDULED, desired.reading.described)


def _stranger(desired: Desired, observed: Observed) -> Standing | None:
    """Somebody else's Schedule under our id."""
    here = observed.here
    uid = observed.manifest["metadata"]["uid"]
    if here is None or here.schedule is None or is_ours(desired, here.schedule.memo, uid):
        return None
    memo = here.schedule.memo
    if memo is None:
        return stalled(
            said.SCHEDULE_CONFLICT,
            f"the Schedule {here.schedule.id} in Temporal was not made by Tidemill and is not touched: "
            "delete it there, or give this pipeline another name",
        )
    return stalled(
        said.SCHEDULE_CONFLICT,
        f"the Schedule {here.schedule.id} in Temporal belongs to a DataPipeline {memo.namespace}/{memo.name} of uid "
        f"{memo.uid} and is not touched; if that was this pipeline before it was restored, annotate it "
        f"{ANNOTATION_ADOPT}: {memo.uid} and keep the annotation (the Schedule's memo can't be changed)",
    )


def _trouble(observed: Observed) -> Standing | None:
    """The first Temporal that can't be asked."""
    places = (observed.here, *observed.elsewhere)
    return next((there.trouble for there in places if there is not None and there.trouble is not None), None)


def _leaving(desired: Desired, observed: Observed) -> Standing:
    places: list[There] = [there for there in (observed.here, *observed.elsewhere) if there is not None]
    for there in places:
        if there.trouble is not None:
            return waits(
                there.trouble.reason,
                f"deletion waits to clean up in Temporal: {there.trouble.message}; to let the pipeline go without, "
                f'leaving its Schedule and runs there, annotate it {ANNOTATION_RELEASE}: "true"',
            )
    runs = [run for there in places for run in there.open_runs]
    if not runs:
        return waits(said.PROGRESSING, "deletion removes the Schedule")
    keys = ", ".join(told["key"] for told in active_runs(runs, desired.pipeline)[:5])
    more = f" and {len(runs) - 5} more" if len(runs) > 5 else ""
    how = (
        "which were cancelled"
        if observed.manifest["spec"].get("deletionPolicy") == "Cancel"
        else "as spec.deletionPolicy says Wait; Cancel ends them"
    )
    return waits(said.WAITING_FOR_RUNS, f"deletion waits for the open runs {keys}{more}, {how}")


def _paused(observed: Observed, schedule: ScheduleSeen | None) -> dict[str, str] | None:
    """`status.paused`: a pause that Git doesn't know of."""
    reason = annotation(observed.manifest, ANNOTATION_PAUSED)
    if schedule is not None and (found := Pause(schedule.paused, schedule.note)).is_anothers:
        return {"by": said.PAUSED_IN_TEMPORAL, "note": found.note[:4096]}
    if reason is not None and (schedule is not None or observed.following is not None):
        return {"by": said.PAUSED_BY_ANNOTATION, "note": reason[:4096]}
    return None


def _paused_claim(paused: dict[str, str] | None) -> tuple[Claim, ...]:
    if paused is None:
        return ()
    where = "in Temporal" if paused["by"] == said.PAUSED_IN_TEMPORAL else f"by the annotation {ANNOTATION_PAUSED}"
    note = f": {paused['note']}" if paused["note"] else ""
    return (Claim(said.PAUSED, "True", paused["by"], f"The Schedule is paused {where}{note}"),)


def _next_runs(observed: Observed, schedule: ScheduleSeen | None, now: datetime) -> list[str]:
    if schedule is None or schedule.paused:
        return []
    entry = observed.entry
    fresh = entry is not None and entry.fingerprint == schedule.fingerprint
    moments = entry.next_runs if fresh and entry is not None else schedule.next_runs
    return [rfc3339(moment) for moment in moments if moment > now][:_NEXT_RUNS]
