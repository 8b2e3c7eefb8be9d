"""A schedule as a whole: its crons, calendars, intervals, time zone and windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import lru_cache, partial
from importlib.resources import files

from tidemill_api import conditions
from tidemill_api.v1alpha1 import parse_duration
from tidemill_api.v1alpha1.schedule import Calendar, Schedule
from tidemill_check.cron import CalendarError, CalendarTimes, parse_calendar, parse_cron
from tidemill_check.problem import Problem, suggestion

SHORTEST_CATCHUP = timedelta(seconds=10)
"""Temporal raises a shorter catch-up window to this."""
LONGEST = timedelta(days=3650)
"""Longest length of time that a manifest may give; far below what Temporal can count."""


def check_schedule(schedule: Schedule, field: str = "spec.schedule") -> tuple[Problem, ...]:
    """Every fault of a schedule that Temporal would refuse, mend silently, or that would never run."""
    problems = [Problem(f"{field}.{path}", conditions.INVALID_SCHEDULE, message) for path, message in _faults(schedule)]
    return tuple(problems)


@lru_cache(maxsize=1)
def time_zones() -> frozenset[str]:
    """The names of all IANA time zones, from the pinned tzdata package: the same on every machine."""
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _faults(schedule: Schedule) -> Iterator[tuple[str, str]]:
    times: list[CalendarTimes] = []
    for index, cron in enumerate(schedule.crons):
        yield from _parsed(f"crons[{index}]", partial(parse_cron, cron), times)
    yield from _intervals(schedule)
    yield from _calendars("calendars", schedule.calendars, times)
    excluded: list[CalendarTimes] = []
    yield from _calendars("exclude", schedule.exclude, excluded)
    if times and not schedule.intervals and all(any(one.within(out) for out in excluded) for one in times):
        yield "exclude", "leaves no time at which the pipeline would run"
    yield from _zone(schedule.time_zone)
    yield from _windows(schedule)


def _parsed(path: str, parse: Callable[[], CalendarTimes], into: list[CalendarTimes]) -> Iterator[tuple[str, str]]:
    try:
        into.append(parse())
    except CalendarError as error:
        yield f"{path}.{error.field}".rstrip("."), str(error)


def _calendars(name: str, calendars: tuple[Calendar, ...], into: list[CalendarTimes]) -> Iterator[tuple[str, str]]:
    for index, calendar in enumerate(calendars):
        yield from _parsed(f"{name}[{index}]", partial(parse_calendar, calendar), into)


def _intervals(schedule: Schedule) -> Iterator[tuple[str, str]]:
    for index, interval in enumerate(schedule.intervals):
        path = f"intervals[{index}]"
        every, offset = parse_duration(interval.every), parse_duration(interval.offset or "0s")
        if every > LONGEST:
            yield f"{path}.every", f"{interval.every} is too long: at most {LONGEST.days}d"
        if offset >= every:
            yield f"{path}.offset", f"{interval.offset} is not shorter than every ({interval.every})"
        elif offset.microseconds:
            yield f"{path}.offset", f"{interval.offset} is not a whole number of seconds"


def _zone(name: str) -> Iterator[tuple[str, str]]:
    if name not in time_zones():
        city = [zone for zone in time_zones() if zone.rpartition("/")[2].lower() == name.rpartition("/")[2].lower()]
        near = f"; did you mean {min(city)}?" if city else suggestion(name, time_zones())
        hint = near if "did you mean" in near else ", such as UTC or America/New_York"
        yield "timeZone", f"there is no IANA time zone {name}{hint}"


def _windows(schedule: Schedule) -> Iterator[tuple[str, str]]:
    catchup = length(schedule.catchup_window)
    if catchup is None or not SHORTEST_CATCHUP <= catchup <= LONGEST:
        bounds = f"at least {SHORTEST_CATCHUP.seconds}s, at most {LONGEST.days}d"
        yield "catchupWindow", f"{schedule.catchup_window} is out of bounds: {bounds}"
    if schedule.jitter is not None and length(schedule.jitter) is None:
        yield "jitter", f"{schedule.jitter} is too long: at most {LONGEST.days}d"


def length(text: str) -> timedelta | None:
    """A duration, or None when it is longer than `LONGEST`."""
    found = parse_duration(text)
    return found if found <= LONGEST else None
