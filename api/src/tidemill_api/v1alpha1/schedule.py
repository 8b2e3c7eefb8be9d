"""When a pipeline runs. Every name that Temporal's schedules have is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import (
    ZERO_DURATION,
    Duration,
    LocalRef,
    Timestamp,
    parse_duration,
    parse_timestamp,
)

CalendarField = Annotated[
    str, Field(pattern=r"^[0-9A-Za-z*,/-]+$", max_length=256, examples=["0", "*/15", "1-5", "MON-FRI"])
]
OverlapPolicy = Literal["Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"]


class Interval(Model):
    """Every so often, counted from the Unix epoch."""

    every: Duration
    """Length of the interval, at least 1s."""
    offset: Duration | None = None
    """Shift within the interval; less than `every`."""

    rules = (
        Rule(
            cel=f"!self.every.matches('{ZERO_DURATION}') && !self.every.contains('ms')",
            message="every must be at least 1s, in whole seconds, such as 30s, 15m or 6h",
            holds=lambda s: parse_duration(s.every) > timedelta(0) and "ms" not in s.every,
            field=".every",
        ),
    )


class Calendar(Model):
    """Times that match every field; a field is written as in cron (`*`, `1-5`, `*/15`, `MON,WED`)."""

    second: CalendarField = "0"
    """Seconds, 0 to 59."""
    minute: CalendarField = "0"
    """Minutes, 0 to 59."""
    hour: CalendarField = "0"
    """Hours, 0 to 23."""
    day_of_month: CalendarField = "*"
    """Days of the month, 1 to 31."""
    month: CalendarField = "*"
    """Months, 1 to 12 or names."""
    day_of_week: CalendarField = "*"
    """Days of the week, 0 (Sunday) to 6, or names."""
    year: CalendarField = "*"
    """Years."""
    comment: Annotated[str, Field(max_length=256)] | None = None
    """What this calendar is for."""


class Predecessor(Model):
    """A pipeline that another follows."""

    pipeline_ref: LocalRef
    """The pipeline that must have succeeded; it has a schedule, or follows others itself."""


class Schedule(Model):
    """When the pipeline runs: at the times of any of crons, intervals and calendars, less the excluded ones.

    Or after other pipelines, for the times that these run for.
    """

    crons: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256, examples=["15 * * * *"])], ...], Field(max_length=32)
    ] = ()
    """Cron lines of five fields (minute, hour, day of month, month, day of week), or @hourly, @daily, @weekly,
    @monthly, @yearly."""
    intervals: Annotated[tuple[Interval, ...], Field(max_length=32)] = ()
    """Every so often."""
    calendars: Annotated[tuple[Calendar, ...], Field(max_length=32)] = ()
    """Times by calendar."""
    after: Annotated[tuple[Predecessor, ...], Field(max_length=8)] = ()
    """Pipelines of this namespace that it follows, instead of times of its own: when their runs for a time have all
    succeeded, it runs for that time, once. Times up to when it was applied, and while it is suspended or paused, are
    left out."""
    exclude: Annotated[tuple[Calendar, ...], Field(max_length=32)] = ()
    """Times by calendar at which it does not run."""
    start_at: Timestamp | None = None
    """No run before this moment."""
    end_at: Timestamp | None = None
    """No run after this moment."""
    time_zone: Annotated[str, Field(pattern=r"^[A-Za-z0-9+_/-]+$", max_length=64, examples=["America/New_York"])] = (
        "UTC"
    )
    """IANA time zone of crons and calendars."""
    overlap_policy: OverlapPolicy = "Skip"
    """What happens to a run that is due while another is open. It holds for runs by hand too."""
    catchup_window: Duration = "10m"
    """Runs missed while Temporal was down start late if they are no older than this; at least 10s."""
    jitter: Duration | None = None
    """Each start is delayed by a random time up to this."""
    pause_on_failure: bool = False
    """Pause the schedule when a run fails."""

    rules = (
        Rule(
            cel="(has(self.crons) && size(self.crons) > 0) || (has(self.intervals) && size(self.intervals) > 0) "
            "|| (has(self.calendars) && size(self.calendars) > 0) || (has(self.after) && size(self.after) > 0)",
            message="a schedule needs at least one of: crons, intervals, calendars, after",
            holds=lambda s: bool(s.names_times or s.after),
        ),
        Rule(
            cel="!has(self.after) || size(self.after) == 0 || !((has(self.crons) && size(self.crons) > 0) || "
            "(has(self.intervals) && size(self.intervals) > 0) || (has(self.calendars) && size(self.calendars) > 0) || "
            "(has(self.exclude) && size(self.exclude) > 0) || has(self.startAt) || has(self.endAt) || has(self.jitter) "
            "|| (has(self.timeZone) && self.timeZone != 'UTC') || (has(self.catchupWindow) && self.catchupWindow != "
            "'10m') || (has(self.pauseOnFailure) && self.pauseOnFailure))",
            message="a pipeline that follows others (after) has their times: only overlapPolicy goes with it",
            holds=lambda s: not s.after or not _has_own_times(s),
            field=".after",
        ),
        Rule(
            cel="!has(self.after) || self.after.all(a, self.after.exists_one(b, b.pipelineRef.name == "
            "a.pipelineRef.name))",
            message="after names each pipeline once",
            holds=lambda s: len(set(s.predecessors)) == len(s.after),
            field=".after",
        ),
        Rule(
            cel="!has(self.startAt) || !has(self.endAt) || timestamp(self.startAt) < timestamp(self.endAt)",
            message="endAt must be later than startAt",
            holds=lambda s: (
                s.start_at is None or s.end_at is None or parse_timestamp(s.start_at) < parse_timestamp(s.end_at)
            ),
            field=".endAt",
        ),
    )

    @property
    def names_times(self) -> bool:
        """Whether it has times of its own; else the pipeline follows others."""
        return bool(self.crons or self.intervals or self.calendars)

    @property
    def predecessors(self) -> tuple[str, ...]:
        """Names of the pipelines that it follows."""
        return tuple(each.pipeline_ref.name for each in self.after)


def _has_own_times(schedule: Schedule) -> bool:
    """Whether anything is said of times, beyond what a schedule says by default."""
    said = (schedule.exclude, schedule.start_at, schedule.end_at, schedule.jitter, schedule.pause_on_failure)
    return schedule.names_times or any(said) or schedule.time_zone != "UTC" or schedule.catchup_window != "10m"
