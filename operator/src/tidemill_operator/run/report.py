"""What is told of a run by hand. Pure; telling it again changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from tidemill_api import conditions as said
from tidemill_api.contract import BackfillProgress
from tidemill_api.names import ANNOTATION_CANCEL, ANNOTATION_RELEASE
from tidemill_operator.actions import Outcome
from tidemill_operator.clients import Object
from tidemill_operator.pipeline.runs import error_of, phase, run_summary
from tidemill_operator.reading import annotation, status_of
from tidemill_operator.release import releasing
from tidemill_operator.run.desire import Desired
from tidemill_operator.run.observe import Observed
from tidemill_operator.run.plan import waits_with_pipeline
from tidemill_operator.standing import Standing, claims, conditions, counted, ready, stalled, waits
from tidemill_operator.trouble import standing_of
from tidemill_operator.views import RunSeen

_REASONS = {
    "Failed": said.FAILED,
    "Skipped": said.SKIPPED,
    "Cancelled": said.CANCELLED,
}
_FORGOTTEN = "Failed: Temporal knows nothing of this run any more (its retention is over, or it was deleted there)"


def report(desired: Desired, observed: Observed, outcomes: Sequence[Outcome], now: datetime) -> Object | None:
    """The whole status; None: leave it as it is. What is written of a run that ended is never changed."""
    if observed.ended or any(outcome.result == "Conflict" for outcome in outcomes):
        return None
    before = status_of(observed.manifest)
    generation = observed.manifest["metadata"].get("generation", 0)
    run = next((outcome.run for outcome in outcomes if outcome.run is not None), observed.run)
    told = _told(run, before.get("run") or {}, desired, observed) if run else before.get("run")
    if told is not None and run is not None and run.result is None and (key := _asked_key(observed)):
        told = {**told, "key": key}
    if observed.lost and told is not None:
        told = {**told, "result": "Failed", "error": _FORGOTTEN}
    standing = _standing(desired, observed, run, outcomes)
    status: dict[str, Any] = {
        "observedGeneration": generation,
        "phase": told["result"] if told else "Cancelled" if _never_began(observed, run) else "Pending",
        "run": told,
        "backfill": _progress(run) or before.get("backfill"),
        "conditions": conditions(
            (*claims(standing), *releasing(observed.manifest, observed.trouble, observed.patience, now)),
            before.get("conditions") or (),
            generation,
            now,
        ),
    }
    return {name: value for name, value in status.items() if value is not None}


def _told(run: RunSeen, before: dict[str, Any], desired: Desired, observed: Observed) -> dict[str, Any]:
    """The run as it is now, with the connection through which it was seen: the pool may call another one its own."""
    kept = {field: value for field, value in before.items() if field != "connection"}
    where = {"connection": observed.connection[1]} if observed.connection is not None else {}
    return {**kept, **run_summary(run, desired.pipeline), **where}


def _progress(run: RunSeen | None) -> dict[str, Any] | None:
    """How far a backfill is."""
    if run is None or run.backfill is None:
        return None
    return run.backfill.model_dump(mode="json", by_alias=True, exclude_none=True)


def _asked_key(observed: Observed) -> str | None:
    key: str | None = observed.manifest["spec"].get("runKey")
    return key


def _never_began(observed: Observed, run: RunSeen | None) -> bool:
    return observed.cancelled and run is None and observed.never_began


def _standing(desired: Desired, observed: Observed, run: RunSeen | None, outcomes: Sequence[Outcome]) -> Standing:
    if observed.going:
        return _leaving(observed)
    if run is not None:
        return _of_run(run, observed.manifest["metadata"]["uid"])
    if observed.lost:
        return stalled(said.FAILED, _FORGOTTEN)
    if _never_began(observed, run):
        reason = annotation(observed.manifest, ANNOTATION_CANCEL)
        return stalled(said.CANCELLED, "it was cancelled before it began" + (f": {reason}" if reason else ""))
    trouble = desired.blocked or observed.trouble or standing_of(outcomes)
    return trouble or waits(said.PROGRESSING, "the run is about to start")


def _of_run(run: RunSeen, uid: str) -> Standing:
    came_to = phase(run)
    former = (
        f"; it was started by a former object of this name at {run.started:%Y-%m-%d %H:%M:%S} UTC: "
        "a run key never runs again by itself, so choose another name to run it again"
        if run.asked_by is not None and run.asked_by != uid
        else ""
    )
    match came_to:
        case "Running":
            return waits(said.RUNNING, f"{_how_far(run.backfill)}{former}.")
        case "Succeeded":
            result = run.result
            rows = (
                f"{counted(result.rows_loaded)} loaded, {result.rows_rejected} rejected" if result else "it has ended"
            )
            return ready(said.SUCCEEDED, f"{rows}{former}.")
        case _:
            return stalled(_REASONS[came_to], f"{error_of(run) or came_to}{former}")


def _how_far(backfill: BackfillProgress | None) -> str:
    """Where an open run is."""
    if backfill is None:
        return "The run is open"
    if backfill.total is None:
        return "The backfill is open"
    done = backfill.succeeded + backfill.failed + backfill.skipped
    of_these = f" ({backfill.failed} failed, {backfill.skipped} left out)" if backfill.failed + backfill.skipped else ""
    following = f", next {backfill.next}" if backfill.next else ""
    return f"{done} of {backfill.total} runs are done{of_these}, {backfill.running} open{following}"


def _leaving(observed: Observed) -> Standing:
    if observed.trouble is not None:
        return waits(
            observed.trouble.reason,
            f"deletion waits to cancel the run: {observed.trouble.message}; to let it go without, annotate it "
            f'{ANNOTATION_RELEASE}: "true"',
        )
    how = "ends, as its pipeline's deletionPolicy says Wait" if waits_with_pipeline(observed) else "is cancelled"
    return waits(said.WAITING_FOR_RUNS, f"deletion waits until the open run {how}")
