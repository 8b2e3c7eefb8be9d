"""How a pool's number of workers follows its work: what is asked for, and what came of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._types import ZERO_DURATION, Duration, Timestamp, parse_duration

LONGEST = timedelta(hours=1)
Count = Annotated[int, Field(ge=0)]


class ScaleUp(Model):
    """How many workers may be added at once: the greater of `pods` and `percent` in each `period`."""

    pods: Annotated[int, Field(ge=1, le=1000)] = 10
    """Workers that may be added in a period."""
    percent: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Workers that may be added in a period, in percent of those there are."""
    period: Duration = "15s"
    """For how long added workers count; at most an hour."""

    rules = (
        Rule(
            cel=None,  # CEL's own durations know no days
            message="period must be longer than 0 and at most 1h",
            holds=lambda s: timedelta(0) < parse_duration(s.period) <= LONGEST,
            field=".period",
        ),
    )


class Scaling(Model):
    """How the number of workers follows the work of the pool's task queue."""

    scaler: Literal["BuiltIn", "None"] = "BuiltIn"
    """BuiltIn: the operator decides, by what waits, what is being worked on and what is scheduled. None: nobody;
    `spec.replicas` is the number, whoever writes it."""
    mode: Literal["Active", "Advise"] = "Active"
    """Active: decisions are carried out. Advise: they only show in the status, and `spec.replicas` is the number."""
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    """Fewest workers; 0: none while there is nothing to do."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 10
    """Most workers."""
    target_backlog_per_replica: Annotated[int, Field(ge=1, le=100_000)] = 5
    """So many waiting tasks are worth one more worker."""
    idle_timeout: Duration = "60s"
    """For how long the pool has nothing to do before it goes back to `minReplicas`; at most an hour."""
    prewarm: Duration = "20s"
    """Workers for a scheduled run are started at least so long before its time, and earlier if this pool's pods took
    longer to poll; at most an hour. `0s`: not before their time."""
    stabilization: Duration = "60s"
    """Workers are taken away only down to the most that was needed in this time; at most an hour."""
    tolerance: Annotated[float, Field(ge=0, le=1)] = 0.1
    """A difference smaller than this share of the workers there are changes nothing."""
    scale_up: ScaleUp = ScaleUp()
    """How many workers may be added at once."""

    rules = (
        Rule(
            cel="(has(self.minReplicas) ? self.minReplicas : 0) <= (has(self.maxReplicas) ? self.maxReplicas : 10)",
            message="minReplicas can't be more than maxReplicas (10 if not given)",
            holds=lambda s: s.min_replicas <= s.max_replicas,
            field=".minReplicas",
        ),
        Rule(
            cel=f"!has(self.idleTimeout) || !self.idleTimeout.matches('{ZERO_DURATION}')",
            message="idleTimeout must be longer than 0, such as 60s",
            holds=lambda s: parse_duration(s.idle_timeout) > timedelta(0),
            field=".idleTimeout",
        ),
        Rule(
            cel=None,  # CEL's own durations know no days
            message="idleTimeout must be at most 1h",
            holds=lambda s: parse_duration(s.idle_timeout) <= LONGEST,
            field=".idleTimeout",
        ),
        Rule(
            cel=None,
            message="prewarm must be at most 1h",
            holds=lambda s: parse_duration(s.prewarm) <= LONGEST,
            field=".prewarm",
        ),
        Rule(
            cel=None,
            message="stabilization must be at most 1h",
            holds=lambda s: parse_duration(s.stabilization) <= LONGEST,
            field=".stabilization",
        ),
    )

    @property
    def decides(self) -> bool:
        """Whether somebody of ours decides."""
        return self.scaler == "BuiltIn"

    @property
    def acts(self) -> bool:
        """Whether what is decided is carried out, and `spec.replicas` has no say."""
        return self.scaler == "BuiltIn" and self.mode == "Active"


class ScalingDecision(Model):
    """A change of the number of workers."""

    time: Timestamp
    """When."""
    from_: Annotated[Count, Field(alias="from")]
    """Workers before."""
    to: Count
    """Workers after."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in a word."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, in a sentence."""


class ScalingStatus(Model):
    """What scaling saw last, and what it came to. Figures move every few seconds at most, and only with work."""

    mode: Literal["Active", "Advise"] | None = None
    """Whether what was decided is carried out."""
    desired: Count
    """Workers that there should be; advice, where the mode says so."""
    reason: Annotated[str, Field(max_length=64)]
    """Why, in a word, such as Backlog, ScheduledStart or Idle."""
    message: Annotated[str, Field(max_length=1024)]
    """Why, in a sentence."""
    held: bool | None = None
    """Whether workers stay as they are because something isn't known; the message says what."""
    open_runs: Count | None = None
    """Runs and backfills that are open on the pool's task queue; not there while Temporal doesn't answer."""
    backlog: Count | None = None
    """Tasks that no worker has taken yet."""
    backlog_age: Duration | None = None
    """How long the oldest of them has waited."""
    busy_slots: Count | None = None
    """Chunks that workers are busy with; not there where the Temporal server doesn't list workers."""
    slots: Count | None = None
    """Chunks that the workers there are could be busy with."""
    workers: Count | None = None
    """Workers that poll, by what Temporal hears of them."""
    next_due: Timestamp | None = None
    """The next scheduled start of the pool's pipelines."""
    warm_up: Duration | None = None
    """What nine of ten of this pool's pods didn't exceed from their creation to their first poll."""
    looked: Timestamp | None = None
    """When these figures were taken."""
    last_decisions: Annotated[tuple[ScalingDecision, ...], Field(max_length=10)] = ()
    """The last ten changes, newest first."""
