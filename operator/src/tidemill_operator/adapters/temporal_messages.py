"""Between our values and Temporal's messages. Pure: nothing here calls anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import ValidationError
from temporalio.api.common.v1 import Memo, Payloads, WorkflowType
from temporalio.api.enums.v1 import ScheduleOverlapPolicy, WorkflowExecutionStatus
from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.schedule.v1 import (
    IntervalSpec,
    Range,
    Schedule,
    ScheduleAction,
    ScheduleListEntry,
    SchedulePolicies,
    ScheduleSpec,
    ScheduleState,
    StructuredCalendarSpec,
)
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import NewWorkflowExecutionInfo, WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeScheduleResponse

from tidemill_api.contract import (
    BACKFILL_MEMO_KEY,
    MEMO_KEY,
    RESULT_MEMO_KEY,
    BackfillProgress,
    RunResult,
    ScheduleMemo,
)
from tidemill_api.errors import EncryptionError
from tidemill_api.names import WORKFLOW
from tidemill_check.cron import CalendarTimes
from tidemill_check.cron import Range as CalendarRange
from tidemill_codec.cipher import key_of
from tidemill_operator.actions import ScheduleWish
from tidemill_operator.adapters.sealing import Sealing, plain
from tidemill_operator.views import RunSeen, RunState, ScheduleEntry, ScheduleSeen

WITNESS_KEY: Final = "tidemill.wish"
"""Memo key of the workflows that a Schedule starts: hash of the wish behind it, by which a write knows its own."""
ASKED_BY_KEY: Final = "tidemill.asked-by"
"""Memo key of a run by hand: uid of its DataPipelineRun."""

_OVERLAP: Final = {
    "Skip": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_SKIP,
    "BufferOne": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
    "BufferAll": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
    "CancelOther": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
    "TerminateOther": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER,
    "AllowAll": ScheduleOverlapPolicy.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
}
_Status = WorkflowExecutionStatus
_STATE: Final[Mapping[int, RunState]] = {
    _Status.WORKFLOW_EXECUTION_STATUS_RUNNING: "Running",
    _Status.WORKFLOW_EXECUTION_STATUS_PAUSED: "Running",
    _Status.WORKFLOW_EXECUTION_STATUS_COMPLETED: "Succeeded",
    _Status.WORKFLOW_EXECUTION_STATUS_FAILED: "Failed",
    _Status.WORKFLOW_EXECUTION_STATUS_CANCELED: "Cancelled",
    _Status.WORKFLOW_EXECUTION_STATUS_TERMINATED: "Failed",
    _Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: "Failed",
}
_ENDED_BY_FORCE: Final[Mapping[int, str]] = {
    _Status.WORKFLOW_EXECUTION_STATUS_FAILED: "Failed: the run ended without a result of its own",
    _Status.WORKFLOW_EXECUTION_STATUS_TERMINATED: "Terminated: the run was terminated in Temporal",
    _Status.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: "TimedOut: Temporal ended the run for its time",
}


_OPEN: Final = Sealing()
"""Reads what is never encrypted."""


def schedule(wish: ScheduleWish, paused: bool, note: str, sealing: Sealing) -> Schedule:
    """The whole Schedule as it is sent. The server rewrites crons and calendars into calendars of its own."""
    return Schedule(
        spec=ScheduleSpec(
            structured_calendar=[_calendar(times) for times in wish.calendars],
            interval=[
                IntervalSpec(interval=_duration(every), phase=_duration(offset)) for every, offset in wish.intervals
            ],
            exclude_structured_calendar=[_calendar(times) for times in wish.exclude],
            start_time=_timestamp(wish.start_at),
            end_time=_timestamp(wish.end_at),
            jitter=_duration(wish.jitter) if wish.jitter else None,
            timezone_name=wish.time_zone,
        ),
        action=ScheduleAction(
            start_workflow=NewWorkflowExecutionInfo(
                workflow_id=wish.workflow_id,
                workflow_type=WorkflowType(name=WORKFLOW),
                task_queue=TaskQueue(name=wish.task_queue),
                input=payloads(wish.input, sealing),
                memo=Memo(fields={MEMO_KEY: plain(_memo_json(wish.memo)), WITNESS_KEY: sealing.seal(wish.hash())}),
            )
        ),
        policies=SchedulePolicies(
            overlap_policy=_OVERLAP[wish.overlap],
            catchup_window=_duration(wish.catchup_window),
            pause_on_failure=wish.pause_on_failure,
        ),
        state=ScheduleState(paused=paused, notes=note),
    )


def schedule_memo(wish: ScheduleWish) -> Memo:
    """Whose the Schedule is."""
    return Memo(fields={MEMO_KEY: plain(_memo_json(wish.memo))})


def run_memo(pipeline: ScheduleMemo, asked_by: str | None) -> Memo:
    """Whose run it is, and of one by hand by which DataPipelineRun (uid)."""
    asked = {ASKED_BY_KEY: plain(asked_by)} if asked_by is not None else {}
    return Memo(fields={MEMO_KEY: plain(_memo_json(pipeline)), **asked})


def payloads(value: object, sealing: Sealing) -> Payloads:
    """One JSON argument."""
    return Payloads(payloads=[sealing.seal(value)])


def witness(wish: ScheduleWish) -> str:
    """By what a write of this wish is known again."""
    return wish.hash()


def witness_of(found: Schedule, sealing: Sealing) -> str:
    """The wish that a Schedule was made from; empty if it wasn't made by us."""
    memo = found.action.start_workflow.memo
    return sealing.proof(memo.fields[WITNESS_KEY]) if WITNESS_KEY in memo.fields else ""


