"""`DataPipelineRun`: a run of a pipeline, asked for by hand."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from tidemill_api.v1alpha1._base import Model, Rule
from tidemill_api.v1alpha1._object import AGE, Conditions, Generation, PrinterColumn, Resource, Served, condition
from tidemill_api.v1alpha1._types import (
    LocalRef,
    MomentOrAgo,
    ParameterName,
    PartName,
    Scalar,
    moment_rule,
    null_is_absence,
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

    rules = (
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
    error: Annotated[str, Field(max_length=4096)] | None = None
    """The error's type and sentence, if it failed or was skipped. Never holds data of rows."""


class DataPipelineRunStatus(Model):
    """What became of the run."""

    observed_generation: Generation | None = None
    """The generation that this status speaks of."""
    conditions: Conditions = ()
    """Ready (True once the run has succeeded), and Reconciling or Stalled while they are true."""
    phase: RunPhase | None = None
    """Pending, Running, Succeeded, Failed, Skipped or Cancelled."""
    run: RunSummary | None = None
    """Ids, times, rows and error of the run."""


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
