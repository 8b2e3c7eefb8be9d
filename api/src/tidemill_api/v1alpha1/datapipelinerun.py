"""`DataPipelineRun`: a run of a pipeline, asked for by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._object import AGE, Conditions, Generation, PrinterColumn, Resource, Served, condition
from tidemill_api.v1alpha1._types import (
    ZERO_DURATION,
    Duration,
    LocalRef,
    MomentOrAgo,
    ObjectName,
    ParameterName,
    PartName,
    Scalar,
    Timestamp,
    moment_rule,
    null_is_absence,
    parse_duration,
    parse_timestamp,
)

RunKey = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9:.-]*$", max_length=253, examples=["2026-01-01T04:15:00Z"])
]


class DeadLetterFilter(Model):
    """Which dead letters of the pipeline; all that is given must hold. Only new ones of runs that have succeeded."""

    step: PartName | None = None
    """Rejected by this source, step or sink."""
    rule: PartName | None = None
    """That broke this rule."""
    type: Literal["BadValue", "BadRow", "RuleBroken", "BadKey"] | None = None
    """Of this type of error."""
    run_key: RunKey | None = None
    """Rejected by the run with this key."""
    since: MomentOrAgo | None = None
    """First rejected since then: a moment, or how long before this run began."""
    until: MomentOrAgo | None = None
    """First rejected before then."""
    ids: Annotated[tuple[Annotated[int, Field(ge=1, le=2**53)], ...], Field(max_length=1000)] = ()
    """Numbers of letters. If one of them can't be replayed, the run is refused, and says why."""

    rules = (moment_rule("since", "since"), moment_rule("until", "until"))


class Replay(Model):
    """What is run again instead of the sources."""

    dead_letters: DeadLetterFilter
    """Rows that runs have rejected: each is read again, as it was or as it has been mended, by the current spec, and
    loaded once only. Rows that can't be added one by one (a Replace sink) are refused."""


class Backfill(Model):
    """Which of the schedule's times are run, and how."""

    start: Timestamp
    """First moment: a run whose time it is belongs to the backfill."""
    end: Timestamp
    """Last moment: a run whose time it is doesn't belong to it any more. Times that hadn't come when the backfill began
    are left to the schedule."""
    every: Duration | None = None
    """For pipelines without a schedule: the times are `start` and every so often after it."""
    concurrency: Annotated[int, Field(ge=1, le=100)] = 1
    """So many runs at once, at most. The overlap policy doesn't hold for them."""
    reprocess: Literal["None", "Failed", "Completed"] = "None"
    """What becomes of times that have been run: None leaves them out, whatever they came to; Failed runs those again
    that failed or were cancelled; Completed runs all again."""

    rules = (
        Rule(
            cel="timestamp(self.start) < timestamp(self.end)",
            message="end must be later than start",
            holds=lambda s: parse_timestamp(s.start) < parse_timestamp(s.end),
            field=".end",
        ),
        Rule(
            cel=f"!has(self.every) || (!self.every.matches('{ZERO_DURATION}') && !self.every.contains('ms'))",
            message="every must be at least 1s, in whole seconds, such as 1h or 1d",
            holds=lambda s: s.every is None or (parse_duration(s.every) > timedelta(0) and "ms" not in s.every),
            field=".every",
        ),
    )


class DataPipelineRunSpec(Model):
    """Which pipeline to run, and with what. It can't be changed after it was made."""

    pipeline_ref: LocalRef
    """The pipeline to run, in this namespace."""
    run_key: RunKey | None = None
    """Run key to process again, of a run that failed, was cancelled or was skipped; `$run_time` stays that key's. A
    new key, the name of this object, if not given."""
    parameters: Annotated[dict[ParameterName, Scalar], Field(max_length=32), null_is_absence()] = Field(
        default_factory=dict
    )
    """Values for the pipeline's parameters: text or a whole number; booleans, fractions and dates as text (`"true"`,
    `"0.5"`). Those not given keep their defaults."""

    replay: Replay | None = None
    """Run rejected rows again, instead of the sources."""
    backfill: Backfill | None = None
    """Run the times that the pipeline's schedule names in a range, each under its own key."""

    rules = (
        Rule(
            cel="!has(self.backfill) || !has(self.runKey)",
            message="a backfill's runs have keys of their own: it can't have a runKey",
            holds=lambda s: s.backfill is None or s.run_key is None,
            field=".runKey",
        ),
        Rule(
            cel="!has(self.backfill) || !has(self.replay)",
            message="a run is a backfill or a replay, not both",
            holds=lambda s: s.backfill is None or s.replay is None,
            field=".replay",
        ),
        Rule(
            cel="!has(self.replay) || !has(self.runKey)",
            message="a replay is a run of its own: it can't have a runKey",
            holds=lambda s: s.replay is None or s.run_key is None,
            field=".runKey",
        ),
        Rule(
            cel="self == oldSelf",
            message="a run's spec can't be changed: make another DataPipelineRun",
            holds=lambda _: True,  # a transition: only the API server knows the old object
        ),
    )


