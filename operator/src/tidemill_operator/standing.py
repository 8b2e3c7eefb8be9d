"""How an object stands, as kstatus wants it told. Pure.

`Ready` is always there; `Reconciling` and `Stalled` are there only while they are true.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from tidemill_api.conditions import READY, RECONCILING, STALLED
from tidemill_check.problem import Problem

LONGEST_MESSAGE: Final = 4096
_SHOWN_PROBLEMS: Final = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """Ready or not, and what it takes: `waits` passes by itself, `stalled` needs an edit."""

    state: Literal["ready", "waits", "stalled"]
    reason: str
    """One of `tidemill_api.conditions`."""
    message: str


@dataclass(frozen=True, slots=True)
class Claim:
    """A condition without its time."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str = ""


def ready(reason: str, message: str) -> Standing:
    """All is as wished."""
    return Standing("ready", reason, message)


def waits(reason: str, message: str) -> Standing:
    """Not yet; it may come by itself."""
    return Standing("waits", reason, message)


def stalled(reason: str, message: str) -> Standing:
    """Never, without an edit."""
    return Standing("stalled", reason, message)


def verdict(problems: Sequence[Problem], after: str = "") -> Standing:
    """What is wrong with a manifest, all at once; the first problem's reason. `after` ends the message."""
    shown = "; ".join(str(problem) for problem in problems[:_SHOWN_PROBLEMS])
    more = f"; and {len(problems) - _SHOWN_PROBLEMS} more" if len(problems) > _SHOWN_PROBLEMS else ""
    message = f"{shown}{more}{after}"
    if all(problem.terminal for problem in problems):
        return stalled(problems[0].reason, message)
    waiting = [problem for problem in problems if not problem.terminal]
    terminal = [problem for problem in problems if problem.terminal]
    return stalled(terminal[0].reason, message) if terminal else waits(waiting[0].reason, message)


def claims(standing: Standing) -> tuple[Claim, ...]:
    """The conditions that say it."""
    message = standing.message[:LONGEST_MESSAGE]
    match standing.state:
        case "ready":
            return (Claim(READY, "True", standing.reason, message),)
        case "waits":
            return (
                Claim(READY, "False", standing.reason, message),
                Claim(RECONCILING, "True", standing.reason, message),
            )
        case "stalled":
            return (
                Claim(READY, "False", standing.reason, message),
                Claim(STALLED, "True", standing.reason, message),
            )


def conditions(
    claimed: Iterable[Claim], before: Sequence[Mapping[str, Any]], generation: int, now: datetime
) -> list[dict[str, Any]]:
    """Conditions as JSON. A condition whose status didn't change keeps its time; one no longer claimed goes."""
    known = {condition.get("type"): condition for condition in before}
    told: list[dict[str, Any]] = []
    for claim in claimed:
        old = known.get(claim.type)
        kept = old is not None and old.get("status") == claim.status
        told.append(
            {
                "type": claim.type,
                "status": claim.status,
                "reason": claim.reason,
                "message": claim.message[:LONGEST_MESSAGE],
                "lastTransitionTime": old["lastTransitionTime"] if kept and old is not None else rfc3339(now),
                "observedGeneration": generation,
            }
        )
    return told


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """The condition of a type in a status."""
    return next((each for each in status.get("conditions") or () if each.get("type") == kind), None)


def counted(rows: int) -> str:
    """`1 row`, `2 rows`."""
    return f"{rows} row" if rows == 1 else f"{rows} rows"


def rfc3339(moment: datetime) -> str:
    """A moment as Kubernetes writes it: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
