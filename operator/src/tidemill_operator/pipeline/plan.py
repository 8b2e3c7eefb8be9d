"""What is to be done for a pipeline. Pure; empty means converged.

An invalid edit leaves the last good Schedule as it is (a typo must not stop the loads of a night), but for its pause:
`suspend` and the pause annotation work always.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from tidemill_api.contract import ScheduleMemo
from tidemill_api.names import ANNOTATION_CANCEL, FINALIZER
from tidemill_api.v1alpha1 import parse_timestamp
from tidemill_operator.actions import (
    Action,
    AddFinalizer,
    CancelRun,
    CreateSchedule,
    DeleteSchedule,
    LookAgain,
    ObjectRef,
    RemoveFinalizer,
    SetPause,
    UpdateSchedule,
)
from tidemill_operator.pipeline.desire import Desired
from tidemill_operator.pipeline.following import starts
from tidemill_operator.pipeline.freshness import ends_in
from tidemill_operator.pipeline.observe import Observed, There
from tidemill_operator.pipeline.pause import RUNNING, Pause, next_pause
from tidemill_operator.pipeline.runs import run_key
from tidemill_operator.pipeline.totals import add_up
from tidemill_operator.reading import annotation, status_of
from tidemill_operator.release import AFTER_TROUBLE, is_due, let_go, out_of_patience, terminated, wait
from tidemill_operator.views import ScheduleSeen

AFTER_DELETE: Final = timedelta(seconds=1)
"""When runs are looked for that the Schedule started just before it was deleted."""
WHILE_WAITING: Final = timedelta(seconds=5)
QUERIES_ANEW: Final = timedelta(seconds=30)
"""When ConfigMaps with queries are read again."""


def plan(desired: Desired, observed: Observed, now: datetime) -> tuple[Action, ...]:
    """The actions, in order."""
    if observed.going:
        return tuple(_farewell(desired, observed, now))
    return (
        *_upkeep(desired, observed, now),
        *_following(desired, observed),
        *_called_off(desired, observed),
        *_until_outdated(observed, now),
    )


def has_ended(desired: Desired, now: datetime) -> bool:
    """Whether the schedule's end is past. Temporal deletes such a Schedule after a while; it needs no new one."""
    wish = desired.reading.wish
    return wish is not None and wish.end_at is not None and parse_timestamp(wish.end_at) <= now


def is_ours(desired: Desired, memo: ScheduleMemo | None, uid: str) -> bool:
    """Whether a Schedule with this memo belongs to the pipeline of that uid, or to the former self it names."""
    if memo is None:
        return False
    same = (memo.installation, memo.namespace, memo.name) == (
        desired.pipeline.installation,
        desired.pipeline.namespace,
        desired.pipeline.name,
    )
    return same and memo.uid in (uid, desired.adopted)


def in_step(desired: Desired, observed: Observed, schedule: ScheduleSeen) -> tuple[bool, bool]:
    """Whether the Schedule is as last wished, and whether it is still as the server made it then."""
    told = status_of(observed.manifest).get("schedule") or {}
    return told.get("wished") == desired.reading.wish_hash, told.get("made") == schedule.made


