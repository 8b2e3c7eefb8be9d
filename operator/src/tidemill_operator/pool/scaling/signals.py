"""What a decision is made from, and what it comes to: frozen values. No I/O here.

Times are aware datetimes of the operator's clock, unless they say that they are Temporal's; durations are timedeltas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal

HORIZON: Final = timedelta(hours=2, minutes=10)
"""How far ahead starts are looked at: `prewarm` may be an hour, and twice that tells whether a start is almost near."""

Mode = Literal["Apply", "Advise"]

Reason = Literal[
    "Idle",
    "Working",
    "RunsOpen",
    "Backlog",
    "ScheduledStart",
    "Minimum",
    "Maximum",
    "ScaleUpLimit",
    "Surplus",
    "Stabilizing",
    "WorkersBusy",
    "WorkersStarting",
    "WithinTolerance",
    "Stuck",
    "WorkersUnknown",
    "TemporalUnknown",
]
"""Why there are to be so many workers."""

REASONS: Final[dict[Reason, str]] = {
    "Idle": "No run is open and nothing waits.",
    "Working": "As many workers as the work takes.",
    "RunsOpen": "Nothing waits, but runs are open: a worker stays for them.",
    "Backlog": "Tasks wait: more workers.",
    "ScheduledStart": "Runs begin soon: their workers are started ahead.",
    "Minimum": "As few as minReplicas allows.",
    "Maximum": "More workers would help, but there are maxReplicas.",
    "ScaleUpLimit": "More workers will follow: scaleUp limits how many at once.",
    "Surplus": "Fewer workers have been enough for a while: idle ones go.",
    "Stabilizing": "Fewer workers would do now, but not for long enough.",
    "WorkersBusy": "Fewer workers would do, but none more is known to be idle: busy ones aren't taken away.",
    "WorkersStarting": "Workers are still starting: none is taken away meanwhile.",
    "WithinTolerance": "The difference is too small to act on.",
    "Stuck": "Tasks wait that idle workers don't take: more workers don't help.",
    "WorkersUnknown": "The Temporal server doesn't list workers: none is taken away while runs are open.",
    "TemporalUnknown": "Temporal says nothing: workers stay as they are.",
}


@dataclass(frozen=True, slots=True)
class Backlog:
    """Tasks of the pool's task queue that no worker has taken: of workflows and activities, all versions, summed."""

    count: int
    age: timedelta = timedelta()
    """Of the oldest."""
    add_rate: float = 0.0
    """Tasks a second that come, as the server averages it (over half a minute)."""
    dispatch_rate: float = 0.0
    """Tasks a second that are taken."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker as its last heartbeat shows it."""

    pod: str
    """Name of its pod."""
    used: int
    """Slots in use: activities."""
    free: int
    """Slots that could be."""
    heard: datetime
    """When it was heard of, by the operator's clock (now, less the age that the server gives the heartbeat)."""
    processed: int = 0
    """Tasks it has ended since it began: more than before means that it wasn't idle in between."""
    warm_up: timedelta | None = None
    """From its pod's creation to its first poll; None if that isn't known."""


@dataclass(frozen=True, slots=True)
class Due:
    """A scheduled start that lies ahead."""

    at: datetime
    """When, by Temporal's clock."""
    pipeline: str
    chunks: int | None = None
    """Recent peak of its chunks in flight; None if it never ran: then one worker is made ready."""


@dataclass(frozen=True, slots=True)
class Signals:
    """All that is known of a pool at one moment. None is 'not known', never 'none'."""

    replicas: int
    """Workers asked for now: the Deployment's replicas."""
    backlog: Backlog | None
    workers: tuple[WorkerSeen, ...] | None
    """Those that poll; None if the server doesn't list workers, or didn't answer."""
    open_runs: int | None
    due: tuple[Due, ...] = ()
    """Starts up to `HORIZON` ahead, of pipelines that aren't paused; one that is past but still listed included."""
    ahead: timedelta = timedelta()
    """By how much Temporal's clock is known to be ahead of the operator's; negative: behind."""


