"""What an outcome that isn't Done means for the object. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill_api import conditions as said
from tidemill_operator.actions import (
    AddFinalizer,
    ApplyObject,
    CancelRun,
    CreateSchedule,
    DeleteSchedule,
    Outcome,
    RemoveFinalizer,
    SetPause,
    StartRun,
    TerminateRun,
    UpdateSchedule,
)
from tidemill_operator.standing import Standing, stalled, waits

_TEMPORAL = (CreateSchedule, UpdateSchedule, SetPause, DeleteSchedule, StartRun, CancelRun, TerminateRun)


def standing_of(outcomes: Sequence[Outcome]) -> Standing | None:
    """How the object stands for its first action that didn't go through; None if all did."""
    for outcome in outcomes:
        match outcome.result:
            case "Done":
                continue
            case "Refused" if outcome.ending:
                return waits(
                    said.PROGRESSING, f"{_what(outcome)}: the namespace is being deleted, nothing is made in it"
                )
            case "Refused":
                return stalled(_refusal(outcome), f"{_what(outcome)}: {outcome.message}")
            case "Unreachable" if isinstance(outcome.action, _TEMPORAL):
                return waits(said.TEMPORAL_UNREACHABLE, outcome.message)
            case "Unreachable" | "Conflict":
                return waits(said.PROGRESSING, f"{_what(outcome)}: {outcome.message}; it is tried again")
    return None


def _refusal(outcome: Outcome) -> str:
    match outcome.action:
        case CreateSchedule() | UpdateSchedule():
            return said.INVALID_SCHEDULE
        case _:
            return said.REFUSED


def _what(outcome: Outcome) -> str:
    match outcome.action:
        case ApplyObject(object=manifest):
            return f"{manifest['kind']} {manifest['metadata']['name']}"
        case AddFinalizer(object=ref) | RemoveFinalizer(object=ref):
            return f"{ref.kind} {ref.name}"
        case CreateSchedule() | UpdateSchedule() | SetPause() | DeleteSchedule():
            return "Temporal refuses the Schedule" if outcome.result == "Refused" else "the Schedule"
        case _:
            return "Temporal"
