"""Crons and calendars in the grammar of Temporal's schedules, as ranges of numbers.

The grammar is that of Temporal's server (`service/worker/scheduler/calendar.go`), less what reads one way and means
another: a time zone or a comment inside a cron, six or seven fields, steps larger than their range, and days that
never come (a Schedule without a next time vanishes from the server by itself).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from tidemill_api.v1alpha1.schedule import Calendar


class CalendarError(ValueError):
    """A cron or a calendar is wrong. `field` is the calendar's field (`dayOfMonth`), empty for a whole cron."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(message)
        self.field = field_name


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from `start` to `end`, both included, every `step`: the SDK's `ScheduleRange`."""

    start: int
    end: int
    step: int = 1

    def numbers(self) -> range:
        """The numbers of the range."""
        return range(self.start, self.end + 1, self.step)


@dataclass(frozen=True, slots=True)
class CalendarTimes:
    """Times that match every field: the SDK's `ScheduleCalendarSpec`. An empty `year` is every year; Sunday is 0."""

    second: tuple[Range, ...]
    minute: tuple[Range, ...]
    hour: tuple[Range, ...]
    day_of_month: tuple[Range, ...]
    month: tuple[Range, ...]
    day_of_week: tuple[Range, ...]
    year: tuple[Range, ...] = ()
    comment: str | None = field(default=None, kw_only=True)

    def numbers(self, part: str) -> frozenset[int]:
        """The numbers of one part (`minute`, `day_of_week`, ...)."""
        return _numbers(getattr(self, part), part)

    def within(self, other: CalendarTimes) -> bool:
        """Whether every time of this calendar is surely one of the other's."""
        return all(self.numbers(part) <= other.numbers(part) for part in _PARTS)

    def days_meet(self) -> bool:
        """Whether both day of month and day of week narrow the days: then both must match, unlike in Unix' cron."""
        narrowed = (
            len(self.numbers("day_of_month")) < 31,
            len(self.numbers("day_of_week")) < 7,
        )
        return all(narrowed)

    def ever(self) -> bool:
        """Whether any day of the calendar exists; February has 29 days here, whatever the years are."""
        first_day = min(self.numbers("day_of_month"))
        return any(first_day <= _LONGEST[month] for month in self.numbers("month"))


@dataclass(frozen=True, slots=True)
class _Part:
    """One field of a calendar: its name in manifests, the words for it, its bounds and names."""

    field: str
    words: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    shortest_name: int = 3


_MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_LONGEST: Final = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_MACROS: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PARTS: Final[Mapping[str, _Part]] = {
    "second": _Part("second", "second", 0, 59),
    "minute": _Part("minute", "minute", 0, 59),
    "hour": _Part("hour", "hour", 0, 23),
    "day_of_month": _Part("dayOfMonth", "day of month", 1, 31),
    "month": _Part("month", "month", 1, 12, _MONTHS),
    "day_of_week": _Part("dayOfWeek", "day of week", 0, 7, _DAYS, shortest_name=2),
    "year": _Part("year", "year", 2000, 2100),
}
_CRON_FIELDS: Final = ("minute", "hour", "day_of_month", "month", "day_of_week")
_COMMENT_BYTES: Final = 200


@lru_cache(maxsize=4096)
def parse_cron(line: str) -> CalendarTimes:
    """The times of a cron line of five fields, or of `@hourly` and its like. Raises `CalendarError`."""
    text = line.strip()
    if not text.isascii() or not text.isprintable():
        raise CalendarError("", f"{line!r} holds characters that no cron has")
    if re.match(r"(CRON_)?TZ=", text):
        raise CalendarError("", f"{line!r} names a time zone: leave it out here and set spec.schedule.timeZone")
    if text.startswith("@every"):
        raise CalendarError("", f"{line!r} is no cron: write it in spec.schedule.intervals, as every: 15m")
    if "#" in text:
        why = "which Temporal takes for a comment: leave it out, or use spec.schedule.calendars with a comment"
        raise CalendarError("", f"{line!r} holds a '#', {why}")
    if text.startswith("@") and text not in _MACROS:
        raise CalendarError("", f"{line!r} is not known: use one of {', '.join(_MACROS)}, or five fields")
    tokens = _MACROS.get(text, text).split()
    if len(tokens) != 5:
        also = (
            "; seconds and years can be given in spec.schedule.calendars"
            if len(tokens) in (6, 7)
            else ", as '15 * * * *'"
        )
        many = f"{len(tokens)} field{'' if len(tokens) == 1 else 's'}"
        raise CalendarError("", f"{line!r} has {many}: a cron has five ({_five()}){also}")
    try:
        parts = (_ranges(token, _PARTS[name]) for name, token in zip(_CRON_FIELDS, tokens, strict=True))
        return _existing(CalendarTimes((Range(0, 0),), *parts), "")
    except CalendarError as error:
        raise CalendarError("", f"{line!r}: {error}") from None


