"""Temporal, as the operator uses it: Schedules and runs. What may go wrong with a call, `temporal_calls` says.

Requests are built from the raw messages: the SDK's schedule update sends no conflict token, and its description
hides what the server holds.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from temporalio.api.common.v1 import WorkflowExecution, WorkflowType
from temporalio.api.enums.v1 import HistoryEventFilterType, WorkflowIdConflictPolicy, WorkflowIdReusePolicy
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    CreateScheduleRequest,
    DeleteScheduleRequest,
    DescribeNamespaceRequest,
    DescribeScheduleRequest,
    DescribeWorkflowExecutionRequest,
    GetSystemInfoRequest,
    GetWorkflowExecutionHistoryRequest,
    ListSchedulesRequest,
    ListSchedulesResponse,
    ListWorkflowExecutionsRequest,
    ListWorkflowExecutionsResponse,
    RequestCancelWorkflowExecutionRequest,
    StartWorkflowExecutionRequest,
    TerminateWorkflowExecutionRequest,
    UpdateScheduleRequest,
)

from tidemill_api.contract import ScheduleMemo
from tidemill_api.names import BACKFILL_WORKFLOW, REPORT_WORKFLOW, WORKFLOW, PipelineId, content_hash
from tidemill_codec.folder import Keys
from tidemill_operator.actions import ScheduleWish
from tidemill_operator.adapters import temporal_messages as messages
from tidemill_operator.adapters.sealing import Sealing
from tidemill_operator.adapters.temporal_calls import IDENTITY, Calls, Count, Send
from tidemill_operator.adapters.temporal_workers import WorkerCalls
from tidemill_operator.views import (
    QueueBacklog,
    RunSeen,
    ScheduleEntry,
    ScheduleSeen,
    TemporalConflictError,
    TemporalTarget,
    WorkerListed,
)

TIMEOUT: Final = timedelta(seconds=10)
_PAGE: Final = 500
_RUNS: Final = f"WorkflowType IN ('{WORKFLOW}', '{BACKFILL_WORKFLOW}')"


class TemporalClient:
    """One Temporal namespace. It connects at the first call, and again by itself after an outage."""

    def __init__(
        self,
        target: TemporalTarget,
        installation: str,
        count: Count,
        timeout: timedelta = TIMEOUT,
        keys: Keys | None = None,
    ) -> None:
        """Doesn't connect yet. With `keys` what it writes is encrypted."""
        self._target = target
        self._installation = installation
        self._calls = Calls(target, count, timeout)
        self._workers = WorkerCalls(self._calls, target.namespace, timeout)
        self._timeout = timeout
        self._sealing = Sealing(keys, target.namespace)
        self._listed: dict[str, tuple[int, ScheduleEntry]] = {}

    @property
    def target(self) -> TemporalTarget:
        """Where it is and with which credentials."""
        return self._target

    # Schedules

    async def list_schedules(self) -> AsyncIterator[ScheduleEntry]:
        """All Schedules of this installation, page by page, a moment behind.

        A line that reads as at the last listing isn't read again: a look at a thousand quiet Schedules costs little.
        """
        before, self._listed = self._listed, {}
        token = b""
        while True:
            request = ListSchedulesRequest(
                namespace=self._target.namespace, maximum_page_size=_PAGE, next_page_token=token
            )
            answer = await self._calls.call("list_schedules", self._send_list(request))
            for item in answer.schedules:
                if item.schedule_id.startswith(f"{self._installation}/"):
                    mark = hash(item.SerializeToString(deterministic=True))
                    known = before.get(item.schedule_id)
                    line = known if known is not None and known[0] == mark else (mark, messages.entry(item))
                    self._listed[item.schedule_id] = line
                    yield line[1]
            token = answer.next_page_token
            if not token:
                return

    async def describe_schedule(self, schedule: str) -> ScheduleSeen | None:
        """A Schedule as the server holds it now; None if there is none."""
        request = DescribeScheduleRequest(namespace=self._target.namespace, schedule_id=schedule)
        answer = await self._calls.call_or_none(
            "describe_schedule", lambda to: to.describe_schedule(request, timeout=self._timeout)
        )
        return messages.description(schedule, answer) if answer is not None else None

    async def create_schedule(self, wish: ScheduleWish, *, paused: bool, note: str) -> ScheduleSeen:
        """Make a Schedule. Raises TemporalConflictError if there is one of that id."""
        request = CreateScheduleRequest(
            namespace=self._target.namespace,
            schedule_id=wish.id,
            schedule=messages.schedule(wish, paused, note, self._sealing),
            memo=messages.schedule_memo(wish),
            identity=IDENTITY,
            # A new one each time: the server answers one that it knows with success, even if the Schedule that it made
            # then was deleted since.
            request_id=str(uuid.uuid4()),
        )
        await self._calls.call("create_schedule", lambda to: to.create_schedule(request, timeout=self._timeout))
        return await self._made(wish.id, lambda _: True)

    async def update_schedule(self, wish: ScheduleWish, *, paused: bool, note: str, token: bytes) -> ScheduleSeen:
        """Replace a Schedule. Raises TemporalConflictError if somebody wrote since `token` was read, or it is gone."""
        witness = messages.witness(wish)
        request = UpdateScheduleRequest(
            namespace=self._target.namespace,
            schedule_id=wish.id,
            schedule=messages.schedule(wish, paused, note, self._sealing),
            conflict_token=token,
            identity=IDENTITY,
            request_id=content_hash([wish.hash(), paused, note, token.hex()]),
        )
        await self._calls.write("update_schedule", lambda to: to.update_schedule(request, timeout=self._timeout))
        # The server drops a write with an old token without a word, so whether ours came through shows only here.
        return await self._made(wish.id, lambda seen: seen == (witness, paused, note))

    async def set_pause(self, schedule: str, *, paused: bool, note: str, token: bytes) -> ScheduleSeen:
        """Change a Schedule's pause and note alone. Raises TemporalConflictError as `update_schedule`."""
        request = DescribeScheduleRequest(namespace=self._target.namespace, schedule_id=schedule)
        found = await self._calls.write(
            "describe_schedule", lambda to: to.describe_schedule(request, timeout=self._timeout)
        )
        if found.conflict_token != token:
            raise TemporalConflictError(f"the Schedule {schedule} was changed in between")
        found.schedule.state.paused, found.schedule.state.notes = paused, note
        update = UpdateScheduleRequest(
            namespace=self._target.namespace,
            schedule_id=schedule,
            schedule=found.schedule,
            conflict_token=token,
            identity=IDENTITY,
            request_id=content_hash([schedule, paused, note, token.hex()]),
        )
        await self._calls.write("update_schedule", lambda to: to.update_schedule(update, timeout=self._timeout))
        witness = messages.witness_of(found.schedule, self._sealing)
        return await self._made(schedule, lambda seen: seen == (witness, paused, note))

    async def delete_schedule(self, schedule: str) -> bool:
        """Delete a Schedule; False if there was none."""
        request = DeleteScheduleRequest(namespace=self._target.namespace, schedule_id=schedule, identity=IDENTITY)
        answer = await self._calls.call_or_none(
            "delete_schedule", lambda to: to.delete_schedule(request, timeout=self._timeout)
        )
        return answer is not None

    # Runs

    def list_runs(self, closed_since: datetime | None) -> AsyncIterator[RunSeen]:
        """The installation's open runs and those that closed since a moment (None: all kept), a moment behind.

        Open reports on runs too: they are no runs, but need workers.
        """
        mine = f"WorkflowId STARTS_WITH '{self._installation}/'"
        reports = f"WorkflowType = '{REPORT_WORKFLOW}' AND ExecutionStatus = 'Running'"
        runs = _RUNS
        if closed_since is not None:
            runs += f" AND (ExecutionStatus = 'Running' OR CloseTime >= '{messages.rfc3339(closed_since)}')"
        return self._list(f"{mine} AND (({runs}) OR ({reports}))")

    async def open_runs(self, pipeline: PipelineId) -> tuple[RunSeen, ...]:
        """The pipeline's open runs."""
        query = f"WorkflowId STARTS_WITH '{pipeline}/' AND ExecutionStatus = 'Running'"
        return tuple([run async for run in self._list_runs(query)])

    async def open_runs_of_queue(self, task_queue: str) -> tuple[RunSeen, ...]:
        """Open runs on a task queue."""
        query = f"TaskQueue = '{task_queue}' AND ExecutionStatus = 'Running'"
        return tuple([run async for run in self._list_runs(query)])

    async def start_run(
        self,
        workflow_id: str,
        task_queue: str,
        run_input: Mapping[str, Any],
        pipeline: ScheduleMemo,
        asked_by: str | None,
        workflow: str = WORKFLOW,
    ) -> RunSeen:
        """Start a run; one that was ever started under that id is found and left as it is, whatever became of it."""
        request = StartWorkflowExecutionRequest(
            namespace=self._target.namespace,
            workflow_id=workflow_id,
            workflow_type=WorkflowType(name=workflow),
            task_queue=TaskQueue(name=task_queue),
            input=messages.payloads(run_input, self._sealing),
            memo=messages.run_memo(pipeline, asked_by),
            identity=IDENTITY,
            request_id=content_hash([workflow_id, asked_by]),
            workflow_id_reuse_policy=WorkflowIdReusePolicy.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
            workflow_id_conflict_policy=WorkflowIdConflictPolicy.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
        )
        with contextlib.suppress(TemporalConflictError):  # it was started before
            await self._calls.call("start_run", lambda to: to.start_workflow_execution(request, timeout=self._timeout))
        found = await self.describe_run(workflow_id)
        if found is None:
            raise TemporalConflictError(f"the run {workflow_id} was deleted in Temporal in between")
        return found

    async def describe_run(self, workflow_id: str, run_id: str | None = None) -> RunSeen | None:
        """An execution (the newest, if no run id is given); of one that failed without a result, also why."""
        request = DescribeWorkflowExecutionRequest(
            namespace=self._target.namespace, execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id or "")
        )
        answer = await self._calls.call_or_none(
            "describe_run", lambda to: to.describe_workflow_execution(request, timeout=self._timeout)
        )
        if answer is None:
            return None
        info: WorkflowExecutionInfo = answer.workflow_execution_info
        found = messages.run(info, self._sealing)
        if found is None or found.state != "Failed" or found.result is not None:
            return found
        return messages.with_failure(found, await self._close_event(info.execution), self._sealing)

    async def cancel_run(self, workflow_id: str, run_id: str | None = None) -> None:
        """Ask a run to stop; closed already is fine."""
        request = RequestCancelWorkflowExecutionRequest(
            namespace=self._target.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id or ""),
            identity=IDENTITY,
            request_id=content_hash(["cancel", workflow_id, run_id]),
        )
        await self._calls.call_or_none(
            "cancel_run", lambda to: to.request_cancel_workflow_execution(request, timeout=self._timeout)
        )

    async def terminate_run(self, workflow_id: str, run_id: str, why: str) -> None:
        """End a run at once; closed already is fine."""
        request = TerminateWorkflowExecutionRequest(
            namespace=self._target.namespace,
            workflow_execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
            reason=why,
            identity=IDENTITY,
        )
        await self._calls.call_or_none(
            "terminate_run", lambda to: to.terminate_workflow_execution(request, timeout=self._timeout)
        )

    # Workers

    def list_workers(self, task_queue: str | None = None) -> AsyncIterator[WorkerListed]:
        """The running workers of this installation, or of one of its queues, a few seconds behind.

        Raises TemporalRefusedError if this server lists none, ever.
        """
        if task_queue is not None:
            return self._workers.list(f"TaskQueue = '{task_queue}'")
        return self._workers.list(f"TaskQueue STARTS_WITH '{self._installation}/'")

    async def backlog(self, task_queue: str) -> QueueBacklog:
        """What waits on a task queue."""
        return await self._workers.backlog(task_queue)

    async def server_version(self) -> str:
        """The server's version, once it is known that the namespace can be used."""
        namespace = DescribeNamespaceRequest(namespace=self._target.namespace)
        await self._calls.call("describe_namespace", lambda to: to.describe_namespace(namespace, timeout=self._timeout))
        request = GetSystemInfoRequest()
        answer = await self._calls.call(
            "get_system_info", lambda to: to.get_system_info(request, timeout=self._timeout)
        )
        return str(answer.server_version)

    # Underneath

    async def _made(self, schedule: str, ours: Callable[[tuple[str, bool, str]], bool]) -> ScheduleSeen:
        """What the server made of a write; TemporalConflictError if what it holds isn't ours."""
        request = DescribeScheduleRequest(namespace=self._target.namespace, schedule_id=schedule)
        answer = await self._calls.write(
            "describe_schedule", lambda to: to.describe_schedule(request, timeout=self._timeout)
        )
        seen = messages.description(schedule, answer)
        if not ours((messages.witness_of(answer.schedule, self._sealing), seen.paused, seen.note)):
            raise TemporalConflictError(f"the Schedule {schedule} was changed in between")
        return seen

    def _list_runs(self, query: str) -> AsyncIterator[RunSeen]:
        return self._list(f"{_RUNS} AND {query}")

    async def _list(self, query: str) -> AsyncIterator[RunSeen]:
        token = b""
        while True:
            request = ListWorkflowExecutionsRequest(
                namespace=self._target.namespace,
                query=query,
                page_size=_PAGE,
                next_page_token=token,
            )
            answer = await self._calls.call("list_runs", self._send_list_runs(request))
            for info in answer.executions:
                if (run := messages.run(info, self._sealing)) is not None:
                    yield run
            token = answer.next_page_token
            if not token:
                return

    def _send_list(self, request: ListSchedulesRequest) -> Send[ListSchedulesResponse]:
        return lambda to: to.list_schedules(request, timeout=self._timeout)

    def _send_list_runs(self, request: ListWorkflowExecutionsRequest) -> Send[ListWorkflowExecutionsResponse]:
        return lambda to: to.list_workflow_executions(request, timeout=self._timeout)

    async def _close_event(self, execution: WorkflowExecution) -> HistoryEvent | None:
        request = GetWorkflowExecutionHistoryRequest(
            namespace=self._target.namespace,
            execution=execution,
            history_event_filter_type=HistoryEventFilterType.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT,
        )
        answer = await self._calls.call_or_none(
            "close_event", lambda to: to.get_workflow_execution_history(request, timeout=self._timeout)
        )
        return answer.history.events[-1] if answer is not None and answer.history.events else None
