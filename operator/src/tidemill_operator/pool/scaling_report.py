"""What is told of a pool's scaling. Pure; telling it again changes nothing.

Figures move with every look while there is work. They are written with a change of the decision, or when those in the
status are some seconds old; and a pool at rest is written no more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from tidemill_api.v1alpha1 import parse_timestamp
from tidemill_operator.actions import ApplyObject, Outcome
from tidemill_operator.pool.scaled import Scaled
from tidemill_operator.standing import rfc3339

FIGURES_EVERY: Final = timedelta(seconds=10)
_LAST: Final = 10
_LONGEST: Final = 1024
_SELDOM: Final = ("nextDue", "workers", "warmUp")
"""Figures that don't move with every look."""
_HELD: Final = ("TemporalUnknown", "WorkersUnknown")


def scaling_status(
    scaled: Scaled, before: Mapping[str, Any], outcomes: Sequence[Outcome], now: datetime
) -> dict[str, Any]:
    """The part `scaling` of a pool's status; empty: nothing is known yet."""
    if scaled.early:
        return dict(before)
    decision = scaled.decision
    mode = "Active" if scaled.acts else "Advise"
    decided = {"mode": mode, "desired": decision.replicas, "reason": decision.reason, "held": decision.reason in _HELD}
    past = list(before.get("lastDecisions") or ())
    entry = _entry(scaled, before, outcomes, now)
    told: dict[str, Any] = {
        **decided,
        "message": _message(scaled),
        **_figures(scaled),
    }
    told["lastDecisions"] = ([entry] if entry is not None else []) + past[: _LAST - (entry is not None)]
    same = entry is None and all(before.get(name) == told.get(name) for name in (*decided, *_SELDOM))
    kept = {name: value for name, value in before.items() if name != "looked"}
    if same and (kept == told or not _old(before, now)):
        return dict(before)
    return {**told, "looked": rfc3339(now)}


def figures_wait(scaled: Scaled, before: Mapping[str, Any]) -> bool:
    """Whether the status shows other figures than there are now."""
    return any(before.get(name) != value for name, value in _figures(scaled).items())


def _message(scaled: Scaled) -> str:
    unlisted = f" ({scaled.unlisted})" if scaled.decision.reason == "WorkersUnknown" and scaled.unlisted else ""
    return f"{scaled.decision.message}{unlisted}"[:_LONGEST]


def _figures(scaled: Scaled) -> dict[str, Any]:
    signals, warm_up = scaled.signals, scaled.decision.warm_up
    workers, backlog = signals.workers, signals.backlog
    figures: dict[str, Any] = {
        "openRuns": signals.open_runs,
        "backlog": backlog.count if backlog is not None else None,
        "backlogAge": _seconds(backlog.age) if backlog is not None and backlog.count else None,
        "busySlots": sum(each.used for each in workers) if workers is not None else None,
        "slots": sum(each.used + each.free for each in workers) if workers is not None else None,
        "workers": len(workers) if workers is not None else None,
        "nextDue": rfc3339(scaled.next_due) if scaled.next_due is not None else None,
        "warmUp": _seconds(warm_up) if warm_up is not None else None,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _entry(
    scaled: Scaled, before: Mapping[str, Any], outcomes: Sequence[Outcome], now: datetime
) -> dict[str, Any] | None:
    """A change to note: one that was carried out, or other advice than before."""
    if scaled.acts:
        if not scaled.changed or not any(_scales(outcome) for outcome in outcomes):
            return None
        was = scaled.was
    else:
        was = before.get("desired", scaled.was)
        if was == scaled.decision.replicas:
            return None
    return {
        "time": rfc3339(now),
        "from": was,
        "to": scaled.decision.replicas,
        "reason": scaled.decision.reason,
        "message": scaled.decision.message[:_LONGEST],
    }


def _scales(outcome: Outcome) -> bool:
    action = outcome.action
    return isinstance(action, ApplyObject) and action.object["kind"] == "Deployment" and outcome.result == "Done"


def _seconds(length: timedelta) -> str:
    return f"{max(0, round(length.total_seconds()))}s"


def _old(before: Mapping[str, Any], now: datetime) -> bool:
    looked = before.get("looked")
    return looked is None or not timedelta() <= now - parse_timestamp(looked) < FIGURES_EVERY
