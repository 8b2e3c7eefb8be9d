"""The moments that a schedule names: crons and calendars in its time zone, intervals, less what it excludes.

A calendar names every moment whose local time matches its fields, as Temporal's server reads it: a local time that a
clock change skips never comes, one that it repeats comes twice. Time zones are those of the pinned tzdata package.
`startAt` and `endAt` say when the Schedule is at work, not which moments there are: they are left out here.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from importlib.resources import files
from typing import Final
from zoneinfo import ZoneInfo

from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.cron import CalendarTimes, parse_calendar, parse_cron

BEGINNING: Final = datetime(1, 1, 1, tzinfo=UTC)
"""Where the interval of a run begins that has no time before it."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_FARTHEST: Final = 366 * 9
"""Days that are looked back: longer than from one 29 February to the next."""


@dataclass(frozen=True)
class Times:
    """The moments of one schedule, in UTC, whole seconds."""

    calendars: tuple[CalendarTimes, ...]
    intervals: tuple[tuple[timedelta, timedelta], ...]
    """(every, offset), counted from the Unix epoch."""
    exclude: tuple[CalendarTimes, ...]
    zone: ZoneInfo

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The moments from `start` (included) to `end` (not included), in order, each once."""
        found = [
            *(_Calendar(times, self.zone).between(start, end) for times in self.calendars),
            *(_every(every, offset, start, end) for every, offset in self.intervals),
        ]
        last = None
        for moment in heapq.merge(*found):
            if moment != last and not self._excluded(moment):
                yield moment
            last = moment

    def before(self, moment: datetime) -> datetime | None:
        """The last one before a moment; None if there is none in the years that are looked through."""
        found = [
            *(_Calendar(times, self.zone).backwards(moment) for times in self.calendars),
            *(_every_backwards(every, offset, moment) for every, offset in self.intervals),
        ]
        farthest = _days_off(moment, -_FARTHEST)
        for earlier in heapq.merge(*found, reverse=True):
            if earlier < farthest:
                return None
            if not self._excluded(earlier):
                return earlier
        return None

    def _excluded(self, moment: datetime) -> bool:
        return any(_Calendar(times, self.zone).names(moment) for times in self.exclude)


def times_of(schedule: Schedule) -> Times:
    """The moments of a schedule. Raises CalendarError for what `check_schedule` refuses."""
    return Times(
        calendars=(*map(parse_cron, schedule.crons), *map(parse_calendar, schedule.calendars)),
        intervals=tuple(
            (parse_duration(each.every), parse_duration(each.offset) if each.offset else timedelta(0))
            for each in schedule.intervals
        ),
        exclude=tuple(map(parse_calendar, schedule.exclude)),
        zone=zone_of(schedule.time_zone),
    )


def interval_start(schedule: Schedule | None, run_time: datetime) -> datetime:
    """Where the interval begins that ends at `run_time`: at the schedule's last moment before it."""
    return (times_of(schedule).before(run_time) if schedule is not None else None) or BEGINNING


@lru_cache(maxsize=512)
def zone_of(name: str) -> ZoneInfo:
    """An IANA time zone: the same on every machine. Raises OSError if there is none of that name."""
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


@dataclass(frozen=True)
class _Calendar:
    """A calendar in a time zone."""

    times: CalendarTimes
    zone: ZoneInfo

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        day, last = _date(start, self.zone, -1), _date(end, self.zone, 1)
        while day <= last:
            if self._has(day):
                for moment in self._of_day(day):
                    if start <= moment < end:
                        yield moment
            if day == date.max:
                return
            day += _DAY

    def backwards(self, moment: datetime) -> Iterator[datetime]:
        """All moments before one, the latest first, as far back as is looked."""
        local = _date(moment, self.zone, 1)
        for ago in range(min(_FARTHEST, local.toordinal() - 1)):
            day = local - timedelta(days=ago)
            if self._has(day):
                yield from (each for each in self._of_day(day, reverse=True) if each < moment)

    def names(self, moment: datetime) -> bool:
        """Whether a moment is one of the calendar's."""
        local = moment.astimezone(self.zone)
        return self._has(local.date()) and all(
            getattr(local, part) in self.times.numbers(part) for part in ("hour", "minute", "second")
        )

    def _has(self, day: date) -> bool:
        times = self.times
        return (
            day.month in times.numbers("month")
            and day.day in times.numbers("day_of_month")
            and day.isoweekday() % 7 in times.numbers("day_of_week")
            and (not times.year or day.year in times.numbers("year"))
        )

    def _of_day(self, day: date, *, reverse: bool = False) -> Iterable[datetime]:
        midnight = datetime(day.year, day.month, day.day)  # noqa: DTZ001 - a local time: the zone is put to it below
        first, last = (self._offset(midnight + each) for each in (timedelta(0), _DAY - _SECOND))
        local = self._local(midnight, reverse=reverse)
        if first == last and self._moment(midnight, 0) is not None:  # else the clocks leave the whole day out
            return (each.replace(tzinfo=UTC) - first for each in local)
        both = {self._moment(each, fold) for each in local for fold in (0, 1)}
        return sorted((each for each in both if each is not None), reverse=reverse)

    def _local(self, midnight: datetime, *, reverse: bool) -> Iterator[datetime]:
        hours, minutes, seconds = (
            sorted(self.times.numbers(part), reverse=reverse) for part in ("hour", "minute", "second")
        )
        for hour in hours:
            for minute in minutes:
                for second in seconds:
                    yield midnight.replace(hour=hour, minute=minute, second=second)

    def _offset(self, local: datetime) -> timedelta:
        return local.replace(tzinfo=self.zone).utcoffset() or timedelta(0)

    def _moment(self, local: datetime, fold: int) -> datetime | None:
        """The moment at which clocks show a local time; None if they never do."""
        moment = local.replace(tzinfo=self.zone, fold=fold).astimezone(UTC)
        return moment if moment.astimezone(self.zone).replace(tzinfo=None) == local else None


def _date(moment: datetime, zone: ZoneInfo, days: int) -> date:
    """The local day, some days on, as far as there are days."""
    return _days_off(moment.astimezone(UTC), days).astimezone(zone).date()


def _days_off(moment: datetime, days: int) -> datetime:
    low, high = BEGINNING + 2 * _DAY, datetime.max.replace(tzinfo=UTC) - 2 * _DAY
    try:
        return min(max(moment + timedelta(days=days), low), high)
    except OverflowError:
        return low if days < 0 else high


def _every(every: timedelta, offset: timedelta, start: datetime, end: datetime) -> Iterator[datetime]:
    place = -((_EPOCH + offset - start) // every)  # the first at or after start
    while (moment := _EPOCH + offset + place * every) < end:
        yield moment
        place += 1


def _every_backwards(every: timedelta, offset: timedelta, moment: datetime) -> Iterator[datetime]:
    place = -((_EPOCH + offset - moment) // every) - 1
    try:
        while True:
            yield _EPOCH + offset + place * every
            place -= 1
    except OverflowError:
        return
