"""The moments that schedules name, and the intervals between them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.times import BEGINNING, interval_start, times_of, zone_of

NEW_YORK = "America/New_York"

NAMED: list[tuple[str, dict[str, Any], str, str, list[str]]] = [
    ("each day", {"crons": ["15 4 * * *"]}, "2026-01-01", "2026-01-03", ["01-01T04:15", "01-02T04:15"]),
    ("the end isn't in it", {"crons": ["0 0 * * *"]}, "2026-01-01", "2026-01-03", ["01-01T00:00", "01-02T00:00"]),
    ("a clock goes forward", {"crons": ["30 1,2,3 8 3 *"], "timeZone": NEW_YORK}, "2026-03-08", "2026-03-09",
     ["03-08T06:30", "03-08T07:30"]),
    ("a clock goes back", {"crons": ["30 0,1,2 1 11 *"], "timeZone": NEW_YORK}, "2026-11-01", "2026-11-02",
     ["11-01T04:30", "11-01T05:30", "11-01T06:30", "11-01T07:30"]),
    ("intervals", {"intervals": [{"every": "6h", "offset": "10m"}]}, "2026-03-07", "2026-03-08",
     ["03-07T00:10", "03-07T06:10", "03-07T12:10", "03-07T18:10"]),
    ("each once", {"crons": ["0 */12 * * *", "0 0 * * *"], "intervals": [{"every": "1d"}]}, "2026-01-01", "2026-01-02",
     ["01-01T00:00", "01-01T12:00"]),
    ("less the excluded", {"crons": ["0 9 * * *"], "exclude": [{"hour": "*", "dayOfWeek": "SAT,SUN"}]},
     "2026-01-01", "2026-01-06", ["01-01T09:00", "01-02T09:00", "01-05T09:00"]),
    ("excluded by the local day", {"crons": ["0 23 * * *"], "timeZone": NEW_YORK,
     "exclude": [{"hour": "*", "dayOfWeek": "SAT"}]}, "2026-01-03", "2026-01-05T05:00", ["01-03T04:00", "01-05T04:00"]),
    ("a calendar", {"calendars": [{"second": "30", "minute": "5", "hour": "1", "year": "2026", "dayOfMonth": "31"}]},
     "2025-12-01", "2026-04-01", ["01-31T01:05:30", "03-31T01:05:30"]),
    ("startAt and endAt don't count", {"crons": ["0 0 * * *"], "startAt": "2030-01-01T00:00:00Z"},
     "2026-01-01", "2026-01-02", ["01-01T00:00"]),
    ("nothing", {"crons": ["0 0 31 1 *"]}, "2026-02-01", "2026-03-01", []),
]  # fmt: skip


def schedule(fields: dict[str, Any]) -> Schedule:
    return Schedule.model_validate(fields)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text if len(text) > 16 else f"{text}+00:00" if "T" in text else f"{text}T00:00+00:00")


@pytest.mark.parametrize(
    ("fields", "start", "end", "expected"), [case[1:] for case in NAMED], ids=[c[0] for c in NAMED]
)
def test_moments_between(fields: dict[str, Any], start: str, end: str, expected: list[str]) -> None:
    found = list(times_of(schedule(fields)).between(at(start), at(end)))
    assert found == [datetime.fromisoformat(f"2026-{each}+00:00") for each in expected]


@pytest.mark.parametrize(
    ("fields", "moment", "expected"),
    [
        ({"crons": ["0 0 * * *"]}, "2026-01-02", "2026-01-01"),
        ({"crons": ["0 0 * * *"]}, "2026-01-02T00:00:01+00:00", "2026-01-02"),
        ({"crons": ["0 0 29 2 *"]}, "2104-02-29", "2096-02-29"),
        ({"crons": ["0 9 * * MON-FRI"]}, "2026-01-05T09:00", "2026-01-02T09:00"),
        ({"intervals": [{"every": "90m"}]}, "1969-12-31T23:00", "1969-12-31T22:30"),
        ({"crons": ["30 1 * * *"], "timeZone": NEW_YORK}, "2026-11-01T06:30", "2026-11-01T05:30"),
        ({"crons": ["30 2 * * *"], "timeZone": NEW_YORK}, "2026-03-09T06:30", "2026-03-07T07:30"),
    ],
)
def test_an_interval_begins_at_the_time_before(fields: dict[str, Any], moment: str, expected: str) -> None:
    assert interval_start(schedule(fields), at(moment)) == at(expected)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        {"calendars": [{"year": "2027"}]},
        {"crons": ["0 0 * * *"], "exclude": [{"hour": "*", "minute": "*"}]},
    ],
)
def test_with_no_time_before_it_goes_back_to_the_beginning(fields: dict[str, Any] | None) -> None:
    assert interval_start(schedule(fields) if fields else None, at("2026-05-01")) == BEGINNING


@given(
    minute=st.sampled_from(["0", "*/7", "1-5", "30"]),
    hour=st.sampled_from(["*", "1", "2", "*/5", "0,23"]),
    day=st.sampled_from(["*", "MON", "SAT,SUN"]),
    zone=st.sampled_from(["UTC", NEW_YORK, "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "Africa/Casablanca"]),
    start=st.datetimes(datetime(2011, 12, 1), datetime(2030, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_both_directions_agree(minute: str, hour: str, day: str, zone: str, start: datetime) -> None:
    times = times_of(schedule({"crons": [f"{minute} {hour} * * {day}"], "timeZone": zone}))
    begin = start.replace(tzinfo=UTC)
    found = list(times.between(begin, begin + timedelta(days=9)))
    assert all(later > earlier for earlier, later in pairwise(found))
    assert all(times.before(later) == earlier for earlier, later in pairwise(found[-20:]))
    assert all(begin <= each and each.second == 0 for each in found)


def test_a_time_zone_that_isnt() -> None:
    with pytest.raises(OSError, match="Nowhere"):
        zone_of("Mars/Nowhere")
