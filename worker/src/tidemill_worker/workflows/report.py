"""The workflow `DataPipelineReport`: tells others what a run came to, once the run has ended.

It is a workflow of its own, which outlives the run's: however long a receiver is away, no run ends later for it, none
fails, and no slot is held.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from tidemill_api.names import REPORT_WORKFLOW
    from tidemill_worker.workflows.failures import run_error
    from tidemill_worker.workflows.report_messages import (
        DRAFT,
        NOTIFY,
        TRACE,
        Draft,
        Drafts,
        Report,
        Reported,
        Sending,
        Told,
        Traced,
    )

WITHIN = timedelta(hours=2)
"""So long an outage may keep a message waiting: after that nobody wants to hear it."""
ATTEMPT_WITHIN = timedelta(minutes=1)
MOST_ATTEMPTS = 12
"""With the waits between them, about 20 minutes; longer if the receiver asks for more patience."""
UNSENT = "NotificationUnsent"
_PATIENT = RetryPolicy(
    initial_interval=timedelta(seconds=1), maximum_interval=timedelta(minutes=5), maximum_attempts=MOST_ATTEMPTS
)


@workflow.defn(name=REPORT_WORKFLOW, sandboxed=False)  # see `run`
class DataPipelineReport:
    """Its argument is a `Report`. It fails if a message couldn't be sent, so that Temporal shows it."""

    @workflow.run
    async def run(self, report: Report) -> Told:
        """Find out what there is to tell, and tell it, everybody at once."""
        tracing = asyncio.create_task(self._traced(report.traced)) if report.traced is not None else None
        faults = await self._notified(report.reported) if report.reported is not None else []
        if tracing is not None:
            faults = [*faults, await tracing]
        unsent = tuple(fault for fault in faults if fault)
        told = Told(sent=len(faults) - len(unsent), unsent=unsent)
        if unsent:
            raise ApplicationError("; ".join(unsent), told, type=UNSENT, non_retryable=True)
        return told

    async def _traced(self, traced: Traced) -> str:
        """Why it couldn't be told what the run reads and writes; empty if it has been."""
        try:
            await workflow.execute_activity(
                TRACE,
                traced,
                summary=traced.transition,
                start_to_close_timeout=ATTEMPT_WITHIN,
                schedule_to_close_timeout=WITHIN,
                retry_policy=_PATIENT,
            )
        except ActivityError as error:
            return f"lineage: {run_error(error).message}"
        return ""

    async def _notified(self, reported: Reported) -> list[str]:
        """Of each message why it couldn't be sent, empty if it has been. One fault if it isn't known what to send."""
        try:
            found: Drafts = await workflow.execute_activity(
                DRAFT,
                reported,
                result_type=Drafts,
                start_to_close_timeout=ATTEMPT_WITHIN,
                schedule_to_close_timeout=WITHIN,
                retry_policy=RetryPolicy(maximum_interval=timedelta(seconds=30)),
            )
        except ActivityError as error:
            return [f"notifications: {run_error(error).message}"]
        return await asyncio.gather(*(self._send(reported, draft) for draft in found.drafts))

    async def _send(self, reported: Reported, draft: Draft) -> str:
        """Why it couldn't be sent; empty if it has been."""
        try:
            await workflow.execute_activity(
                NOTIFY,
                Sending(reported=reported, draft=draft),
                summary=draft.events[0],
                start_to_close_timeout=ATTEMPT_WITHIN,
                schedule_to_close_timeout=WITHIN,
                retry_policy=_PATIENT,
            )
        except ActivityError as error:
            return f"spec.notifications[{draft.number}]: {run_error(error).message}"
        return ""
