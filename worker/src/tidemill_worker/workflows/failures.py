"""Failures as Temporal hands them to a workflow, as the errors that a run's result shows."""

from __future__ import annotations

from temporalio.exceptions import ActivityError, ApplicationError, FailureError, TimeoutType
from temporalio.exceptions import TimeoutError as ActivityTimedOut

from tidemill_api.contract import RunError
from tidemill_api.errors import Internal, TidemillError, Undecipherable, UnknownKey, WorkerLost
from tidemill_worker.workflows.messages import HANDED_BACK


def run_error(error: BaseException) -> RunError:
    """Why a run failed, in the words of what went wrong first. Holds no data of rows."""
    if isinstance(error, TidemillError):
        return _of(error)
    said = application_error(error)
    if said is not None:
        step = said.details[0] if said.details and isinstance(said.details[0], str) else None
        return RunError(
            type=said.type or Internal.__name__, message=said.message, step=step, retryable=not said.non_retryable
        )
    if isinstance(error, ActivityTimedOut):
        return _of(WorkerLost("a control step: no worker answered in time"))
    if isinstance(error, ActivityError):
        if isinstance(error.cause, ActivityTimedOut):
            return _of(WorkerLost(f"{error.activity_type}: no worker answered in time"))
        return _of(Internal(f"{error.activity_type} failed: {type(error.cause).__name__}"))
    return _of(Internal(f"{type(error).__name__} in the workflow; the worker's log has it"))


def _of(error: TidemillError) -> RunError:
    return RunError(type=error.type, message=str(error), retryable=error.retryable)


def application_error(error: BaseException | None) -> ApplicationError | None:
    """The innermost error that an activity raised: an activity that timed out holds what its last attempt said."""
    found = None
    while error is not None:
        if isinstance(error, ApplicationError) and error.type != HANDED_BACK:
            found = error
        error = error.__cause__
    return found


def handed_back(error: ActivityError) -> bool:
    """Whether a stopping worker gave the chunk back and no attempt was left for another worker."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == HANDED_BACK


def worker_lost(error: ActivityError) -> bool:
    """Whether the last attempt ended because its worker said nothing any more."""
    return isinstance(error.cause, ActivityTimedOut) and error.cause.type == TimeoutType.HEARTBEAT


def unreadable(error: ActivityError) -> bool:
    """Whether the worker couldn't read what it was asked to do, for want of a key: nothing has been tried then."""
    said = application_error(error)
    return said is not None and said.type in (UnknownKey.__name__, Undecipherable.__name__)


def final(error: FailureError) -> bool:
    """Whether trying again can't help."""
    said = error.cause if isinstance(error, ActivityError) else error
    return isinstance(said, ApplicationError) and said.non_retryable
