"""Crons and calendars against the real Temporal server: accepted by us means the same to both, refused by it is by us.

The server is asked twice for the next times of a cron: once with the line itself, once with the ranges that we read.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleCalendarSpec,
    ScheduleRange,
    ScheduleSpec,
    ScheduleState,
)
from temporalio.service import RPCError, RPCStatusCode

from tests.support.fixtures import unique
from tidemill_api.v1alpha1.schedule import Calendar
from tidemill_api.v1alpha1.schedule import Schedule as ScheduleModel
from tidemill_check.cron import CalendarError, CalendarTimes, Range, parse_calendar, parse_cron
from tidemill_check.times import times_of
from tidemill_cli.dev.components.temporal import TemporalServer

START = datetime(2030, 1, 31, 12, 7, 30, tzinfo=UTC)


@pytest.fixture
async def client(temporal_server: TemporalServer) -> Client:
    return await Client.connect(temporal_server.address)


def spec_of(times: CalendarTimes, zone: str = "UTC") -> ScheduleSpec:
    """Our ranges as the SDK's."""

    def ranges(ours: tuple[Range, ...]) -> list[ScheduleRange]:
        return [ScheduleRange(one.start, one.end, one.step) for one in ours]

    calendar = ScheduleCalendarSpec(
        second=ranges(times.second),
        minute=ranges(times.minute),
        hour=ranges(times.hour),
        day_of_month=ranges(times.day_of_month),
        month=ranges(times.month),
        day_of_week=ranges(times.day_of_week),
        year=ranges(times.year),
        comment=times.comment,
    )
    return ScheduleSpec(calendars=[calendar], start_at=START, time_zone_name=zone)


async def next_times(client: Client, spec: ScheduleSpec) -> list[datetime] | None:
    """The server's next times after START, or None when it refuses the spec."""
    action = ScheduleActionStartWorkflow("none", id=unique(), task_queue="none")
    try:
        handle = await client.create_schedule(unique(), Schedule(action, spec, state=ScheduleState(paused=True)))
    except RPCError as error:
        if error.status == RPCStatusCode.INVALID_ARGUMENT:
            return None
        raise
    try:
        return list((await handle.describe()).info.next_action_times)
    finally:
        await handle.delete()


async def by_line(client: Client, line: str, zone: str = "UTC") -> list[datetime] | None:
    return await next_times(client, ScheduleSpec(cron_expressions=[line], start_at=START, time_zone_name=zone))


def at(*texts: str) -> list[datetime]:
    return [datetime.fromisoformat(f"{text}:00+00:00") for text in texts]


EXPECTED = (
    # line, zone, the first next times after 2030-01-31 12:07:30 UTC (a Thursday)
    ("15 * * * *", "UTC", at("2030-01-31T12:15", "2030-01-31T13:15", "2030-01-31T14:15")),
    ("*/20 * * * *", "UTC", at("2030-01-31T12:20", "2030-01-31T12:40", "2030-01-31T13:00")),
    ("5/25 12 * * *", "UTC", at("2030-01-31T12:30", "2030-01-31T12:55", "2030-02-01T12:05")),
    ("@hourly", "UTC", at("2030-01-31T13:00", "2030-01-31T14:00")),
    ("@daily", "UTC", at("2030-02-01T00:00", "2030-02-02T00:00")),
    ("@midnight", "UTC", at("2030-02-01T00:00", "2030-02-02T00:00")),
    ("@weekly", "UTC", at("2030-02-03T00:00", "2030-02-10T00:00")),
    ("@monthly", "UTC", at("2030-02-01T00:00", "2030-03-01T00:00")),
    ("@yearly", "UTC", at("2031-01-01T00:00", "2032-01-01T00:00")),
    ("@annually", "UTC", at("2031-01-01T00:00", "2032-01-01T00:00")),
    ("0 9 * * MON-FRI", "UTC", at("2030-02-01T09:00", "2030-02-04T09:00", "2030-02-05T09:00")),
    ("0 9 * * 7", "UTC", at("2030-02-03T09:00", "2030-02-10T09:00")),
    ("0 9 * * 0", "UTC", at("2030-02-03T09:00", "2030-02-10T09:00")),
    ("0 9 * * 5-7", "UTC", at("2030-02-01T09:00", "2030-02-02T09:00", "2030-02-03T09:00", "2030-02-08T09:00")),
    ("0 9 * * sat,sun", "UTC", at("2030-02-02T09:00", "2030-02-03T09:00", "2030-02-09T09:00")),
    ("0 0 13 * 5", "UTC", at("2030-09-13T00:00", "2030-12-13T00:00")),  # both must match, unlike in Unix' cron
    ("0 0 29 2 *", "UTC", at("2032-02-29T00:00", "2036-02-29T00:00")),
    ("0 0 31 * *", "UTC", at("2030-03-31T00:00", "2030-05-31T00:00", "2030-07-31T00:00")),
    ("0 0 1 jan,Jul *", "UTC", at("2030-07-01T00:00", "2031-01-01T00:00")),
    ("0 0 1 1-12/3 *", "UTC", at("2030-04-01T00:00", "2030-07-01T00:00", "2030-10-01T00:00")),
    ("0 6 * * *", "America/New_York", at("2030-02-01T11:00", "2030-02-02T11:00")),
    ("30 2 10 3 *", "America/New_York", at("2031-03-10T06:30", "2032-03-10T07:30")),  # 2030-03-10 has no 02:30 there
    ("30 1 3 11 *", "America/New_York", at("2030-11-03T05:30", "2030-11-03T06:30")),  # 2030-11-03 has 01:30 twice
    ("45 5 * * *", "Asia/Kolkata", at("2030-02-01T00:15", "2030-02-02T00:15")),
)


