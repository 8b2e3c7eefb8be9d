"""The workflow `DataPipelineRun`: begin, plan, chunks, publish, finish.

Short control steps are local activities; when one can't end quickly it goes on as a durable activity. Chunks and
publishing are durable activities that heartbeat. However the run ends, `finish` records it and frees its slot.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, SearchAttributeKey
from temporalio.exceptions import ActivityError, ApplicationError, FailureError, is_cancelled_exception

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from tidemill_api.contract import (
        PROGRESS_QUERY,
        RESULT_MEMO_KEY,
        Message,
        RunError,
        RunInput,
        RunProgress,
        RunResult,
    )
    from tidemill_api.errors import Internal, RunTimeout
    from tidemill_api.names import WORKFLOW
    from tidemill_worker.tolerance import too_many, verdict
    from tidemill_worker.workflows import messages
    from tidemill_worker.workflows.failures import final, handed_back, run_error, unreadable, worker_lost
    from tidemill_worker.workflows.messages import (
        Begun,
        Carried,
        ChunkTask,
        Claimant,
        Counts,
        Ending,
        Limits,
        Planned,
        PlanTask,
        PublishTask,
        RunTask,
    )
    from tidemill_worker.workflows.reporting import leave_report, leave_start
    from tidemill_worker.workflows.window import settled, uninterrupted, window

QUICK = timedelta(seconds=10)
"""A control step that takes longer goes on as a durable activity."""
HEARTBEAT = timedelta(seconds=15)
"""A worker that says nothing for so long has died: its chunk goes to another."""
FINISH_WITHIN = timedelta(hours=1)
"""So long an outage of the metastore may keep a run open that has nothing left to do but to record its end."""
LOST_WORKERS = 3
"""So many workers may die over a chunk, beyond `retry.maximumAttempts`; then the chunk may be what kills them."""
LAST_WORDS = timedelta(minutes=1)
"""So long chunks may take to stop after the run's timeout."""
MOST_EVENTS = 2000
"""A longer history continues as new: what a worker must replay to take over a run stays short."""
KEY_PAUSE = timedelta(seconds=15)
"""Between two attempts of a step that no worker can read for want of a key of the encryption."""
LONGEST_PAUSE = 60.0
"""Seconds between two looks at the slot by a run that waits for it."""

_NOMINAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""Key of a scheduled run. No DataPipelineRun has such a name, but one can ask for such a key again."""

Answer = TypeVar("Answer", bound=Message)


# The SDK's sandbox guards what it imports itself. Our modules would be passed through it, since models made twice
# aren't the same types; so it would guard nothing. And while a task runs in it `sys.modules` isn't a dict: DuckDB,
# which looks there from its threads, fails with `std::bad_cast`.
@workflow.defn(name=WORKFLOW, sandboxed=False)
class DataPipelineRun:
    """One run of a pipeline. Its argument is a `RunInput` as JSON; see `tidemill_api.contract` for its answers."""

    def __init__(self) -> None:
        self._phase: str = "Waiting"
        self._slot_free = False
        self._state = Carried(claimant_key="", run_time="")
        self._told: asyncio.Task[None] | None = None

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> RunProgress:
        """How far the run is: chunks that ended, and their rows."""
        counts, planned = self._state.counts, self._state.planned
        return RunProgress.model_validate(
            {
                "phase": self._phase,
                "chunks_done": counts.chunks,
                "chunks_total": planned.chunks if planned else 0,
                "rows_read": counts.rows_read,
                "rows_loaded": counts.rows_loaded,
                "rows_rejected": counts.rows_rejected,
                "bytes_read": counts.bytes_read,
                "bytes_total": planned.bytes if planned else 0,
            }
        )

    @workflow.signal(name=messages.SLOT_FREE)
    def slot_free(self) -> None:
        """The slot that this run waits for may be free."""
        self._slot_free = True

    @workflow.run
    async def run(self, request: dict[str, Any], carried: Carried | None = None) -> RunResult:
        """Carry the run out. Fails with the error's type and the `RunResult` as details; Skipped completes."""
        order = _order(request)
        self._request = request
        self._state = carried or _start(order)
        self._claimant = _claimant(order, self._state)
        ending = await self._outcome()
        result = ending if isinstance(ending, RunResult) else await uninterrupted(self._finish(ending))
        self._phase = "Done"
        workflow.upsert_memo({RESULT_MEMO_KEY: result.model_dump(mode="json", by_alias=True)})
        await uninterrupted(leave_report(order, self._state, result, self._told))
        if result.result == "Cancelled":
            raise asyncio.CancelledError
        if result.result == "Failed":
            error = result.error or run_error(Internal("failed without a reason"))
            details = result.model_dump(mode="json", by_alias=True)
            raise ApplicationError(error.message, details, type=error.type, non_retryable=True)
        return result

    async def _outcome(self) -> Ending | RunResult:
        """Do all there is to do. A `RunResult` says that the run didn't begin and that this is recorded."""
        try:
            if self._state.limits is None:
                begun = await self._begin()
                if begun.result is not None:
                    return begun.result
            await self._within_timeout()
        except asyncio.CancelledError:
            return Ending(claimant=self._claimant, ending="Cancelled")
        except Exception as error:  # noqa: BLE001 - whatever it is, the slot must be freed and the run recorded
            if is_cancelled_exception(error):
                return Ending(claimant=self._claimant, ending="Cancelled")
            return self._failed(run_error(error))
        return Ending(claimant=self._claimant, ending="Succeeded")

    def _failed(self, error: RunError) -> Ending:
        workflow.logger.warning("run %s failed: %s: %s", self._claimant.run_key, error.type, error.message)
        return Ending(claimant=self._claimant, ending="Failed", error=error)

    async def _begin(self) -> Begun:
        """Ask for the slot until it is ours, or until the policy says no."""
        pause = 1.0
        while True:
            self._slot_free = False
            begun = await _control(messages.BEGIN, self._claimant, Begun, FINISH_WITHIN)
            if begun.state != "Waiting":
                break
            if _history_is_long():
                workflow.continue_as_new(args=[self._request, self._state])
            try:
                await workflow.wait_condition(lambda: self._slot_free, timeout=pause)
            except TimeoutError:
                pause = min(2 * pause, LONGEST_PAUSE)
        if begun.limits is not None:
            deadline = workflow.time() + begun.limits.timeout
            self._state = self._state.model_copy(
                update={
                    "execution": begun.execution,
                    "limits": begun.limits,
                    "planned": begun.planned,
                    "lineage": begun.lineage,
                    "deadline": deadline,
                }
            )
            if begun.lineage:
                self._told = asyncio.create_task(leave_start(self._claimant, begun.execution))
        return begun

    async def _within_timeout(self) -> None:
        limits, deadline = self._state.limits, self._state.deadline
        assert limits is not None
        assert deadline is not None
        work = asyncio.create_task(self._work(limits))
        try:
            await workflow.wait([work], timeout=max(deadline - workflow.time(), 0.001))
            if not work.done():
                counts, planned = self._state.counts, self._state.planned
                raise RunTimeout(
                    f"the run took longer than spec.execution.timeout ({limits.timeout:g} s): "
                    f"{counts.chunks} of {planned.chunks if planned else '?'} chunks were done"
                )
        finally:
            if not work.done():
                await uninterrupted(settled([work]))
        await work

    async def _work(self, limits: Limits) -> None:
        self._phase = "Planning"
        run = RunTask(uid=self._claimant.order.uid, run_key=self._claimant.run_key, execution=self._state.execution)
        planned = self._state.planned or await self._plan(run, limits)
        self._state = self._state.model_copy(update={"planned": planned})
        while True:
            await self._wave(run, planned, limits)
            if self._state.wave == 0:
                self._judge(limits)
            if self._state.wave + 1 >= planned.waves:
                break
            self._state = self._state.model_copy(update={"wave": self._state.wave + 1})
            planned = await self._plan(run, limits, before=planned.chunks)
            self._state = self._state.model_copy(update={"planned": planned})
        self._phase = "Publishing"
        for sink in planned.staged:
            await self._durable(
                messages.PUBLISH, PublishTask(**run.model_dump(), sink=sink), limits, result_type=None, summary=sink
            )

    async def _plan(self, run: RunTask, limits: Limits, before: int = 0) -> Planned:
        """The plan, or what this wave adds to it."""
        task = PlanTask(**run.model_dump(), wave=self._state.wave, before=before)
        return await _control(messages.PLAN, task, Planned, self._remaining(), limits)

    async def _wave(self, run: RunTask, planned: Planned, limits: Limits) -> None:
        """All chunks that are planned and not done yet; continues as new when its history gets long."""
        self._phase = "Loading"
        following = await window(
            range(self._state.next_chunk, planned.chunks),
            limits.parallelism,
            lambda chunk: self._chunk(run, chunk, limits),
            lambda counts: self._count(counts, limits),
            _history_is_long,
        )
        self._state = self._state.model_copy(update={"next_chunk": following})
        if following < planned.chunks:
            workflow.continue_as_new(args=[self._request, self._state])

    def _judge(self, limits: Limits) -> None:
        """Whether the sources' rows are good enough: all have been read, and none has been published."""
        counts = self._state.counts
        refused = verdict(
            limits.tolerance,
            read=counts.rows_read,
            rejected=counts.rows_rejected,
            loaded=counts.rows_loaded + counts.rows_kept,
        )
        if refused is not None:
            raise refused

    async def _chunk(self, run: RunTask, chunk: int, limits: Limits) -> Counts:
        """One chunk, whatever happens to the workers it is given to: that isn't the chunk's fault, nor an attempt."""
        task = ChunkTask(**run.model_dump(), chunk=chunk)
        lost = 0
        while True:
            try:
                counts = await self._durable(messages.LOAD_CHUNK, task, limits, result_type=Counts, summary=str(chunk))
            except ActivityError as error:
                lost += worker_lost(error)
                if not handed_back(error) and not (worker_lost(error) and lost <= LOST_WORKERS):
                    raise
            else:
                assert isinstance(counts, Counts)
                return counts

    def _count(self, counts: Counts, limits: Limits) -> None:
        self._state = self._state.model_copy(update={"counts": self._state.counts + counts})
        refused = too_many(limits.tolerance, self._state.counts.rows_rejected)
        if refused is not None and self._state.wave == 0:  # the tolerance is for rows of sources
            raise refused

    async def _durable(
        self, activity: str, task: Message, limits: Limits, *, result_type: type[Message] | None, summary: str
    ) -> object:
        return await _once_readable(
            lambda: workflow.execute_activity(
                activity,
                task,
                result_type=result_type,
                summary=summary,
                schedule_to_close_timeout=self._remaining() + LAST_WORDS,
                heartbeat_timeout=HEARTBEAT,
                retry_policy=_retry(limits),
                cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            )
        )

    def _remaining(self) -> timedelta:
        deadline = self._state.deadline
        return timedelta(seconds=max(deadline - workflow.time(), 0) if deadline is not None else 0)

    async def _finish(self, ending: Ending) -> RunResult:
        """Have the end recorded and the slot freed. If that can't be done, the counts known here must do."""
        try:
            return await _control(messages.FINISH, ending, RunResult, FINISH_WITHIN)
        except FailureError as error:
            why = run_error(error)
            workflow.logger.error("run %s: its end couldn't be recorded: %s", self._claimant.run_key, why.message)
            counts = self._state.counts
            return RunResult(
                pipeline=self._claimant.order.pipeline,
                run_key=self._claimant.run_key,
                execution=self._state.execution,
                result=ending.ending,
                rows_read=counts.rows_read,
                rows_loaded=counts.rows_loaded,
                rows_rejected=counts.rows_rejected,
                rows_skipped=counts.rows_skipped,
                chunks=counts.chunks,
                error=ending.error or why,
            )


