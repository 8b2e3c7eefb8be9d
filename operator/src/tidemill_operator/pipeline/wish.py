"""What is asked of Temporal for a pipeline: its Schedule and the input of its runs. Pure; `tidemill dev` uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tidemill_api.contract import RunInput, ScheduleMemo
from tidemill_api.names import PipelineId
from tidemill_api.v1alpha1 import DataPipelineSpec, parse_duration
from tidemill_api.v1alpha1.datapipelinerun import Backfill, Replay
from tidemill_api.v1alpha1.schedule import Calendar, Schedule
from tidemill_check.backfill import times_json
from tidemill_check.cron import CalendarTimes, parse_calendar, parse_cron
from tidemill_operator.actions import ScheduleWish

_NOT_FOR_RUNS = ("schedule", "onFailure", "suspend", "deletionPolicy")
"""Fields that aren't of a run's snapshot: it doesn't need them, or gets what it needs of them by itself."""
NAMES_TIMES = ("crons", "intervals", "calendars", "exclude", "timeZone")
"""Fields of a schedule that say which times it names."""


def memo_of(pipeline: PipelineId, uid: str) -> ScheduleMemo:
    """Whose a Schedule or a run is."""
    return ScheduleMemo(installation=pipeline.installation, namespace=pipeline.namespace, name=pipeline.name, uid=uid)


def run_input(
    pipeline: PipelineId,
    uid: str,
    generation: int,
    spec: DataPipelineSpec,
    *,
    run_key: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    trigger: Literal["Schedule", "Manual"] = "Schedule",
    replay: Replay | None = None,
) -> dict[str, Any]:
    """The argument of a run, as JSON: a snapshot of the spec, less what a run doesn't need."""
    snapshot = {name: value for name, value in spec.to_json().items() if name not in _NOT_FOR_RUNS}
    return RunInput(
        installation=pipeline.installation,
        namespace=pipeline.namespace,
        pipeline=pipeline.name,
        uid=uid,
        generation=generation,
        spec=snapshot,
        schedule=_named_times(spec.schedule),
        pause_after=spec.on_failure.pause_after if spec.on_failure else None,
        overlap_policy=spec.schedule.overlap_policy if spec.schedule else "Skip",
        parameters=dict(parameters or {}),
        run_key=run_key,
        trigger=trigger,
        replay=replay.to_json() if replay is not None else None,
    ).model_dump(mode="json", by_alias=True, exclude_none=True)


def backfill_input(order: Mapping[str, Any], backfill: Backfill) -> dict[str, Any]:
    """The argument of a backfill, as JSON: `order` is what each of its runs gets."""
    asked = {name: value for name, value in backfill.to_json().items() if name != "every"}
    return {"run": {**order, "schedule": times_json(backfill) or order.get("schedule")}, **asked}


def schedule_wish(
    pipeline: PipelineId, uid: str, generation: int, spec: DataPipelineSpec, task_queue: str
) -> ScheduleWish | None:
    """The Schedule of a pipeline; None if it runs by hand only, or after others.

    Raises CalendarError for crons and calendars that `tidemill_check` refuses.
    """
    schedule = spec.schedule
    if schedule is None or not schedule.names_times:
        return None
    return ScheduleWish(
        id=pipeline.schedule,
        calendars=(*map(parse_cron, schedule.crons), *map(_times, schedule.calendars)),
        intervals=tuple((_seconds(each.every), _seconds(each.offset)) for each in schedule.intervals),
        exclude=tuple(map(_times, schedule.exclude)),
        start_at=schedule.start_at,
        end_at=schedule.end_at,
        time_zone=schedule.time_zone,
        jitter=_seconds(schedule.jitter),
        overlap=schedule.overlap_policy,
        catchup_window=_seconds(schedule.catchup_window),
        pause_on_failure=schedule.pause_on_failure,
        workflow_id=pipeline.scheduled_workflow,
        task_queue=task_queue,
        input=run_input(pipeline, uid, generation, spec),
        memo=memo_of(pipeline, uid),
    )


def summary(schedule: Schedule | None) -> str:
    """The schedule in a few words, for `kubectl get`: its first time, how many more, and the time zone."""
    if schedule is None:
        return "on demand"
    if schedule.after:
        return f"after {', '.join(schedule.predecessors)}"[:200]
    times = [
        *schedule.crons,
        *(f"every {each.every}" + (f" + {each.offset}" if each.offset else "") for each in schedule.intervals),
        *(each.comment or f"{each.hour}:{each.minute} on calendar" for each in schedule.calendars),
    ]
    more = f" (+{len(times) - 1})" if len(times) > 1 else ""
    zone = f" {schedule.time_zone}" if schedule.time_zone != "UTC" else ""
    return f"{times[0][:160]}{more}{zone}"


def _named_times(schedule: Schedule | None) -> dict[str, Any] | None:
    """What of a schedule says which times there are."""
    if schedule is None or not schedule.names_times:
        return None
    return {name: value for name, value in schedule.to_json().items() if name in NAMES_TIMES}


def _seconds(duration: str | None) -> float:
    return parse_duration(duration).total_seconds() if duration else 0.0


def _times(calendar: Calendar) -> CalendarTimes:
    return parse_calendar(calendar)  # pyright: ignore[reportArgumentType]  # frozen models do hash
