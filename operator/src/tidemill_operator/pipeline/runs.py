"""What is told of a pipeline's runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tidemill_api import conditions
from tidemill_api.contract import RunResult
from tidemill_api.names import PipelineId
from tidemill_operator.standing import Claim, condition, counted, rfc3339
from tidemill_operator.views import RunSeen

_MOST_ACTIVE: Final = 32
_LONGEST_ERROR: Final = 4096
_LONGEST_CHECK: Final = 1024
_LONGEST_CHANGE: Final = 512
_MOST_CHANGES: Final = 32


def run_summary(run: RunSeen, pipeline: PipelineId) -> dict[str, Any]:
    """A run as status shows it (`RunSummary` as JSON)."""
    result = run.result
    told: dict[str, Any] = {
        "key": result.run_key if result else run_key(run, pipeline),
        "result": phase(run),
        "workflowId": run.workflow_id,
        "workflowRunId": run.run_id,
        "startedAt": rfc3339(run.started),
    }
    if run.closed is not None:
        told["finishedAt"] = rfc3339(run.closed)
    if result is not None:
        told |= {
            "execution": result.execution,
            "rowsRead": result.rows_read,
            "rowsLoaded": result.rows_loaded,
            "rowsRejected": result.rows_rejected,
            "rowsSkipped": result.rows_skipped,
        }
        if result.failed_checks:
            told["failedChecks"] = [
                f"{check.check} ({check.severity}): {check.message}"[:_LONGEST_CHECK] for check in result.failed_checks
            ]
        if nulled := nulled_values(result):
            told["nulledValues"] = nulled
        if result.schema_changes:
            told["schemaChanges"] = [each[:_LONGEST_CHANGE] for each in result.schema_changes[:_MOST_CHANGES]]
    if error := error_of(run):
        told["error"] = error[:_LONGEST_ERROR]
    return told


def nulled_values(result: RunResult) -> list[str]:
    """A sentence for each column with values that were loaded as NULL, since they weren't of its type."""
    found = [(step.step, *each) for step in result.steps for each in step.nulled.items()]
    told = [
        f"source {source}: {count} {'value' if count == 1 else 'values'} of {name}"[:_LONGEST_CHANGE]
        for source, name, count in found[:_MOST_CHANGES]
    ]
    more = len(found) - len(told)
    return [*told[:-1], f"{more + 1} columns more"] if more else told


def phase(run: RunSeen) -> str:
    """How a run stands or ended. The run's own result is believed once Temporal says that it ended."""
    if run.state == "Running" or run.result is None:
        return run.state
    return run.result.result


def error_of(run: RunSeen) -> str:
    """The error's type and sentence; empty for a run that has none."""
    if run.result is not None and run.result.error is not None:
        return f"{run.result.error.type}: {run.result.error.message}"
    return (run.error or "") if run.result is None else ""


def active_runs(runs: Sequence[RunSeen], pipeline: PipelineId) -> list[dict[str, Any]]:
    """Open runs, oldest first."""
    oldest_first = sorted(runs, key=lambda run: (run.started, run.workflow_id))
    return [run_summary(run, pipeline) for run in oldest_first[:_MOST_ACTIVE]]


def last_run(seen: RunSeen | None, before: Mapping[str, Any] | None, pipeline: PipelineId) -> Mapping[str, Any] | None:
    """The newest run that ended: what was seen, or what was known before (Temporal forgets closed runs in time)."""
    if seen is None or seen.closed is None:
        return before
    if before is not None and before.get("finishedAt", "") > rfc3339(seen.closed):
        return before
    if before is not None and before.get("workflowRunId") == seen.run_id and seen.result is None:
        return before  # a listing doesn't say why a run failed that left no result; that was asked for once
    return run_summary(seen, pipeline)


def succeeding(run: Mapping[str, Any] | None, before: Mapping[str, Any]) -> Claim:
    """Condition Succeeding: of the last run that tells. One that was skipped or cancelled says nothing of the data."""
    match run.get("result") if run else None:
        case "Succeeded" if run is not None:
            rows = f"{counted(run.get('rowsLoaded', 0))} loaded, {run.get('rowsRejected', 0)} rejected"
            warned = "".join(f" Check {check}." for check in run.get("failedChecks") or ())
            nulled = run.get("nulledValues")
            noted = f" Loaded as NULL: {'; '.join(nulled)}." if nulled else ""
            message = f"Run {run['key']}: {rows}.{warned}{noted}"
            return Claim(conditions.SUCCEEDING, "True", conditions.SUCCEEDED, message)
        case "Failed" if run is not None:
            message = f"Run {run['key']}: {run.get('error') or 'no error was given'}"
            return Claim(conditions.SUCCEEDING, "False", conditions.FAILED, message)
        case _:
            old = condition(before, conditions.SUCCEEDING)
            if old is not None:
                return Claim(conditions.SUCCEEDING, old["status"], old["reason"], old.get("message", ""))
            return Claim(conditions.SUCCEEDING, "Unknown", conditions.NO_RUN_YET, "No run has ended yet.")


def run_key(run: RunSeen, pipeline: PipelineId) -> str:
    """The run key, from the workflow id: the nominal time, or the name of the DataPipelineRun."""
    if run.workflow_id.startswith(pipeline.scheduled_workflow + "-"):
        return run.workflow_id.removeprefix(pipeline.scheduled_workflow + "-")
    return run.workflow_id.removeprefix(f"{pipeline}/")
