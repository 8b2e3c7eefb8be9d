"""Who may run: the pipeline's slot under the overlap policy of whoever comes. Pure; `begin` carries it out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

Policy = Literal["Skip", "BufferOne", "BufferAll", "CancelOther", "TerminateOther", "AllowAll"]


@dataclass(frozen=True, slots=True)
class Owner:
    """A run as Temporal knows it, over all its continuations: the workflow's id and its first run id."""

    workflow_id: str
    run_id: str
    temporal: str | None = None
    """The Temporal that it is in, as `address/namespace`; None: of a time when that wasn't noted."""

    def is_of(self, temporal: str | None) -> bool:
        """Whether that Temporal is the one to ask about it."""
        return self.temporal is None or temporal is None or self.temporal == temporal


@dataclass(frozen=True, slots=True)
class Place:
    """A run's place at the slot: it holds it, or waits in the queue (smaller numbers first)."""

    owner: Owner
    run_key: str
    number: int
    holding: bool
    backfill: bool = False
    """A backfill started it."""


@dataclass(frozen=True, slots=True)
class Take:
    """Take the slot and begin."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Queue, and ask again when the slot is free."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Don't run; `reason` is a sentence."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the others to stop, then wait for them."""

    others: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Terminate:
    """End the others at once, then ask again."""

    others: tuple[Place, ...]


Decision = Take | Wait | GiveUp | Cancel | Terminate


def in_the_way(
    run_key: str, others: Sequence[Place], *, backfill: bool, temporal: str | None = None
) -> tuple[Place, ...]:
    """Those that a run has to heed: of a backfill's runs, only one for the same key, and a backfill's run no other.

    Of runs in another Temporal only those that hold the slot: whether one still waits there, nobody here can tell.
    """
    return tuple(
        place
        for place in others
        if (place.run_key == run_key or not (backfill or place.backfill))
        and (place.holding or place.owner.is_of(temporal))
    )


def decide(policy: Policy, mine: Place | None, others: Sequence[Place]) -> Decision:
    """What a run does that finds `others` at the slot. `mine` is its own place if it has one.

    Only those who hold the slot or wait before this run stand in its way.
    """
    blocking = tuple(place for place in others if place.holding or mine is None or place.number < mine.number)
    if policy == "AllowAll" or not blocking:
        return Take()
    first = blocking[0]
    match policy:
        case "Skip":
            return GiveUp(f"run {first.run_key} of this pipeline is still open and overlapPolicy is Skip")
        case "BufferOne":
            waiting = [place for place in blocking if not place.holding]
            if mine is None and waiting:
                return GiveUp(
                    f"run {first.run_key} of this pipeline is still open, run {waiting[0].run_key} waits for it, "
                    "and overlapPolicy is BufferOne"
                )
            return Wait()
        case "BufferAll":
            return Wait()
        case "CancelOther":
            return Cancel(blocking)
        case "TerminateOther":
            return Terminate(blocking)
        case _:
            assert_never(policy)
