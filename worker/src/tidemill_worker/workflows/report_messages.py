"""What the workflow that tells of a run and its activities say to each other: what the run came to, and whom to tell.

The text of a message is made by the activity that sends it.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from tidemill_api.contract import Message, RunResult
from tidemill_api.v1alpha1.notification import Event

DRAFT: Final = "draft_notifications"
NOTIFY: Final = "notify"
TRACE: Final = "trace"
"""Names of the activities."""


class Reported(Message):
    """What there is to tell: a run, what it came to, and what its pipeline declares of whom to tell."""

    installation: str
    namespace: str
    pipeline: str
    uid: str
    """The DataPipeline's uid."""
    run_time: str
    """Nominal time, RFC 3339 in UTC."""
    trigger: str
    replay: bool = False
    """It is a replay: whether the pipeline does well isn't told by it."""
    result: RunResult
    notifications: tuple[dict[str, Any], ...] = ()
    """`spec.notifications` as JSON."""
    pause_after: int | None = None
    """`spec.onFailure.pauseAfter`."""


Transition = Literal["START", "COMPLETE", "FAIL", "ABORT"]
"""What has become of a run, in OpenLineage's words."""


class Traced(Message):
    """That a run has begun or ended, for those who follow what is made of what."""

    uid: str
    """The DataPipeline's uid."""
    run_key: str
    execution: int
    transition: Transition
    moment: str
    """When it was (RFC 3339, UTC)."""
    result: RunResult | None = None
    """Of one that has ended."""


class Report(Message):
    """All that is told of a run by one workflow."""

    reported: Reported | None = None
    """For its notifications."""
    traced: Traced | None = None
    """For lineage."""


class Draft(Message):
    """One message to be sent."""

    number: int
    """Which of `spec.notifications`, from 0."""
    events: tuple[Event, ...]
    """What it is about, the most telling first."""
    note: str = ""
    """Of a schedule that was paused: the note."""


class Drafts(Message):
    """All that are to be sent of a run."""

    drafts: tuple[Draft, ...] = ()


class Sending(Message):
    """One message, and what it tells of."""

    reported: Reported
    draft: Draft


class Told(Message):
    """What became of the messages."""

    sent: int = 0
    unsent: tuple[str, ...] = ()
    """Of each that couldn't be sent: where to, and why."""