def parse_calendar(calendar: Calendar) -> CalendarTimes:
    """The times of a calendar. Raises `CalendarError` with the field of the calendar."""
    if calendar.comment is not None and len(calendar.comment.encode()) > _COMMENT_BYTES:
        raise CalendarError("comment", f"has more than {_COMMENT_BYTES} bytes, which is all that Temporal keeps")
    year = () if calendar.year == "*" else _ranges(calendar.year, _PARTS["year"])
    parts = (_ranges(getattr(calendar, name), part) for name, part in _PARTS.items() if name != "year")
    return _existing(replace(CalendarTimes(*parts), year=year, comment=calendar.comment), "dayOfMonth")


def _existing(times: CalendarTimes, at: str) -> CalendarTimes:
    if not times.ever():
        raise CalendarError(at, "never comes: none of these months has such a day")
    return times


def _five() -> str:
    return ", ".join(_PARTS[name].words for name in _CRON_FIELDS)


@lru_cache(maxsize=4096)
def _numbers(ranges: tuple[Range, ...], part: str) -> frozenset[int]:
    found = frozenset(number for one in ranges for number in one.numbers())
    return found or frozenset(range(_PARTS[part].low, _PARTS[part].high + 1))


def _ranges(text: str, part: _Part) -> tuple[Range, ...]:
    return tuple(one for piece in text.split(",") for one in _range(piece, text, part))


def _wrong(text: str, part: _Part, why: str) -> CalendarError:
    return CalendarError(part.field, f"{text!r} is no {part.words}: {why}")


def _range(piece: str, text: str, part: _Part) -> tuple[Range, ...]:
    """One piece between commas: `*`, `5`, `1-5`, any of them with `/step`; `5/15` runs from 5 to the end."""
    span, slash, step_text = piece.partition("/")
    step = _step(step_text, text, part) if slash else 1
    first, dash, last = span.partition("-")
    if span == "*":
        start, end = part.low, part.high
    elif dash:
        start, end = _value(first, text, part), _value(last, text, part)
        if end < start:
            hint = (
                f"; write {first},{last} or use 7 for Sunday"
                if part.names is _DAYS
                else "; write it as two ranges, with a comma"
            )
            raise _wrong(text, part, f"the range {span} ends before it starts{hint}")
    else:
        start = _value(span, text, part)
        end = part.high if slash else start
    return _sunday_is_zero(start, end, step) if part.names is _DAYS else (Range(start, end, step),)


def _sunday_is_zero(start: int, end: int, step: int) -> tuple[Range, ...]:
    """A range of days of the week with 7 taken for 0."""
    if end < 7:
        return (Range(start, end, step),)
    sunday = (Range(0, 0),) if start > 0 and (7 - start) % step == 0 else ()
    rest = (Range(start, 6, step),) if start < 7 else ()
    return sunday + rest


def _step(step_text: str, text: str, part: _Part) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", step_text) or int(step_text) == 0:
        raise _wrong(text, part, "after the slash stands one positive number, as in */15")
    if int(step_text) > part.high - part.low:
        why = f"the step {step_text} is larger than the range {part.low} to {part.high}, so it would match only once"
        raise _wrong(text, part, f"{why}; spec.schedule.intervals can be longer")
    return int(step_text)


def _value(value: str, text: str, part: _Part) -> int:
    for place, name in enumerate(part.names):
        if len(value) >= part.shortest_name and name.startswith(value.lower()):
            return place + part.low
    if re.fullmatch(r"[0-9]{1,6}", value) and part.low <= int(value) <= part.high:
        return int(value)
    names = f" or names ({part.names[0][:3].upper()})" if part.names else ""
    asked = f"{value!r} is not a number of {part.low} to {part.high}{names}" if value else "a number is missing"
    raise _wrong(text, part, f"{asked}{'; write * for any' if value == '?' else ''}")