async def _control(
    activity: str, argument: Message, answer: type[Answer], within: timedelta, limits: Limits | None = None
) -> Answer:
    """A control step: at once in this worker; if that fails for now or takes too long, as a durable activity."""
    try:
        done: Answer = await workflow.execute_local_activity(
            activity,
            argument,
            result_type=answer,
            schedule_to_close_timeout=QUICK,
            retry_policy=RetryPolicy(maximum_attempts=1),
        )
    except FailureError as error:  # a local activity's own error comes bare, not within an ActivityError
        if final(error) or is_cancelled_exception(error):
            raise
    else:
        return done
    durable: Answer = await _once_readable(
        lambda: workflow.execute_activity(
            activity,
            argument,
            result_type=answer,
            schedule_to_close_timeout=within + LAST_WORDS,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_retry(limits) if limits else RetryPolicy(maximum_interval=timedelta(seconds=30)),
            cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        )
    )
    return durable


async def _once_readable(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What the activity comes to. A key that its workers lack isn't its fault: it is asked for until they have it."""
    while True:
        try:
            return await attempt()
        except ActivityError as error:
            if not unreadable(error):
                raise
        await workflow.sleep(KEY_PAUSE)


def _retry(limits: Limits) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=timedelta(seconds=limits.initial_interval),
        backoff_coefficient=limits.backoff_coefficient,
        maximum_interval=timedelta(seconds=max(limits.maximum_interval, limits.initial_interval)),
        maximum_attempts=limits.maximum_attempts,
    )


def _history_is_long() -> bool:
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > MOST_EVENTS


def _order(request: dict[str, Any]) -> RunInput:
    try:
        return RunInput.model_validate(request)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise ApplicationError(
            f"the workflow's argument is no RunInput: {fields}", type="SpecError", non_retryable=True
        ) from None


def _start(order: RunInput) -> Carried:
    """Run key and nominal time: those of the Schedule, else the given key and its moment or the time of the start."""
    nominal = workflow.info().typed_search_attributes.get(SearchAttributeKey.for_datetime("TemporalScheduledStartTime"))
    time = _rfc3339(nominal or workflow.info().workflow_start_time)
    asked = order.run_key or time
    return Carried(claimant_key=asked, run_time=asked if _NOMINAL_TIME.fullmatch(asked) else time)


def _rfc3339(moment: datetime) -> str:
    """Seconds and Z, as Temporal writes nominal times."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _claimant(order: RunInput, state: Carried) -> Claimant:
    info = workflow.info()
    return Claimant(
        order=order,
        run_key=state.claimant_key,
        run_time=state.run_time,
        workflow_id=info.workflow_id,
        workflow_run_id=info.first_execution_run_id,
    )