@pytest.mark.parametrize(("line", "zone", "expected"), EXPECTED)
async def test_the_server_runs_at_the_times_that_the_line_means(
    client: Client, line: str, zone: str, expected: list[datetime]
) -> None:
    found = await by_line(client, line, zone)
    assert found is not None
    assert found[: len(expected)] == expected
    assert await next_times(client, spec_of(parse_cron(line), zone)) == found


@pytest.mark.parametrize(("line", "zone"), [(line, zone) for line, zone, _ in EXPECTED])
async def test_a_backfill_names_the_times_that_the_server_runs_at(client: Client, line: str, zone: str) -> None:
    found = await by_line(client, line, zone)
    assert found
    times = times_of(ScheduleModel.model_validate({"crons": [line], "timeZone": zone}))
    second = timedelta(seconds=1)
    assert list(times.between(START + second, found[-1] + second)) == found
    assert [times.before(each) for each in found[1:]] == found[:-1]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"minute": "10", "hour": "*"}, at("2030-01-31T12:10", "2030-01-31T13:10")),
        ({"hour": "6", "dayOfWeek": "sunday"}, at("2030-02-03T06:00", "2030-02-10T06:00")),
        ({"year": "2035-2036", "month": "6", "dayOfMonth": "1"}, at("2035-06-01T00:00", "2036-06-01T00:00")),
        ({"second": "*/30", "minute": "8", "hour": "12"}, at("2030-01-31T12:08")),
    ],
)
async def test_calendars(client: Client, fields: dict[str, str], expected: list[datetime]) -> None:
    found = await next_times(client, spec_of(parse_calendar(Calendar.model_validate(fields))))
    assert found is not None
    assert found[: len(expected)] == expected


REFUSED_BY_THE_SERVER = (
    *(
        "",
        "*",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * 0 *",
        "* * * * 8",
    ),
    *("5-1 * * * *", "* * * * FRI-SUN", "*/0 * * * *", "*/ * * * *", "1/2/3 * * * *", "1-2-3 * * * *", "-1 * * * *"),
    *("1,,2 * * * *", "? * * * *", "* * L * *", "* * 15W * *", "x * * * *", "* * * ja *", "* * * * m", "@reboot"),
    *("@Hourly", "@every", "@every x", "CRON_TZ=Mars/Phobos * * * * *", "* * * * * * * *", "1.5 * * * *"),
)
REFUSED_BY_US_ALONE = (
    *("0 * * * * *", "0 0 * * * * *", "@every 5m", "CRON_TZ=UTC 0 * * * *", "TZ=UTC 0 * * * *", "0 0 * * 5#3"),
    *("*/90 * * * *", "+1 * * * *", "0 0 31 2 *"),
)


def ours(line: str) -> CalendarTimes | None:
    try:
        return parse_cron(line)
    except CalendarError:
        return None


@pytest.mark.parametrize("line", REFUSED_BY_THE_SERVER)
async def test_what_the_server_refuses_we_refuse(client: Client, line: str) -> None:
    assert await by_line(client, line) is None
    assert ours(line) is None


@pytest.mark.parametrize("line", REFUSED_BY_US_ALONE)
async def test_what_reads_one_way_and_means_another_only_we_refuse(client: Client, line: str) -> None:
    assert await by_line(client, line) is not None
    assert ours(line) is None


PIECES = st.sampled_from(
    [
        *(
            "*",
            "0",
            "7",
            "5-9",
            "*/2",
            "3/4",
            "1,5",
            "sun",
            "FRI",
            "jan-mar",
            "12",
            "31",
            "59",
            "60",
            "x",
            "9-5",
            "*/0",
            "7/7",
        )
    ]
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(line=st.lists(PIECES, min_size=5, max_size=5).map(" ".join))
async def test_any_line_means_the_same_to_both(client: Client, line: str) -> None:
    server, mine = await by_line(client, line), ours(line)
    if server is None:
        assert mine is None
    elif mine is None:
        assert server == []  # days that never come are refused by us alone
    else:
        assert await next_times(client, spec_of(mine)) == server
