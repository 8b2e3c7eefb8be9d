"""`backfill_size` and `backfill_times`: which runs a backfill consists of, a window at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Final

from temporalio import activity

from tidemill_api.contract import BackfillInput
from tidemill_api.errors import BackfillRefused, SpecError
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.backfill import check_sinks, first_second
from tidemill_check.times import times_of
from tidemill_worker.activities.resources import Resources, parsed
from tidemill_worker.activities.translation import translated
from tidemill_worker.metastore import backfills
from tidemill_worker.workflows.backfill_messages import BACKFILL_SIZE, BACKFILL_TIMES, Range, Size, Window

MOST: Final = 100_000
"""Times that one backfill may have."""
AT_ONCE: Final = 200
"""Runs that a window names at most."""
LOOKED_AT: Final = 5_000
"""Times that one window looks through at most, so that it never takes long."""


class Backfills:
    """The activities and what they need."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    @activity.defn(name=BACKFILL_SIZE)
    async def backfill_size(self, asked: Range) -> Size:
        """How many times there are. Raises SpecError for sinks that can't take them, BackfillRefused."""
        with translated():
            for problem in check_sinks(parsed(asked.order.run.spec)):
                raise SpecError(problem.field, problem.message)
            return await asyncio.to_thread(_size, asked)

    @activity.defn(name=BACKFILL_TIMES)
    async def backfill_times(self, asked: Range) -> Window:
        """The next runs to start: times that were run before are left out, unless `reprocess` says otherwise."""
        with translated():
            times = await asyncio.to_thread(lambda: list(islice(_times(asked), LOOKED_AT + 1)))
            there = await backfills.came_to(
                self._resources.store, asked.order.run.uid, [_key(each) for each in times[:LOOKED_AT]]
            )
            return window_of(times, there, asked.order)


def window_of(times: list[datetime], there: Mapping[str, str], order: BackfillInput) -> Window:
    """The first of these times that are to be run; `there` says what became of those that have been."""
    keys: list[str] = []
    skipped = 0
    for place, moment in enumerate(times):
        if len(keys) == AT_ONCE or place == LOOKED_AT:
            return Window(keys=tuple(keys), skipped=skipped, following=_key(moment))
        key = _key(moment)
        if _is_run(there.get(key), order):
            keys.append(key)
        else:
            skipped += 1
    return Window(keys=tuple(keys), skipped=skipped)


def _is_run(before: str | None, order: BackfillInput) -> bool:
    match order.reprocess:
        case "None":
            return before is None
        case "Failed":
            return before != "Succeeded"
        case "Completed":
            return True


def _size(asked: Range) -> Size:
    total, first = 0, None
    for moment in _times(asked):
        first = first or moment
        total += 1
        if total > MOST:
            raise BackfillRefused(f"spec.backfill: the range has more than {MOST} times: make several backfills of it")
    if first is None:
        raise BackfillRefused(
            f"spec.backfill: the schedule names no time from {asked.following} to {_until(asked).isoformat()}"
        )
    return Size(total=total, first=_key(first))


def _times(asked: Range) -> Iterator[datetime]:
    schedule = asked.order.run.schedule
    if schedule is None:
        raise BackfillRefused("spec.backfill.every is missing: the pipeline has no schedule that names times")
    return times_of(Schedule.model_validate(schedule)).between(first_second(asked.following), _until(asked))


def _until(asked: Range) -> datetime:
    """The end, but no time that hadn't come when the backfill began."""
    begun = datetime.fromisoformat(asked.begun).astimezone(UTC)
    return min(first_second(asked.order.end), begun + timedelta(seconds=1))


def _key(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
