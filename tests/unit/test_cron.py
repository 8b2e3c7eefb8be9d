"""Crons and calendars as Temporal reads them, and what is said of wrong ones."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.v1alpha1.schedule import Calendar
from tidemill_check.cron import CalendarError, CalendarTimes, Range, parse_calendar, parse_cron


def numbers(ranges: tuple[Range, ...]) -> list[int]:
    return sorted({number for one in ranges for number in one.numbers()})


FIELDS = (
    # the field's place in a cron, its text, the numbers it means
    (0, "0", [0]),
    (0, "*", list(range(60))),
    (0, "*/15", [0, 15, 30, 45]),
    (0, "5/20", [5, 25, 45]),
    (0, "1-5/2,8-16/3,2", [1, 2, 3, 5, 8, 11, 14]),
    (0, "007", [7]),
    (1, "9-17", list(range(9, 18))),
    (2, "1,15,31", [1, 15, 31]),
    (3, "jan", [1]),
    (3, "JAN-mar,Sept", [1, 2, 3, 9]),
    (3, "december", [12]),
    (4, "0", [0]),
    (4, "7", [0]),
    (4, "sun", [0]),
    (4, "su,Mo", [0, 1]),
    (4, "MON-FRI", [1, 2, 3, 4, 5]),
    (4, "0-7", [0, 1, 2, 3, 4, 5, 6]),
    (4, "3-7", [0, 3, 4, 5, 6]),
    (4, "3-7/3", [3, 6]),
    (4, "1-7/2", [0, 1, 3, 5]),
    (4, "*/2", [0, 2, 4, 6]),
    (4, "FRI-7", [0, 5, 6]),
)


@pytest.mark.parametrize(("place", "text", "expected"), FIELDS)
def test_field(place: int, text: str, expected: list[int]) -> None:
    tokens = ["*"] * 5
    tokens[place] = text
    times = parse_cron(" ".join(tokens))
    name = ("minute", "hour", "day_of_month", "month", "day_of_week")[place]
    assert numbers(getattr(times, name)) == expected
    assert times.second == (Range(0, 0),)
    assert times.year == ()


@pytest.mark.parametrize(
    ("macro", "line"),
    [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ],
)
def test_macro(macro: str, line: str) -> None:
    assert parse_cron(macro) == parse_cron(line) == parse_cron(f"  {line.replace(' ', '  ')} ")


BAD_CRONS = (
    ("", "has 0 fields"),
    ("* * * *", "has 4 fields: a cron has five (minute, hour, day of month, month, day of week)"),
    ("0 * * * * *", "has 6 fields"),
    ("0 0 * * * * 2026", "seconds and years can be given in spec.schedule.calendars"),
    ("60 * * * *", "'60' is no minute: '60' is not a number of 0 to 59"),
    ("* 24 * * *", "'24' is no hour"),
    ("* * 0 * *", "is not a number of 1 to 31"),
    ("* * 32 * *", "is not a number of 1 to 31"),
    ("* * * 13 *", "is not a number of 1 to 12 or names (JAN)"),
    ("* * * ja *", "is not a number of 1 to 12 or names (JAN)"),
    ("* * * * 8", "is not a number of 0 to 7 or names (SUN)"),
    ("* * * * m", "is not a number of 0 to 7"),
    ("5-1 * * * *", "the range 5-1 ends before it starts; write it as two ranges"),
    ("* * * * FRI-SUN", "write FRI,SUN or use 7 for Sunday"),
    ("*/0 * * * *", "after the slash stands one positive number"),
    ("*/ * * * *", "after the slash stands one positive number"),
    ("1/2/3 * * * *", "after the slash stands one positive number"),
    ("*/x * * * *", "after the slash stands one positive number"),
    ("*/90 * * * *", "the step 90 is larger than the range 0 to 59"),
    ("1-2-3 * * * *", "'2-3' is not a number"),
    ("-1 * * * *", "a number is missing"),
    ("+1 * * * *", "'+1' is not a number"),
    ("1,,2 * * * *", "a number is missing"),
    ("? * * * *", "write * for any"),
    ("* * L * *", "'L' is not a number"),
    ("* * 15W * *", "'15W' is not a number"),
    ("0 0 * * 5#3", "holds a '#', which Temporal takes for a comment"),
    ("@every 5m", "write it in spec.schedule.intervals"),
    ("@reboot", "use one of @yearly"),
    ("@Hourly", "use one of @yearly"),
    ("TZ=UTC 0 * * * *", "set spec.schedule.timeZone"),
    ("CRON_TZ=Europe/Berlin 0 * * * *", "set spec.schedule.timeZone"),
    ("0 0 30 2 *", "never comes"),
    ("0 0 31 4,6,9,11 *", "never comes"),
    ("0 0 * *\u00a0* *", "holds characters that no cron has"),
    ("0 0 *\n* *", "holds characters that no cron has"),
)


@pytest.mark.parametrize(("line", "says"), BAD_CRONS)
def test_bad_cron_says_what_would_be_right(line: str, says: str) -> None:
    with pytest.raises(CalendarError, match=re.escape(says)):
        parse_cron(line)


def test_february_has_29_days_in_some_years() -> None:
    assert numbers(parse_cron("0 0 29 2 *").day_of_month) == [29]


def test_calendar_has_seconds_years_and_a_comment() -> None:
    times = parse_calendar(Calendar(second="*/30", minute="5", year="2026-2030/2", comment="audits"))
    assert numbers(times.second) == [0, 30]
    assert numbers(times.hour) == [0]
    assert numbers(times.day_of_week) == list(range(7))
    assert numbers(times.year) == [2026, 2028, 2030]
    assert times.comment == "audits"


@pytest.mark.parametrize(
    ("fields", "at", "says"),
    [
        ({"year": "1999"}, "year", "is not a number of 2000 to 2100"),
        ({"second": "60"}, "second", "is not a number of 0 to 59"),
        ({"day_of_month": "31", "month": "2"}, "dayOfMonth", "never comes"),
        ({"day_of_week": "monday-x"}, "dayOfWeek", "'x' is not a number"),
        ({"comment": "ö" * 101}, "comment", "more than 200 bytes"),
    ],
)
def test_bad_calendar_names_its_field(fields: dict[str, str], at: str, says: str) -> None:
    with pytest.raises(CalendarError, match=says) as error:
        parse_calendar(Calendar.model_validate(fields))
    assert error.value.field == at


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ("15 4 * * *", "* * * * *", True),
        ("15 4 * * *", "15 4 * * *", True),
        ("15 4 * * *", "*/15 * * * *", True),
        ("15 4 * * *", "15 4 1 * *", False),
        ("0 0 * * MON-FRI", "0 0 * * 1,2,3,4,5", True),
        ("* * * * *", "0 * * * *", False),
    ],
)
def test_whether_one_calendar_holds_another(inner: str, outer: str, expected: bool) -> None:
    assert parse_cron(inner).within(parse_cron(outer)) is expected


def pieces(low: int, high: int) -> st.SearchStrategy[tuple[str, frozenset[int]]]:
    """One piece of a cron field, and the numbers that it means."""
    ends = st.tuples(st.integers(low, high), st.integers(low, high)).map(sorted)
    steps = st.integers(1, high - low)
    return st.one_of(
        st.integers(low, high).map(lambda one: (str(one), frozenset({one}))),
        ends.map(lambda ab: (f"{ab[0]}-{ab[1]}", frozenset(range(ab[0], ab[1] + 1)))),
        st.tuples(ends, steps).map(
            lambda x: (f"{x[0][0]}-{x[0][1]}/{x[1]}", frozenset(range(x[0][0], x[0][1] + 1, x[1])))
        ),
        st.tuples(st.integers(low, high), steps).map(
            lambda x: (f"{x[0]}/{x[1]}", frozenset(range(x[0], high + 1, x[1])))
        ),
        steps.map(lambda step: (f"*/{step}", frozenset(range(low, high + 1, step)))),
    )


@given(minutes=st.lists(pieces(0, 59), min_size=1, max_size=4), days=st.lists(pieces(0, 7), min_size=1, max_size=4))
def test_any_list_of_ranges_means_the_union_of_its_pieces(
    minutes: list[tuple[str, frozenset[int]]], days: list[tuple[str, frozenset[int]]]
) -> None:
    times = parse_cron(f"{','.join(text for text, _ in minutes)} * * * {','.join(text for text, _ in days)}")
    assert set(numbers(times.minute)) == set().union(*(meant for _, meant in minutes))
    assert set(numbers(times.day_of_week)) == {day % 7 for day in set().union(*(meant for _, meant in days))}


def parsed(line: str) -> CalendarTimes | CalendarError:
    try:
        return parse_cron(line)
    except CalendarError as error:
        return error


@given(st.text(alphabet="0123456789*/,-@#?LWmonfrijan ", max_size=20))
def test_any_text_is_either_times_or_a_calendar_error(line: str) -> None:
    times = parsed(line)
    if isinstance(times, CalendarTimes):
        bounds = ((times.minute, 0, 59), (times.hour, 0, 23), (times.month, 1, 12), (times.day_of_week, 0, 6))
        for part, low, high in bounds:
            assert numbers(part)
            assert all(low <= number <= high for number in numbers(part))
    else:
        assert str(times)


def test_no_two_ways_of_writing_sunday_differ() -> None:
    for one, other in itertools.combinations(["0", "7", "sun", "SUNDAY", "Su"], 2):
        assert parse_cron(f"0 0 * * {one}") == parse_cron(f"0 0 * * {other}")
