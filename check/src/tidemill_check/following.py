"""Pipelines that follow others: which of their runs are due, what they wait for, and circles among them. Pure.

A run is known by its key, the time that it is for; only such runs count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tidemill_api.v1alpha1.schedule import Schedule
from tidemill_check.times import interval_start

NOMINAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
"""Key of a run that is for a time."""
SUCCEEDED: Final = "Succeeded"
RUNNING: Final = "Running"
_NOT_YET: Final = "no run yet"

Times = Mapping[str, str]
"""How the runs of a pipeline stand, by the time that they are for: Running, or as they ended."""


def due(own: Times, predecessors: Iterable[Times], since: str) -> tuple[str, ...]:
    """Times after `since` for which all predecessors have succeeded and the pipeline has no run, in order."""
    ready = [{key for key, state in times.items() if state == SUCCEEDED} for times in predecessors]
    together = set[str].intersection(*ready) if ready else set[str]()
    return tuple(sorted(key for key in together if key > since and key not in own))


def waiting(own: Times, predecessors: Mapping[str, Times], since: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Times after `since` that some predecessor runs or has run for, and which of them keep the pipeline waiting.

    In order. Each predecessor is told with how its run stands: `landing (Failed)`.
    """
    known = {key for times in predecessors.values() for key in times if key > since and key not in own}
    found = []
    for key in sorted(known):
        states = {name: times.get(key, _NOT_YET) for name, times in predecessors.items()}
        behind = tuple(f"{name} ({state})" for name, state in states.items() if state != SUCCEEDED)
        if behind:
            found.append((key, behind))
    return tuple(found)


def circle(name: str, followed: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """The pipelines through which one follows itself, from it to it; empty: it doesn't.

    `followed` gives the predecessors of a pipeline by its name, none of one that isn't known.
    """
    came_from: dict[str, str] = {}
    ahead = [name]
    while ahead:
        at = ahead.pop()
        for other in followed(at):
            if other == name:
                back = [name, at]
                while back[-1] != name:
                    back.append(came_from[back[-1]])
                return tuple(reversed(back)) if at != name else (name, name)
            if other not in came_from:
                came_from[other] = at
                ahead.append(other)
    return ()


def beginnings(names: Sequence[str], followed: Callable[[str], Sequence[str]]) -> tuple[str, ...]:
    """Of these pipelines, and those that they follow, the ones that follow none. For pipelines without a circle."""
    seen, ahead, found = set(names), list(names), []
    while ahead:
        at = ahead.pop()
        further = followed(at)
        if not further:
            found.append(at)
        ahead.extend(name for name in further if name not in seen)
        seen.update(further)
    return tuple(found)


def widest(key: str, schedules: Iterable[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Of the predecessors' schedules the one whose interval that ends at a time begins first; None: there is none."""
    end = datetime.fromisoformat(key).astimezone(UTC)
    return min(schedules, key=lambda each: interval_start(Schedule.model_validate(each), end), default=None)