RunPhase = Literal["Pending", "Running", "Succeeded", "Failed", "Skipped", "Cancelled"]


class RunSummary(Model):
    """What became of one run."""

    key: Annotated[str, Field(max_length=253)]
    """Run key: the nominal scheduled time, or the name of the DataPipelineRun."""
    result: RunPhase
    """How it stands or ended."""
    workflow_id: Annotated[str, Field(max_length=1000)]
    """Temporal's workflow id."""
    workflow_run_id: Annotated[str, Field(max_length=64)] | None = None
    """Temporal's run id."""
    connection: ObjectName | None = None
    """Of a run by hand: the TemporalConnection through which it was started, whatever its pool names by now; none: the
    operator's own Temporal."""
    execution: Annotated[int, Field(ge=0)] | None = None
    """How many times the key has been processed, this one included."""
    started_at: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = None
    """When the run began."""
    finished_at: Annotated[str, Field(max_length=64, json_schema_extra={"format": "date-time"})] | None = None
    """When the run ended."""
    rows_read: Annotated[int, Field(ge=0)] | None = None
    """Rows read from the sources that drive stages."""
    rows_loaded: Annotated[int, Field(ge=0)] | None = None
    """Rows written to sinks."""
    rows_rejected: Annotated[int, Field(ge=0)] | None = None
    """Rows that became dead letters."""
    rows_skipped: Annotated[int, Field(ge=0)] | None = None
    """Rows left out by rules with `onError: Skip`."""
    failed_checks: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=64)] = ()
    """Checks that didn't hold: name, severity, and how far the value is from what it should be."""
    schema_changes: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=32)] = ()
    """How the columns of the sources differ from those that the run before has read, and what was altered of the
    sinks' tables for them."""
    nulled_values: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=32)] = ()
    """Of sources with `badValues: SetNull`: how many values of each column weren't of its type and were loaded as
    NULL."""
    error: Annotated[str, Field(max_length=4096)] | None = None
    """The error's type and sentence, if it failed or was skipped. Never holds data of rows."""


class BackfillStatus(Model):
    """How far a backfill is: numbers of runs."""

    total: Annotated[int, Field(ge=0)] | None = None
    """Times in the range."""
    succeeded: Annotated[int, Field(ge=0)] = 0
    """Runs that succeeded."""
    failed: Annotated[int, Field(ge=0)] = 0
    """Runs that failed, or that somebody cancelled or ended."""
    skipped: Annotated[int, Field(ge=0)] = 0
    """Times left out: they had been run before, or are being run elsewhere."""
    running: Annotated[int, Field(ge=0)] = 0
    """Runs that are open."""
    next: Annotated[str, Field(max_length=64)] | None = None
    """The time that comes next; none if all have begun."""
    failed_keys: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=10)] = ()
    """Keys of the first runs that failed."""


class DataPipelineRunStatus(Model):
    """What became of the run."""

    observed_generation: Generation | None = None
    """The generation that this status speaks of."""
    conditions: Conditions = ()
    """Ready (True once the run has succeeded), and Reconciling or Stalled while they are true."""
    phase: RunPhase | None = None
    """Pending, Running, Succeeded, Failed, Skipped or Cancelled."""
    run: RunSummary | None = None
    """Ids, times, rows and error of the run; of a backfill, of all its runs together."""
    backfill: BackfillStatus | None = None
    """How far a backfill is."""


class DataPipelineRun(Resource):
    """A run of a pipeline, asked for by hand."""

    served = Served(
        plural="datapipelineruns",
        short_name="dplrun",
        selectable=(".spec.pipelineRef.name",),
        columns=(
            PrinterColumn("Pipeline", ".spec.pipelineRef.name"),
            PrinterColumn("Phase", ".status.phase"),
            PrinterColumn("Read", ".status.run.rowsRead", "integer"),
            PrinterColumn("Loaded", ".status.run.rowsLoaded", "integer"),
            PrinterColumn("Rejected", ".status.run.rowsRejected", "integer"),
            PrinterColumn("Finished", ".status.run.finishedAt", "date"),
            AGE,
            PrinterColumn("Message", condition("Ready", "message"), wide=True),
            PrinterColumn("Workflow", ".status.run.workflowId", wide=True),
        ),
    )

    api_version: Literal["tidemill.dev/v1alpha1"] = "tidemill.dev/v1alpha1"
    kind: Literal["DataPipelineRun"] = "DataPipelineRun"
    spec: DataPipelineRunSpec
    """Which pipeline to run, and with what."""
    status: DataPipelineRunStatus | None = None
    """What became of the run."""
