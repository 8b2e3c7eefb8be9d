"""What a run leaves to be told: workflows of their own do it, and the run waits for nobody."""

from __future__ import annotations

import asyncio
from datetime import UTC, timedelta
from typing import Any, Final, Literal

from temporalio import workflow
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import FailureError
from temporalio.workflow import ParentClosePolicy

from tidemill_api.contract import RunInput, RunResult
from tidemill_api.names import REPORT_WORKFLOW, report_of
from tidemill_worker.workflows.messages import Carried, Claimant
from tidemill_worker.workflows.report_messages import Report, Reported, Traced, Transition

WITHIN: Final = timedelta(hours=6)
"""What hasn't been told so long after the run's end isn't told any more."""
_TRANSITIONS: Final[dict[str, Transition]] = {"Succeeded": "COMPLETE", "Failed": "FAIL", "Cancelled": "ABORT"}


async def leave_start(claimant: Claimant, execution: int) -> None:
    """Have it told, as lineage, that the run has begun. Never raises for it."""
    traced = Traced(
        uid=claimant.order.uid, run_key=claimant.run_key, execution=execution, transition="START", moment=_now()
    )
    await _leave(Report(traced=traced), execution, "began")


async def leave_report(order: RunInput, state: Carried, result: RunResult, begun: asyncio.Task[None] | None) -> None:
    """Have it told what the run came to, if anybody wants to know. Never raises for it.

    `begun` is what may still be busy with leaving word of the start.
    """
    if begun is not None:
        await begun
    traced = None
    if state.lineage and result.result in _TRANSITIONS:
        traced = Traced(
            uid=order.uid,
            run_key=result.run_key,
            execution=result.execution,
            transition=_TRANSITIONS[result.result],
            moment=_now(),
            result=result,
        )
    report = Report(reported=reported_of(order, state.run_time, result), traced=traced)
    if report.reported is not None or report.traced is not None:
        await _leave(report, result.execution, "ended")


async def _leave(report: Report, execution: int, about: Literal["began", "ended"]) -> None:
    try:
        await workflow.start_child_workflow(
            REPORT_WORKFLOW,
            report,
            id=report_of(workflow.info().workflow_id, execution, about),
            parent_close_policy=ParentClosePolicy.ABANDON,
            id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
            execution_timeout=WITHIN,
        )
    except FailureError as error:  # one is under way already
        workflow.logger.warning("it isn't told that the run has %s: %s", about, type(error).__name__)


def reported_of(order: RunInput, run_time: str, result: RunResult) -> Reported | None:
    """What there may be to tell; None if it is nobody's business.

    Runs of backfills aren't told one by one, nor are runs that were cancelled or didn't begin.
    """
    asked = _declared(order)
    match result.result:
        case "Failed":
            wanted = bool(asked) or order.pause_after is not None
        case "Succeeded":
            events = {event for each in asked for event in each.get("events", ())}
            warned = "CheckFailed" in events and bool(result.failed_checks)
            wanted = warned or bool(events & {"Recovered", "RunSucceeded"})
        case _:
            wanted = False
    if not wanted or order.backfill is not None:
        return None
    return Reported(
        installation=order.installation,
        namespace=order.namespace,
        pipeline=order.pipeline,
        uid=order.uid,
        run_time=run_time,
        trigger=order.trigger,
        replay=order.replay is not None,
        result=result,
        notifications=asked,
        pause_after=order.pause_after,
    )


def _declared(order: RunInput) -> tuple[dict[str, Any], ...]:
    """`spec.notifications`. A spec may be wrong in any way still: of a run that fails for it nobody has read it."""
    found = order.spec.get("notifications")
    return tuple(each for each in found if isinstance(each, dict)) if isinstance(found, list) else ()


def _now() -> str:
    return workflow.now().astimezone(UTC).isoformat().replace("+00:00", "Z")