def _upkeep(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    if FINALIZER not in (observed.manifest["metadata"].get("finalizers") or ()):
        yield AddFinalizer(ObjectRef.of(observed.manifest))
    if any(there.trouble for there in (observed.here, *observed.elsewhere) if there is not None):
        yield LookAgain(AFTER_TROUBLE)
    if observed.queries.refs:  # ConfigMaps aren't watched
        yield LookAgain(WHILE_WAITING if observed.queries.missing else QUERIES_ANEW)
    here = observed.here
    if here is None or here.trouble is not None:
        return
    uid = observed.manifest["metadata"]["uid"]
    if here.schedule is not None and not is_ours(desired, here.schedule.memo, uid):
        return
    if desired.blocked is not None:
        if here.schedule is not None:
            yield from _pause_alone(desired, here, here.schedule)
        return
    former = [
        DeleteSchedule(there.connection, desired.pipeline.schedule)
        for there in observed.elsewhere
        if there.schedule is not None
        and is_ours(desired, there.schedule.memo, uid)
        and not _is_the_same(there.schedule, here.schedule)
    ]
    if any(there.trouble for there in observed.elsewhere):
        yield from former
    elif here.schedule is None and _carried(desired, observed) is not None:
        # Nobody but the former one knows of a person's pause: it goes when the new one has it. Neither starts a run.
        yield from _schedule(desired, observed, here, now)
        yield from former
    else:
        # What was made elsewhere goes first: two Schedules would start each run twice.
        yield from former
        yield from _schedule(desired, observed, here, now)


def _following(desired: Desired, observed: Observed) -> Iterator[Action]:
    """Runs that are due because its predecessors have succeeded. Each is started under its time's own id, so once."""
    start, seen, here = desired.reading.start, observed.following, observed.here
    if start is None or seen is None or here is None or here.trouble is not None:
        return
    if desired.blocked is None and desired.pause is None and here.schedule is None:
        since = (status_of(observed.manifest).get("after") or {}).get("since")
        yield from starts(seen, since, desired.pipeline, replace(start, connection=here.connection))


def _called_off(desired: Desired, observed: Observed) -> Iterator[Action]:
    """Open runs that somebody wants to stop, by key: runs of the schedule have no object that could be annotated."""
    keys = set((annotation(observed.manifest, ANNOTATION_CANCEL) or "").split(","))
    here = observed.here
    if here is not None and here.trouble is None:
        yield from (
            CancelRun(here.connection, run.workflow_id, run.run_id)
            for run in here.open_runs
            if run_key(run, desired.pipeline) in keys
        )


def _until_outdated(observed: Observed, now: datetime) -> Iterator[Action]:
    """Nothing happens when a promise breaks: look then."""
    left = ends_in(observed.manifest, add_up(status_of(observed.manifest).get("totals"), observed.ended, now), now)
    if left is not None and left > timedelta():
        yield LookAgain(left)


def _is_the_same(there: ScheduleSeen, here: ScheduleSeen | None) -> bool:
    """Whether two connections show one and the same Schedule: two names of one Temporal."""
    return here is not None and there.created == here.created


def _schedule(desired: Desired, observed: Observed, here: There, now: datetime) -> Iterator[Action]:
    wish, schedule = desired.reading.wish, here.schedule
    if wish is None:
        if schedule is not None:
            yield DeleteSchedule(here.connection, schedule.id)
    elif schedule is None:
        if has_ended(desired, now):
            return
        pause = _carried(desired, observed) or desired.pause or RUNNING
        yield CreateSchedule(here.connection, wish, pause.paused, pause.note)
    else:
        as_wished, as_made = in_step(desired, observed, schedule)
        if as_wished and as_made and schedule.sealed_with == observed.seals_with:
            yield from _pause_alone(desired, here, schedule)
        else:
            pause = next_pause(Pause(schedule.paused, schedule.note), desired.pause)
            drifted = as_wished and not as_made
            yield UpdateSchedule(here.connection, wish, pause.paused, pause.note, schedule.token, drifted)


def _carried(desired: Desired, observed: Observed) -> Pause | None:
    """A person's pause of the Schedule that this one replaces: it stays when the pool moves to another Temporal."""
    uid = observed.manifest["metadata"]["uid"]
    former = (there.schedule for there in observed.elsewhere if there.schedule is not None)
    pauses = (Pause(each.paused, each.note) for each in former if is_ours(desired, each.memo, uid))
    return next((pause for pause in pauses if pause.is_anothers), None)


def _pause_alone(desired: Desired, here: There, schedule: ScheduleSeen) -> Iterator[Action]:
    found = Pause(schedule.paused, schedule.note)
    pause = next_pause(found, desired.pause)
    if pause != found:
        yield SetPause(here.connection, schedule.id, pause.paused, pause.note, schedule.token)


def _farewell(desired: Desired, observed: Observed, now: datetime) -> Iterator[Action]:
    manifest = observed.manifest
    if FINALIZER not in (manifest["metadata"].get("finalizers") or ()):
        return
    places = [there for there in (observed.here, *observed.elsewhere) if there is not None]
    uid = manifest["metadata"]["uid"]
    schedules = [
        DeleteSchedule(there.connection, there.schedule.id)
        for there in places
        if there.schedule is not None and is_ours(desired, there.schedule.memo, uid)
    ]
    trouble = next((there.trouble for there in places if there.trouble is not None), None)
    if trouble is not None and is_due(manifest, observed.patience, now):
        yield from schedules
        left = f"its Schedule {desired.pipeline.schedule} may still be there and start runs, and runs may be open"
        yield let_go(manifest, trouble, left)
        return
    if trouble is not None:
        yield wait(manifest, observed.patience, now)
        return
    if schedules:
        yield from schedules
        yield LookAgain(AFTER_DELETE)
        return
    runs = [(there.connection, run) for there in places for run in there.open_runs]
    if not runs:
        yield RemoveFinalizer(ObjectRef.of(manifest))
        return
    if manifest["spec"].get("deletionPolicy") == "Cancel" or observed.patience is not None:
        yield from (CancelRun(connection, run.workflow_id, run.run_id) for connection, run in runs)
    if out_of_patience(manifest, observed.patience, now):
        yield from terminated(runs)
    yield LookAgain(WHILE_WAITING)