@dataclass(frozen=True, slots=True)
class ScalingSpec:
    """`spec.scaling` of a pool, with `concurrency` as slots."""

    slots: int = 8
    """Activities that one worker does at once (`concurrency.activities`)."""
    min_replicas: int = 0
    max_replicas: int = 10
    target_backlog: int = 5
    """Waiting tasks for which one more worker is started; never more workers than have slots for all tasks."""
    idle_timeout: timedelta = timedelta(seconds=60)
    """How long a pool is without work before it goes back to `min_replicas`."""
    prewarm: timedelta = timedelta(seconds=20)
    """At least so long before a scheduled start its workers are started; more if pods were slower. Zero: not ahead."""
    stabilization: timedelta = timedelta(seconds=60)
    """Scale-in goes no lower than the most that was needed in this time."""
    tolerance: float = 0.1
    """A difference smaller than this share of the workers isn't acted on."""
    scale_up_pods: int = 10
    """Most workers added in one `scale_up_period`, or `scale_up_percent` of those there are, if that is more."""
    scale_up_percent: int = 100
    scale_up_period: timedelta = timedelta(seconds=15)
    mode: Mode = "Apply"


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers there should be."""

    replicas: int
    reason: Reason
    message: str
    """For people: one sentence with the figures."""
    remove: tuple[str, ...] = ()
    """Pods that go first, in this order, when `replicas` is less than there are: each was idle when last heard of."""
    apply: bool = True
    """False: advice only (`mode: Advise`)."""
    warm_up: timedelta | None = None
    """What pods take from their creation to their first poll, as learned (for the status, and `History.begin`)."""
    wake: datetime | None = None
    """When workers have to be started for the next start that isn't near yet: decide again by then."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Since when a worker hasn't been seen at work."""

    pod: str
    since: datetime
    processed: int


@dataclass(frozen=True, slots=True)
class History:
    """What one decision leaves for the next. Bounded by the number of workers and of samples."""

    since: datetime
    """From when on all was seen; before, nothing is known, and so nothing is taken away for what was then."""
    seen: datetime
    """When the last decision was made."""
    needs: tuple[tuple[datetime, int], ...] = ()
    """What was needed in the stabilization window: only values that no later one exceeds."""
    ups: tuple[tuple[datetime, int], ...] = ()
    """Workers added within `scale_up_period`."""
    grew: datetime | None = None
    """When workers were last added."""
    quiet_since: datetime | None = None
    """Since when there has been no work at all."""
    idle: tuple[Idle, ...] = ()
    """Of each worker listed and idle."""
    starting_since: datetime | None = None
    """Since when fewer workers poll than are asked for."""
    warm_ups: tuple[timedelta, ...] = ()
    """What the last pods took from their creation to their first poll, oldest first."""
    known: frozenset[str] = field(default=frozenset())
    """Pods listed last time: the warm-up of each is noted once."""
    figure: Backlog | None = None
    """The backlog as last told: the server makes its figures anew every few seconds only."""
    taken: int = 0
    """Tasks that workers had taken, as far as they were known, when that figure was new."""
    untaken: tuple[datetime, int] | None = None
    """When and how many tasks were last found waiting that idle workers didn't take."""
    shrunk: tuple[datetime, int] | None = None
    """When workers were last taken away while there was work, and how many there were."""
    premature: int = 0
    """How often that was soon regretted: the stabilization window doubles with each."""
    regretted: datetime | None = None
    """When last; long after, one regret is forgotten."""

    @classmethod
    def begin(cls, now: datetime, warm_up: timedelta | None = None) -> History:
        """As after a start of the operator: `warm_up` is `Decision.warm_up` as the status kept it."""
        return cls(since=now, seen=now, warm_ups=() if warm_up is None else (warm_up,))
