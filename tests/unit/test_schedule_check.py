"""Whole schedules: time zones, windows, intervals, exclusions."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill_api import conditions
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.schedule import check_schedule, time_zones

GOOD: tuple[dict[str, Any], ...] = (
    {"crons": ["@daily"], "timeZone": "Europe/Berlin"},
    {"crons": ["@daily"], "timeZone": "Etc/GMT+5"},
    {"crons": ["@daily"], "timeZone": "US/Eastern"},
    {"intervals": [{"every": "1s"}], "catchupWindow": "10s", "jitter": "1ms"},
    {"intervals": [{"every": "3650d", "offset": "3649d23h59m59s"}]},
    {"calendars": [{"hour": "*"}], "exclude": [{"minute": "0", "hour": "3"}]},
    {"crons": ["0 * * * *", "30 4 * * *"], "exclude": [{"minute": "0", "hour": "*"}]},
    {"crons": ["0 * * * *"], "intervals": [{"every": "1h"}], "exclude": [{"minute": "0", "hour": "*"}]},
)
BAD: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"timeZone": "Local"}, "timeZone", "there is no IANA time zone Local"),
    ({"timeZone": "localtime"}, "timeZone", "such as UTC or America/New_York"),
    ({"timeZone": "new_york"}, "timeZone", "did you mean America/New_York?"),
    ({"timeZone": "Europe/berlin"}, "timeZone", "did you mean Europe/Berlin?"),
    ({"timeZone": "etc/passwd"}, "timeZone", "there is no IANA time zone"),
    ({"catchupWindow": "9s999ms"}, "catchupWindow", "at least 10s"),
    ({"catchupWindow": "3651d"}, "catchupWindow", "at most 3650d"),
    ({"jitter": "3651d"}, "jitter", "at most 3650d"),
    ({"intervals": [{"every": "1h", "offset": "1h"}]}, "intervals[0].offset", "is not shorter than every (1h)"),
    ({"intervals": [{"every": "1h", "offset": "500ms"}]}, "intervals[0].offset", "whole number of seconds"),
    ({"intervals": [{"every": "1h"}, {"every": "4000d"}]}, "intervals[1].every", "too long"),
    ({"crons": ["15 4 * * *"], "exclude": [{"minute": "*/5", "hour": "4"}]}, "exclude", "leaves no time"),
    ({"crons": ["@hourly", "nonsense"]}, "crons[1]", "a cron has five"),
    ({"calendars": [{"year": "2101"}]}, "calendars[0].year", "2000 to 2100"),
)


def test_the_good_ones_are_good() -> None:
    for spec in GOOD:
        assert check_schedule(Schedule.model_validate(spec)) == (), spec


@pytest.mark.parametrize(("spec", "field", "says"), BAD)
def test_bad_schedule(spec: dict[str, Any], field: str, says: str) -> None:
    whole = spec if spec.keys() & {"crons", "intervals", "calendars"} else {"crons": ["@daily"], **spec}
    problems = check_schedule(Schedule.model_validate(whole))
    assert [problem.field for problem in problems] == [f"spec.schedule.{field}"]
    assert says in problems[0].message
    assert problems[0].reason == conditions.INVALID_SCHEDULE


def test_time_zones_come_from_the_pinned_package() -> None:
    assert {"UTC", "America/New_York", "Asia/Kolkata"} <= time_zones()
    assert not {"localtime", "posixrules", "Local", ""} & time_zones()