def description(schedule_id: str, answer: DescribeScheduleResponse) -> ScheduleSeen:
    """A full description."""
    found = answer.schedule
    return ScheduleSeen(
        id=schedule_id,
        memo=_memo(answer.memo),
        made=_made(found),
        paused=found.state.paused,
        note=found.state.notes,
        token=answer.conflict_token,
        next_runs=_moments(answer.info.future_action_times),
        missed=answer.info.missed_catchup_window,
        fingerprint=_fingerprint(
            found.spec, found.action.start_workflow.workflow_type.name, found.state.paused, found.state.notes
        ),
        created=answer.info.create_time.ToJsonString(),
        sealed_with=next((key_of(payload) for payload in found.action.start_workflow.input.payloads), None),
    )


def entry(item: ScheduleListEntry) -> ScheduleEntry:
    """A line of a listing."""
    info = item.info
    return ScheduleEntry(
        id=item.schedule_id,
        memo=_memo(item.memo),
        paused=info.paused,
        note=info.notes,
        next_runs=_moments(info.future_action_times),
        fingerprint=_fingerprint(info.spec, info.workflow_type.name, info.paused, info.notes),
    )


def run(info: WorkflowExecutionInfo, sealing: Sealing) -> RunSeen | None:
    """A run; None for the earlier links of a run that continued as new."""
    state = _STATE.get(info.status)
    if state is None:
        return None
    result, unreadable = _result(info.memo, sealing)
    asked_by = _value(info.memo, ASKED_BY_KEY)
    return RunSeen(
        workflow_id=info.execution.workflow_id,
        run_id=info.execution.run_id,
        state=state,
        started=_moment(info.start_time),
        closed=_moment(info.close_time) if info.HasField("close_time") else None,
        result=result,
        pipeline=_memo(info.memo),
        asked_by=asked_by if isinstance(asked_by, str) else None,
        error=None if result is not None else unreadable or _ENDED_BY_FORCE.get(info.status),
        backfill=_progress(info.memo, sealing),
        task_queue=info.task_queue,
    )


def with_failure(seen: RunSeen, event: HistoryEvent | None, sealing: Sealing) -> RunSeen:
    """The run, with what its last event says of its failure: our own result if it carries one, else its message."""
    if event is None:
        return seen
    if event.HasField("workflow_execution_terminated_event_attributes"):
        reason = event.workflow_execution_terminated_event_attributes.reason
        return replace(seen, error=f"Terminated: {reason}") if reason else seen
    if not event.HasField("workflow_execution_failed_event_attributes"):
        return seen
    failure = event.workflow_execution_failed_event_attributes.failure
    info = failure.application_failure_info
    try:
        if info.details.payloads and (result := _as_result(sealing.value(info.details.payloads[0]))):
            return replace(seen, result=result, error=None)
        return replace(seen, error=f"{info.type or 'Failed'}: {sealing.message(failure)}"[:4096])
    except EncryptionError as error:
        return replace(seen, error=f"{info.type or 'Failed'}: {_unreadable(error)}")


