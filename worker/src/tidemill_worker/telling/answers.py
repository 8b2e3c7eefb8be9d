"""What a receiver's answer means: taken, to be sent again later, or never. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

_PASSING: Final = frozenset({408, 409, 423, 425, 429})
"""Of the statuses that blame the sender, those that pass by themselves."""
LONGEST_WAIT: Final = 600.0
"""Seconds: a receiver that asks for more patience is asked again after this. So all attempts are made before a report's
time is over: it is the last that says that the message is unsent."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The receiver has it."""


@dataclass(frozen=True, slots=True)
class Later:
    """It may be taken another time: after `seconds`, or when our own patience says."""

    why: str
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The same message would be refused again."""

    why: str


Verdict: TypeAlias = Taken | Later | Refused


def judged(status: int, retry_after: float | None) -> Verdict:
    """What a status means. `retry_after`: what the answer's header asks for, in seconds."""
    if 200 <= status < 300:
        return Taken()
    why = f"the receiver answered {status}"
    if status >= 500 or status in _PASSING:
        return Later(why, None if retry_after is None else min(max(retry_after, 0.0), LONGEST_WAIT))
    return Refused(f"{why}, which the same message would get again")
