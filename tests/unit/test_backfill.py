"""Which runs a backfill consists of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.support.manifests import load
from tidemill_api.contract import BackfillInput, RunInput
from tidemill_api.v1alpha1 import DataPipelineSpec
from tidemill_api.v1alpha1.datapipelinerun import Backfill
from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.backfill import check_backfill, first_second, times_json
from tidemill_check.times import times_of
from tidemill_worker.activities.backfill import AT_ONCE, LOOKED_AT, window_of

LATER = datetime(2046, 1, 1, tzinfo=UTC)
START = datetime(2026, 1, 1, tzinfo=UTC)


def order(reprocess: str) -> BackfillInput:
    run = RunInput(installation="i", namespace="n", pipeline="p", uid="u", spec={})
    return BackfillInput.model_validate({"run": run, "start": "", "end": "", "reprocess": reprocess})


def days(count: int) -> list[datetime]:
    return [START + timedelta(days=day) for day in range(count)]


def key(day: int) -> str:
    return f"2026-01-{day:02}T00:00:00Z"


@pytest.mark.parametrize(
    ("reprocess", "days_run"),
    [("None", [5]), ("Failed", [2, 3, 4, 5]), ("Completed", [1, 2, 3, 4, 5])],
)
def test_what_is_run_again(reprocess: str, days_run: list[int]) -> None:
    there = {key(1): "Succeeded", key(2): "Failed", key(3): "Cancelled", key(4): "Running"}
    window = window_of(days(5), there, order(reprocess))
    assert window.keys == tuple(map(key, days_run))
    assert window.skipped == 5 - len(days_run)
    assert window.following is None


def test_a_window_is_never_large() -> None:
    many = [START + timedelta(hours=hour) for hour in range(LOOKED_AT + 1)]
    window = window_of(many, {}, order("None"))
    assert (len(window.keys), window.skipped) == (AT_ONCE, 0)
    assert window.following == many[AT_ONCE].strftime("%Y-%m-%dT%H:%M:%SZ")


def test_times_that_are_left_out_are_looked_through_in_parts() -> None:
    many = [START + timedelta(hours=hour) for hour in range(LOOKED_AT + 1)]
    there = {each.strftime("%Y-%m-%dT%H:%M:%SZ"): "Succeeded" for each in many}
    window = window_of(many, there, order("None"))
    assert (window.keys, window.skipped) == ((), LOOKED_AT)
    assert window.following == many[LOOKED_AT].strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("start", "every", "expected"),
    [
        ("2026-01-01T00:00:00Z", "1d", ["01-01T00:00", "01-02T00:00", "01-03T00:00"]),
        ("2026-01-01T06:30:00+02:00", "36h", ["01-01T04:30", "01-02T16:30"]),
        ("2026-01-01T00:00:00.5Z", "2d", ["01-01T00:00:01", "01-03T00:00:01"]),
    ],
)
def test_every_counts_from_the_start(start: str, every: str, expected: list[str]) -> None:
    named = times_json(Backfill(start=start, end="2026-02-01T00:00:00Z", every=every))
    found = times_of(Schedule.model_validate(named)).between(first_second(start), datetime(2026, 1, 4, tzinfo=UTC))
    assert list(found) == [datetime.fromisoformat(f"2026-{each}+00:00") for each in expected]


def test_the_longest_every_is_a_schedule_of_its_own_too() -> None:
    named = times_json(Backfill(start="2026-01-01T23:59:59Z", end="2046-02-01T00:00:00Z", every="3650d"))
    found = times_of(Schedule.model_validate(named)).between(first_second("2026-01-01T00:00:00Z"), LATER)
    assert next(found) == datetime(2026, 1, 1, 23, 59, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "says"), [("1d", "leave it out"), ("4000d", "4000d is too long: at most 3650d"), (None, "")]
)
def test_verdict(every: str | None, says: str) -> None:
    spec = DataPipelineSpec.model_validate(load("pipeline")[0]["spec"])
    merged = spec.model_copy(update={"sinks": tuple(s for s in spec.sinks if s.write_disposition == "Append")})
    backfill = Backfill(start="2026-01-01T00:00:00Z", end="2026-02-01T00:00:00Z", every=every)
    found = check_backfill(merged, backfill)
    assert bool(found) == bool(says)
    assert all(problem.field == "spec.backfill.every" for problem in found)
    assert says in "".join(problem.message for problem in found)