def speaks_of_namespace(details: Iterable[AnyMessage]) -> bool:
    """Whether a NOT_FOUND means the Temporal namespace, not the thing asked for."""
    return any(detail.Is(NamespaceNotFoundFailure.DESCRIPTOR) for detail in details)


def rfc3339(moment: datetime) -> str:
    """A moment as Temporal's queries and Kubernetes write it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _made(found: Schedule) -> str:
    kept = (found.spec, found.action, found.policies)
    state = ScheduleState(limited_actions=found.state.limited_actions, remaining_actions=found.state.remaining_actions)
    digest = hashlib.sha256()
    for message in (*kept, state):
        digest.update(message.SerializeToString(deterministic=True) + b"\x00")
    return digest.hexdigest()


def _fingerprint(spec: ScheduleSpec, workflow: str, paused: bool, note: str) -> str:
    digest = hashlib.sha256(spec.SerializeToString(deterministic=True))
    digest.update(json.dumps([workflow, paused, note]).encode())
    return digest.hexdigest()


def _calendar(times: CalendarTimes) -> StructuredCalendarSpec:
    return StructuredCalendarSpec(
        second=_ranges(times.second),
        minute=_ranges(times.minute),
        hour=_ranges(times.hour),
        day_of_month=_ranges(times.day_of_month),
        month=_ranges(times.month),
        year=_ranges(times.year),
        day_of_week=_ranges(times.day_of_week),
        comment=times.comment or "",
    )


def _ranges(ranges: Iterable[CalendarRange]) -> list[Range]:
    return [Range(start=each.start, end=each.end, step=each.step) for each in ranges]


def _duration(seconds: float) -> Duration:
    whole = int(seconds)
    return Duration(seconds=whole, nanos=round((seconds - whole) * 1e9))


def _timestamp(moment: str | None) -> Timestamp | None:
    if moment is None:
        return None
    stamp = Timestamp()
    stamp.FromJsonString(moment)
    return stamp


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)


def _moments(stamps: Iterable[Timestamp]) -> tuple[datetime, ...]:
    return tuple(_moment(stamp) for stamp in stamps)


def _value(memo: Memo, key: str) -> Any:
    return _OPEN.value(memo.fields[key]) if key in memo.fields else None


def _memo_json(memo: ScheduleMemo) -> dict[str, Any]:
    return memo.model_dump(mode="json", by_alias=True)


def _memo(memo: Memo) -> ScheduleMemo | None:
    try:
        return ScheduleMemo.model_validate(_value(memo, MEMO_KEY))
    except (ValidationError, EncryptionError):
        return None


def _result(memo: Memo, sealing: Sealing) -> tuple[RunResult | None, str | None]:
    """What a run came to, or why that can't be read; neither while it is open."""
    if RESULT_MEMO_KEY not in memo.fields:
        return None, None
    try:
        return _as_result(sealing.value(memo.fields[RESULT_MEMO_KEY])), None
    except EncryptionError as error:
        return None, _unreadable(error)


def _progress(memo: Memo, sealing: Sealing) -> BackfillProgress | None:
    """How far a backfill is, if it is one and that can be read."""
    if BACKFILL_MEMO_KEY not in memo.fields:
        return None
    try:
        return BackfillProgress.model_validate(sealing.value(memo.fields[BACKFILL_MEMO_KEY]))
    except (EncryptionError, ValidationError):
        return None


def _unreadable(error: EncryptionError) -> str:
    return f"what it came to can't be read: {error}"


def _as_result(value: Any) -> RunResult | None:
    try:
        return RunResult.model_validate(value)
    except ValidationError:
        return None
