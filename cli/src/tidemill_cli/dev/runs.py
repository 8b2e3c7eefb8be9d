"""Runs on the embedded Temporal: started, continued from an earlier session, followed to their end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from pydantic import ValidationError
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.service import RPCError

from tidemill_api.contract import (
    MEMO_KEY,
    PROGRESS_QUERY,
    RESULT_MEMO_KEY,
    RunError,
    RunProgress,
    RunResult,
)
from tidemill_api.names import WORKFLOW, content_hash, pipeline_of_workflow
from tidemill_api.v1alpha1.datapipelinerun import Replay
from tidemill_cli.dev.layout import INSTALLATION, Pipeline
from tidemill_cli.dev.view import RunView, Show
from tidemill_operator.pipeline.wish import memo_of, run_input

_LOOK_SECONDS: Final = 0.5
_SWEEP_SECONDS: Final = 1.0
_LAG: Final = timedelta(minutes=1)
_QUERY_TIMEOUT: Final = timedelta(seconds=2)
_CANCEL_SECONDS: Final = 15.0
_ASKED_KEY: Final = "tidemill.dev/asked"
"""Memo key of a run by hand: hash of what it was asked to do."""


class Runs:
    """Starts and follows runs; `show` is told of every change that a person may want to see."""

    def __init__(self, client: Client, show: Show) -> None:
        """The client is connected to the namespace that all runs are in."""
        self._client = client
        self._show = show
        self._followed: set[str] = set()

    async def run_once(self, pipeline: Pipeline, run: str, replay: Replay | None = None) -> RunResult:
        """One run of a pipeline to its end, or of its rejected rows.

        An open run by hand that an earlier session left behind is continued and counts as this one, if it does the
        same; if the manifest has changed since, it is cancelled first. An open scheduled run is waited for.
        """
        wish = run_input(
            pipeline.id,
            pipeline.uid,
            0,
            pipeline.spec,
            run_key=run,
            parameters=pipeline.given,
            trigger="Manual",
            replay=replay,
        )
        asked = content_hash({name: value for name, value in wish.items() if name != "runKey"})
        opened = (
            f"WorkflowType = '{WORKFLOW}' AND WorkflowId STARTS_WITH '{pipeline.id}/' AND ExecutionStatus = 'Running'"
        )
        async for left in self._client.list_workflows(opened):
            its = await left.memo_value(_ASKED_KEY, None)
            if its == asked:
                return await self.follow(left.id, left.start_time)
            if its is not None:
                await self._cancel(left)
            else:
                await self.follow(left.id, left.start_time)
        workflow = pipeline.id.workflow(run)
        await self._client.start_workflow(
            WORKFLOW,
            wish,
            id=workflow,
            task_queue=pipeline.pool.task_queue,
            memo={MEMO_KEY: memo_of(pipeline.id, pipeline.uid).model_dump(by_alias=True), _ASKED_KEY: asked},
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
        return await self.follow(workflow, datetime.now(UTC))

    async def unfollowed(self) -> AsyncIterator[WorkflowExecution]:
        """Runs that begin from now on and that nobody here follows yet, as they turn up, for ever."""
        since = datetime.now(UTC)
        while True:
            begun = (
                f"WorkflowType = '{WORKFLOW}' AND WorkflowId STARTS_WITH '{INSTALLATION}/' "
                f"AND StartTime >= '{since.isoformat()}'"
            )
            looked = datetime.now(UTC)
            async for seen in self._client.list_workflows(begun):
                if seen.id not in self._followed:
                    yield seen
            # Listings lag a little behind.
            since = max(since, looked - _LAG)
            await asyncio.sleep(_SWEEP_SECONDS)

    async def follow(self, workflow: str, started: datetime) -> RunResult:
        """Show a run's progress until it ends; returns what it came to, however it ended."""
        self._followed.add(workflow)
        view = RunView(_label(workflow), workflow.rsplit("/", 1)[-1], started)
        self._show(view)
        handle = self._client.get_workflow_handle(workflow)
        looking = asyncio.create_task(self._look(handle, view))
        try:
            result = await _result(handle, view)
        finally:
            looking.cancel()
        self._show(replace(view, progress=RunProgress(phase="Done"), result=result))
        return result

    async def _look(self, handle: WorkflowHandle[Any, Any], view: RunView) -> None:
        while True:
            seen = await _progress(handle)
            if seen is not None:
                progress, trouble = seen
                self._show(replace(view, progress=progress, trouble=trouble))
            await asyncio.sleep(_LOOK_SECONDS)

    async def _cancel(self, run: WorkflowExecution) -> None:
        """Ask a run to stop; end it by force if it doesn't."""
        handle = self._client.get_workflow_handle(run.id, run_id=run.run_id)
        await handle.cancel()
        with contextlib.suppress(WorkflowFailureError):
            try:
                await asyncio.wait_for(handle.result(), _CANCEL_SECONDS)
            except TimeoutError:
                await handle.terminate("the manifest has changed since, and the run did not stop when asked to")


async def _progress(handle: WorkflowHandle[Any, Any]) -> tuple[RunProgress, str] | None:
    """How far a run is, and its trouble: what its workflow knows, and what the activities in work say.

    None if nobody can tell now.
    """
    try:
        answer = await handle.query(PROGRESS_QUERY, rpc_timeout=_QUERY_TIMEOUT)
        described = await handle.describe(rpc_timeout=_QUERY_TIMEOUT)
        whole = RunProgress.model_validate(answer)
        pending = described.raw_description.pending_activities
        chunks = [_chunk(each) for each in pending]
    except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError, ValidationError):
        return None  # no worker yet, or the run has just ended: the next look may see more
    counts = ("rows_read", "rows_loaded", "rows_rejected", "bytes_read")
    sums = {name: getattr(whole, name) + sum(getattr(chunk, name) for chunk in chunks) for name in counts}
    return whole.model_copy(update=sums), next((_trouble(each) for each in pending if each.attempt > 1), "")


def _chunk(pending: PendingActivityInfo) -> RunProgress:
    """What an activity's last heartbeat says; nothing if it carries none."""
    payloads = pending.heartbeat_details.payloads
    return RunProgress.model_validate_json(payloads[0].data) if payloads else RunProgress()


def _trouble(pending: PendingActivityInfo) -> str:
    """Why an activity is tried again."""
    failure = pending.last_failure
    kind = failure.application_failure_info.type
    return f"attempt {pending.attempt}: {f'{kind}: ' if kind else ''}{failure.message}"


async def _result(handle: WorkflowHandle[Any, Any], view: RunView) -> RunResult:
    """Wait for the end; what the run says it came to, or what Temporal says of one that ended by force."""
    error: BaseException | None = None
    try:
        said = await handle.result()
    except WorkflowFailureError as failure:
        error = failure.cause
        said = error.details[0] if isinstance(error, ApplicationError) and error.details else None
    if said is None:
        said = await (await handle.describe()).memo_value(RESULT_MEMO_KEY, None)
    if said is not None:
        return RunResult.model_validate(said).model_copy(update={"pipeline": view.pipeline})
    kind = (error.type if isinstance(error, ApplicationError) else None) or type(error).__name__
    return RunResult(
        pipeline=view.pipeline,
        run_key=view.run,
        result="Cancelled" if isinstance(error, CancelledError) else "Failed",
        error=RunError(type=kind, message=str(error) or kind),
        duration_seconds=(datetime.now(UTC) - view.started).total_seconds(),
    )


def _label(workflow: str) -> str:
    pipeline = pipeline_of_workflow(workflow)
    return f"{pipeline.namespace}/{pipeline.name}" if pipeline is not None else workflow
