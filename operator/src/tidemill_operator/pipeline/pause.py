"""Whose a pause is. Pure.

A Schedule has one `paused` and one note for everybody. Ours are told by how their note begins; every other pause is a
person's (or pauseOnFailure's) and is never lifted by us.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

OURS: Final = "tidemill: "
_SUSPENDED: Final = f"{OURS}suspended (spec.suspend of the DataPipeline)"
_ANNOTATED: Final = f"{OURS}paused by annotation: "
_RESUMED: Final = f"{OURS}resumed"
_LONGEST: Final = 1024


@dataclass(frozen=True, slots=True)
class Pause:
    """`paused` and `note` of a Schedule."""

    paused: bool
    note: str

    @property
    def is_ours(self) -> bool:
        """Whether we paused it; then we may lift it."""
        return self.paused and self.note.startswith(OURS)

    @property
    def is_anothers(self) -> bool:
        """Whether it was paused in Temporal itself."""
        return self.paused and not self.note.startswith(OURS)


RUNNING: Final = Pause(False, "")


def wished_pause(*, suspend: bool, annotation: str | None) -> Pause | None:
    """The pause that the manifest asks for; None: none. Git's wish comes before a person's reason."""
    if suspend:
        return Pause(True, _SUSPENDED)
    if annotation is not None:
        return Pause(True, f"{_ANNOTATED}{annotation or 'no reason given'}"[:_LONGEST])
    return None


def next_pause(found: Pause, wished: Pause | None) -> Pause:
    """What pause and note should be, given what they are: equal to `found` if nothing is to be done."""
    if found.is_anothers:
        return found
    if wished is not None:
        return wished
    return Pause(False, _RESUMED) if found.is_ours else found
