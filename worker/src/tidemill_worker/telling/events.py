"""What has happened, by what a run came to, and which notifications are about that. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tidemill_api.contract import RunResult
from tidemill_api.errors import CheckFailed, ToleranceExceeded
from tidemill_api.v1alpha1.notification import Event, Notification
from tidemill_worker.workflows.report_messages import Draft


def happened(result: RunResult, *, recovered: bool, paused: bool) -> tuple[Event, ...]:
    """All that holds, the most telling first.

    `recovered`: the run that ended before it had failed. `paused`: this one's failure has paused the schedule.
    """
    failed, succeeded = result.result == "Failed", result.result == "Succeeded"
    kind = result.error.type if result.error is not None else ""
    holds: dict[Event, bool] = {
        "SchedulePaused": paused,
        "ToleranceExceeded": failed and kind == ToleranceExceeded.__name__,
        "CheckFailed": bool(result.failed_checks) or (failed and kind == CheckFailed.__name__),
        "RunFailed": failed,
        "Recovered": succeeded and recovered,
        "RunSucceeded": succeeded,
    }
    return tuple(event for event, true in holds.items() if true)


def drafts(notifications: Sequence[Notification], events: Sequence[Event], note: str) -> tuple[Draft, ...]:
    """The messages to send: one for each notification that is about any of the events."""
    found: list[Draft] = []
    for number, each in enumerate(notifications):
        wanted = frozenset(each.events)
        named: tuple[Event, ...] = tuple(event for event in events if event in wanted)
        if named:
            found.append(Draft(number=number, events=named, note=note))
    return tuple(found)


def in_a_row(former: Sequence[str]) -> int:
    """How many runs failed one after the other, of the results of runs (`Failed`, `Succeeded`), the newest first."""
    return next((place for place, result in enumerate(former) if result != "Failed"), len(former))


def pause_note(run_key: str, error_type: str, failures: int) -> str:
    """What the Schedule says of its pause. Temporal keeps it in the clear, so it has none of the error's own words.

    It doesn't begin as the operator's own notes do: what begins so is lifted when the manifest doesn't ask for it.
    """
    runs = "a scheduled run has failed" if failures == 1 else f"{failures} scheduled runs in a row have failed"
    return f"onFailure.pauseAfter: {runs}, the last {run_key} ({error_type}); unpause it here when the cause is mended"
