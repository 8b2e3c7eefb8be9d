"""What Temporal tells of workers and of their queues: listings page by page, and one queue's backlog.

A server that keeps no list of workers answers with an empty one and no error; its namespace's capabilities say which
of the two it is.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.taskqueue.v1 import TaskQueue, TaskQueueStats
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import (
    DescribeNamespaceRequest,
    DescribeTaskQueueRequest,
    DescribeTaskQueueResponse,
    ListWorkersRequest,
    ListWorkersResponse,
)

from tidemill_operator.adapters.temporal_calls import Calls, Send
from tidemill_operator.views import QueueBacklog, TemporalRefusedError, WorkerListed

_PAGE: Final = 1000
_KINDS: Final = (TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW, TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
_KNOWN_FOR: Final = 60.0
"""Seconds for which a namespace's capability is taken as it was."""
UNLISTED: Final = "this Temporal keeps no list of workers (its namespace lacks the capability worker_heartbeats)"


class WorkerCalls:
    """Requests about workers, with one Temporal namespace's connection."""

    def __init__(self, calls: Calls, namespace: str, timeout: timedelta) -> None:
        """`timeout`: of one request."""
        self._calls = calls
        self._namespace = namespace
        self._timeout = timeout
        self._keeps_a_list = False
        self._known_until = 0.0

    async def list(self, query: str) -> AsyncIterator[WorkerListed]:
        """Running workers that a query names, a moment behind. Raises TemporalRefusedError if none is ever listed."""
        token, found = b"", False
        while True:
            request = ListWorkersRequest(
                namespace=self._namespace,
                page_size=_PAGE,
                next_page_token=token,
                query=f"Status = 'Running' AND {query}",
            )
            answer = await self._calls.call("list_workers", self._send_list(request))
            for info in answer.workers_info:
                if info.worker_heartbeat.status == WorkerStatus.WORKER_STATUS_RUNNING:
                    found = True
                    yield _listed(info.worker_heartbeat)
            token = answer.next_page_token
            if not token:
                break
        if not found and not await self._lists():
            raise TemporalRefusedError(UNLISTED)

    async def backlog(self, task_queue: str) -> QueueBacklog:
        """What waits on a queue: workflow tasks and activities together, some seconds behind (the server caches it)."""
        stats: list[TaskQueueStats] = []
        for kind in _KINDS:
            request = DescribeTaskQueueRequest(
                namespace=self._namespace,
                task_queue=TaskQueue(name=task_queue),
                task_queue_type=kind,
                report_stats=True,
            )
            stats.append((await self._calls.call("describe_task_queue", self._send_describe(request))).stats)
        return QueueBacklog(
            count=sum(each.approximate_backlog_count for each in stats),
            age=max(each.approximate_backlog_age.ToTimedelta() for each in stats),
            added=sum(each.tasks_add_rate for each in stats),
            dispatched=sum(each.tasks_dispatch_rate for each in stats),
        )

    async def _lists(self) -> bool:
        """Asked once a minute: an installation without workers has an empty list at every look."""
        if time.monotonic() < self._known_until:
            return self._keeps_a_list
        request = DescribeNamespaceRequest(namespace=self._namespace)
        answer = await self._calls.call(
            "describe_namespace", lambda to: to.describe_namespace(request, timeout=self._timeout)
        )
        self._keeps_a_list = bool(answer.namespace_info.capabilities.worker_heartbeats)
        self._known_until = time.monotonic() + _KNOWN_FOR
        return self._keeps_a_list

    def _send_list(self, request: ListWorkersRequest) -> Send[ListWorkersResponse]:
        return lambda to: to.list_workers(request, timeout=self._timeout)

    def _send_describe(self, request: DescribeTaskQueueRequest) -> Send[DescribeTaskQueueResponse]:
        return lambda to: to.describe_task_queue(request, timeout=self._timeout)


def _listed(beat: WorkerHeartbeat) -> WorkerListed:
    slots = beat.activity_task_slots_info
    return WorkerListed(
        key=beat.worker_instance_key,
        identity=beat.worker_identity,
        task_queue=beat.task_queue,
        beat=beat.heartbeat_time.ToDatetime(tzinfo=UTC),
        started=beat.start_time.ToDatetime(tzinfo=UTC),
        used=slots.current_used_slots,
        free=slots.current_available_slots,
        processed=slots.total_processed_tasks,
    )
