"""The workflow `DataPipelineBackfill`: the runs of a range of times, so many at once, each a workflow of its own.

It holds a window of keys and numbers, never all of them: times come from an activity, a window at a time, and before
its history gets long it waits for the open runs and continues as new. A run that fails doesn't stop the others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RetryPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    ChildWorkflowError,
    WorkflowAlreadyStartedError,
    is_cancelled_exception,
)
from temporalio.workflow import ChildWorkflowCancellationType, ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from tidemill_api.contract import (
        BACKFILL_MEMO_KEY,
        PROGRESS_QUERY,
        RESULT_MEMO_KEY,
        BackfillInput,
        BackfillProgress,
        Message,
        RunError,
        RunInput,
        RunResult,
    )
    from tidemill_api.errors import BackfillIncomplete
    from tidemill_api.names import BACKFILL_WORKFLOW, WORKFLOW, PipelineId
    from tidemill_worker.workflows.backfill_messages import (
        BACKFILL_SIZE,
        BACKFILL_TIMES,
        CarriedBackfill,
        Range,
        Rows,
        Size,
        Window,
    )
    from tidemill_worker.workflows.failures import run_error, unreadable
    from tidemill_worker.workflows.window import settled

TOLD_EVERY = timedelta(seconds=5)
"""So often the progress goes into the memo, where the operator sees it."""
MOST_EVENTS = 4000
"""A longer history continues as new, once the open runs have ended."""
MOST_FAILED_KEYS = 10
KEY_PAUSE = timedelta(seconds=15)
"""Between two attempts of a step that no worker can read for want of a key of the encryption."""
STEP_WITHIN = timedelta(minutes=2)

Answer = TypeVar("Answer", bound=Message)


@workflow.defn(name=BACKFILL_WORKFLOW, sandboxed=False)  # see `run`
class DataPipelineBackfill:
    """Its argument is a `BackfillInput` as JSON; its result a `RunResult` with the rows of all its runs."""

    def __init__(self) -> None:
        self._state = CarriedBackfill(begun="", started=0.0)
        self._keys: deque[str] = deque()
        self._running: dict[str, asyncio.Task[RunResult | None]] = {}
        self._told, self._told_at = BackfillProgress(), 0.0
        self._cancelled = False

    @workflow.query(name=PROGRESS_QUERY)
    def progress(self) -> BackfillProgress:
        """How far it is."""
        following = self._keys[0] if self._keys else self._state.following
        return self._state.progress.model_copy(update={"running": len(self._running), "next": following})

    @workflow.run
    async def run(self, request: dict[str, Any], carried: CarriedBackfill | None = None) -> RunResult:
        """Carry it out. Fails with the `RunResult` as details if any of its runs has failed."""
        self._request = request
        self._order = _order(request)
        self._state = carried or CarriedBackfill(begun=_rfc3339(workflow.now()), started=workflow.time())
        self._keys.extend(self._state.keys)
        error = await self._outcome()
        result = self._result(error)
        self._tell()
        workflow.upsert_memo({RESULT_MEMO_KEY: result.model_dump(mode="json", by_alias=True)})
        if result.result == "Cancelled":
            raise asyncio.CancelledError
        if result.error is not None:
            details = result.model_dump(mode="json", by_alias=True)
            raise ApplicationError(result.error.message, details, type=result.error.type, non_retryable=True)
        return result

    async def _outcome(self) -> RunError | None:
        """Run all times. What it failed for, apart from its runs."""
        try:
            if self._state.progress.total is None:
                size = await _step(BACKFILL_SIZE, self._range(self._order.start), Size)
                progress = self._state.progress.model_copy(update={"total": size.total})
                self._state = self._state.model_copy(update={"following": size.first, "progress": progress})
                self._tell()
            await self._all()
        except asyncio.CancelledError:
            self._cancelled = True
        except Exception as error:  # noqa: BLE001 - whatever it is, what the runs came to must be told
            if not is_cancelled_exception(error):
                return run_error(error)
            self._cancelled = True
        return None

    async def _all(self) -> None:
        try:
            while True:
                await self._start_more()
                if not self._running:
                    break
                late = TOLD_EVERY.total_seconds() if self._told != self.progress() else None
                await workflow.wait(list(self._running.values()), timeout=late, return_when=asyncio.FIRST_COMPLETED)
                self._collect()
                if late is None or workflow.time() >= self._told_at + late:
                    self._tell()
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        finally:
            # The runs are asked to stop, and end at their next border; what they came to counts still.
            await settled(list(self._running.values()))
            self._collect()
        if self._keys or self._state.following is not None:
            self._state = self._state.model_copy(update={"keys": tuple(self._keys)})
            workflow.continue_as_new(args=[self._request, self._state])

    async def _start_more(self) -> None:
        """Begin runs until as many are open as may be, or until the history has to end first."""
        while len(self._running) < self._order.concurrency and not _history_is_long():
            if not self._keys:
                if self._state.following is None:
                    return
                await self._next_window()
                continue
            key = self._keys.popleft()
            self._running[key] = asyncio.create_task(self._one(key))

    async def _next_window(self) -> None:
        following = self._state.following
        assert following is not None
        found = await _step(BACKFILL_TIMES, self._range(following), Window)
        self._keys.extend(found.keys)
        skipped = self._state.progress.skipped + found.skipped
        self._state = self._state.model_copy(
            update={
                "following": found.following,
                "progress": self._state.progress.model_copy(update={"skipped": skipped}),
            }
        )

    async def _one(self, key: str) -> RunResult | None:
        """The run of one key, to its end; None if it is being run elsewhere already."""
        order = self._order.run
        run = order.model_copy(
            update={
                "run_key": key,
                "trigger": "Backfill",
                "backfill": order.run_key,
                "reprocess": self._order.reprocess,
            }
        )
        try:
            done: RunResult = await workflow.execute_child_workflow(
                WORKFLOW,
                run.model_dump(mode="json", by_alias=True, exclude_none=True),
                id=_pipeline(order).scheduled_run(key),
                result_type=RunResult,
                cancellation_type=ChildWorkflowCancellationType.WAIT_CANCELLATION_COMPLETED,
                parent_close_policy=ParentClosePolicy.REQUEST_CANCEL,
                id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            )
        except WorkflowAlreadyStartedError:
            return None
        except ChildWorkflowError as error:
            return _came_to(error, order.pipeline, key)
        return done

    def _collect(self) -> None:
        """Count the runs that have ended."""
        for key in [key for key, task in self._running.items() if task.done()]:
            task = self._running.pop(key)
            if not task.cancelled():
                self._count(key, task.result())

    def _count(self, key: str, result: RunResult | None) -> None:
        progress, rows = self._state.progress, self._state.rows
        change: dict[str, Any] = {}
        if result is None or result.result == "Skipped":
            progress = progress.model_copy(update={"skipped": progress.skipped + 1})
        elif result.result == "Succeeded":
            progress = progress.model_copy(update={"succeeded": progress.succeeded + 1})
        elif not (self._cancelled and result.result == "Cancelled"):  # it has to stop, so that counts as not yet run
            keys = (*progress.failed_keys, key)[:MOST_FAILED_KEYS]
            progress = progress.model_copy(update={"failed": progress.failed + 1, "failed_keys": keys})
            if not self._state.first_failed:
                change = {"first_failed": key, "first_error": result.error}
        if result is not None:
            rows = _sum(rows, result)
        self._state = self._state.model_copy(update={"progress": progress, "rows": rows, **change})

    def _tell(self) -> None:
        self._told, self._told_at = self.progress(), workflow.time()
        workflow.upsert_memo({BACKFILL_MEMO_KEY: self._told.model_dump(mode="json", by_alias=True)})

    def _range(self, following: str) -> Range:
        return Range(order=self._order, begun=self._state.begun, following=following)

    def _result(self, error: RunError | None) -> RunResult:
        failed = None if self._cancelled else error or self._incomplete()
        return RunResult(
            pipeline=self._order.run.pipeline,
            run_key=self._order.run.run_key or "",
            result="Cancelled" if self._cancelled else "Failed" if failed else "Succeeded",
            error=failed,
            duration_seconds=round(workflow.time() - self._state.started, 3),
            **self._state.rows.model_dump(),
        )

    def _incomplete(self) -> RunError | None:
        progress, first = self._state.progress, self._state.first_error
        if not progress.failed:
            return None
        why = f": {first.type}: {first.message}" if first is not None else ""
        message = f"{progress.failed} of {progress.total} runs failed, first {self._state.first_failed}{why}"
        return RunError(type=BackfillIncomplete.__name__, message=message)


async def _step(activity: str, argument: Message, answer: type[Answer]) -> Answer:
    """What a step comes to, however long an outage lasts."""
    while True:
        try:
            done: Answer = await workflow.execute_activity(
                activity,
                argument,
                result_type=answer,
                start_to_close_timeout=STEP_WITHIN,
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            )
        except ActivityError as error:
            if not unreadable(error):
                raise
            await workflow.sleep(KEY_PAUSE)
        else:
            return done


def _came_to(error: ChildWorkflowError, pipeline: str, key: str) -> RunResult:
    """What a run that didn't succeed says it came to, or what Temporal says of one that was ended."""
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.details:
        return RunResult.model_validate(cause.details[0])
    cancelled = is_cancelled_exception(error)
    why = RunError(type="Terminated", message="the run was ended in Temporal")
    return RunResult(
        pipeline=pipeline, run_key=key, result="Cancelled" if cancelled else "Failed", error=None if cancelled else why
    )


def _sum(rows: Rows, result: RunResult) -> Rows:
    return Rows(**{name: getattr(rows, name) + getattr(result, name) for name in Rows.model_fields})


def _pipeline(order: RunInput) -> PipelineId:
    return PipelineId(order.installation, order.namespace, order.pipeline)


def _history_is_long() -> bool:
    info = workflow.info()
    return info.is_continue_as_new_suggested() or info.get_current_history_length() > MOST_EVENTS


def _order(request: dict[str, Any]) -> BackfillInput:
    try:
        return BackfillInput.model_validate(request)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) for fault in error.errors(include_input=False))
        raise ApplicationError(
            f"the workflow's argument is no BackfillInput: {fields}", type="SpecError", non_retryable=True
        ) from None


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
